"""What the giant alone would have cost for the same requests, and how that is known.

Measured: it was asked about this very request, by the policy or by a shadow. Sampled: a random share of the route's
requests was asked of it (a split, a canary, a shadow that draws), and stands for the rest. Assumed: the mean of what
it answered on the route in any other way, or its list price for the tokens of the same prompts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sartor.core.predict import Usage
from sartor.core.traffic import NANO, Exchange
from sartor.economics.figure import Figure, How, figure, nothing_known, summed, z_of
from sartor.economics.prices import Price

ENOUGH = 30
"""Randomly asked requests of a route from which on they speak for the others."""


@dataclass
class Tokens:
    """What upstreams counted for requests."""

    n: int = 0
    """Requests for which one did."""
    input: int = 0
    output: int = 0

    def add(self, done: Exchange) -> None:
        """Take in the tokens that the first upstream counted, if one did."""
        for hop in done.hops:
            if hop.kind == "upstream" and hop.input_tokens:
                self.n, self.input, self.output = (
                    self.n + 1,
                    self.input + hop.input_tokens,
                    self.output + hop.output_tokens,
                )
                return


@dataclass
class _Drawn:
    """Costs of one kind of observation on one route."""

    n: int = 0
    weight: float = 0.0
    money: float = 0.0
    squares: float = 0.0
    square_weights: float = 0.0

    def add(self, cost: float, weight: float = 1.0) -> None:
        self.n += 1
        self.weight += weight
        self.money += weight * cost
        self.squares += weight * cost * cost
        self.square_weights += weight * weight

    @property
    def mean(self) -> float:
        return self.money / self.weight

    @property
    def error(self) -> float:
        """Standard error of the mean under these weights."""
        variance = max(self.squares / self.weight - self.mean**2, 0.0)
        return float((variance * self.square_weights) ** 0.5 / self.weight)


class Giant:
    """What giants were seen to cost: one pass over the exchanges, before the lines are made.

    The giant of a route is the upstream that is named, else the dearest that was asked on it.
    """

    def __init__(self, exchanges: Iterable[Exchange] = (), *, named: str = "") -> None:
        """Args:
        named: the giant of every route; '' finds one for each.
        """
        self._named = named
        self.shadows: dict[tuple[str, str], int] = {}
        """(live exchange, upstream) -> nano-units that asking it as a shadow cost."""
        self.random: dict[tuple[str, str], _Drawn] = defaultdict(_Drawn)
        """(route, upstream) -> what requests that were drawn to be asked of it cost."""
        self.other: dict[tuple[str, str], _Drawn] = defaultdict(_Drawn)
        """(route, upstream) -> what any other request that it was asked cost."""
        self.tokens: dict[str, Tokens] = defaultdict(Tokens)
        """Route -> what upstreams counted for its requests."""
        for done in exchanges:
            self.exchange(done)

    def exchange(self, done: Exchange) -> None:
        """Take note of what upstreams cost here, where they were asked."""
        self.tokens[done.route].add(done)
        for name in {hop.served_by for hop in done.hops if hop.kind == "upstream"}:
            cost = asked(done, name)
            if cost is None:
                continue
            where = (done.route, name)
            if done.endpoint == "shadow":
                before = self.shadows.get((done.shadow_of, name), 0)
                self.shadows[done.shadow_of, name] = before + cost
                self.random[where].add(cost)
            elif done.propensity and done.hops[0].served_by == name:
                self.random[where].add(cost, 1.0 / done.propensity)
            else:
                self.other[where].add(cost)

    def name(self, route: str) -> str:
        """The giant of a route; '' where no upstream was ever asked on it."""
        if self._named:
            return self._named
        means = {
            name: max(drawn[place].mean for drawn in (self.random, self.other) if place in drawn)
            for place in {*self.random, *self.other}
            if (name := place[1]) and place[0] == route
        }
        return max(means, key=lambda name: (means[name], name), default="")

    def names(self) -> dict[str, str]:
        """Route -> giant, of every route on which an upstream was asked."""
        return {route: self.name(route) for route, _ in {*self.random, *self.other}}


@dataclass
class _Sides:
    """Requests of one line and route, by how their counterfactual is known."""

    measured: int = 0
    money: int = 0
    others: int = 0
    """Requests about which the giant was not asked."""
    own: Tokens = field(default_factory=Tokens)
    """What other upstreams counted for those."""


class Counterfactual:
    """Adds up what the giant would have cost, by line."""

    def __init__(
        self,
        giant: Giant,
        confidence: float = 0.9,
        price: Price | None = None,
    ) -> None:
        """Args:
        giant: has seen all exchanges already.
        price: of the giant, in the books' currency, for routes on which it was not asked often enough.
        """
        self._giant, self._price, self._confidence = giant, price, confidence
        self._names = giant.names()
        self._sides: dict[tuple[str, ...], dict[str, _Sides]] = defaultdict(lambda: defaultdict(_Sides))

    def exchange(self, key: tuple[str, ...], done: Exchange) -> None:
        """Take note of a live request that went into the line with this key."""
        if done.endpoint == "shadow" or done.status >= 400:
            return
        sides = self._sides[key][done.route]
        name = self._name(done.route)
        cost = asked(done, name)
        cost = self._giant.shadows.get((done.id, name)) if cost is None else cost
        if cost is None:
            sides.others += 1
            sides.own.add(done)
        else:
            sides.measured += 1
            sides.money += cost

    def cost(self, key: tuple[str, ...]) -> Figure:
        """What the giant would have cost for a line's requests."""
        parts = [part for route, sides in self._sides[key].items() for part in self._parts(route, sides)]
        return summed(parts) if parts else nothing_known("no answered requests")

    def counts(self, key: tuple[str, ...]) -> Mapping[str, int]:
        """How many of a line's requests the giant was asked about, and how many not."""
        found: Counter[str] = Counter()
        for sides in self._sides[key].values():
            found.update({"measured": sides.measured, "others": sides.others})
        return found

    def _name(self, route: str) -> str:
        return self._names.get(route) or self._giant.name(route)

    def _parts(self, route: str, sides: _Sides) -> list[Figure]:
        exact = sides.money / NANO
        parts = [Figure(exact, exact, exact, "measured", sides.measured)] if sides.measured else []
        return [*parts, self._others(route, sides)] if sides.others else parts

    def _others(self, route: str, sides: _Sides) -> Figure:
        name, count = self._name(route), sides.others
        drawn, other = self._giant.random.get((route, name)), self._giant.other.get((route, name))
        if drawn is not None and drawn.n >= ENOUGH:
            note = f"{drawn.n:,} requests of '{route}' drawn by chance were asked of {name}"
            return self._figure(drawn, count, "sampled", note)
        if other is not None and other.n >= ENOUGH:
            note = f"mean of {other.n:,} requests of '{route}' that {name} answered, not drawn by chance"
            return self._figure(other, count, "assumed", note)
        return self._listed(route, sides)

    def _listed(self, route: str, sides: _Sides) -> Figure:
        """By list price: for the requests' own tokens where an upstream counted them, else for the route's mean."""
        mean = self._giant.tokens.get(route)
        if self._price is None or mean is None or not mean.n:
            return nothing_known(f"no giant was asked often enough on '{route}', and no tokens or no price are at hand")
        rest = (sides.others - sides.own.n) / mean.n
        usage = [
            round(own + rest * every) for own, every in ((sides.own.input, mean.input), (sides.own.output, mean.output))
        ]
        value = self._price.cost(Usage(*usage))
        return Figure(
            value, value, value, "assumed", sides.own.n, f"{self._price.model} by list price ({self._price.source})"
        )

    def _figure(self, drawn: _Drawn, count: int, how: How, note: str) -> Figure:
        half = z_of(self._confidence) * drawn.error
        ends = [part * count / NANO for part in (drawn.mean, max(drawn.mean - half, 0.0), drawn.mean + half)]
        return figure(ends, how, drawn.n, note)


def asked(done: Exchange, giant: str) -> int | None:
    """Nano-units that asking the giant cost in this exchange; None where it was not asked, or gave no answer."""
    found = [hop.cost for hop in done.hops if hop.served_by == giant and not hop.why.startswith("failed")]
    return sum(found) if found else None


def saving(counterfactual: Figure, total: int) -> Figure:
    """Money saved against the giant; negative: lost.

    Args:
        total: nano-units that were really spent.
    """
    if counterfactual.value is None or counterfactual.low is None or counterfactual.high is None:
        return counterfactual
    ends = [part - total / NANO for part in (counterfactual.value, counterfactual.low, counterfactual.high)]
    return figure(ends, counterfactual.how, counterfactual.n, counterfactual.note)

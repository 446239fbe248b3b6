"""What the giant alone would have cost for the same requests, and how that is known.

Measured: it was asked about this very request, by the policy or by a shadow. Sampled: a random share of the route's
requests was asked of it (a split, a canary, a shadow that draws), and stands for the rest. Assumed: the mean of what
it answered on the route in any other way, or its list price for the tokens of the same prompts.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sartor.core.traffic import NANO, Exchange
from sartor.economics.figure import Figure, How, figure, nothing_known, summed, z_of

ENOUGH = 30
"""Randomly asked requests of a route from which on they speak for the others."""


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
    """What the giant was seen to cost: one pass over the exchanges, before the lines are made."""

    def __init__(self, name: str, exchanges: Iterable[Exchange] = ()) -> None:
        self.name = name
        self.shadows: dict[str, int] = {}
        """Live exchange -> nano-units that asking the giant about it as a shadow cost."""
        self.random: dict[str, _Drawn] = defaultdict(_Drawn)
        """Route -> what requests that were drawn to be asked of it cost."""
        self.other: dict[str, _Drawn] = defaultdict(_Drawn)
        """Route -> what any other request that it was asked cost."""
        for done in exchanges:
            self.exchange(done)

    def exchange(self, done: Exchange) -> None:
        """Take note of what the giant cost here, if it was asked."""
        cost = asked(done, self.name)
        if cost is None:
            return
        if done.endpoint == "shadow":
            self.shadows[done.shadow_of] = self.shadows.get(done.shadow_of, 0) + cost
            self.random[done.route].add(cost)
        elif done.propensity and done.hops[0].served_by == self.name:
            self.random[done.route].add(cost, 1.0 / done.propensity)
        else:
            self.other[done.route].add(cost)


@dataclass
class _Sides:
    """Requests of one line and route, by how their counterfactual is known."""

    measured: int = 0
    money: int = 0
    others: int = 0
    """Requests about which the giant was not asked."""


class Counterfactual:
    """Adds up what the giant would have cost, by line."""

    def __init__(
        self,
        giant: Giant,
        assumed: Callable[[str], tuple[float, str] | None] = lambda _: None,
        confidence: float = 0.9,
    ) -> None:
        """Args:
        assumed: route -> money that one of its requests costs by list price, and how that was reckoned.
        """
        self._giant, self._assumed, self._confidence = giant, assumed, confidence
        self._sides: dict[tuple[str, ...], dict[str, _Sides]] = defaultdict(lambda: defaultdict(_Sides))

    def exchange(self, key: tuple[str, ...], done: Exchange) -> None:
        """Take note of a live request that went into the line with this key."""
        if done.endpoint == "shadow" or done.status >= 400:
            return
        sides = self._sides[key][done.route]
        cost = asked(done, self._giant.name)
        cost = self._giant.shadows.get(done.id) if cost is None else cost
        if cost is None:
            sides.others += 1
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

    def _parts(self, route: str, sides: _Sides) -> list[Figure]:
        exact = sides.money / NANO
        parts = [Figure(exact, exact, exact, "measured", sides.measured)] if sides.measured else []
        return [*parts, self._others(route, sides.others)] if sides.others else parts

    def _others(self, route: str, count: int) -> Figure:
        drawn, other = self._giant.random.get(route), self._giant.other.get(route)
        if drawn is not None and drawn.n >= ENOUGH:
            note = f"{drawn.n:,} requests of '{route}' drawn by chance were asked of {self._giant.name}"
            return self._figure(drawn, count, "sampled", note)
        if other is not None and other.n >= ENOUGH:
            note = f"mean of {other.n:,} requests of '{route}' that {self._giant.name} answered, not drawn by chance"
            return self._figure(other, count, "assumed", note)
        listed = self._assumed(route)
        if listed is None:
            return nothing_known(f"{self._giant.name} was never asked on '{route}', and no price is known for it")
        value = listed[0] * count
        return Figure(value, value, value, "assumed", 0, listed[1])

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

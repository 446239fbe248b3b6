"""Traffic as a forecast reads it: requests, money and tokens by day and route, from exchanges in any order.

Counts live requests only. Knows the giant by name, so that what it costs is known where others answer too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.traffic import NANO, Exchange
from sartor.economics.account import DAY
from sartor.economics.trend import History

MOST_ROUTES = 8
"""Routes that are told apart; the others, the smallest, are taken together."""
OTHERS = "(others)"
LATELY = 7
"""Days that speak for how prompts look today."""
SHORTEST = 0.01
"""Share of the requests that are shorter than what counts as the fixed part of a prompt."""


@dataclass
class Cell:
    """One route on one day."""

    requests: int = 0
    cost: int = 0
    """Nano-units over the hops."""
    asked: int = 0
    """Requests of which the giant was asked."""
    giant: int = 0
    """Nano-units that it cost."""
    output_tokens: int = 0
    """Of the giant."""
    prompts: Counter[int] = field(default_factory=Counter)
    """Tokens of the giant's input -> requests."""

    def add(self, other: "Cell") -> None:
        """Take in another cell."""
        self.requests += other.requests
        self.cost += other.cost
        self.asked += other.asked
        self.giant += other.giant
        self.output_tokens += other.output_tokens
        self.prompts.update(other.prompts)


@dataclass(frozen=True)
class Prompt:
    """What one request of a route looks like to the giant."""

    tokens: float
    """Mean tokens of input."""
    fixed: float
    """Of them, instructions and examples that come with every request: what the shortest have."""
    output: float
    """Mean tokens of output."""
    money: float
    """Mean money that the giant charged."""
    n: int


@dataclass(frozen=True, eq=False)
class Seen:
    """Everything that a forecast rests on."""

    routes: tuple[str, ...]
    now: History
    """What answering costs as it goes now."""
    giant: History | None
    """The same requests as if the giant answered all; None where it was never asked."""
    prompts: tuple[Prompt, ...]
    """By route; empty where the giant was never asked."""
    note: str
    """What was seen, in words."""


class Days:
    """Gathers cells."""

    def __init__(self, giants: Mapping[str, str], exchanges: Iterable[Exchange] = ()) -> None:
        """Args:
        giants: route -> name of the upstream that counts as its giant.
        """
        self.giants = giants
        self.cells: dict[tuple[int, str], Cell] = defaultdict(Cell)
        self.first = float("inf")
        self.last = 0.0
        for done in exchanges:
            self.exchange(done)

    def exchange(self, done: Exchange) -> None:
        """Take note of a request."""
        if done.endpoint == "shadow":
            return
        cell = self.cells[int(done.at // DAY), done.route]
        cell.requests += 1
        giant = self.giants.get(done.route)
        self.first, self.last = min(self.first, done.at), max(self.last, done.at)
        for hop in done.hops:
            cell.cost += hop.cost
            if hop.served_by == giant and hop.input_tokens:
                cell.asked += 1
                cell.giant += hop.cost
                cell.output_tokens += hop.output_tokens
                cell.prompts[hop.input_tokens] += 1

    def seen(self, until: float = 0.0) -> Seen:
        """The history of whole days.

        Args:
            until: seconds since 1970 up to which traffic was looked at; the day of the last request is whole if that
                is after it.

        Raises:
            AskError: there is no traffic.
        """
        if not self.cells:
            raise AskError(
                "There is no traffic to forecast from: let requests through the gateway for a day first, "
                "or widen --since.",
                code="no_traffic",
            )
        days, scale, note = self._whole_days(until)
        routes = self._routes()
        grid = [[self._cell(day, route, routes) for route in routes] for day in days]
        requests, cost = (np.array([[getattr(c, n) for c in row] for row in grid], float) for n in ("requests", "cost"))
        now = History(days[0], requests * scale, cost * scale / NANO)
        recent = [self._lately(grid, i) for i in range(len(routes))]
        if not all(cell.asked for cell in recent):
            return Seen(routes, now, None, (), note)
        return Seen(routes, now, _giant(grid, recent, now), tuple(_prompt(cell) for cell in recent), note)

    def _whole_days(self, until: float) -> tuple[list[int], float, str]:
        """Days to go by, what their figures are to be multiplied with, and both in words.

        The first and the last day are not whole; they are left out as soon as there are others.
        """
        first, last = int(self.first // DAY), int(self.last // DAY)
        begun, ended = self.first % DAY < DAY / 24, until >= (last + 1) * DAY
        whole = list(range(first if begun else first + 1, last + 1 if ended else last))
        if whole:
            return whole, 1.0, f"{len(whole)} whole days"
        span = max(self.last - self.first, DAY / 24)
        days = list(range(first, last + 1))
        return days, len(days) * DAY / span, f"{span / 3600:.1f} hours, taken for whole days"

    def _routes(self) -> tuple[str, ...]:
        sizes = Counter[str]()
        for (_, route), cell in self.cells.items():
            sizes[route] += cell.requests
        named = [route for route, _ in sizes.most_common(MOST_ROUTES)]
        return (*sorted(named), OTHERS) if len(sizes) > MOST_ROUTES else tuple(sorted(named))

    def _cell(self, day: int, route: str, routes: tuple[str, ...]) -> Cell:
        if route != OTHERS:
            return self.cells.get((day, route)) or Cell()
        rest = Cell()
        for (when, name), cell in self.cells.items():
            if when == day and name not in routes:
                rest.add(cell)
        return rest

    @staticmethod
    def _lately(grid: list[list[Cell]], route: int) -> Cell:
        """The newest days of a route in which the giant was asked."""
        taken = Cell()
        for row in [row for row in grid if row[route].asked][-LATELY:]:
            taken.add(row[route])
        return taken


def _giant(grid: list[list[Cell]], recent: list[Cell], now: History) -> History:
    """Each day's requests at what the giant charged that day, or lately where it was not asked on that day."""
    each = np.array([[_mean(cell if cell.asked else recent[i]) for i, cell in enumerate(row)] for row in grid])
    cost: Floats = now.requests * each
    return History(now.first, now.requests, cost)


def _mean(cell: Cell) -> float:
    return cell.giant / cell.asked / NANO


def _prompt(cell: Cell) -> Prompt:
    rank, fixed = cell.asked * SHORTEST, 0
    for tokens in sorted(cell.prompts):
        fixed, rank = tokens, rank - cell.prompts[tokens]
        if rank <= 0:
            break
    mean = sum(tokens * n for tokens, n in cell.prompts.items()) / cell.asked
    return Prompt(mean, float(fixed), cell.output_tokens / cell.asked, _mean(cell), cell.asked)

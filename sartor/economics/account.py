"""The books: what each exchange and each entry cost, added up by task, tenant, variant, route or day.

Everything is whole nano-units of one currency, so that sums are exact in any order: the parts of all lines add up to
the hops plus the entries, to the last unit. Reads exchanges once, in any order, and keeps none of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, get_args

from sartor.core.errors import unknown
from sartor.core.traffic import Exchange, HopRow, nanos

By = Literal["task", "tenant", "variant", "route", "day"]
Part = Literal["upstream", "local", "cache", "shadow", "training", "labelling", "judge", "idle", "adjustment"]
PARTS: tuple[Part, ...] = get_args(Part)
"""In the order in which they are shown. `upstream`, `local` and `cache` are the hops of live answers."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What cost money beside answering: a run that trained something, or what a person booked."""

    part: Part
    money: int
    """Nano-units; an adjustment may be negative."""
    at: float
    """Seconds since 1970."""
    task: str = ""
    variant: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Something that costs money by the hour, used or not."""

    hourly: float
    """Money for an hour of all of it."""
    start: float
    """Seconds since 1970."""
    end: float
    task: str = ""
    """Whose answers it gives; '' all that no other machine does."""


@dataclass
class Line:
    """One line of a view. Money in nano-units."""

    key: tuple[str, ...]
    """Values of what the view is by, in its order; '' where something belongs to none."""
    requests: int = 0
    """Live ones; what a shadow was asked costs, but is no request."""
    failed: int = 0
    """Of them, those that got an error instead of an answer."""
    input_tokens: int = 0
    output_tokens: int = 0
    cpu_seconds: float = 0.0
    parts: Counter[Part] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Over all parts."""
        return sum(self.parts.values())

    @property
    def answering(self) -> int:
        """Over the hops of live answers."""
        return self.parts["upstream"] + self.parts["local"] + self.parts["cache"]


class Account:
    """Adds up exchanges and entries by some of `By`.

    Raises:
        NotFoundError: it can't be kept by that.
    """

    def __init__(self, by: Sequence[str] = (), machines: Sequence[Machine] = (), *, now: float = float("inf")) -> None:
        for name in by:
            if name not in get_args(By):
                raise unknown("view", name, get_args(By), param="by", code="unknown_view")
        self.by = tuple(by)
        self._lines: dict[tuple[str, ...], Line] = {}
        self._machines = [_until(machine, now) for machine in machines if machine.start < now]
        self._scopes = {machine.task for machine in self._machines}
        self._used: Counter[tuple[str, str]] = Counter()
        """(scope of machines, day) -> nano-units that answers were booked at there."""

    def exchange(self, done: Exchange) -> Line:
        """Book an exchange; the line that it went to."""
        line = self._line(key_of(done, self.by))
        shadow = done.endpoint == "shadow"
        for hop in done.hops:
            line.parts["shadow" if shadow else hop.kind] += hop.cost
            line.input_tokens += hop.input_tokens
            line.output_tokens += hop.output_tokens
            line.cpu_seconds += hop.cpu_seconds
            self._use(done, hop)
        if not shadow:
            line.requests += 1
            line.failed += done.status >= 400
        return line

    def entry(self, item: Entry) -> None:
        """Book an entry."""
        named = {"task": item.task, "variant": item.variant, "day": day_of(item.at)}
        self._line(tuple(named.get(name, "") for name in self.by)).parts[item.part] += item.money

    def lines(self) -> list[Line]:
        """Every line, by key; machines' hours that answers did not pay for are then booked as idle."""
        for item in self._idle():
            self.entry(item)
        self._machines = []
        return [self._lines[key] for key in sorted(self._lines)]

    def _line(self, key: tuple[str, ...]) -> Line:
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = Line(key)
        return found

    def _use(self, done: Exchange, hop: HopRow) -> None:
        """A local answer pays for a part of the machines that gave it, if they were there at its time."""
        if hop.kind != "local" or not self._machines:
            return
        scope = done.task if done.task in self._scopes else ""
        if any(m.task == scope and m.start <= done.at < m.end for m in self._machines):
            self._used[scope, day_of(done.at)] += hop.cost

    def _idle(self) -> Iterator[Entry]:
        bills: Counter[tuple[str, str]] = Counter()
        for machine in self._machines:
            for day, hours in hours_by_day(machine.start, machine.end):
                bills[machine.task, day] += nanos(machine.hourly * hours)
        for (task, day), money in sorted(bills.items()):
            yield Entry("idle", money - self._used[task, day], start_of(day), task)


def key_of(done: Exchange, by: Sequence[str]) -> tuple[str, ...]:
    """The key of an exchange's line."""
    return tuple(day_of(done.at) if name == "day" else str(getattr(done, name)) for name in by)


def account(
    exchanges: Iterable[Exchange],
    entries: Iterable[Entry] = (),
    *,
    by: Sequence[str] = (),
    machines: Sequence[Machine] = (),
    now: float = float("inf"),
) -> list[Line]:
    """The lines of a view."""
    books = Account(by, machines, now=now)
    for done in exchanges:
        books.exchange(done)
    for item in entries:
        books.entry(item)
    return books.lines()


def sum_of(lines: Iterable[Line]) -> Line:
    """All lines as one."""
    total = Line(())
    for line in lines:
        total.requests += line.requests
        total.failed += line.failed
        total.input_tokens += line.input_tokens
        total.output_tokens += line.output_tokens
        total.cpu_seconds += line.cpu_seconds
        total.parts.update(line.parts)
    return total


def day_of(at: float) -> str:
    """The day in UTC, ISO 8601."""
    return _day(int(at // DAY))


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, UTC).date().isoformat()


def hours_by_day(start: float, end: float) -> Iterator[tuple[str, float]]:
    """Hours of a span in each of its days, UTC."""
    while start < end:
        midnight = (start // DAY + 1) * DAY
        yield day_of(start), (min(midnight, end) - start) / 3600.0
        start = midnight


def start_of(day: str) -> float:
    """The first second of a day, UTC."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def _until(machine: Machine, now: float) -> Machine:
    return Machine(machine.hourly, machine.start, min(machine.end, now), machine.task)


@dataclass(frozen=True)
class Reconciliation:
    """Whether the sum over hops is the sum over exchanges."""

    exchanges: int
    booked: int
    """Nano-units over exchanges."""
    hops: int
    """Nano-units over their hops."""
    off: Mapping[str, int]
    """Exchange -> what its hops are above it; only where they are not equal, at most `WORST` of them."""
    differing: int
    """How many are not equal."""

    @property
    def exact(self) -> bool:
        """Nothing is off, not even by one unit in two places that make up for each other."""
        return self.differing == 0


WORST = 20


def reconcile(exchanges: Iterable[Exchange]) -> Reconciliation:
    """Compare each exchange with its hops."""
    count = booked = hops = differing = 0
    off: dict[str, int] = {}
    for done in exchanges:
        asked = sum(hop.cost for hop in done.hops)
        count, booked, hops = count + 1, booked + done.cost, hops + asked
        if asked != done.cost:
            differing += 1
            if len(off) < WORST:
                off[done.id] = asked - done.cost
    return Reconciliation(count, booked, hops, off, differing)

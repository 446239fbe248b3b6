"""Counts what happened, in memory, for metrics and the live view. Knows no store; sums equal the ledger's since start.

Labels are bounded: names of routes and versions that the gateway itself resolved, never what a client wrote. A
snapshot is plain data (JSON), and snapshots of several workers add up to one.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from sartor.core.traffic import Exchange, HopRow

BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latency buckets in seconds; one more bucket takes the rest."""

MOST_SERIES = 4096
"""Different label sets kept apart; what comes after shares the route ''."""

Snapshot = dict[str, Any]
"""`exchanges`, `hops`, `errors`: lists of [labels, sums]; `process`: name -> label -> value; `since`, `workers`."""

Reading = Mapping[str, float]
"""Value by label; a measure without labels has the one label ''."""

ROUTE_LABELS = ("route", "variant", "endpoint", "decision", "status")
"""Of a row of `exchanges`. `variant` is the fixed name that answered; `status` is a class: 2xx."""

SUMS = ("requests", "cost", "input_tokens", "output_tokens", "local", "local_cost", "seconds", "first_seconds")
"""Of a row of `exchanges`, before its buckets. Costs are nano-units. `local`: answered without any upstream."""

HOP_SUMS = ("hops", "cost", "input_tokens", "output_tokens", "cpu_seconds", "seconds")

PROCESS: Mapping[str, tuple[Literal["counter", "gauge", "highest"], str, str]] = {
    "connections": ("gauge", "", "Open connections of clients."),
    "in_flight": ("gauge", "", "Requests under way."),
    "loop_lag_seconds": ("highest", "", "Longest time that the event loop was late since it was last looked at."),
    "capture": ("counter", "outcome", "Records of the traffic log by what became of them."),
    "shadow": ("counter", "outcome", "Shadow requests by what became of them."),
    "breaker_open": ("gauge", "upstream", "Workers whose breaker for this upstream is not closed."),
    "resident_bytes": ("gauge", "", "Resident memory of the workers."),
    "open_files": ("gauge", "", "Open file descriptors of the workers."),
}
"""What a process tells of itself: how it adds up over workers, its label, what it means."""


class _Sums:
    """Sums of the exchanges with the same labels."""

    __slots__ = ("buckets", "cost", "first", "first_seconds", "input_tokens", "local", "local_cost", "output_tokens",
                 "requests", "seconds")  # fmt: skip

    def __init__(self) -> None:
        self.requests = self.cost = self.input_tokens = self.output_tokens = self.local = self.local_cost = 0
        self.seconds = self.first_seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.first = [0] * (len(BOUNDS) + 1)

    def row(self) -> list[Any]:
        """`SUMS` in order, then the buckets of the whole answer and of its first byte."""
        return [*(getattr(self, name) for name in SUMS), list(self.buckets), list(self.first)]


class Counters:
    """One per process. `exchange` is called in the event loop; a snapshot may be taken from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time, *, workers: int = 1) -> None:
        """Nothing counted yet; `workers` is 0 for a process that answers nobody itself."""
        self._since = clock()
        self._workers = workers
        self._exchanges: dict[tuple[str, str, str, str, int], _Sums] = {}
        self._routes: set[str] = {""}
        self._hops: dict[tuple[str, str], list[float]] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._watched: dict[str, Callable[[], Reading | float]] = {}
        self._followers: tuple[Callable[[Exchange], None], ...] = ()

    def exchange(self, done: Exchange) -> None:
        """Count one request that is over, whatever came of it."""
        route = done.route
        found = self._exchanges.get((route, done.version, done.endpoint, done.decision, done.status // 100))
        if found is None:
            route, found = self._new(done)
        found.requests += 1
        found.cost += done.cost
        found.input_tokens += done.input_tokens
        found.output_tokens += done.output_tokens
        found.seconds += done.seconds
        found.first_seconds += done.first_seconds
        found.buckets[bisect_left(BOUNDS, done.seconds)] += 1
        found.first[bisect_left(BOUNDS, done.first_seconds)] += 1
        local = bool(done.hops)
        for hop in done.hops:
            local = local and hop.kind != "upstream"
            self._hop(route, hop)
        if local and done.status < 400:
            found.local += 1
            found.local_cost += done.cost
        if done.error:
            self._error(route, done.error)
        for tell in self._followers:
            tell(done)

    def follow(self, tell: Callable[[Exchange], None]) -> None:
        """Hand each exchange on when it is counted; `tell` must not wait."""
        self._followers = (*self._followers, tell)

    def watch(self, name: str, read: Callable[[], Reading | float]) -> None:
        """Ask `read` for this measure of `PROCESS` at each snapshot; several for one name add up by label."""
        assert name in PROCESS, name
        before = self._watched.get(name)
        if before is None:
            self._watched[name] = read
        else:
            self._watched[name] = lambda: _added(name, _by_label(before()), _by_label(read()))

    def snapshot(self) -> Snapshot:
        """All counts of this process, as plain data."""
        return {
            "since": self._since,
            "workers": self._workers,
            "exchanges": [
                [[*labels[:4], f"{labels[4]}xx"], sums.row()] for labels, sums in list(self._exchanges.items())
            ],
            "hops": [[list(labels), list(sums)] for labels, sums in list(self._hops.items())],
            "errors": [[list(labels), [count]] for labels, count in list(self._errors.items())],
            "process": {name: dict(_by_label(read())) for name, read in list(self._watched.items())},
        }

    def text(self) -> bytes:
        """The snapshot for Prometheus."""
        from sartor.gateway.exposition import exposition

        return exposition(self.snapshot())

    def _new(self, done: Exchange) -> tuple[str, _Sums]:
        """Sums for labels not seen before. A route is known once it resolved: then it had a version."""
        route = done.route
        if done.version and len(self._routes) < MOST_SERIES:
            self._routes.add(route)
        if route not in self._routes or len(self._exchanges) >= MOST_SERIES:
            route = ""
        version = done.version if route else ""
        labels = (route, version, done.endpoint, done.decision, done.status // 100)
        return route, self._exchanges.setdefault(labels, _Sums())

    def _hop(self, route: str, hop: HopRow) -> None:
        sums = self._hops.get((route, hop.kind))
        if sums is None:
            sums = self._hops[route, hop.kind] = [0, 0, 0, 0, 0.0, 0.0]
        sums[0] += 1
        sums[1] += hop.cost
        sums[2] += hop.input_tokens
        sums[3] += hop.output_tokens
        sums[4] += hop.cpu_seconds
        sums[5] += hop.seconds

    def _error(self, route: str, code: str) -> None:
        labels = (route, code)
        if labels not in self._errors and len(self._errors) >= MOST_SERIES:
            labels = ("", "other")
        self._errors[labels] = self._errors.get(labels, 0) + 1


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The snapshots of several processes as one."""
    whole: Snapshot = {"since": 0.0, "workers": 0, "exchanges": [], "hops": [], "errors": [], "process": {}}
    tables: dict[str, dict[tuple[str, ...], list[Any]]] = {"exchanges": {}, "hops": {}, "errors": {}}
    for one in snapshots:
        whole["since"] = min(whole["since"] or one["since"], one["since"])
        whole["workers"] += one["workers"]
        for name, table in tables.items():
            for labels, row in one[name]:
                before = table.get(tuple(labels))
                table[tuple(labels)] = list(row) if before is None else [*map(_sum, before, row)]
        for name, reading in one["process"].items():
            whole["process"][name] = _added(name, whole["process"].get(name, {}), reading)
    for name, table in tables.items():
        whole[name] = [[list(labels), row] for labels, row in table.items()]
    return whole


def _sum(one: Any, other: Any) -> Any:
    return [*map(_sum, one, other)] if isinstance(one, list) else one + other


def _by_label(reading: Reading | float) -> Reading:
    return reading if isinstance(reading, Mapping) else {"": reading}


def _added(name: str, one: Reading, other: Reading) -> dict[str, float]:
    highest = PROCESS[name][0] == "highest"
    both = dict(one)
    for label, value in other.items():
        both[label] = max(both.get(label, value), value) if highest else both.get(label, 0.0) + value
    return both

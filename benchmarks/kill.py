"""A run is killed, frozen, cut off from database and disk: the same content digests, nothing twice, nothing lost.

Over SQLite and PostgreSQL, as the command `sartor run` and as a job of one and of two workers: SIGKILL at every step
boundary (a finished step, taken into stock, released: as soon as the ledger shows the next one) and at 20 random
instants, drawn with a fixed seed over the time that an undisturbed run took; with two workers the one is killed that
has the job. A worker is frozen past its lease and wakes while another one works, or has finished. The database is
gone for 60 s. The disk is full when a checkpoint is to be kept. What must be left is what one undisturbed run leaves.
"""

import argparse
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks import _killing as killing
from benchmarks._killing import Left, Place
from benchmarks._postgres import Cluster, cluster
from benchmarks._shared import ROOT, result, show
from sartor.core.errors import SartorError
from sartor.store.opening import Store

INSTANTS = 20
FREEZES = 4
LONGEST_SLEEP = 60.0
"""Seconds after which a frozen worker is woken, whatever became of its job."""
AWAY = 60.0
"""Seconds for which the database is gone."""
ROOM = 100
"""Kilobytes for checkpoints, where there is to be too little."""
TASK = """
name: kill
data:
  sources: [{use: jsonl, path: rows.jsonl, licence: owned}]
value: {wrong: 5, escalate: {to: person, price: 1, error_rate: 0.05}}
candidates:
  - {recipe: linear, size: small, params: {losses: [hinge], hinge_c: [1.0]}}
  - {name: tuned, recipe: tune, base: "folder:TINY", size: small, params: {epochs: 3, batch: 16, rate: 0.003}}
gate: {min_rows: 50, guards: {}}
"""
LABELS = {
    "card": ("my card", "the card", "a new card", "this card"),
    "transfer": ("a transfer", "my transfer", "the wire", "this transfer"),
    "top up": ("a top up", "my top up", "adding money", "loading money"),
    "rate": ("the rate", "an exchange rate", "your rates", "the fee"),
}
VERBS = ("did not arrive", "was refused", "is late", "looks wrong", "was charged twice", "needs a change", "is pending")
ENDS = (
    "today",
    "again",
    "since Monday",
    "in the app",
    "at the shop",
    "abroad",
    "on my phone",
    "for my son",
    "at night",
)
How = Literal["boundary", "instant", "frozen", "woken late", "database gone", "disk full"]
Database = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Case:
    """One disturbance."""

    how: How
    at: float
    """Boundaries passed, or seconds."""
    database: Database
    workers: int
    """0: the command `sartor run`."""


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    case: Case
    hit: bool
    """Something was running when it was disturbed."""
    same: bool
    once: bool
    whole: bool
    resumed: bool
    seconds: float
    trouble: str = ""
    """Why it did not come to its end; '' where it did."""

    @property
    def well(self) -> bool:
        """As if nothing had happened."""
        return self.same and self.once and self.whole and not self.trouble


@dataclass(frozen=True)
class Bench:
    """What the cases share."""

    work: Path
    server: Cluster | None
    wanted: Left
    boundaries: int
    seconds: float
    """Of the undisturbed run."""

    @contextmanager
    def place(self, case: Case, name: str) -> Iterator[Place]:
        """A store for a case, removed afterwards unless something went wrong."""
        home = self.work / name
        assert case.database == "sqlite" or self.server is not None
        url = None
        if case.database == "postgresql" and self.server is not None:
            url = self.server.url(self.server.database())
        found = Place(self.work, home, url)
        try:
            yield found
        finally:
            found.remove()


def run() -> dict[str, Any]:
    """The undisturbed run, then every disturbance, each on a store of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kill")
    parser.add_argument("--beside", type=int, default=3, help="cases at the same time")
    parser.add_argument("--only", default="", help="cases whose description holds this word")
    given = parser.parse_args()
    with cluster() as server:
        bench = prepared(ROOT / ".sartor" / "bench-kill", server)
        cases = [case for case in matrix(bench) if given.only in str(case)]
        outcomes = disturbed(bench, cases, given.beside)
    _show(outcomes)
    return result("kill", _figures(bench, outcomes), _goals(bench, outcomes))


def prepared(work: Path, server: Cluster | None, runs: int = 2) -> Bench:
    """A folder with the task, its rows and a tiny base, and what undisturbed runs on it leave.

    Args:
        runs: two show that they leave the same, and the first one warms the disk and the server of processes.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_rows(work / "rows.jsonl", 320)
    killing.write_tiny(work / "tiny")
    (work / "task.yaml").write_text(TASK.replace("TINY", str(work / "tiny")), encoding="utf-8")
    found = []
    for number in range(runs):
        place = Place(work, work / f"undisturbed{number}")
        found.append(killing.undisturbed(place))
        place.remove()
    wanted, boundaries, seconds = found[-1]
    if found[0][0].found != wanted.found:
        raise SystemExit(f"Undisturbed runs differ, so that nothing can be shown: {found[0][0].found} {wanted.found}")
    return Bench(work, server, wanted, boundaries, seconds)


def matrix(bench: Bench, instants: int = INSTANTS, freezes: int = FREEZES) -> list[Case]:
    """Every disturbance, on what there is of databases."""
    cases: list[Case] = []
    databases: Sequence[Database] = ("sqlite", "postgresql") if bench.server else ("sqlite",)
    for database in databases:
        for workers in (0, 1, 2):
            draw = random.Random(f"{database} {workers}")
            cases += [Case("boundary", n, database, workers) for n in range(1, bench.boundaries + 1)]
            cases += [
                Case("instant", round(draw.uniform(0.0, bench.seconds), 3), database, workers) for _ in range(instants)
            ]
            for how in ("frozen", "woken late") if workers else ():
                times = [round(draw.uniform(0.2, 0.8) * bench.seconds, 3) for _ in range(freezes)]
                cases += [Case(how, at, database, workers) for at in times]
            cases.append(Case("disk full", 0, database, workers))
            if database == "postgresql":
                cases.append(Case("database gone", round(0.5 * bench.seconds, 3), database, workers))
    return cases


def disturbed(bench: Bench, cases: Sequence[Case], beside: int) -> list[Outcome]:
    """The outcome of each case; those that take the database from all go last, one after another."""
    lone = [case for case in cases if case.how == "database gone"]
    others = [case for case in cases if case.how != "database gone"]
    with ThreadPoolExecutor(beside) as pool:
        found = list(pool.map(lambda pair: _noted(bench, pair[1], f"case{pair[0]}"), enumerate(others)))
    return found + [_noted(bench, case, f"lone{number}") for number, case in enumerate(lone)]


def _noted(bench: Bench, case: Case, name: str) -> Outcome:
    """The outcome, written down at once: who stops the benchmark early has what was found."""
    found = outcome(bench, case, name)
    with (bench.work / "outcomes.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(found) | {"well": found.well}) + "\n")
    return found


def outcome(bench: Bench, case: Case, name: str) -> Outcome:
    """Disturb one run, let it come to its end, and compare."""
    began = time.monotonic()
    with bench.place(case, name) as place:
        try:
            hit = DISTURB[case.how](bench, case, place)
            found = killing.left(place)
        except (RuntimeError, TimeoutError, SartorError) as error:
            words = "".join(killing.said(log) for log in sorted(bench.work.glob(f"{name}-*.log")))
            trouble = f"{type(error).__name__}: {error} {words}"
            return Outcome(case, True, False, False, False, False, time.monotonic() - began, trouble)
    same = found.found == bench.wanted.found
    if case.how == "disk full" and hit and not found.lost:
        return Outcome(case, hit, same, found.once, found.whole, found.resumed, 0.0, "no checkpoint lacked room")
    trouble = "" if same and not found.faults else _unlike(bench.wanted, found)
    return Outcome(case, hit, same, found.once, found.whole, found.resumed, round(time.monotonic() - began, 2), trouble)


def _unlike(wanted: Left, found: Left) -> str:
    parts = [
        f"{key}: {found.found[key]} for {wanted.found[key]}" for key in wanted.found if found.found != wanted.found
    ]
    return "; ".join([*parts, *found.faults])


# What is done to a run


def _killed(bench: Bench, case: Case, place: Place) -> bool:
    """SIGKILL at a boundary or an instant; then the command again, or whoever works next."""
    del bench
    if not case.workers:
        place.begin("run", killing.sartor, "run", "task.yaml")
        _wait(place, case, lambda: not place.crew["run"].is_alive())
        hit = place.kill("run")
        killing.run_again(place)
        return hit
    job = _crew(place, case)
    with killing.watched(place) as store:
        _wait(place, case, lambda: store.jobs.get(job).has_ended)
        hit = not store.jobs.get(job).has_ended
        holder = store.jobs.get(job).worker or "one"
        place.kill(holder)
        if case.workers == 1:
            place.begin(holder, killing.worker, holder)  # as a supervisor does
        killing.ended(store, job)
    return hit


def _frozen(bench: Bench, case: Case, place: Place) -> bool:
    """SIGSTOP past the lease, SIGCONT while another one works, or after it has finished."""
    job = _crew(place, case)
    with killing.watched(place) as store:
        _wait(place, case, lambda: store.jobs.get(job).has_ended)
        before = store.jobs.get(job)
        holder = before.worker or "one"
        place.tell(holder, signal.SIGSTOP)
        hit = not store.jobs.get(job).has_ended
        if case.workers == 1:
            time.sleep(killing.LEASE + 1.0)
        else:
            # On SQLite one that was frozen inside a write holds the file: then nobody can go on before it wakes.
            late = case.how == "woken late"
            with suppress(TimeoutError):
                killing.insist(
                    lambda: store.jobs.get(job),
                    lambda j: j.has_ended or (not late and j.attempts > before.attempts),
                    patience=LONGEST_SLEEP,
                )
            time.sleep(0.0 if late else random.Random(case.at).uniform(0.0, bench.seconds / 2))
        place.tell(holder, signal.SIGCONT)
        killing.ended(store, job)
        time.sleep(3.0)  # for the sleeper to do what it should not
    return hit


def _database_gone(bench: Bench, case: Case, place: Place) -> bool:
    """The server is taken away and given back."""
    assert bench.server is not None
    job = _crew(place, case) if case.workers else ""
    if not case.workers:
        place.begin("run", killing.sartor, "run", "task.yaml")
    time.sleep(case.at)
    bench.server.stop()
    try:
        time.sleep(AWAY)
    finally:
        bench.server.start()
    if not case.workers:
        place.crew["run"].join(killing.PATIENCE)
        killing.run_again(place)
        return True
    with killing.watched(place) as store:
        killing.ended(store, job)
    return all(process.is_alive() for process in place.crew.values())


def _disk_full(bench: Bench, case: Case, place: Place) -> bool:
    """There is no room for a checkpoint; whether that could be arranged."""
    del bench
    with killing.little_room(place.home / "checkpoints", ROOM) as permitted:
        if not permitted:
            return False
        if case.workers:
            job = _crew(place, case)
            with killing.watched(place) as store:
                killing.ended(store, job)
                if not any("no room for" in event.message for event in store.jobs.events(job)):
                    raise RuntimeError("the job did not tell that checkpoints were lost")
        else:
            killing.run_again(place)
        place.end()
    return True


DISTURB: dict[How, Callable[[Bench, Case, Place], bool]] = {
    "boundary": _killed,
    "instant": _killed,
    "frozen": _frozen,
    "woken late": _frozen,
    "database gone": _database_gone,
    "disk full": _disk_full,
}


def _crew(place: Place, case: Case) -> str:
    """A job and its workers; the job's id."""
    job = killing.submit(place)
    for name in ("one", "two")[: case.workers]:
        place.begin(name, killing.worker, name)
    return job


def _wait(place: Place, case: Case, over: Callable[[], bool]) -> None:
    """Until the case's boundary or instant, or until there is nothing more to wait for."""
    if case.how != "boundary":
        if case.workers:
            with killing.watched(place) as store:
                killing.insist(lambda: store.jobs.find(state="running", limit=1), bool)
        time.sleep(case.at)
        return
    with killing.watched(place) as store:
        killing.insist(lambda: _passed(store) >= case.at or over(), bool, 0.002)


def _passed(store: Store) -> int:
    return killing.marks(store)


# What came of it


def _figures(bench: Bench, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    groups: dict[str, dict[str, int]] = {}
    for o in outcomes:
        crew = f"{o.case.workers} workers" if o.case.workers else "command"
        counted = groups.setdefault(f"{o.case.database}, {crew}, {o.case.how}", dict.fromkeys(_COUNTED, 0))
        for name in _COUNTED:
            counted[name] += 1 if name == "cases" else bool(getattr(o, name))
    return {
        "cases": len(outcomes),
        "step_boundaries": bench.boundaries,
        "undisturbed_seconds": round(bench.seconds, 2),
        "hit_while_running": sum(o.hit for o in outcomes),
        "same_digests": sum(o.same for o in outcomes),
        "nothing_twice": sum(o.once for o in outcomes),
        "nothing_lost": sum(o.whole for o in outcomes),
        "trainings_resumed": sum(o.resumed for o in outcomes),
        "groups": groups,
        "digests": {name: value for name, value in bench.wanted.found.items() if name != "steps"},
        "trouble": [f"{o.case}: {o.trouble}" for o in outcomes if not o.well][:20],
    }


_COUNTED = ("cases", "hit", "same", "once", "whole", "resumed")


def _goals(bench: Bench, outcomes: Sequence[Outcome]) -> dict[str, bool]:
    return {
        "the same content digests every time": all(o.same for o in outcomes),
        "no step and no version twice, one release": all(o.once for o in outcomes),
        "nothing lost, nothing left lying": all(o.whole for o in outcomes),
        "every run came to its end": not any(o.trouble for o in outcomes),
        "PostgreSQL was there": bench.server is not None,
    }


def _show(outcomes: Sequence[Outcome]) -> None:
    show(
        "Disturbances",
        ["database", "workers", "how", "at#", "while running", "as undisturbed", "resumed", "seconds#"],
        [
            (o.case.database, o.case.workers, o.case.how, o.case.at, o.hit, o.well, o.resumed, o.seconds)
            for o in outcomes
        ],
    )


def write_rows(path: Path, rows: int = 480) -> None:
    """A small labelled set, the same every time."""
    draw = random.Random(7)
    texts: dict[str, str] = {}
    while len(texts) < rows:
        label = draw.choice(sorted(LABELS))
        text = f"{draw.choice(LABELS[label])} {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)}"
        texts[text] = label
    path.write_text("".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in texts.items()), encoding="utf-8")

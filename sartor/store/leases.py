"""Jobs as workers see them: who has which, until when, and the number that fences off who only slept.

A worker says again and again that it lives. Whose word is too old has lost its jobs: others take them. Each beginning
of a job gives it a new attempt number, and whatever is written for an attempt checks that number in its own
transaction. Knows no handlers.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, func, select, update

from sartor.core.errors import ConflictError
from sartor.core.jobs import Job, Queue, Stopped
from sartor.store.clock import now_at
from sartor.store.engine import Database
from sartor.store.jobs import CONTRACT, Say, read_job, tell
from sartor.store.schema import job, worker

FORGET = 86_400.0
"""Seconds after which a worker that is gone is no longer listed."""


@dataclass(frozen=True, slots=True)
class Hand:
    """A worker as others see it."""

    name: str
    version: str
    """Contract between jobs and workers that it keeps to."""
    queues: tuple[str, ...]
    since: float
    seen: float
    """When it last said that it lives, by the database's clock."""
    quiet: float
    """Seconds since then."""
    jobs: tuple[str, ...] = ()
    """Ids of the jobs that it has."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a worker's job stands when it beats."""

    attempts: int
    state: str
    asked: str


class Leases:
    """The worker's side of the jobs of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = import_module(f"sqlalchemy.dialects.{database.dialect}").insert
        self._insert: Any = insert(worker)
        self._served: dict[str, float] = {}
        """Tenant -> when this process last took a job of it."""

    # Living

    def enter(self, name: str, queues: Sequence[str]) -> float:
        """Begin under a name; returns when, which tells this life of the name from others.

        What an earlier life of this name had is free at once; if that still lives, it finds its name taken.
        """
        with self._database.write() as connection:
            at = now_at(connection)
            row = {"name": name, "version": CONTRACT, "queues": ",".join(queues), "since": at, "seen": at}
            connection.execute(self._insert.on_conflict_do_update(index_elements=["name"], set_=row), row)
            connection.execute(worker.delete().where(worker.c.seen < at - FORGET))
            self._lose(connection, job.c.worker == name, at)
        return at

    def beat(self, name: str, since: float, jobs: Collection[str] = ()) -> dict[str, Standing]:
        """Say that this worker lives; how its jobs stand.

        Raises:
            ConflictError: somebody else has the name since.
        """
        mine = (worker.c.name == name, worker.c.since == since)
        with self._database.write() as connection:
            if connection.execute(update(worker).where(*mine).values(seen=now_at(connection))).rowcount != 1:
                raise ConflictError(f"Another worker took the name '{name}'.", code="worker_exists")
            if not jobs:
                return {}
            columns = select(job.c.id, job.c.attempts, job.c.state, job.c.asked)
            rows = connection.execute(columns.where(job.c.id.in_(list(jobs)), job.c.worker == name)).all()
        return {row.id: Standing(row.attempts, row.state, row.asked) for row in rows}

    def leave(self, name: str, since: float) -> None:
        """End; the name's row goes."""
        with self._database.write() as connection:
            connection.execute(worker.delete().where(worker.c.name == name, worker.c.since == since))

    def hands(self) -> list[Hand]:
        """All workers that were seen within a day, by name."""
        with self._database.read() as connection:
            at = now_at(connection)
            rows = connection.execute(select(worker).order_by(worker.c.name)).all()
            running = select(job.c.worker, job.c.id).where(job.c.state == "running").order_by(job.c.seq)
            has: dict[str, list[str]] = {}
            for who, ident in connection.execute(running):
                has.setdefault(who, []).append(ident)
        return [
            Hand(
                r.name, r.version, tuple(r.queues.split(",")), r.since, r.seen, at - r.seen, tuple(has.get(r.name, ()))
            )
            for r in rows
        ]

    # Taking

    def claim(self, name: str, queues: Sequence[Queue], *, kinds: Collection[str], only: str = "") -> Job | None:
        """Take the job whose turn it is, if there is one.

        The tenant who has the fewest running jobs, then the one whom this process served longest ago, comes first; in a
        tenant the greater priority, then the older job.

        Args:
            kinds: that this worker knows.
            only: id of the one job to take.
        """
        with self._database.read() as connection:
            at = now_at(connection)
            ready = [
                job.c.state == "queued",
                job.c.contract == CONTRACT,
                job.c.kind.in_(sorted(kinds)),
                job.c.not_before <= at,
                job.c.id == only if only else job.c.queue.in_(list(queues)),
            ]
            if connection.execute(select(job.c.id).where(*ready).limit(1)).first() is None:
                return None  # an idle worker takes no lock
        with self._database.write() as connection:
            for tenant in self._turns(connection, ready):
                mine = select(job.c.id).where(*ready, job.c.tenant == tenant)
                oldest = mine.order_by(job.c.priority.desc(), job.c.seq).limit(1)
                ident = connection.execute(oldest.with_for_update(skip_locked=True)).scalar()
                if ident is not None:
                    self._served[tenant] = time.monotonic()
                    return self._begin(connection, ident, name, at)
        return None

    def _turns(self, connection: Connection, ready: list[Any]) -> list[str]:
        waiting = set(connection.execute(select(job.c.tenant).where(*ready).distinct()).scalars())
        if len(waiting) < 2:
            return sorted(waiting)
        running = select(job.c.tenant, func.count()).where(job.c.state == "running").group_by(job.c.tenant)
        busy = {str(tenant): int(count) for tenant, count in connection.execute(running)}
        return sorted(waiting, key=lambda tenant: (busy.get(tenant, 0), self._served.get(tenant, 0.0), tenant))

    def _begin(self, connection: Connection, ident: str, name: str, at: float) -> Job:
        values = {"state": "running", "worker": name, "started": at, "attempts": job.c.attempts + 1, "error": ""}
        connection.execute(update(job).where(job.c.id == ident).values(**values, code="", step="", done=0, total=0))
        begun = read_job(connection, ident)
        tell(connection, ident, [("info", f"attempt {begun.attempts} began on {name}", {"worker": name})], at)
        return begun

    def reap(self, lease: float) -> list[str]:
        """Free the jobs of workers who were silent for longer than their lease; ids of those jobs."""

        def silent(at: float) -> Any:
            return job.c.worker.not_in(select(worker.c.name).where(worker.c.seen >= at - lease))

        with self._database.read() as connection:
            lost = select(job.c.id).where(job.c.state == "running", silent(now_at(connection))).limit(1)
            if connection.execute(lost).first() is None:
                return []
        with self._database.write() as connection:
            at = now_at(connection)
            return self._lose(connection, silent(at), at)

    def mark_strangers(self) -> list[str]:
        """Say in each waiting job that was stored under another contract why nobody takes it; ids of those jobs."""
        strange = (job.c.state == "queued", job.c.contract != CONTRACT, job.c.code != "other_contract")
        with self._database.read() as connection:
            if connection.execute(select(job.c.id).where(*strange).limit(1)).first() is None:
                return []
        with self._database.write() as connection:
            found = connection.execute(select(job.c.id, job.c.contract).where(*strange).with_for_update()).all()
            for ident, contract in found:
                says = (
                    f"Stored under contract {contract or 'unknown'}; workers here keep to {CONTRACT} and leave it "
                    f"alone. Run a worker of the Sartor that stored it, or have these do it: sartor jobs resume {ident}"
                )
                connection.execute(update(job).where(job.c.id == ident).values(error=says, code="other_contract"))
                tell(connection, ident, [("warning", says, {})], now_at(connection))
        return [ident for ident, _ in found]

    def _lose(self, connection: Connection, whose: Any, at: float) -> list[str]:
        columns = select(job.c.id, job.c.worker, job.c.failures, job.c.most_attempts, job.c.asked)
        lost = connection.execute(
            columns.where(job.c.state == "running", whose).with_for_update(skip_locked=True)
        ).all()
        for row in lost:
            failures = row.failures + 1
            says = f"worker {row.worker} was lost"
            values: dict[str, Any] = {"failures": failures, "asked": ""}
            if row.asked == "cancel":
                values |= {"state": "cancelled", "once": None, "ended": at}
            elif row.asked == "pause":
                values |= {"state": "paused"}
            elif failures >= row.most_attempts:
                says = f"its worker was lost {failures} times, last {row.worker}: it may be what takes workers down"
                values |= {"state": "dead", "once": None, "ended": at, "error": says, "code": "worker_lost"}
            else:
                values |= {"state": "queued"}
            connection.execute(update(job).where(job.c.id == row.id).values(**values))
            tell(connection, row.id, [("warning", says, {"worker": row.worker})], at)
        return [row.id for row in lost]

    # Doing

    def note(self, held: Job, step: str, done: int, total: int, said: Sequence[Say] = ()) -> None:
        """Write down how far an attempt is and what it said.

        Raises:
            Stopped: another worker has the job.
        """
        with self._database.write() as connection:
            _move(connection, held, {"step": step, "done": done, "total": total})
            tell(connection, held.id, said, now_at(connection))

    def look(self, held: Job) -> None:
        """Whether an attempt may go on.

        Raises:
            Stopped: it was cancelled or paused, or another worker has the job.
        """
        with self._database.read() as connection:
            found = connection.execute(_STANDS, {"held": held.id}).one()
        if found.state != "running" or found.attempts != held.attempts:
            raise Stopped("lost")
        if found.asked in ("cancel", "pause"):
            raise Stopped(found.asked)

    def succeed(self, held: Job, result: Mapping[str, Any], said: Sequence[Say] = ()) -> Job:
        """End an attempt well.

        Raises:
            Stopped: another worker has the job.
        """
        body = json.dumps(dict(result), allow_nan=False)
        return self._end(held, {"state": "succeeded", "result": body}, [*said, ("info", "succeeded", {})])

    def fail(self, held: Job, error: str, code: str, again_in: float | None, said: Sequence[Say] = ()) -> Job:
        """End an attempt badly: it is tried again in some seconds, or not (None), or was tried often enough.

        Raises:
            Stopped: another worker has the job.
        """
        failures = held.failures + 1
        values: dict[str, Any] = {"error": error, "code": code, "failures": failures}
        event: Say = ("error", error, {"code": code})
        if again_in is None:
            return self._end(held, values | {"state": "failed"}, [*said, event])
        if failures >= held.most_attempts:
            last: Say = ("error", f"tried {failures} times, and not again before somebody asks for it", {})
            return self._end(held, values | {"state": "dead"}, [*said, event, last])
        again: Say = ("warning", f"{error.rstrip('.')}. Again in {again_in:.0f} s.", {"code": code})
        return self._free(held, values, again_in, [*said, again])

    def stop(self, held: Job, why: Literal["cancel", "pause"], said: Sequence[Say] = ()) -> Job:
        """End an attempt because it was asked to.

        Raises:
            Stopped: another worker has the job.
        """
        if why == "cancel":
            return self._end(held, {"state": "cancelled"}, [*said, ("info", "cancelled", {})])
        return self._write(held, {"state": "paused", "asked": ""}, [*said, ("info", "paused", {})])

    def give_back(self, held: Job, why: str, seconds: float = 0.0, said: Sequence[Say] = ()) -> Job:
        """End an attempt that is nobody's failure; it is begun again, by whoever is free, in some seconds.

        Raises:
            Stopped: another worker has the job.
        """
        return self._free(held, {}, seconds, [*said, ("info", why, {})])

    def _end(self, held: Job, values: Mapping[str, Any], said: Sequence[Say]) -> Job:
        return self._write(held, {**values, "asked": "", "once": None}, said, ends=True)

    def _free(self, held: Job, values: Mapping[str, Any], seconds: float, said: Sequence[Say]) -> Job:
        """Put it back into the queue, unless it was asked meanwhile to do something else."""
        with self._database.write() as connection:
            at = now_at(connection)
            _move(connection, held, {**values, "state": "queued", "not_before": at + seconds})
            asked = connection.execute(select(job.c.asked).where(job.c.id == held.id)).scalar_one()
            if asked == "cancel":
                ends = {"state": "cancelled", "asked": "", "once": None, "ended": at}
                connection.execute(update(job).where(job.c.id == held.id).values(**ends))
            elif asked == "pause":
                connection.execute(update(job).where(job.c.id == held.id).values(state="paused", asked=""))
            tell(connection, held.id, said, at)
            return read_job(connection, held.id)

    def _write(self, held: Job, values: Mapping[str, Any], said: Sequence[Say], *, ends: bool = False) -> Job:
        with self._database.write() as connection:
            at = now_at(connection)
            _move(connection, held, {**values, **({"ended": at} if ends else {})})
            tell(connection, held.id, said, at)
            return read_job(connection, held.id)


_HELD = (job.c.state, job.c.attempts, job.c.asked)
_STANDS: Select[Any] = select(*_HELD).where(job.c.id == bindparam("held"))


def _move(connection: Connection, held: Job, values: Mapping[str, Any]) -> None:
    """Change the row if this attempt still has it."""
    mine = (job.c.id == held.id, job.c.attempts == held.attempts, job.c.state == "running")
    if connection.execute(update(job).where(*mine).values(**values)).rowcount != 1:
        raise Stopped("lost")


def fence(held: Job) -> Callable[[Connection], None]:
    """What each transaction written for an attempt checks first; the row can't change before that one ends."""
    mine = _STANDS.with_for_update(read=True)

    def check(connection: Connection) -> None:
        found = connection.execute(mine, {"held": held.id}).first()
        if found is None or found.state != "running" or found.attempts != held.attempts:
            raise Stopped("lost")

    return check

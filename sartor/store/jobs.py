"""Durable jobs as those who ask for them see them: one row each, and what it said.

Knows states and who may change which into which; knows no kinds of job and no handlers. What workers do with the rows
stands in `store.leases`.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any, Literal

from sqlalchemy import Connection, func, select, update

from sartor.core.errors import ConflictError, unknown
from sartor.core.jobs import Event, Job, JobRequest, State
from sartor.store.clock import now_at
from sartor.store.engine import Database
from sartor.store.schema import job, job_event

CONTRACT = "1"
"""What a stored job means to a worker: names of steps, arguments, results. Changed on purpose, never by itself."""
MOST_EVENTS = 10_000
"""Of one job; what is said beyond is not kept."""
_FIELDS = tuple(c for c in job.c if c.name not in ("seq", "once"))
Level = Literal["info", "warning", "error"]
Say = tuple[Level, str, Mapping[str, Any]]


class Jobs:
    """The jobs of a store. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = import_module(f"sqlalchemy.dialects.{database.dialect}").insert
        self._insert: Any = insert(job).on_conflict_do_nothing().returning(job.c.id)

    # Asking

    def submit(self, request: JobRequest) -> Job:
        """Keep a job, durably; where one with the same word `once` has not ended, that one.

        Raises:
            StoreError: it could not be kept.
        """
        return self.submit_many([request])[0]

    def submit_many(self, requests: Iterable[JobRequest]) -> list[Job]:
        """Keep jobs in one transaction: all of them or none; in the same order."""
        with self._database.write() as connection:
            at = now_at(connection)
            return [self._keep(connection, request, at) for request in requests]

    def _keep(self, connection: Connection, request: JobRequest, at: float) -> Job:
        row = _new_row(request, at)
        for _ in range(3):
            made = connection.execute(self._insert, row).first()
            if made is not None:
                tell(connection, row["id"], [("info", f"asked for by {request.who or 'somebody'}", {})], at)
                return _job(connection.execute(select(*_FIELDS).where(job.c.id == row["id"])).mappings().one())
            same = connection.execute(select(*_FIELDS).where(job.c.once == row["once"])).mappings().first()
            if same is not None:
                return _job(same)
        raise ConflictError(
            f"A job '{request.once}' was begun and ended while this one was asked for. Ask again.", code="job_exists"
        )

    def ask(self, ident: str, what: Literal["cancel", "pause"], *, who: str = "") -> Job:
        """Cancel or pause a job: at once where nobody works on it, else at its next step or check.

        Asking twice changes nothing, nor does cancelling what has ended.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it is to be paused and has ended.
        """
        with self._database.write() as connection:
            found = _locked(connection, ident)
            if found.has_ended:
                if what == "pause":
                    raise _ended(found, "paused")
                return found
            if found.state == "running":
                if found.asked != "cancel":
                    _set(connection, ident, asked=what)
            elif what == "cancel":
                _set(connection, ident, state="cancelled", asked="", once=None, ended=now_at(connection))
            elif found.state == "queued":
                _set(connection, ident, state="paused", asked="")
            tell(connection, ident, [("info", f"asked to {what}{_by(who)}", {})], now_at(connection))
        return self.get(ident)

    def resume(self, ident: str, *, who: str = "") -> Job:
        """Let a paused job go on; one that only waits for its time, or for workers of its own version, begins now.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has ended.
        """
        with self._database.write() as connection:
            found = _locked(connection, ident)
            if found.has_ended:
                raise _ended(found, "resumed")
            if found.state == "running":
                if found.asked == "pause":
                    _set(connection, ident, asked="")
            else:
                fresh = {"state": "queued", "asked": "", "not_before": 0.0, "contract": CONTRACT}
                _set(connection, ident, **fresh, error="", code="")
            tell(connection, ident, [("info", f"resumed{_by(who)}", {})], now_at(connection))
        return self.get(ident)

    def retry(self, ident: str, *, who: str = "") -> Job:
        """Begin a job anew that failed, died or was cancelled; it goes on behind its last finished step.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended, it has succeeded, or another one has its word `once` meanwhile.
        """
        with self._database.write() as connection:
            found = _locked(connection, ident)
            if not found.has_ended or found.state == "succeeded":
                raise ConflictError(
                    f"Job {ident} is {found.state}: only one that failed, died or was cancelled is tried again.",
                    code="job_not_ended" if not found.has_ended else "job_succeeded",
                )
            word = _word(found.tenant, found.once)
            other = connection.execute(select(job.c.id).where(job.c.once == word)).scalar() if word else None
            if other is not None:
                raise ConflictError(
                    f"Job {ident} was not begun anew: {other} does the same ('{found.once}') meanwhile.",
                    code="job_exists",
                )
            fresh = {"state": "queued", "asked": "", "once": word, "not_before": 0.0, "failures": 0, "ended": None}
            # Of its contract too: whoever retries a job that an older Sartor stored wants this one to do it.
            _set(connection, ident, **fresh, error="", code="", contract=CONTRACT)
            tell(connection, ident, [("info", f"to be tried again{_by(who)}", {})], now_at(connection))
        return self.get(ident)

    # Looking

    def get(self, ident: str) -> Job:
        """One job.

        Raises:
            NotFoundError: there is none of this id; the newest are listed.
        """
        with self._database.read() as connection:
            found = connection.execute(select(*_FIELDS).where(job.c.id == ident)).mappings().first()
        if found is None:
            raise unknown("job", ident[:80], [one.id for one in self.find(limit=20)])
        return _job(found)

    def find(
        self,
        *,
        state: State | Sequence[State] | None = None,
        task: str | None = None,
        tenant: str | None = None,
        kind: str | None = None,
        part_of: str | None = None,
        limit: int = 100,
        after: str = "",
    ) -> list[Job]:
        """Jobs, newest first.

        Args:
            part_of: id of the job that they are parts of.
            after: id of a job; only those asked for before it.
        """
        statement = select(*_FIELDS).order_by(job.c.seq.desc()).limit(limit)
        if state is not None:
            statement = statement.where(job.c.state.in_([state] if isinstance(state, str) else list(state)))
        for column, value in ((job.c.task, task), (job.c.tenant, tenant), (job.c.kind, kind)):
            if value is not None:
                statement = statement.where(column == value)
        if part_of is not None:
            statement = statement.where(job.c.waits_for == part_of)
        if after:
            seq = select(job.c.seq).where(job.c.id == after).scalar_subquery()
            statement = statement.where(job.c.seq < seq)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(statement).mappings()]

    def counts(self, *, part_of: str | None = None) -> dict[str, int]:
        """State -> how many jobs are in it."""
        statement = select(job.c.state, func.count()).group_by(job.c.state)
        if part_of is not None:
            statement = statement.where(job.c.waits_for == part_of)
        with self._database.read() as connection:
            return {str(state): int(n) for state, n in connection.execute(statement)}

    def events(self, ident: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """What a job said, oldest first, behind the event `after`."""
        statement = (
            select(job_event)
            .where(job_event.c.job == ident, job_event.c.seq > after)
            .order_by(job_event.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [Event(row.seq, row.at, row.level, row.message, json.loads(row.data)) for row in rows]

    def say(self, ident: str, message: str, *, level: Level = "info", **data: Any) -> None:
        """Add to what a job said, from outside of it."""
        with self._database.write() as connection:
            _locked(connection, ident)
            tell(connection, ident, [(level, message, data)], now_at(connection))


def tell(connection: Connection, ident: str, said: Sequence[Say], at: float) -> None:
    """Add events; the caller has the job's row locked."""
    last = connection.execute(select(func.max(job_event.c.seq)).where(job_event.c.job == ident)).scalar() or 0
    rows = [
        {"job": ident, "seq": seq, "at": at, "level": level, "message": message, "data": json.dumps(dict(data))}
        for seq, (level, message, data) in enumerate(said, start=last + 1)
        if seq <= MOST_EVENTS or level == "error"
    ]
    if rows:
        connection.execute(job_event.insert(), rows)


def _locked(connection: Connection, ident: str) -> Job:
    found = connection.execute(select(*_FIELDS).where(job.c.id == ident).with_for_update()).mappings().first()
    if found is None:
        known = connection.execute(select(job.c.id).order_by(job.c.seq.desc()).limit(20)).scalars()
        raise unknown("job", ident[:80], known)
    return _job(found)


def _set(connection: Connection, ident: str, **values: Any) -> None:
    connection.execute(update(job).where(job.c.id == ident).values(**values))


def _ended(found: Job, what: str) -> ConflictError:
    hint = "" if found.state == "succeeded" else f" To begin it anew: sartor jobs retry {found.id}"
    return ConflictError(f"Job {found.id} is {found.state} and can't be {what}.{hint}", code="job_ended")


def _by(who: str) -> str:
    return f" by {who}" if who else ""


def _new_row(request: JobRequest, at: float) -> dict[str, Any]:
    fields = asdict(request)
    word = fields.pop("once")
    fresh = {"state": "queued", "asked": "", "attempts": 0, "failures": 0, "contract": CONTRACT, "worker": ""}
    empty = {"step": "", "done": 0, "total": 0, "started": None, "ended": None, "error": "", "code": "", "result": "{}"}
    named = {"id": f"job-{secrets.token_hex(8)}", "once": _word(request.tenant, word), "word": word, "created": at}
    return fields | {"args": json.dumps(dict(request.args))} | fresh | empty | named


def _word(tenant: str, word: str) -> str | None:
    """What can be held by one job at a time: no tenant's word is another's."""
    return f"{tenant}/{word}" if word else None


def _job(row: Any) -> Job:
    values = dict(row)
    values["once"] = values.pop("word")
    return Job(**values | {"args": json.loads(values["args"]), "result": json.loads(values["result"])})


def read_job(connection: Connection, ident: str) -> Job:
    """The job as it stands in this transaction."""
    return _job(connection.execute(select(*_FIELDS).where(job.c.id == ident)).mappings().one())

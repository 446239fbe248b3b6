"""One attempt at a durable job: its steps, what it says, when it stops, and what becomes of its errors.

A handler is given a Workshop whose ledger may be written only while this attempt has the job. Knows no kinds of jobs,
no queue and no DBOS.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from sartor.core.errors import (
    DISK_FULL,
    BusyError,
    OverdueError,
    RateError,
    SartorError,
    StoreError,
    UpstreamError,
)
from sartor.core.jobs import Context, Job, Later, Stopped
from sartor.core.progress import Progress, silent
from sartor.pipeline.notify import tell_failure
from sartor.pipeline.workshop import Workshop
from sartor.store.jobs import Say
from sartor.store.leases import Leases

Handler = Callable[[Workshop, Context], Mapping[str, Any]]
"""Does a job; gives its result, JSON."""
Insist = Callable[[Callable[[], Job]], Job]
Do = Callable[[str, Callable[[], Mapping[str, Any]]], Mapping[str, Any]]
"""Does a step by its name, or gives what it gave in an earlier attempt."""

NOTE_SECONDS = 1.0
"""Progress is written down at most so often."""
SAY_SECONDS = 0.25
"""What is said sooner than this after the last is written down together with what follows."""
BACKOFF = (2.0, 300.0)
"""Seconds before the first further attempt, doubled for each one, and the most."""

log = logging.getLogger("sartor.jobs")


class StepsChanged(BaseException):
    """What is remembered of a job does not fit the steps that it takes now."""


def unremembered(name: str, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """A `Do` that does every step."""
    del name
    return work()


class Attempt:
    """One attempt at a job: the `Context` of its handler. Its progress and words are written down now and then."""

    def __init__(self, leases: Leases, job: Job, also: Progress = silent) -> None:
        self._leases = leases
        self._job = job
        self._do: Do = unremembered
        self._also = also
        self._step, self._done, self._total = "", 0, 0
        self._said: list[Say] = []
        self._changed = False
        self._noted = 0.0
        self._stop: Literal["cancel", "pause", "lost"] | None = None
        self._lock = threading.Lock()
        self._returning = ""
        self._hurry = False

    @property
    def job(self) -> Job:
        """The job as it was when this attempt began."""
        return self._job

    def step(self, name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """As `Context.step`."""
        self._leases.look(self._job)
        self.check()
        if self._returning:
            raise Later(0.0, self._returning)
        self._step, self._done, self._total, self._changed = name, 0, 0, True
        self.write_down()

        def stepping() -> dict[str, Any]:
            return _plain(name, work())

        done = dict(self._do(name, stepping))
        self._leases.look(self._job)
        return done

    def say(self, message: str, *, level: Literal["info", "warning", "error"] = "info", **data: Any) -> None:
        """As `Context.say`."""
        with self._lock:
            self._said.append((level, message, data))
        if time.monotonic() - self._noted > SAY_SECONDS:
            with suppress(StoreError):  # it is kept, and written down when the store is there again
                self.write_down()

    def check(self) -> None:
        """As `Context.check`; costs nothing: it knows what the last beat was told."""
        if self._stop is not None:
            raise Stopped(self._stop)
        if self._hurry:
            raise Later(0.0, self._returning)

    def progress(self, what: str, done: int, total: int) -> None:
        """As `core.progress.Progress`: for the Workshop of the handler, and the place where it stops."""
        self._done, self._total, self._changed = done, total, True
        self._also(what, done, total)
        self.check()

    def told(self, stop: Literal["cancel", "pause", "lost"] | None) -> None:
        """What a beat learnt."""
        self._stop = stop

    def remember(self, do: Do) -> None:
        """Do the steps so."""
        self._do = do

    def give_back(self, why: str, *, hurry: bool) -> None:
        """Have the job given back at its next step, or, in a hurry, at its next check or word of progress."""
        self._returning, self._hurry = why, hurry

    def write_down(self) -> None:
        """Write progress and words into the store.

        Raises:
            Stopped: another worker has the job.
        """
        said = self.take_said()
        if said or self._changed:
            self._changed, self._noted = False, time.monotonic()
            try:
                self._leases.note(self._job, self._step, self._done, self._total, said)
            except StoreError:
                with self._lock:
                    self._said[:0] = said
                raise

    def take_said(self) -> list[Say]:
        """What was said and is not written down yet."""
        with self._lock:
            said, self._said = self._said, []
        return said


def _plain(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """A step's result as it will be read again: nothing else than JSON."""
    try:
        return dict(json.loads(json.dumps(dict(found), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise SartorError(f"Step '{name}' gave what is no JSON: {error}", code="step_not_json") from error


def attempt(
    shop: Workshop, tries: Attempt, handler: Callable[[], Handler], insist: Insist = lambda doing: doing()
) -> Job:
    """Do a job that was claimed, to whatever end, and write that down.

    Args:
        handler: finds what does it; what that raises is how the job ended too.
        insist: writes it down, in spite of a database that is away for a while.

    Raises:
        Stopped: another worker has the job.
        StoreError: how it ended can't be written down.
    """
    job, leases = tries.job, shop.store.leases
    # Each write of the handler checks that this attempt still has the job; so a worker that only slept writes nothing.
    bench = replace(shop, store=shop.store.fenced(job), who=job.who or shop.who, progress=tries.progress)
    try:
        result = _plain(job.kind, handler()(bench, tries))
        ending: Callable[[list[Say]], Job] = partial(leases.succeed, job, result)
    except Later as later:
        ending = partial(leases.give_back, job, later.why, later.seconds)
    except Stopped as stopped:
        if stopped.why == "lost":
            raise
        ending = partial(leases.stop, job, stopped.why)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is how the job ended
        ending = partial(leases.fail, job, *_reason(error), again_in(error, job.failures))
    said = tries.take_said()
    ended = insist(lambda: ending(said))
    tell_failure(shop, ended)
    return ended


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, SartorError):
        return error.message, error.code
    log.error("a job failed in a way that it did not explain", exc_info=error)
    return f"{type(error).__name__}: {error}", "job_failed"


def again_in(error: Exception, failures: int) -> float | None:
    """Seconds after which it may go better, None where trying again would not help.

    Args:
        failures: before this one.
    """
    pause = min(BACKOFF[0] * 2.0**failures, BACKOFF[1])
    if isinstance(error, UpstreamError):
        return max(pause, error.retry_after or 0.0) if error.retryable else None
    if isinstance(error, RateError | BusyError):
        return max(pause, error.retry_after)
    if error_code(error) == "pointer_moved":
        return pause  # somebody else was first: the next attempt looks again
    if isinstance(error, StoreError | OverdueError | ConnectionError | TimeoutError):
        return pause
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in DISK_FULL):
        return pause
    return None


def error_code(error: Exception) -> str:
    """The stable word of an error; '' of one that has none."""
    return error.code if isinstance(error, SartorError) else ""


def beat_once(leases: Leases, name: str, since: float, attempts: Mapping[str, Attempt]) -> bool:
    """Say that this worker lives, tell its attempts what they were asked, and write down how far they are.

    Returns whether that went well; what did not is logged and will be tried again.

    Raises:
        ConflictError: somebody else has the name since.
    """
    running = dict(attempts)
    try:
        stands = leases.beat(name, since, running)
        for ident, tries in running.items():
            now = stands.get(ident)
            if now is None or now.attempts != tries.job.attempts or now.state != "running":
                tries.told("lost")
            elif now.asked in ("cancel", "pause"):
                tries.told(now.asked)  # type: ignore[arg-type]
            else:
                tries.told(None)
            try:
                tries.write_down()
            except Stopped:
                tries.told("lost")
    except StoreError as error:
        log.warning("no beat: %s", error.message)
        return False
    return True

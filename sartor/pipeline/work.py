"""Kinds of durable jobs, and one attempt at a job: its steps, what it says, when it stops, what becomes of its errors.

A handler is a function of pipeline that is imported when a job of its kind runs. It is given a Workshop whose ledger
may be written only while this attempt has the job. Knows no queue and no DBOS: `pipeline.worker` runs attempts with
steps that are remembered, `run_here` in this process without.
"""

import importlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from sartor.core.errors import (
    DISK_FULL,
    AskError,
    BusyError,
    OverdueError,
    RateError,
    SartorError,
    StoreError,
    UpstreamError,
    unknown,
)
from sartor.core.jobs import Context, Job, JobRequest, Later, Queue, Stopped
from sartor.core.progress import Progress, silent
from sartor.pipeline.notify import tell_failure
from sartor.pipeline.workshop import Workshop
from sartor.store.jobs import Say
from sartor.store.leases import Leases

Handler = Callable[[Workshop, Context], Mapping[str, Any]]
"""Does a job; gives its result, JSON."""
Planner = Callable[[Workshop, Mapping[str, Any]], Mapping[str, Any]]
"""What a job with these arguments would do: JSON with `steps`, `seconds` and `cost` where they can be foretold."""
Insist = Callable[[Callable[[], Job]], Job]
Do = Callable[[str, Callable[[], Mapping[str, Any]]], Mapping[str, Any]]
"""Does a step by its name, or gives what it gave in an earlier attempt."""

log = logging.getLogger("sartor.jobs")


@dataclass(frozen=True)
class Kind:
    """A kind of job: where what does it stands, imported when it runs."""

    handler: str
    """`module:function`, a `Handler`."""
    about: str
    plan: str = ""
    """`module:function`, a `Planner`; '' where nothing can be foretold."""
    queue: Queue = "cpu"
    """Where it waits unless the asker says otherwise."""
    over_http: frozenset[str] | None = None
    """Arguments that whoever holds a key may give it; None: it reads files where it runs, or has an address of its own
    with a permission of its own, so that it is not asked for as a bare job over HTTP."""


KINDS: Mapping[str, Kind] = {
    "run": Kind(
        "sartor.pipeline.run_job:run_job",
        "A task's file: rows in, a gated and released model out.",
        plan="sartor.pipeline.run_job:plan_job",
    ),
    "learn": Kind(
        "sartor.pipeline.learn_job:learn_job",
        "What traffic taught becomes a candidate that is held against what is live.",
        plan="sartor.pipeline.learn_job:plan_learn",
        over_http=frozenset({"task", "strategies"}),  # never a contract: it says who has to approve
    ),
    "finetune": Kind("sartor.pipeline.finetune:finetune", "A file sent through OpenAI's fine-tuning API, to a model."),
    "rebuild": Kind(
        "sartor.pipeline.rebuild:rebuild_job",
        "A task made again under a change (a recall, a campaign), held against what is live.",
    ),
    "campaign": Kind(
        "sartor.pipeline.campaign:campaign_job",
        "A change over many tasks at once: so many rebuilds under way, one summary.",
    ),
}
"""Name -> kind. Add a line for yours."""

BEAT_SECONDS = 2.0
LEASE_SECONDS = 15.0
"""A worker that was silent for so long has lost its jobs."""
NOTE_SECONDS = 1.0
"""Progress is written down at most so often."""
SAY_SECONDS = 0.25
"""What is said sooner than this after the last is written down together with what follows."""
BACKOFF = (2.0, 300.0)
"""Seconds before the first further attempt, doubled for each one, and the most."""


def kind_named(name: str, kinds: Mapping[str, Kind] = KINDS) -> Kind:
    """A kind by its name.

    Raises:
        NotFoundError: there is none; the known ones are listed.
    """
    if name not in kinds:
        raise unknown("kind of job", name[:80], kinds, param="kind", code="job_kind_not_found")
    return kinds[name]


def submit(shop: Workshop, request: JobRequest, kinds: Mapping[str, Kind] = KINDS) -> Job:
    """Keep a job for the workers, in the name of who asks; its kind is checked first.

    Raises:
        NotFoundError: there is no such kind.
        StoreError: it could not be kept.
    """
    kind_named(request.kind, kinds)
    return shop.store.jobs.submit(request if request.who else replace(request, who=shop.who))


def plan(shop: Workshop, request: JobRequest, kinds: Mapping[str, Kind] = KINDS) -> dict[str, Any]:
    """A dry run: what the job would do, how long, how dear. Makes nothing.

    Raises:
        NotFoundError: there is no such kind.
        AskError: nothing can be foretold of this kind.
    """
    kind = kind_named(request.kind, kinds)
    if not kind.plan:
        raise AskError(f"What a job of kind '{request.kind}' would do can't be foretold.", code="no_plan")
    return dict(_function(kind.plan)(shop, request.args))


def _function(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


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
            self._leases.note(self._job, self._step, self._done, self._total, said)

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
    shop: Workshop, tries: Attempt, kinds: Mapping[str, Kind] = KINDS, insist: Insist = lambda doing: doing()
) -> Job:
    """Do a job that was claimed, to whatever end, and write that down.

    Args:
        insist: writes it down, in spite of a database that is away for a while.

    Raises:
        Stopped: another worker has the job.
        StoreError: how it ended can't be written down.
    """
    job, leases = tries.job, shop.store.leases
    # Each write of the handler checks that this attempt still has the job; so a worker that only slept writes nothing.
    bench = replace(shop, store=shop.store.fenced(job), who=job.who or shop.who, progress=tries.progress)
    try:
        handler: Handler = _function(kind_named(job.kind, kinds).handler)
        result = _plain(job.kind, handler(bench, tries))
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


def run_here(shop: Workshop, request: JobRequest, kinds: Mapping[str, Kind] = KINDS) -> Job:
    """Do a job in this process and wait for its end; how it ended stands in the job, also an error.

    Where one with the same word `once` is under way elsewhere, that one is waited for.

    Raises:
        NotFoundError: there is no such kind.
        KeyboardInterrupt: of the user; the job is given back to the queue.
    """
    job = submit(shop, request, kinds)
    name = f"here-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    with _living(shop.store.leases, name, job.queue) as attempts:
        while not job.has_ended and job.state != "paused":
            mine = shop.store.leases.claim(name, [job.queue], kinds=kinds, only=job.id)
            if mine is not None:
                _try_here(shop, Attempt(shop.store.leases, mine, shop.progress), attempts, kinds)
            else:
                time.sleep(0.1)
            job = shop.store.jobs.get(job.id)
    return job


def _try_here(shop: Workshop, tries: Attempt, attempts: dict[str, Attempt], kinds: Mapping[str, Kind]) -> None:
    attempts[tries.job.id] = tries
    try:
        attempt(shop, tries, kinds)
    except Stopped:
        pass  # somebody else has it now: it is waited for
    except KeyboardInterrupt:
        shop.store.leases.give_back(tries.job, "interrupted")
        raise
    finally:
        attempts.pop(tries.job.id, None)


@contextmanager
def _living(leases: Leases, name: str, queue: Queue) -> Iterator[dict[str, Attempt]]:
    """Beats in a thread for the attempts that are put into it."""
    since = leases.enter(name, [queue])
    attempts: dict[str, Attempt] = {}
    over = threading.Event()

    def beat() -> None:
        while not over.wait(NOTE_SECONDS):
            beat_once(leases, name, since, attempts)

    thread = threading.Thread(target=beat, name=name, daemon=True)
    thread.start()
    try:
        yield attempts
    finally:
        over.set()
        thread.join(timeout=30)
        leases.leave(name, since)


def beat_once(leases: Leases, name: str, since: float, attempts: Mapping[str, Attempt]) -> bool:
    """Say that this worker lives, tell its attempts what they were asked, and write down how far they are.

    Returns whether that went well; what did not is logged and will be tried again.
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
    except SartorError as error:
        log.warning("no beat: %s", error.message)
        return False
    return True

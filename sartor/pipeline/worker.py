"""A worker: takes the jobs whose turn it is, one in each free place, and frees the jobs of workers that fell silent.

Says every few seconds that it lives. While the database is out of reach it waits and goes on afterwards; while it was
asleep for longer than its lease its jobs were others', and what it then still does is refused by the store. Knows no
kinds of jobs beyond `pipeline.work.KINDS`, and of DBOS only the port in `pipeline.durable`.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, get_args

from sartor.core.errors import AskError, ConflictError, SartorError, StoreError, missing_extra, unknown
from sartor.core.jobs import Job, Queue, Stopped
from sartor.core.task import NAME
from sartor.pipeline.attempt import Attempt, Do, StepsChanged, attempt, beat_once
from sartor.pipeline.work import KINDS, Kind, handler_of
from sartor.pipeline.workshop import Workshop

if TYPE_CHECKING:
    from sartor.pipeline.durable import Memory

BEAT_SECONDS = 2.0
LEASE_SECONDS = 15.0
"""A worker that was silent for so long has lost its jobs."""
LOOK_SECONDS = 0.5
"""How often an idle worker looks for a job."""
AWAY_SECONDS = 1.0
"""Pause before the database is tried again when it could not be reached."""

R = TypeVar("R")

log = logging.getLogger("sartor.jobs")


@dataclass(frozen=True)
class Settings:
    """How a worker works."""

    name: str = ""
    """'' makes one up; a fixed one takes its own jobs back at once after a crash."""
    queues: tuple[Queue, ...] = ("cpu",)
    slots: int = 1
    """Jobs at the same time, in each queue."""
    beat_seconds: float = BEAT_SECONDS
    lease_seconds: float = LEASE_SECONDS
    drain_seconds: float = 30.0
    """For running jobs to come to the end of a step when told to stop."""


def made_up() -> str:
    """A name that no other worker has."""
    return f"{socket.gethostname()[:80].lower()}-{os.getpid()}-{secrets.token_hex(2)}"


@dataclass(eq=False)
class _Place:
    """Where one job is done."""

    queue: Queue
    tries: Attempt
    thread: threading.Thread = field(init=False)


class Worker:
    """Works on a store's jobs until it is stopped; one in each process."""

    def __init__(self, shop: Workshop, settings: Settings = Settings(), kinds: Mapping[str, Kind] = KINDS) -> None:
        self._shop = shop
        self._settings = settings
        self._kinds = kinds
        self._leases = shop.store.leases
        self.name = _checked(settings.name) if settings.name else made_up()
        self._since = 0.0
        self._places: dict[str, _Place] = {}
        self._attempts: dict[str, Attempt] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
        """Set when there may be something to do at once: a place is free, or it is time to end."""
        self._ended = threading.Event()
        self._taken = False
        self._memory: Memory

    def stop(self) -> None:
        """Take no more jobs, give back those under way at their next step, and end. Safe in a signal handler."""
        self._stop.set()
        self._wake.set()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop`; `ready` is called when the first job can be taken.

        Raises:
            MissingExtraError: DBOS is not installed.
            ConflictError: another worker took the name.
        """
        self._memory = _memory(self._shop, self.name)
        beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        try:
            self._insist(self._enter)
            beating.start()
            ready()
            self._work()
            self._drain()
        finally:
            self._ended.set()
            if beating.ident is not None:
                beating.join(timeout=30)
            self._leave()
        if self._taken:
            raise ConflictError(
                f"Another worker took the name '{self.name}', so this one ended. Give each its own --name.",
                code="worker_exists",
            )

    def _enter(self) -> None:
        self._since = self._leases.enter(self.name, self._settings.queues)

    def _leave(self) -> None:
        try:
            self._leases.leave(self.name, self._since)
        except StoreError as error:
            log.warning("could not take leave: %s", error.message)
        if not self._places:  # else a job is still inside a step, and its memory is needed
            self._memory.close()

    # Taking jobs

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                found = self._claim()
            except SartorError as error:
                log.warning("no jobs can be taken: %s", error.message)
                self._stop.wait(AWAY_SECONDS)
                continue
            if found is None:
                self._wake.wait(LOOK_SECONDS)
                self._wake.clear()
            else:
                self._begin(found)

    def _claim(self) -> Job | None:
        free = [q for q in self._settings.queues if self._busy(q) < self._settings.slots]
        return self._leases.claim(self.name, free, kinds=self._kinds) if free else None

    def _busy(self, queue: Queue) -> int:
        return sum(place.queue == queue for place in list(self._places.values()))

    def _begin(self, job: Job) -> None:
        log.info("job begun", extra={"job": job.id, "kind": job.kind, "attempt": job.attempts})
        place = _Place(job.queue, Attempt(self._leases, job))
        self._places[job.id], self._attempts[job.id] = place, place.tries
        place.thread = threading.Thread(target=self._do, args=(job, place), name=job.id, daemon=True)
        place.thread.start()

    # Doing them

    def _do(self, job: Job, place: _Place) -> None:
        try:
            self._do_with_memory(job, place.tries)
        except Stopped:
            log.warning("job lost to another worker", extra={"job": job.id, "attempt": job.attempts})
        except Exception:
            log.exception("job could not be brought to an end", extra={"job": job.id})
        finally:
            self._attempts.pop(job.id, None)
            self._places.pop(job.id, None)
            self._wake.set()

    def _do_with_memory(self, job: Job, tries: Attempt) -> None:
        def body(do: Do) -> bool:
            tries.remember(do)
            # What failed or was cancelled may be tried again, and goes on behind its last finished step then.
            found = attempt(self._shop, tries, lambda: handler_of(job.kind, self._kinds), self._insist)
            return found.state == "succeeded"

        try:
            self._memory.run(job.id, body)
        except StepsChanged:
            tries.say("The steps of this job have changed since it began: all are looked at again.", level="warning")
            self._memory.forget(job.id)
            self._memory.run(job.id, body)

    def _insist(self, doing: Callable[[], R]) -> R:
        """Do it again until the database is back."""
        while True:
            try:
                return doing()
            except StoreError as error:
                log.warning("waiting for the store: %s", error.message)
                if self._ended.wait(AWAY_SECONDS):
                    raise

    # Living

    def _beat(self) -> None:
        """Say that this worker lives, and look for those who don't."""
        looked = steady = 0.0
        while not self._ended.wait(self._settings.beat_seconds):
            try:
                if not beat_once(self._leases, self.name, self._since, self._attempts):
                    # While the database was away nobody could say that he lives: all get the time to.
                    steady = time.monotonic() + self._settings.lease_seconds
                elif time.monotonic() > max(steady, looked + self._settings.lease_seconds / 3):
                    looked = time.monotonic()
                    self._look_around()
            except ConflictError as error:
                log.error(error.message)  # noqa: TRY400 - said in words
                self._taken = True
                for tries in list(self._attempts.values()):
                    tries.told("lost")
                self.stop()
                return
            except SartorError as error:
                log.warning("could not look around: %s", error.message)

    def _look_around(self) -> None:
        for ident in self._leases.reap(self._settings.lease_seconds):
            log.warning("job freed, its worker is silent", extra={"job": ident})
        for ident in self._leases.mark_strangers():
            log.warning("job of another version is left alone", extra={"job": ident})

    def _drain(self) -> None:
        says = f"worker {self.name} was stopped"
        for tries in list(self._attempts.values()):
            tries.give_back(says, hurry=False)
        over = time.monotonic() + self._settings.drain_seconds
        while self._places and time.monotonic() < over:
            self._ended.wait(0.05)
        for tries in list(self._attempts.values()):
            tries.give_back(says, hurry=True)
        over = time.monotonic() + 2.0
        while self._places and time.monotonic() < over:
            self._ended.wait(0.05)
        for ident, tries in list(self._attempts.items()):  # inside a step that does not look up: it is done again
            try:
                self._leases.give_back(tries.job, f"worker {self.name} was stopped in a step")
            except (Stopped, SartorError):
                log.warning("job could not be given back", extra={"job": ident})


def _memory(shop: Workshop, name: str) -> "Memory":
    try:
        from sartor.pipeline.durable import Memory
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "dbos", "a worker") from error
    return Memory(shop.store, f"{name}-{secrets.token_hex(3)}")


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise AskError(
            f"'{name[:80]}' can't name a worker: lower-case letters, digits, '.', '_' and '-', at most 128.",
            param="name",
            code="bad_name",
        )
    return name


def queues_named(names: Sequence[str]) -> tuple[Queue, ...]:
    """Queues by their names.

    Raises:
        NotFoundError: there is none of a name.
    """
    for name in names:
        if name not in get_args(Queue):
            raise unknown("queue", name[:80], get_args(Queue), param="queue")
    return tuple(dict.fromkeys(names))  # type: ignore[arg-type]

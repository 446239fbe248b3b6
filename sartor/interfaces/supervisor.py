"""Keeps the processes of a server running: starts them, starts those anew that die, has them finish and end.

Knows nothing of what they do, only how to start them and that they speak `channel`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.errors import SartorError
from sartor.interfaces.channel import Line

LONG_ENOUGH = 30.0
"""Seconds of life after which a death counts as the first one again."""
LONGEST_PAUSE = 10.0
MOST_FALSE_STARTS = 3
"""Deaths before ever being ready after which a server is not started at all."""
GRACE = 5.0
"""Seconds beyond the time for finishing after which a child is killed."""

log = logging.getLogger("sartor.supervisor")


@dataclass(frozen=True)
class Job:
    """One process to keep running."""

    name: str
    command: Callable[[int], Sequence[str]]
    """The file descriptor of its line -> program and arguments."""
    fds: tuple[int, ...] = ()
    """Inherited besides."""
    last: bool = False
    """Ends after the others, because they need it."""


@dataclass(eq=False)
class _Child:
    job: Job
    line: Line | None = None
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was ready."""


class Supervisor:
    """Lives in one event loop."""

    def __init__(self, jobs: Sequence[Job], *, drain_seconds: float = 30.0) -> None:
        self._children = [_Child(job) for job in jobs]
        self._drain_seconds = drain_seconds
        self._keepers: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()

    @property
    def processes(self) -> dict[str, int]:
        """Name of each job -> the process that does it now."""
        return {c.job.name: c.process.pid for c in self._children if c.process is not None}

    @property
    def restarts(self) -> int:
        """How many died and were started anew."""
        return sum(max(child.starts - 1, 0) for child in self._children)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Until `stop` is set; `ready` is called once, when all children are.

        Raises:
            SartorError: a child dies again and again before it is ready.
        """
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        started = asyncio.create_task(self._all_ready())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([started, stopped, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                ready()
            await asyncio.wait([stopped, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (started, stopped):
                task.cancel()
            await self._end()
            await asyncio.gather(*self._keepers)

    async def snapshots(self) -> list[Any]:
        """What each child that answers tells of itself."""
        told = await asyncio.gather(*(child.line.snapshot() for child in self._children if child.line is not None))
        return [one for one in told if one is not None]

    async def _all_ready(self) -> None:
        for child in self._children:
            await child.up.wait()

    async def _keep(self, child: _Child) -> None:
        pause, deaths = 0.1, 0
        while not self._ending.is_set():
            begun = time.monotonic()
            code = await self._live(child)
            if self._ending.is_set():
                return
            lived = time.monotonic() - begun
            deaths += 1
            if not child.up.is_set() and deaths >= MOST_FALSE_STARTS:
                raise SartorError(
                    f"The server's process '{child.job.name}' ended {deaths} times before it was ready "
                    f"(exit code {code}). Its own words stand above; mend what they name and start again.",
                    code="worker_failed",
                )
            pause = 0.1 if lived > LONG_ENOUGH else min(2 * pause, LONGEST_PAUSE)
            log.error("process died", extra={"job": child.job.name, "exit_code": code, "again_in": pause})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _live(self, child: _Child) -> int:
        """One life of a child; its exit code."""
        line = Line()
        fd = line.theirs.fileno()
        child.starts += 1
        child.process = await asyncio.create_subprocess_exec(
            *child.job.command(fd),
            pass_fds=[fd, *child.job.fds],
            process_group=0,  # a Ctrl-C in the terminal is for the supervisor alone
        )
        child.line = line
        listening = asyncio.create_task(line.listen(child.up))
        log.info("process started", extra={"job": child.job.name, "child": child.process.pid})
        if self._ending.is_set():
            child.process.kill()
        code = await child.process.wait()
        await listening
        child.process = None
        return code

    async def _end(self) -> None:
        self._ending.set()
        for last in (False, True):
            await asyncio.gather(*(self._end_one(child) for child in self._children if child.job.last == last))

    async def _end_one(self, child: _Child) -> None:
        process = child.process
        if process is None:
            return
        if child.line is not None:
            child.line.drain()
        waiting = asyncio.create_task(process.wait())
        await asyncio.wait([waiting], timeout=self._drain_seconds + GRACE)
        if not waiting.done():
            log.error("process killed", extra={"job": child.job.name, "child": process.pid})
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await waiting

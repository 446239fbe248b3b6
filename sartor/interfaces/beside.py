"""A worker of durable jobs beside a server: a process of its own that is started anew when it dies and ends with it.

It is watched from a thread, so that it is the same with one process that answers and with many. Whatever becomes of the
worker, the server goes on answering.
"""

import asyncio
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sartor.core.errors import SartorError, missing_extra
from sartor.interfaces.supervisor import Job, Supervisor
from sartor.pipeline.workshop import Workshop

log = logging.getLogger("sartor.supervisor")


@dataclass(eq=False)
class Beside:
    """The watched worker."""

    supervisor: Supervisor
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Have it finish its steps, give its jobs back and end. A second time changes nothing."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stopping.set)

    def run(self) -> None:
        """Watch it until `stop`."""
        try:
            self.loop.run_until_complete(self.supervisor.run(self.stopping, lambda: log.info("worker of jobs is up")))
        except SartorError as error:
            log.error("no worker of jobs", extra={"why": error.message})  # noqa: TRY400 - said in words
        finally:
            self.loop.close()


@contextmanager
def worker_beside(shop: Workshop, slots: int, drain_seconds: float) -> Iterator[Beside | None]:
    """A worker as long as the block lasts; None where there are to be no slots.

    Raises:
        MissingExtraError: what a worker needs is not installed.
    """
    if not slots:
        yield None
        return
    if importlib.util.find_spec("dbos") is None:
        raise missing_extra("dbos", "a worker")
    arguments = ["-m", "sartor.interfaces.job_worker", str(shop.store.root), str(slots), str(drain_seconds)]
    job = Job("jobs", lambda fd: [sys.executable, *arguments, str(fd)])
    beside = Beside(Supervisor([job], drain_seconds=drain_seconds))
    thread = threading.Thread(target=beside.run, name="beside")
    thread.start()
    try:
        yield beside
    finally:
        beside.stop()
        thread.join()

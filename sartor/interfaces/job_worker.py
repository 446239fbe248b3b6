"""A worker as a process: told to stop by signals or by the supervisor of a server, whose line it may have.

Started by `sartor worker`, and beside a server as `python -m sartor.interfaces.job_worker HOME SLOTS DRAIN FD`.
"""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from sartor.core.errors import SartorError
from sartor.pipeline.worker import Settings as Way
from sartor.pipeline.worker import Worker
from sartor.pipeline.workshop import Workshop

log = logging.getLogger("sartor.jobs")


def work_forever(shop: Workshop, way: Way, ready: Callable[[str], None]) -> None:
    """Work until SIGINT or SIGTERM; `ready` is called with the worker's name when it can take jobs."""
    worker = Worker(shop, way)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    worker.run(lambda: ready(worker.name))


def _attend(fd: int, worker: Worker) -> None:
    """Say on the line that this process is ready; stop the worker when it is told to, or the other end is gone."""
    from sartor.interfaces.channel import attend

    async def listen() -> None:
        await attend(fd, asyncio.Event(), dict)

    asyncio.run(listen())
    worker.stop()


def main() -> None:
    """Work beside a server until its supervisor says stop or is gone."""
    from sartor.interfaces.logs import log_as_json
    from sartor.interfaces.settings import Settings

    home, way, fd = Path(sys.argv[1]), Way(slots=int(sys.argv[2]), drain_seconds=float(sys.argv[3])), int(sys.argv[4])
    log_as_json()
    try:
        shop = Settings.read(home).workshop()
        worker = Worker(shop, way)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the server
        attending = threading.Thread(target=_attend, args=(fd, worker), name="line", daemon=True)
        worker.run(attending.start)
        shop.store.close()
    except SartorError as error:
        log.error("could not start", extra={"job": "worker", "why": error.message})  # noqa: TRY400 - said in words
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

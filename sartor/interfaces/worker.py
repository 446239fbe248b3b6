"""What one process of a server does: a worker answers on the sockets that it was given, the engine holds the models.

With one worker all of it happens in the process of `sartor serve`; with several, each is a process of its own, started
as `python -m sartor.interfaces.worker PLACE FD`: where it works, as JSON, and its line to the supervisor.
"""

import asyncio
import contextlib
import dataclasses
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sartor.core.errors import SartorError
from sartor.gateway.counters import Counters
from sartor.gateway.door import LOOPBACK
from sartor.interfaces.channel import attend
from sartor.pipeline.workshop import Workshop

if TYPE_CHECKING:
    from sartor.gateway.telemetry import Traces

LAG_SECONDS = 0.1
"""How often the event loop's lateness is looked at."""

log = logging.getLogger("sartor.worker")


@dataclass(frozen=True)
class Place:
    """Where one process of a server works."""

    name: str
    """Of its segments of the traffic log; only one living process may have it."""
    home: str
    sockets: tuple[int, ...] = ()
    """Listening sockets, by file descriptor."""
    workers: int = 1
    """How many share the limits."""
    loopback: bool = True
    """Whether only this machine can reach the sockets."""
    drain_seconds: float = 30.0
    engine: str = ""
    """Socket of the process that holds the models; '': they are held here."""
    holds: bool = False
    """Whether this is that process."""
    read_only: bool = False
    """Whether the store is opened so."""
    traces: bool = False
    """Whether spans are exported, to where OpenTelemetry's own variables say."""

    def text(self) -> str:
        """As an argument for a child."""
        return orjson.dumps(dataclasses.asdict(self)).decode()

    @classmethod
    def read(cls, text: str) -> "Place":
        """From an argument."""
        fields = orjson.loads(text)
        return cls(**fields | {"sockets": tuple(fields["sockets"])})


async def answer(shop: Workshop, place: Place, stop: asyncio.Event, ready: Callable[[Counters], None]) -> None:
    """Answer until `stop` is set, then finish what is under way, write what is captured, give back what was leased.

    `ready` is called when the first request can be answered.
    """
    from sartor.gateway.bounds import Limits
    from sartor.gateway.watching import open_breakers, shadows
    from sartor.gateway.wire.server import serve
    from sartor.pipeline.data_plane import open_station
    from sartor.serving.remote import RemoteEngine

    engine = RemoteEngine(Path(place.engine)) if place.engine else None
    hosts = LOOPBACK if place.loopback else ("*",)  # elsewhere a key is needed, which no foreign page has
    station = open_station(
        shop, writer=place.name, workers=place.workers, models=engine, loopback=place.loopback, hosts=hosts
    )
    counters = station.counters
    traces = _traces(counters) if place.traces else None
    await station.start()
    calm_collector()
    sockets = [socket.socket(fileno=os.dup(number)) for number in place.sockets]
    limits = Limits(upload_bytes=shop.upload_megabytes << 20)
    server = await serve(station.app.handle, sockets, limits, spools=station.app.spool)
    counters.watch("connections", lambda: server.connections)
    counters.watch("in_flight", lambda: server.in_flight)
    counters.watch("capture", station.recorder.counts)
    counters.watch("shadow", lambda: shadows(station.routes.standing()))
    counters.watch("breaker_open", lambda: open_breakers(station.routes.standing()))
    watch_process(counters)
    lateness = asyncio.create_task(watch_lag(counters))
    try:
        ready(counters)
        await stop.wait()
        station.app.draining = True
        await server.drain(place.drain_seconds)
    finally:
        lateness.cancel()
        await station.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
        if engine is not None:
            engine.close()


def _traces(counters: Counters) -> "Traces":
    from sartor.gateway.telemetry import Traces, otlp_exporter

    traces = Traces(otlp_exporter())
    counters.follow(traces.exchange)
    return traces


async def hold(shop: Workshop, place: Place, stop: asyncio.Event, ready: Callable[[Counters], None]) -> None:
    """Hold the models and answer the workers' questions until `stop` is set."""
    from sartor.pipeline.serve import LocalModels
    from sartor.serving.remote import EngineServer

    server = EngineServer(LocalModels(shop))
    await server.start(socket.socket(fileno=os.dup(place.sockets[0])))
    counters = Counters(workers=0)
    watch_process(counters)
    ready(counters)
    await stop.wait()
    await server.close()


def calm_collector() -> None:
    """Have garbage be looked for seldom, and never among what was made before the first request: that stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def watch_process(counters: Counters) -> None:
    """Have the process tell of its memory and its files, where /proc does."""
    statm, files = Path("/proc/self/statm"), Path("/proc/self/fd")
    if statm.exists():
        page = os.sysconf("SC_PAGE_SIZE")
        counters.watch("resident_bytes", lambda: int(statm.read_text().split()[1]) * page)
        counters.watch("open_files", lambda: sum(1 for _ in files.iterdir()))


async def watch_lag(counters: Counters) -> None:
    """Measure by how much the event loop is late, until cancelled; a look at the figure begins anew."""
    loop = asyncio.get_running_loop()
    worst = 0.0

    def read() -> float:
        nonlocal worst
        found, worst = worst, 0.0
        return found

    counters.watch("loop_lag_seconds", read)
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        worst = max(worst, loop.time() - due)


async def work(place: Place, fd: int, shop: Workshop) -> None:
    """The life of a child, until its supervisor says stop or is gone, or it is told by SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lines: list[asyncio.Task[None]] = []

    def ready(counters: Counters) -> None:
        lines.append(asyncio.create_task(attend(fd, stop, counters.snapshot)))

    await (hold if place.holds else answer)(shop, place, stop, ready)
    for line in lines:
        line.cancel()
    await asyncio.gather(*lines, return_exceptions=True)


def run(doing: Coroutine[Any, Any, None]) -> None:
    """Run it in the fastest event loop that is installed."""
    factory = None
    with contextlib.suppress(ModuleNotFoundError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(doing)


def main() -> None:
    """Run one child to its end."""
    from sartor.interfaces.logs import log_as_json
    from sartor.interfaces.settings import Settings

    place, fd = Place.read(sys.argv[1]), int(sys.argv[2])
    log_as_json()
    try:
        shop = Settings.read(Path(place.home)).workshop(read_only=place.read_only)
        run(work(place, fd, shop))
        shop.store.close()
    except SartorError as error:
        log.error("could not start", extra={"job": place.name, "why": error.message})  # noqa: TRY400 - said in words
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

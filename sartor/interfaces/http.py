"""The server: binds its ports, runs the data plane in this process or in several, the control plane beside it.

With one worker everything is in this process. With several this one supervises them and the engine, and keeps the
listening socket, so that whoever connects while one of them is started anew waits instead of being refused.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sartor.core.errors import AskError, ConflictError, StoreError
from sartor.interfaces.worker import Place, answer, run
from sartor.pipeline.workshop import Workshop

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_PATH = 100
"""Bytes of a Unix socket's path."""


@dataclass(frozen=True)
class Plan:
    """How a server is to run."""

    host: str = "127.0.0.1"
    port: int = 8800
    workers: int = 1
    admin_host: str = "127.0.0.1"
    admin_port: int = 8801
    drain_seconds: float = 30.0
    read_only: bool = False
    traces: bool = False
    job_slots: int = 0
    """Durable jobs that a worker beside the server does at the same time; 0: there is none."""


@dataclass(frozen=True)
class Listening:
    """Where a server can be reached."""

    url: str
    admin_url: str
    names: Sequence[str]
    """What can be asked for."""


def bind(host: str, port: int, *, keyed: bool = False) -> socket.socket:
    """A listening socket.

    Args:
        keyed: whether there are access keys, so that others may be let in.

    Raises:
        AskError: the host is not loopback, and there are no keys.
        ConflictError: the port is taken.
    """
    if host not in LOOPBACK and not keyed:
        raise AskError(
            f"Serving on '{host}' would let others in, and there are no keys yet. Make one with 'sartor key create', "
            "or use 127.0.0.1.",
            param="host",
            code="not_loopback",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio turns Nagle's delay off on what it accepts.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)  # from now on callers wait instead of being refused
    except OSError as error:
        listening.close()
        raise ConflictError(
            f"Port {port} on {host} can't be used: {error.strerror}. Name another with --port (0 picks a free one).",
            code="port_taken",
        ) from error
    return listening


def serve_forever(shop: Workshop, plan: Plan, ready: Callable[[Listening], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let what is under way finish; `ready` is called when requests are answered.

    Raises:
        AskError, ConflictError: a port can't be used.
        SartorError: a worker can't be started.
    """
    from sartor.interfaces.beside import worker_beside
    from sartor.store.keys import Keys

    keyed = bool(Keys(shop.store.ledger.database).everything().keys)
    with (
        bind(plan.host, plan.port, keyed=keyed) as data,
        bind(plan.admin_host, plan.admin_port, keyed=keyed) as admin,
        worker_beside(shop, plan.job_slots, plan.drain_seconds) as beside,
    ):
        listening = Listening(_url(plan.host, data), _url(plan.admin_host, admin), names_of(shop))
        house = House(shop, plan, data, admin, beside.stop if beside else lambda: None)
        if plan.workers == 1:
            run(_alone(house, lambda: ready(listening)))
        else:
            # The plain loop: only this one starts processes, and it answers no application.
            asyncio.run(_several(house, lambda: ready(listening)))


@dataclass(frozen=True)
class House:
    """What a running server is made of."""

    shop: Workshop
    plan: Plan
    data: socket.socket
    admin: socket.socket
    told: Callable[[], None]
    """Called when it is told to stop."""


async def _alone(house: House, ready: Callable[[], None]) -> None:
    from sartor.gateway.counters import Counters

    counted: list[Counters] = []

    def up(counters: Counters) -> None:
        counted.append(counters)
        ready()

    shop, plan, stop = house.shop, house.plan, stopping(house.data, house.told)
    async with control_plane(shop, plan, house.admin, lambda: counted[0].text().decode() if counted else ""):
        await answer(shop, place_of(shop, plan, house.data), stop, up)


async def _several(house: House, ready: Callable[[], None]) -> None:
    from sartor.gateway.counters import merged
    from sartor.gateway.exposition import exposition
    from sartor.interfaces.logs import log_as_json
    from sartor.interfaces.supervisor import Job, Supervisor

    def job(place: Place, *, last: bool = False) -> Job:
        def command(fd: int) -> list[str]:
            return [sys.executable, "-m", "sartor.interfaces.worker", place.text(), str(fd)]

        return Job(place.name, command, place.sockets, last=last)

    log_as_json()
    shop, plan = house.shop, house.plan
    loop, stop = asyncio.get_running_loop(), stopping(house.data, house.told)
    with engine_socket(shop.store.root) as (engine, path):
        worker = replace(place_of(shop, plan, house.data), engine=str(path))
        engine_place = replace(worker, name="engine", sockets=(engine.fileno(),), engine="", holds=True)
        jobs = [job(engine_place, last=True), *(job(replace(worker, name=f"w{n}")) for n in range(plan.workers))]
        supervisor = Supervisor(jobs, drain_seconds=plan.drain_seconds)

        def counted() -> str:
            told = asyncio.run_coroutine_threadsafe(supervisor.snapshots(), loop).result(timeout=5)
            return exposition(merged(told)).decode()

        async with control_plane(shop, plan, house.admin, counted):
            await supervisor.run(stop, ready)


def place_of(shop: Workshop, plan: Plan, data: socket.socket) -> Place:
    """Where a worker of this server works."""
    return Place(
        name="w0",
        home=str(shop.store.root),
        sockets=(data.fileno(),),
        workers=plan.workers,
        loopback=plan.host in LOOPBACK,
        drain_seconds=plan.drain_seconds,
        read_only=plan.read_only,
        traces=plan.traces,
    )


@asynccontextmanager
async def control_plane(
    shop: Workshop, plan: Plan, admin: socket.socket, counted: Callable[[], str]
) -> AsyncIterator[None]:
    """The control plane on its socket, and what has to be done regularly, as long as the block lasts."""
    from sartor.gateway import door
    from sartor.gateway.auth import Keyring
    from sartor.gateway.wire.server import serve
    from sartor.interfaces.api.plane import ControlPlane
    from sartor.pipeline.keeper import Keeper
    from sartor.store.keys import Keys

    loopback = plan.admin_host in LOOPBACK
    keyring = Keyring(Keys(shop.store.ledger.database).everything, shop.store.ledger.revision, loopback=loopback)
    await asyncio.to_thread(keyring.refresh)
    hosts = door.LOOPBACK if loopback else ("*",)
    plane = ControlPlane(shop, keyring, counted=counted, hosts=hosts)
    server = await serve(plane.handle, [admin.dup()])
    watching, keeper = asyncio.create_task(keyring.watch()), Keeper(shop)
    if not plan.read_only:
        keeper.start()
    try:
        yield
    finally:
        watching.cancel()
        await server.drain(2.0)
        plane.close()
        if not plan.read_only:
            await asyncio.to_thread(keeper.stop)


def stopping(data: socket.socket, also: Callable[[], None] = lambda: None) -> asyncio.Event:
    """Set when this process is told to stop; from then on nobody can connect to the socket. `also` is called then."""
    stop = asyncio.Event()

    def told() -> None:
        also()
        data.close()  # workers close theirs: without one left, callers are refused instead of left waiting
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told)
    return stop


@contextmanager
def engine_socket(root: Path) -> Iterator[tuple[socket.socket, Path]]:
    """A listening Unix socket that only this user can reach: in the store's folder, else in one of its own."""
    with contextlib.ExitStack() as made:
        folder = root / "run"
        path = folder / f"engine-{os.getpid()}.sock"
        if len(os.fsencode(path)) > MOST_PATH or not os.access(root, os.W_OK):
            folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="sartor-")))
            path = folder / path.name
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            path.unlink(missing_ok=True)  # left by a killed process that had this number
            bound = made.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            bound.bind(str(path))
            made.callback(path.unlink, missing_ok=True)
            bound.listen(128)
        except OSError as error:
            raise StoreError(f"The engine's socket can't be made at '{path}': {error.strerror}.") from error
        yield bound, path


def names_of(shop: Workshop) -> list[str]:
    """What can be asked for by name: declared routes and live tasks."""
    from sartor.pipeline.declared import ROUTE, all_pointers
    from sartor.registry.variants import LIVE, RETIRED

    standing = {pointer.name for pointer in all_pointers(shop) if pointer.digest}
    names = {name.removesuffix(end) for name in standing for end in (ROUTE, LIVE) if name.endswith(end)}
    return sorted(name for name in names if name + RETIRED not in standing)


def _url(host: str, bound: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound.getsockname()[1]}"

"""Half of the maximum for half an hour, while routes, keys and pointers change every second: does anything give way?

The load is open: requests start by the clock, whatever the answers do, so that a pause shows. Half of them go to an
upstream, half to a local model. Every second one thing changes: a route is declared anew or removed, a key is made or
revoked, the live pointer moves to another version and back. Wanted: no failed request, and memory and open files that
do not grow after the warm-up.

    python -m benchmarks load [--minutes 30] [--workers 1]
"""

import argparse
import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks._mock import nginx, upstream_config
from benchmarks._ours import Ours, declare, fresh, new_key, ours, release_desk, workshop
from benchmarks._peers import BODY, Contestant, free_port, load, tree
from benchmarks._shared import ROOT, result, show
from sartor.core.route import Route
from sartor.pipeline.access import OWNER, revoke_key
from sartor.pipeline.routes import declare_route, remove_route
from sartor.pipeline.stages import stage_live

WORK = ROOT / ".sartor" / "bench-load"
CONNECTIONS = 32
WARM_UP = 0.2
"""Share of the time that does not count for growth."""
MOST_GROWTH_MB = 1.0
"""Per hour, after the warm-up."""


@dataclass
class Tally:
    """What the load saw."""

    good: int = 0
    failed: list[str] = field(default_factory=list)
    late: int = 0
    """Requests that could not start within a second of their time."""
    changes: int = 0
    memory: list[tuple[float, int, int]] = field(default_factory=list)
    """(second, resident bytes, open files) of all processes."""


def run() -> dict[str, Any]:
    """Find the maximum, then go on at half of it."""
    parser = argparse.ArgumentParser(prog="load")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    home = fresh(WORK)
    release_desk(home)
    port = free_port()
    with nginx(WORK / "up", upstream_config(port), port):
        prepare(home, f"http://127.0.0.1:{port}/v1")
        with ours(home, "--workers", str(given.workers)) as server:
            rate = maximum(server) / 2
            tally = asyncio.run(drive(server, rate, given.minutes * 60))
            code = server.stop()
    return told(tally, rate, given.minutes, code)


def prepare(home: Path, base: str) -> None:
    """Declare the upstream, and the routes that the load asks."""
    routes = [{"name": "chat", "policy": "mock"}, {"name": "local", "policy": "desk@live", "task": "desk"}]
    declare(home, {"mock": base}, routes)


def maximum(server: Ours) -> float:
    """Requests per second that both routes together take."""
    headers = {"Authorization": f"Bearer {server.key}"}
    rates = [
        load(
            Contestant("sartor", f"{server.url}/chat/completions", server.process, {"model": m}, headers),
            WORK,
            seconds=3,
        )
        for m in ("chat", "local")
    ]
    return 2.0 / sum(1.0 / each.per_second for each in rates)


async def drive(server: Ours, rate: float, seconds: float) -> Tally:
    """Ask at this rate for so long, and change something every second."""
    tally, begun = Tally(), time.monotonic()
    end = begun + seconds
    due = itertools.count()

    async def ask_in_turn() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
        while True:
            number = next(due)
            at = begun + number / rate
            if at > end:
                writer.close()
                return
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            tally.late += time.monotonic() - at > 1.0
            await _one(reader, writer, request(server, ("chat", "local")[number % 2]), tally)

    def watch() -> None:
        for change in itertools.cycle(changes(server.home)):
            tally.memory.append((time.monotonic() - begun, *weight(server.process.pid)))
            if time.monotonic() > end - 1.0:
                return
            change()
            tally.changes += 1
            time.sleep(max(0.0, begun + tally.changes - time.monotonic()))

    await asyncio.gather(asyncio.to_thread(watch), *(ask_in_turn() for _ in range(CONNECTIONS)))
    return tally


def request(server: Ours, model: str) -> bytes:
    """A whole HTTP request."""
    body = orjson.dumps(BODY | {"model": model})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes, tally: Tally) -> None:
    try:
        async with asyncio.timeout(30):
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            said = await reader.readexactly(length)
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        tally.failed.append(f"{type(error).__name__}: {error}")
        return
    if head.startswith(b"HTTP/1.1 200 "):
        tally.good += 1
    else:
        tally.failed.append(said.decode("utf-8", "replace")[:300])


def changes(home: Path) -> Iterator[Callable[[], None]]:
    """One change after the other; none touches what the load asks for in a way that may fail a request."""
    numbers = itertools.count()

    def at_store(change: Callable[[Any], object]) -> None:
        shop = workshop(home)
        try:
            change(shop)
        finally:
            shop.store.close()

    def revoke_a_new_key() -> None:
        ident = new_key(home).split("_")[1]
        at_store(lambda shop: revoke_key(shop, OWNER, ident))

    def declare_again() -> None:
        limits = {"requests_per_minute": 1e8 + next(numbers)}
        spec = {"name": "chat", "policy": "mock", "limits": limits}
        at_store(lambda shop: declare_route(shop, Route.model_validate(spec)))

    yield declare_again
    yield revoke_a_new_key
    yield lambda: at_store(lambda shop: declare_route(shop, Route(name="passing", policy="mock")))
    yield lambda: at_store(lambda shop: stage_live(shop, "local", "desk@v1", why="load"))
    yield lambda: at_store(lambda shop: remove_route(shop, "passing", "load"))
    yield lambda: at_store(lambda shop: stage_live(shop, "local", "desk@live", why="load"))


def weight(root: int) -> tuple[int, int]:
    """Resident bytes and open files of a process and all below it."""
    memory = files = 0
    for pid in tree(root):
        try:
            memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            files += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
    return memory, files


def told(tally: Tally, rate: float, minutes: float, code: int) -> dict[str, Any]:
    """The figures and whether they are good."""
    seconds, memory, files = np.array([m for m in tally.memory if m[0] >= WARM_UP * minutes * 60], float).T
    slope = float(np.polyfit(seconds, memory, 1)[0]) * 3600 / 2**20 if len(seconds) > 2 else 0.0
    figures = {
        "rate": rate,
        "minutes": minutes,
        "good": tally.good,
        "failed": len(tally.failed),
        "late": tally.late,
        "changes": tally.changes,
        "memory_mb": float(memory.mean()) / 2**20,
        "memory_mb_per_hour": slope,
        "files_first": int(files[0]),
        "files_last": int(files[-1]),
        "exit_code": code,
        "load_average": os.getloadavg(),
    }
    show("load", ("figure", "value"), [(name, str(value)) for name, value in figures.items()])
    goals = {
        "no failed request": not tally.failed and tally.good > 0,
        "memory flat": slope < MOST_GROWTH_MB,
        "open files flat": bool(files[-1] <= files[0] + CONNECTIONS),
        "stopped well": code == 0,
    }
    megabytes = [round(m[1] / 2**20, 1) for m in tally.memory[:: max(1, len(tally.memory) // 30)]]
    return result("load", figures | {"first_failures": tally.failed[:5], "memory_mb_over_time": megabytes}, goals)

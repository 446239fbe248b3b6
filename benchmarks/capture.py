"""What capturing costs per exchange, and what a `kill -9` loses of it.

CPU is that of the whole process, the log's own thread and its system calls included, at a steady rate of requests and
not in one burst. Beside it in the same run: the same bytes appended raw, and the same values as rows of a SQLite
table. Then writers are killed at random instants: in `sync` nothing that was acknowledged may be missing, in `async`
nothing that was handed to the log before what is then the last second.
"""

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks._shared import ROOT, result, show
from sartor.core.route import Capture
from sartor.core.traffic import Content, Exchange, HopRow
from sartor.gateway.capture import Recorder
from sartor.store.engine import sqlite_module
from sartor.store.traffic.frames import EXCHANGE, Frame, exchange_row
from sartor.store.traffic.log import TrafficLog
from sartor.store.traffic.segment import Reader, segments

COUNT = 10_000
"""Exchanges per measurement."""
BURST, PAUSE = 100, 0.05
"""Exchanges that come together, and seconds between: 2,000 a second."""
REPEATS = 3
GOAL = 5.0
KILLS = 40
ASKED = json.dumps(
    {
        "model": "banking",
        "messages": [
            {"role": "system", "content": "Answer with the intent of the customer's message, one of 77. " * 12},
            {"role": "user", "content": "I am still waiting on my card, and it has been two weeks. What now?"},
        ],
    }
).encode()
ANSWERED = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "card_arrival"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 4, "total_tokens": 204},
    }
).encode()
CONTENT = Content(ASKED, ANSWERED)
ACCOUNTING = Capture(level="off")
PLAIN = Capture(level="full", redact=False, encrypt=False)
REDACTED = Capture(level="full", redact=True, encrypt=False)
SEALED = Capture(level="full", redact=False, encrypt=True)


def run() -> dict[str, Any]:
    """The costs, the throughput of `sync`, and the kills."""
    work = ROOT / ".sartor" / "bench-capture"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    costs = {name: cost(measure, work) for name, measure in measures().items()}
    sync = {str(n): group_commit(work, n) for n in (1, 16, 256)}
    kills = {mode: killed(work, mode) for mode in ("sync", "async")}
    _show(costs, sync, kills)
    figures = {"cpu_us": costs, "sync": sync, "kills": kills, "content_bytes": len(ASKED) + len(ANSWERED)}
    goals = {
        f"at most {GOAL:.0f} CPU µs per exchange, accounting": costs["async, accounting"]["median"] <= GOAL,
        f"at most {GOAL:.0f} CPU µs per exchange, content in full": costs["async, full"]["median"] <= GOAL,
        "nothing acknowledged in sync mode is lost": kills["sync"]["lost"] == 0,
        "async mode loses nothing before the last second": kills["async"]["lost_before_last_second"] == 0,
        "no record twice": not any(k["twice"] for k in kills.values()),
    }
    shutil.rmtree(work)
    return result("capture", figures, goals)


def exchange(number: int) -> Exchange:
    """One that a local variant answered."""
    variant = "3f" * 32
    hop = HopRow(variant, "local", 1200, 200, 4, 0.0004, 0.0011, 0.97, "card_arrival")
    return Exchange(
        id=f"chatcmpl-{number:032x}",
        at=1_764_000_000.123 + number,
        tenant="default",
        key="k7",
        route="banking",
        model="banking",
        task="banking",
        version="banking@v3",
        variant=variant,
        label="card_arrival",
        confidence=0.97,
        input_tokens=200,
        output_tokens=4,
        cost=1200,
        seconds=0.0013,
        first_seconds=0.0013,
        subject=f"{number % 500:032x}",
        request_id=f"req-{number:032x}",
        hops=[hop],
    )


Measure = Callable[[Path], float]


def measures() -> dict[str, Measure]:
    """Name -> what does the work and gives its CPU seconds."""
    return {
        "raw append": _raw,
        "async, accounting": lambda folder: _capture(folder, ACCOUNTING),
        "async, full": lambda folder: _capture(folder, PLAIN),
        "async, full, redacted": lambda folder: _capture(folder, REDACTED),
        "async, full, encrypted": lambda folder: _capture(folder, SEALED),
        "SQLite rows": _sqlite,
    }


def cost(measure: Measure, work: Path) -> dict[str, float]:
    """CPU µs per exchange over some repeats; what the same loop costs that captures nothing is taken off."""
    found, idle = [], _idle()
    for repeat in range(REPEATS):
        folder = work / f"cost{repeat}"
        folder.mkdir()
        found.append((measure(folder) - idle) / COUNT * 1e6)
        shutil.rmtree(folder)
    return {"median": statistics.median(found), "lowest": min(found), "highest": max(found)}


def _bursts() -> Iterator[Iterator[Exchange]]:
    for start in range(0, COUNT, BURST):
        yield map(exchange, range(start, start + BURST))
        time.sleep(PAUSE)


def _idle() -> float:
    """What waiting, and making the exchanges, alone cost."""
    before = _cpu()
    for burst in _bursts():
        for _ in burst:
            pass
    return _cpu() - before


def _cpu() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def _capture(folder: Path, spec: Capture) -> float:
    from sartor.pipeline.traffic import redact
    from sartor.store.opening import open_store

    with closing(open_store(folder / "store")) as store:
        log = store.traffic.log("w0")
        recorder = Recorder(log, redact=redact, mark=store.traffic.mark)
        recorder.record(exchange(0), CONTENT, spec)
        log.flush()
        before = _cpu()
        for burst in _bursts():
            for item in burst:
                recorder.record(item, CONTENT, spec)
        log.flush()
        spent = _cpu() - before
        log.close()
        counts = recorder.counts()
        assert counts["written"] == COUNT + 1, counts
        assert not counts["dropped_content"], counts
    return spent


def _raw(folder: Path) -> float:
    """The same bytes, written as they come and synced every second."""
    before = _cpu()
    handle = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, burst in enumerate(_bursts()):
        for item in burst:
            os.write(handle, exchange_row(item) + ASKED + ANSWERED)
        if number % round(1 / PAUSE) == 0:
            os.fsync(handle)
    os.close(handle)
    return _cpu() - before


def _sqlite(folder: Path) -> float:
    """A row each, a transaction for each burst; without index and without hops."""
    before = _cpu()
    connection = sqlite_module().connect(folder / "rows.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    names = [name for name in Exchange.__slots__ if name != "hops"]
    connection.execute(f"CREATE TABLE exchange ({', '.join(names)}, asked, answered)")
    insert = f"INSERT INTO exchange VALUES ({', '.join('?' * (len(names) + 2))})"
    for burst in _bursts():
        connection.execute("BEGIN")
        for item in burst:
            connection.execute(insert, (*(getattr(item, name) for name in names), ASKED, ANSWERED))
        connection.execute("COMMIT")
    connection.close()
    return _cpu() - before


def group_commit(work: Path, waiting: int) -> dict[str, float]:
    """Exchanges a second that are acknowledged from disk while so many requests wait at once."""
    folder = work / f"sync{waiting}"

    async def story() -> tuple[float, list[float]]:
        log = TrafficLog(folder, "w0")
        recorder, spec = Recorder(log, redact=str, mark=str), Capture(durability="sync", redact=False, encrypt=False)
        took: list[float] = []
        numbers = iter(range(10**9))
        ends = time.perf_counter() + 3

        async def client() -> None:
            while time.perf_counter() < ends:
                began = time.perf_counter()
                pending = recorder.record(exchange(next(numbers)), CONTENT, spec)
                assert pending is not None
                await pending
                took.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(waiting)))
        seconds = time.perf_counter() - began
        await recorder.close()
        return seconds, took

    before = _cpu()
    seconds, took = asyncio.run(story())
    cpu = (_cpu() - before) / len(took) * 1e6
    shutil.rmtree(folder)
    p99 = statistics.quantiles(took, n=100)[98] * 1000
    return {"per_second": len(took) / seconds, "p50_ms": statistics.median(took) * 1000, "p99_ms": p99, "cpu_us": cpu}


WRITER = """
import asyncio, sys, time
from pathlib import Path
from benchmarks.capture import CONTENT, exchange
from sartor.core.route import Capture
from sartor.gateway.capture import Recorder
from sartor.store.traffic.log import TrafficLog

folder, mode, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

async def main():
    recorder = Recorder(TrafficLog(folder, "w0"), redact=str, mark=str)
    spec = Capture(durability=mode, redact=False, encrypt=False)
    number = first
    while True:
        batch = range(number, number + 20)
        number += 20
        pending = [recorder.record(exchange(n), CONTENT, spec) for n in batch]
        if mode == "sync":
            await asyncio.gather(*pending)
        print(time.time(), batch[0], batch[-1], flush=True)
        if mode == "async":
            await asyncio.sleep(0.005)
asyncio.run(main())
"""


def killed(work: Path, mode: str) -> dict[str, int]:
    """Writers killed at random instants, one after the other on one log; what was handed over, and what is there.

    A writer says when it has handed over a batch (`async`), or when that is acknowledged (`sync`). The machine goes on,
    so what was written and not yet synced is there as well.
    """
    folder, draw = work / f"kill-{mode}", random.Random(20261125)
    handed: dict[int, float] = {}
    for turn in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(folder), mode, str(turn * 10_000_000)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(draw.uniform(0.0, 1.5 if mode == "async" else 0.5))
        writer.send_signal(signal.SIGKILL)
        died = time.time()
        said = first + writer.stdout.read()
        writer.wait()
        for line in said[: said.rfind("\n")].splitlines():
            at, low, high = line.split()
            handed.update(dict.fromkeys(range(int(low), int(high) + 1), died - float(at)))
    TrafficLog(folder, "w0").close()  # cuts what is torn
    found = [int(id_.removeprefix("chatcmpl-"), 16) for id_ in _ids(folder)]
    there = set(found)
    lost = {number: before for number, before in handed.items() if number not in there}
    return {
        "kills": KILLS,
        "handed_over": len(handed),
        "found": len(there),
        "lost": len(lost),
        "lost_before_last_second": sum(before > 1.0 for before in lost.values()),
        "oldest_lost_ms": round(max(lost.values(), default=0.0) * 1000),
        "twice": len(found) - len(there),
    }


def _ids(folder: Path) -> Iterator[str]:
    for path in segments(folder):
        for item in Reader(path).items():
            if isinstance(item, Frame) and item.kind == EXCHANGE:
                yield item.row[0]


def _show(costs: dict[str, Any], sync: dict[str, Any], kills: dict[str, Any]) -> None:
    show(
        f"CPU µs per exchange of {(len(ASKED) + len(ANSWERED)) / 1000:.1f} kB, {BURST / PAUSE:,.0f} a second",
        ["way", "median#", "lowest#", "highest#"],
        [(name, c["median"], c["lowest"], c["highest"]) for name, c in costs.items()],
    )
    show(
        "Acknowledged from disk (sync)",
        ["waiting at once#", "a second#", "p50 ms#", "p99 ms#", "CPU µs#"],
        [(n, s["per_second"], s["p50_ms"], s["p99_ms"], s["cpu_us"]) for n, s in sync.items()],
    )
    show(
        "Killed with SIGKILL",
        ["mode", "kills#", "handed over#", "found#", "lost#", "oldest lost, ms before#", "twice#"],
        [
            (m, k["kills"], k["handed_over"], k["found"], k["lost"], k["oldest_lost_ms"], k["twice"])
            for m, k in kills.items()
        ],
    )

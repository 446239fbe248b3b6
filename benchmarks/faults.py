"""Everything that goes wrong behind, before and below a running gateway: each ends in a typed error, in time.

A real `sartor serve` process, an upstream that fails on purpose (the one of the tests), real clients. First every way
in which an upstream fails, whole and as a stream; then one black-holed upstream beside a good route, 500 clients that
take nothing of their streams, a full disk under the capture, a database that is down.
"""

import asyncio
import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._shared import ROOT, result, show
from sartor.core.route import Timing
from sartor.gateway.addresses import Origin
from sartor.gateway.wire.client import BrokenError, Pool, Waits

sys.path.insert(0, str(ROOT / "tests" / "gateway"))

from faulty_upstream import STREAM, WAYS, WHOLE, Faulty, in_thread

WORK = ROOT / ".sartor" / "bench-faults"
TIMING = {"queue": 1.0, "connect": 1.0, "first_token": 1.0, "between_chunks": 1.0, "total": 3.0}
LATE = 1.5
"""Seconds beyond an upstream's total time within which its client must know."""
CLIENT = Timing(connect=5, first_token=30, between_chunks=30, total=60)
SLOW_CLIENTS = 500
KEY = "sk-benchmark-key-of-the-upstream"


def run() -> dict[str, Any]:
    """All of it; the table says what each fault came to."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    with in_thread() as upstream:
        with gateway(WORK / "home", upstream) as served:
            rows = asyncio.run(upstreams(served))
            hole = asyncio.run(black_hole(served))
            slow = asyncio.run(slow_clients(served))
        full = full_disk(upstream)
        down = database_down(upstream)
    show("Upstreams that fail", ["fault", "asked for", "status", "code", "seconds#", "as stated"], rows)
    cases = [
        ("one black-holed upstream", hole),
        ("500 slow clients", slow),
        ("disk full", full),
        ("database down", down),
    ]
    show("Around them", ["case", "what was seen"], [(name, json.dumps(seen)) for name, seen in cases])
    figures = {"faults": len(rows), "as_stated": sum(bool(r[-1]) for r in rows), **dict(cases)}
    goals = {
        "every failing upstream is a typed error within its deadline": all(r[-1] for r in rows),
        "a black-holed upstream slows no other route": hole["failed"] == 0 and hole["p99_beside"] < 0.05 + hole["p99"],
        "memory is bounded with 500 slow clients, others are served": slow["kb_each"] < 1024
        and slow["mb_in_the_last_half"] < 10
        and slow["failed"] == 0,
        "a full disk stops no answer, and a counter tells": full["failed"] == 0 and full["counted"] > 0,
        "known keys go on while the database is down, unknown ones don't": down["met"],
    }
    return result("faults", figures, goals)


class Served:
    """The running gateway."""

    def __init__(self, url: str, admin: str, process: "subprocess.Popen[str]") -> None:
        self.url, self.admin, self.process = url, admin, process
        self.origin = Origin("127.0.0.1", int(url.rsplit(":", 1)[1]), tls=False, allow_private=True)

    def memory(self) -> float:
        """Resident MiB."""
        statm = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    async def ask(self, pool: Pool, model: str, *, stream: bool = False, key: str = "") -> tuple[int, bytes, float]:
        """Status, body and seconds of one chat."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await pool.ask(
            self.origin, chat(model, stream=stream, key=key), Waits(CLIENT, started + CLIENT.total), stream=stream
        )
        body = await answer.read()
        return answer.status, body, loop.time() - started


def chat(model: str, *, stream: bool = False, key: str = "") -> bytes:
    """A chat request as bytes."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "my card"}]}).encode()
    bearer = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n{bearer}content-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def gateway_file(upstream: Faulty) -> str:
    """An upstream and a route for each way to fail."""
    free = {"input_million": 1, "output_million": 2, "currency": "EUR"}
    common = {"key": {"env": "FAULTY_KEY"}, "allow_private": True, "price": free, "timing": TIMING, "retries": 1}
    specs = [{"name": f"up-{way}", "base_url": upstream.url(way), "exposed": False, **common} for way in WAYS]
    specs[list(WAYS).index("hang")]["concurrency"] = 16
    specs[list(WAYS).index("flood")] |= {"concurrency": 2 * SLOW_CLIENTS, "timing": TIMING | {"total": 60.0}}
    routes = [{"name": f"to-{way}", "policy": {"use": "direct", "to": f"up-{way}"}} for way in WAYS]
    return json.dumps({"upstreams": specs, "routes": routes})


@contextmanager
def gateway(home: Path, upstream: Faulty, **environment: str) -> Iterator[Served]:
    """`sartor serve` over all of them, until the block ends."""
    env = os.environ | {"SARTOR_HOME": str(home), "SARTOR_KEY": str(WORK / "signing.key"), "FAULTY_KEY": KEY}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    (WORK / "gateway.yaml").write_text(gateway_file(upstream), encoding="utf-8")
    sartor(env, "route", "apply", str(WORK / "gateway.yaml"))
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "serve", "--port", "0", "--admin-port", "0"]
    with (WORK / "serve.log").open("a") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    urls: list[str] = []
    for line in process.stdout:
        urls += re.findall(r"http://[\d.]+:\d+", line)
        if len(urls) == 2:
            break
    if len(urls) < 2:
        raise SystemExit(f"sartor serve ended before it listened; see {WORK / 'serve.log'}")
    try:
        yield Served(urls[0], urls[1], process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def sartor(env: dict[str, str], *arguments: str) -> Any:
    """The JSON that a command prints."""
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--json", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"sartor {' '.join(arguments)} failed: {done.stderr}")
    return json.loads(done.stdout)


async def upstreams(served: Served) -> list[tuple[Any, ...]]:
    """Every fault, whole and as a stream: what the client got, and whether it is what is stated."""
    pool = Pool()

    async def one(way: str, stated: tuple[int, str, str], *, stream: bool) -> tuple[Any, ...]:
        status, body, seconds = await served.ask(pool, f"to-{way}", stream=stream)
        error = last_error(body)
        begun = stream and status == 200
        good = (begun or status == stated[0]) and error.get("code") == stated[1] and stated[2] in error["message"]
        good = good and seconds < TIMING["total"] + LATE and KEY.encode() not in body
        return way, "stream" if stream else "whole", status, error.get("code", ""), seconds, good

    # One after the other for each upstream, or its breaker would answer in its place.
    asked = [one(way, stated, stream=False) for way, stated in WHOLE.items() if way != "echo-key"]
    rows = list(await asyncio.gather(*asked))
    rows += await asyncio.gather(
        *(one(way, stated, stream=True) for way, stated in STREAM.items() if way != "echo-key")
    )
    return rows


def last_error(body: bytes) -> dict[str, Any]:
    """The error of an answer, or of the last event of a stream that has one."""
    events = [line.removeprefix(b"data: ") for line in body.strip().split(b"\n\n")]
    for event in reversed(events):
        try:
            return dict(json.loads(event)["error"])
        except (ValueError, KeyError, TypeError):
            continue
    return {"code": "", "message": "no error"}


async def black_hole(served: Served) -> dict[str, Any]:
    """A good route alone, then beside 100 requests that wait for an upstream that never answers."""
    pool = Pool()

    async def measured(rounds: int) -> tuple[list[float], int]:
        times, failed = [], 0
        for _ in range(rounds):
            status, _, seconds = await served.ask(pool, "to-ok")
            times.append(seconds)
            failed += status != 200
        return times, failed

    alone, failed_alone = await measured(300)
    waiting = [asyncio.ensure_future(served.ask(pool, "to-hang")) for _ in range(100)]
    await asyncio.sleep(0.1)
    beside, failed_beside = await measured(300)
    answered = await asyncio.gather(*waiting)
    return {
        "p99": p99(alone),
        "p99_beside": p99(beside),
        "failed": failed_alone + failed_beside,
        "statuses_of_the_hole": sorted({status for status, _, _ in answered}),
    }


async def slow_clients(served: Served) -> dict[str, Any]:
    """500 clients ask for endless streams and read nothing; others are answered, and memory stays."""
    pool = Pool()
    for _ in range(50):
        await served.ask(pool, "to-ok")
    before = served.memory()
    clients = []
    for _ in range(SLOW_CLIENTS):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the kernel would read for it
        client.connect(("127.0.0.1", served.origin.port))
        client.sendall(chat("to-flood", stream=True))
        clients.append(client)
    times, failed, memory = [], 0, []
    while len(times) < 300:
        status, _, seconds = await served.ask(pool, "to-ok")
        times.append(seconds)
        failed += status != 200
        memory.append(served.memory() - before)
        await asyncio.sleep(0.03)
    for client in clients:
        client.close()
    return {
        "kb_each": round(1024 * memory[-1] / len(clients)),
        "mb_in_the_last_half": round(memory[-1] - memory[len(memory) // 2], 1),
        "p50_of_others": statistics.median(times),
        "failed": failed,
        "clients": len(clients),
    }


def p99(times: list[float]) -> float:
    """In seconds."""
    return statistics.quantiles(times, n=100)[98]


def full_disk(upstream: Faulty) -> dict[str, Any]:
    """The traffic log on a small file system that others have filled."""
    home = WORK / "full"
    traffic = home / "traffic"
    traffic.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(traffic)], check=False).returncode:
        raise SystemExit("This benchmark mounts a small file system, which takes root.")
    try:
        with gateway(home, upstream) as served:
            filled = traffic / "filled"
            with contextlib.suppress(OSError), filled.open("wb", buffering=0) as file:
                while file.write(b"\0" * 65536):
                    pass
            statuses = asyncio.run(many(served, "to-ok", 300))
            time.sleep(1.0)
            counted = metric(served, "capture", "failures")
            filled.unlink()
            after = asyncio.run(many(served, "to-ok", 20))
        return {"failed": sum(s != 200 for s in statuses + after), "counted": counted}
    finally:
        subprocess.run(["umount", "-l", str(traffic)], check=False)


def metric(served: Served, *words: str) -> float:
    """The sum of the metrics whose line has all of the words."""
    import urllib.request

    with urllib.request.urlopen(f"{served.admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#" and all(w in line for w in words))


async def many(served: Served, model: str, count: int, key: str = "") -> list[int]:
    """Statuses of so many chats, ten at a time."""
    pool = Pool()

    async def worker() -> list[int]:
        found = []
        for _ in range(count // 10):
            try:
                found.append((await served.ask(pool, model, key=key))[0])
            except BrokenError:
                found.append(0)
        return found

    return [status for part in await asyncio.gather(*(worker() for _ in range(10))) for status in part]


def database_down(upstream: Faulty) -> dict[str, Any]:
    """A ledger in PostgreSQL, which is stopped and started again under a running gateway."""
    with postgres() as (url, control):
        env = {"SARTOR_LEDGER_URL": url}
        home = WORK / "postgres"
        settings = os.environ | env | {"SARTOR_HOME": str(home), "SARTOR_KEY": str(WORK / "signing.key")}
        key = sartor(settings | {"PYTHONPATH": str(ROOT)}, "key", "create", "--label", "known")["key"]
        with gateway(home, upstream, **env) as served:
            up = asyncio.run(many(served, "to-ok", 50, key))
            control("stop", "-m", "immediate")
            time.sleep(2.0)
            down = asyncio.run(many(served, "to-ok", 100, key))
            stranger = asyncio.run(many(served, "to-ok", 10, key[:-12] + "A" * 12))
            nobody = asyncio.run(many(served, "to-ok", 10))
            control("start", "-w")
            time.sleep(3.0)
            again = asyncio.run(many(served, "to-ok", 50, key))
    seen = {"up": up, "down": down, "unknown": stranger + nobody, "again": again}
    counted = {name: {str(s): statuses.count(s) for s in sorted(set(statuses))} for name, statuses in seen.items()}
    known = all(s == 200 for s in up + down + again)
    return counted | {"met": known and all(s in (401, 503) for s in stranger + nobody)}


@contextmanager
def postgres() -> Iterator[tuple[str, Any]]:
    """A throw-away cluster: its URL, and `pg_ctl`."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    folder = Path(tempfile.mkdtemp(prefix="sartor-pg-", dir="/tmp"))
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    lower = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"

    def call(program: str, *arguments: str) -> None:
        command = [*lower, str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def control(verb: str, *arguments: str) -> None:
        more = ("-l", str(folder / "log"), "-o", options) if verb == "start" else ()
        call("pg_ctl", verb, *arguments, *more)

    try:
        call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        control("start", "-w")
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}", control
        control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

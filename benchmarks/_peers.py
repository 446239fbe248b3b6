"""Other gateways, each started as its makers say, and the load and the CPU time that all are measured with.

They live in virtual environments of their own, below SARTOR_BENCH_PEERS (default /tmp/peers):

    python3.11 -m venv $SARTOR_BENCH_PEERS/tz && $SARTOR_BENCH_PEERS/tz/bin/pip install tensorzero==2026.6.0
    python3.11 -m venv $SARTOR_BENCH_PEERS/ll && $SARTOR_BENCH_PEERS/ll/bin/pip install 'litellm[proxy]==1.108.7'

TensorZero is started by a private function of its Python package, so its version is pinned. Debian's `nginx-light` and
`wrk` do the rest.
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._mock import wait_for

PEERS = Path(os.environ.get("SARTOR_BENCH_PEERS", "/tmp/peers"))
KEY = "sk-" + "b3nch" * 12
BODY: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Answer the customer in one sentence."},
        {"role": "user", "content": "My new card has not arrived yet, and I ordered it two weeks ago. Where is it?"},
    ],
    "max_tokens": 16,
}
LUA = """
wrk.method = "POST"
wrk.body = {body}
wrk.headers["Content-Type"] = "application/json"
{headers}
"""


@dataclass(frozen=True)
class Contestant:
    """A gateway that runs."""

    name: str
    url: str
    """To which chat completions are posted."""
    process: "subprocess.Popen[bytes]"
    body: Mapping[str, Any] = field(default_factory=dict)
    """Fields beside those of `BODY`."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid


@dataclass(frozen=True)
class Round:
    """What one short run of load showed."""

    requests: int
    failed: int
    cpu_us: float
    """Per request, over the whole process tree of the gateway."""
    p50_ms: float
    p99_ms: float
    per_second: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def load(who: Contestant, folder: Path, *, seconds: int, connections: int = 8, extra: Mapping[str, Any] = {}) -> Round:
    """One run of wrk with one thread.

    Raises:
        SystemExit: wrk failed.
    """
    script = folder / f"{who.name.replace(' ', '-')}.lua"
    body = json.dumps(json.dumps(BODY | who.body | extra))
    headers = {"Authorization": f"Bearer {KEY}"} | dict(who.headers)
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    script.write_text(LUA.format(body=body, headers=lines), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", str(script)]
    before = tree_cpu(who.pid)
    done = subprocess.run([*command, who.url], capture_output=True, text=True, check=False)
    spent = tree_cpu(who.pid) - before
    if done.returncode:
        raise SystemExit(f"wrk failed: {done.stderr or done.stdout}")
    return _read(done.stdout, spent)


def _read(said: str, cpu: float) -> Round:
    requests = int(_one(r"(\d+) requests in", said))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return Round(
        requests=requests,
        failed=(int(bad[1]) if bad else 0) + (sum(map(int, lost.groups())) if lost else 0),
        cpu_us=cpu / max(requests, 1) * 1e6,
        p50_ms=_milliseconds(_one(r"\n +50% +(\S+)", said)),
        p99_ms=_milliseconds(_one(r"\n +99% +(\S+)", said)),
        per_second=float(_one(r"Requests/sec:\s+(\S+)", said)),
    )


def _one(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk said nothing like {pattern!r}: {text}")
    return found[1]


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise SystemExit(f"wrk said {text!r} where a time was expected.")
    number, unit = found.groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def tree(root: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def tree_cpu(root: int) -> float:
    """CPU seconds, user and system, that a process, its threads and all processes below it have used."""
    ticks = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
        if pid == root:
            ticks += int(fields[13]) + int(fields[14])  # of those below that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


TENSORZERO = """
import sys, threading, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print("\\nat", gateway.base_url, flush=True)
threading.Event().wait()
"""
TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false

[models.mock]
routing = ["up"]

[models.mock.providers.up]
type = "openai"
model_name = "mock"
api_base = "{base}"
api_key_location = "none"
"""


@contextmanager
def tensorzero(folder: Path, base: str) -> Iterator[Contestant]:
    """TensorZero without a database: it validates, routes and rebuilds answers, and keeps nothing."""
    config = folder / "tensorzero.toml"
    config.write_text(TENSORZERO_CONFIG.format(base=base), encoding="utf-8")
    command = [str(PEERS / "tz" / "bin" / "python"), "-c", TENSORZERO, str(config)]
    told = folder / "tensorzero.log"  # its log and, from the line above, its address
    with told.open("wb") as log, started(command, stdout=log, stderr=log) as process:
        give_up = time.monotonic() + 60
        while (found := re.search(r"^at (\S+)$", told.read_text(), re.MULTILINE)) is None:
            if process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"TensorZero did not start: {told.read_text()[-2000:]}")
            time.sleep(0.1)
        path = f"{found[1].rstrip('/')}/chat/completions"
        wait_for(path, process)
        yield Contestant("tensorzero", path, process, {"model": "tensorzero::model_name::mock"})


@contextmanager
def litellm(folder: Path, base: str) -> Iterator[Contestant]:
    """LiteLLM's proxy with a master key, no database, no callbacks and no retries."""
    config = folder / "litellm.yaml"
    settings = {
        "model_list": [
            {
                "model_name": "mock",
                "litellm_params": {"model": "openai/mock", "api_base": base, "api_key": "none"},
            }
        ],
        "litellm_settings": {"num_retries": 0, "callbacks": [], "telemetry": False},
        "general_settings": {"master_key": KEY},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    port = free_port()
    command = [
        str(PEERS / "ll" / "bin" / "litellm"),
        "--config",
        str(config),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    quiet = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "NO_DOCS": "True"}
    with (folder / "litellm.log").open("wb") as log, started(command, stdout=log, stderr=log, env=quiet) as process:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield Contestant("litellm", f"http://127.0.0.1:{port}/v1/chat/completions", process, {"model": "mock"})


@contextmanager
def started(command: list[str], **settings: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process and all below it, ended with the block."""
    process = subprocess.Popen(command, start_new_session=True, **settings)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                continue
            break

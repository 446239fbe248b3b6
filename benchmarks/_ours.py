"""Our own gateway as benchmarks start it: a store of its own, an upstream, routes, keys with limits, `sartor serve`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kill import write_rows
from sartor.core.route import Allowance, Route, Upstream
from sartor.core.task import Task
from sartor.interfaces.settings import Settings
from sartor.pipeline.access import OWNER, create_key
from sartor.pipeline.routes import declare_route
from sartor.pipeline.run import run
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop

PRICE = {"input_million": 2.5, "output_million": 10.0, "currency": "EUR"}
GENEROUS = {"requests_per_minute": 1e8, "tokens_per_minute": 1e9, "money_per_day": 1e6}
"""Limits that are kept and never reached."""
TASK: dict[str, Any] = {
    "name": "desk",
    "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
    "value": {"wrong": 5, "volume": 1000},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}},
}


@dataclass(frozen=True)
class Ours:
    """A server that runs."""

    process: "subprocess.Popen[str]"
    url: str
    admin: str
    key: str
    """May everything."""
    home: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


def workshop(home: Path) -> Workshop:
    """The store of a benchmark, and the key beside it."""
    os.environ["SARTOR_KEY"] = str(home.parent / "signing.key")
    return Settings.read(home).workshop()


def declare(home: Path, upstreams: dict[str, str], routes: Sequence[dict[str, Any]]) -> None:
    """Declare upstreams by name and base URL, and routes with generous limits."""
    shop = workshop(home)
    for name, base in upstreams.items():
        spec = {"name": name, "base_url": base, "allow_private": True, "price": PRICE, "concurrency": 100_000}
        declare_upstream(shop, Upstream.model_validate(spec))
    for route in routes:
        declare_route(shop, Route.model_validate({"limits": GENEROUS} | route))
    shop.store.close()


def release_desk(home: Path) -> None:
    """Make, gate and release a small linear model of four labels: the task `desk`."""
    write_rows(home.parent / "rows.jsonl")
    shop = workshop(home)
    done = run(shop, Task.model_validate(TASK), home.parent)
    shop.store.close()
    if done.decision.verdict != "ship":
        raise SystemExit(f"The benchmark's own model was not released: {done.decision.reasons}")


def new_key(home: Path) -> str:
    """An administrator's key with limits."""
    shop = workshop(home)
    made = create_key(shop, OWNER, role="admin", limits=Allowance.model_validate(GENEROUS))
    shop.store.close()
    return str(made["key"])


@contextmanager
def ours(home: Path, *arguments: str) -> Iterator[Ours]:
    """The server over a store, with a key; killed at the end if it still runs."""
    key = new_key(home)
    command = [
        sys.executable,
        "-m",
        "sartor.interfaces.cli.main",
        "--home",
        str(home),
        "serve",
        "--port",
        "0",
        *arguments,
    ]
    log = (home.parent / "serve.log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().split() for _ in range(2)]
    if not all(lines):
        raise SystemExit(f"sartor serve did not start: {(home.parent / 'serve.log').read_text()[-2000:]}")
    try:
        yield Ours(process, lines[0][-1], lines[1][-1], key, home)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        log.close()


def fresh(folder: Path) -> Path:
    """An empty folder for a store."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder / "home"


def ask(ours: Ours, model: str, text: str = "my card is lost", **fields: Any) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one answer."""
    import urllib.error
    import urllib.request

    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]} | fields).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {ours.key}"}
    request = urllib.request.Request(f"{ours.url}/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def captured(home: Path, seconds: float = 120.0) -> dict[str, Any]:
    """Totals of the ledger's traffic once its index has caught up: exchanges, cost in nano-units, ids."""
    shop = workshop(home)
    index = shop.store.traffic.index
    give_up = time.monotonic() + seconds
    while index.catch_up() and time.monotonic() < give_up:
        continue
    ids: set[str] = set()
    cost, after, more = 0, "", True
    while more:
        page = index.exchanges(None, after=after, limit=1000)
        ids |= {row.id for row in page.rows}
        cost += sum(row.cost for row in page.rows)
        after, more = page.after, bool(page.after)
    shop.store.close()
    return {"ids": ids, "cost": cost}

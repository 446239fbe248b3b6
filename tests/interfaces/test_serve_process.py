"""`sartor serve` as real processes: what was acknowledged is kept, what dies comes back, what is told to stop ends."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_house import Giant, clients, environment, giant, serving, until

from benchmarks.kill import write_rows
from sartor.core.errors import AskError, ConflictError
from sartor.core.route import Route, Upstream
from sartor.core.task import Task
from sartor.core.traffic import NANO, Exchange
from sartor.interfaces.http import bind, engine_socket
from sartor.interfaces.live import lines, read
from sartor.pipeline.access import OWNER, create_key
from sartor.pipeline.routes import declare_route
from sartor.pipeline.run import run
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

TASK = {
    "name": "desk",
    "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
    "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}},
}
PRICE = {"input_million": 2.5, "output_million": 10.0, "currency": "EUR"}
COST = round((20 * 2.5 + 5 * 10.0) / 1e6 * NANO)
"""Nano-units of one answer of the upstream."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Giant]:
    with giant() as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, upstream: Giant) -> Path:
    """A store with a released task, an upstream, and a route to it that keeps everything before it answers."""
    folder = tmp_path_factory.mktemp("serve")
    write_rows(folder / "rows.jsonl")
    shop = opened(folder / "home")
    run(shop, Task.model_validate(TASK), folder)
    spec = {
        "name": "giant-1",
        "base_url": f"http://127.0.0.1:{upstream.port}/v1",
        "allow_private": True,
        "price": PRICE,
    }
    declare_upstream(shop, Upstream.model_validate(spec))
    kept = {"level": "full", "durability": "sync"}
    declare_route(shop, Route.model_validate({"name": "giant", "policy": "giant-1", "capture": kept}))
    shop.store.close()
    return folder / "home"


def opened(home: Path) -> Workshop:
    return Workshop(store=open_store(home), key=home.parent / "signing.key", cache=home.parent / "cache", who="tester")


def kept(home: Path) -> dict[str, Exchange]:
    """Every exchange that the index has, by id."""
    shop = opened(home)
    try:
        shop.store.traffic.index.catch_up()
        found: dict[str, Exchange] = {}
        after, more = "", True
        while more:
            page = shop.store.traffic.index.exchanges(None, after=after, limit=1000)
            found |= {row.id: row for row in page.rows}
            after, more = page.after, bool(page.after)
        return found
    finally:
        shop.store.close()


def test_one_process_answers_counts_and_finishes(home: Path, upstream: Giant) -> None:
    before = kept(home)
    with serving(home) as server:
        assert server.children() == {}
        for _ in range(3):
            status, said = server.chat("giant")
            assert (status, said["choices"][0]["message"]["content"]) == (200, "It is on its way.")
        assert server.chat("desk")[0] == 200
        assert server.chat("nobody")[0] == 404
        text = server.metrics()
        upstream.hold = threading.Event()
        late: list[Any] = []
        thread = threading.Thread(target=lambda: late.append(server.chat("giant")))
        thread.start()
        assert upstream.waiting.wait(20)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(server.port))
        upstream.hold.set()
        thread.join()
        upstream.hold = None
        assert late[0][0] == 200, "what was under way is answered"
        code, said = server.stop(0)
        assert (code, said) == (0, "")
    found = {ident: row for ident, row in kept(home).items() if ident not in before}
    assert late[0][1]["id"] in found
    counted = [row for ident, row in found.items() if ident != late[0][1]["id"]]
    reading = read(text, 1e12)
    assert sum(line.requests for line in lines(None, reading)) == len(counted) == 5
    cost = sum(value for sums in reading.routes.values() for (name, _), value in sums.items() if "cost" in name)
    local = sum(value for sums in reading.routes.values() for (name, _), value in sums.items() if "local_cost" in name)
    assert round((cost - local) * NANO) == sum(row.cost for row in counted)
    assert sum(row.cost for row in counted if row.route == "giant") == 3 * COST


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_killed_workers_and_a_killed_engine_lose_nothing_acknowledged(home: Path) -> None:
    with serving(home, "--workers", "2") as server:
        first = server.children()
        assert sorted(first) == ["engine", "w0", "w1"]
        with clients(server, "giant", 3) as asking, clients(server, "desk", 2) as local:
            for name in ("w0", "engine", "w1"):
                enough = [len(client.acknowledged) + 10 for client in [*asking, *local]]
                os.kill(first[name], signal.SIGKILL)
                until(lambda name=name: server.children().get(name, first[name]) != first[name])
                until(
                    lambda enough=enough: all(
                        len(c.acknowledged) >= n for c, n in zip([*asking, *local], enough, strict=True)
                    )
                )
            declare(home, "fresh", "giant-1")
            until(lambda: server.chat("fresh")[0] == 200, 5.0)
        assert sum(len(client.refused) for client in [*asking, *local]) == 0
        # A killed worker cuts the connections that it held, and no others.
        assert all(client.cut <= 2 for client in [*asking, *local])
        until(lambda: "sartor_workers 2.0" in server.metrics())
        code, said = server.stop()
    assert code == 0
    died = [json.loads(line) for line in said.splitlines() if '"process died"' in line]
    assert sorted(line["job"] for line in died) == ["engine", "w0", "w1"]
    found = kept(home)
    lost = [ident for client in asking for ident in client.acknowledged if ident not in found]
    assert lost == []
    assert all(found[ident].cost == COST for client in asking for ident in client.acknowledged)


def declare(home: Path, name: str, policy: str) -> None:
    shop = opened(home)
    declare_route(shop, Route.model_validate({"name": name, "policy": policy}))
    shop.store.close()


def test_a_server_that_cannot_start_says_why(home: Path, tmp_path: Path) -> None:
    def said(*arguments: str, folder: Path = home) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "sartor.interfaces.cli.main", "serve", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment(folder), timeout=60, check=False)

    taken = bind("127.0.0.1", 0)
    refused = said("--port", str(taken.getsockname()[1]))
    assert refused.returncode == 5
    assert "--port" in refused.stderr
    taken.close()
    assert said(folder=tmp_path / "nothing").returncode == 4
    open_door = said("--host", "0.0.0.0")
    assert open_door.returncode == 2
    assert "sartor key create" in open_door.stderr


def test_only_with_keys_others_are_let_in() -> None:
    with pytest.raises(AskError, match="no keys yet"):
        bind("0.0.0.0", 0)
    with bind("0.0.0.0", 0, keyed=True) as bound, pytest.raises(ConflictError):
        bind("0.0.0.0", bound.getsockname()[1], keyed=True)


def test_with_keys_the_server_and_its_control_plane_ask_for_them(tmp_path: Path, home: Path) -> None:
    shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("run"))
    shop = opened(tmp_path / "home")
    create_key(shop, OWNER, role="viewer")
    shop.store.close()
    with serving(tmp_path / "home", "--host", "0.0.0.0") as server:
        assert server.chat("giant")[0] == 401
        assert server.ask("GET", "/metrics", port=server.admin)[0] == 401
        assert server.ask("GET", "/health")[0] == 200
        assert server.stop(signal.SIGINT)[0] == 0


def test_the_engines_socket_is_its_owners_and_fits_whatever_the_folder(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / ("long" * 30)):
        root.mkdir(exist_ok=True)
        with engine_socket(root) as (bound, path):
            assert path.parent.stat().st_mode & 0o777 == 0o700
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                bound.accept()[0].close()
        assert not path.exists()


def test_spans_are_exported_by_a_running_server(home: Path) -> None:
    got: list[str] = []

    class Take(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            got.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Take) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{receiver.server_address[1]}"
        with serving(home, OTEL_EXPORTER_OTLP_ENDPOINT=at) as server:
            assert server.chat("desk")[0] == 200
            assert server.stop()[0] == 0
        receiver.shutdown()
    assert got == ["/v1/traces"]

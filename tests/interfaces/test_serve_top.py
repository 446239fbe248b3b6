"""`sartor top` over the metrics of a server on loopback: what it shows is what was counted."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sartor.core.traffic import Exchange, HopRow, nanos
from sartor.gateway.counters import Counters
from sartor.interfaces.live import Line, Reading, lines, read


def exchange(kind: Any, cost: float, seconds: float, **fields: Any) -> Exchange:
    given = {"id": "i", "at": 0.0, "tenant": "t", "key": "k", "route": "triage", "model": "m", "version": "triage@v1"}
    hops = [HopRow("m", kind, nanos(cost))]
    return Exchange(**(given | fields), cost=nanos(cost), seconds=seconds, first_seconds=seconds, hops=hops)


@pytest.fixture
def counters() -> Counters:
    found = Counters(clock=lambda: 1000.0)
    for _ in range(30):
        found.exchange(exchange("local", 0.001, 0.002))
    for _ in range(10):
        found.exchange(exchange("upstream", 0.1, 0.4))
    found.exchange(exchange("upstream", 0.0, 0.4, status=502, error="upstream_error"))
    found.exchange(exchange("local", 7.0, 9.0, endpoint="shadow"))
    return found


def reading(counters: Counters, at: float) -> Reading:
    return read(counters.text().decode(), at)


def test_since_the_start(counters: Counters) -> None:
    (line,) = lines(None, reading(counters, 1100.0))
    assert (line.route, line.requests, line.per_second) == ("triage", 41, 0.41)
    assert line.errors == pytest.approx(1 / 41)
    assert line.local == 0.75
    assert line.p50 == pytest.approx(0.001 + 0.0015 * 20.5 / 30)
    assert line.p95 is not None
    assert 0.25 < line.p95 < 0.5
    assert line.cost_hour == pytest.approx((30 * 0.001 + 10 * 0.1) * 36)
    assert line.saved_hour == pytest.approx(30 * (0.1 - 0.001) * 36)


def test_between_two_readings_and_after_a_restart(counters: Counters) -> None:
    before = reading(counters, 1100.0)
    assert lines(before, reading(counters, 1102.0)) == []
    counters.exchange(exchange("local", 0.001, 0.002))
    (line,) = lines(before, reading(counters, 1102.0))
    assert (line.requests, line.per_second, line.local) == (1, 0.5, 1.0)
    assert line.saved_hour == pytest.approx((0.1 - 0.001) / 2 * 3600)
    anew = Counters(clock=lambda: 1101.0)
    anew.exchange(exchange("local", 0.001, 0.002))
    (line,) = lines(before, reading(anew, 1102.0))
    assert line.per_second == 1.0
    assert line.saved_hour is None, "nobody knows what an upstream would have cost"


@dataclass
class Served:
    url: str
    authorization: list[str] = field(default_factory=list)


@pytest.fixture
def served(counters: Counters) -> Iterator[Served]:
    counters.watch("connections", lambda: 12)
    counters.watch("capture", lambda: {"written": 41, "dropped_records": 2})
    found = Served("")

    class Metrics(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.authorization.append(self.headers["authorization"] or "")
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(counters.text())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Metrics) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def sartor(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "top", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "160"})


def test_the_command_prints_it(served: Served, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sartor_abc\n")
    said = sartor("--url", served.url, "--key-file", str(tmp_path / "key"), "--once", "--json")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["routes"][0]["requests"] == 41
    assert found["process"]["connections"] == 12
    assert set(found["routes"][0]) == set(Line.__dataclass_fields__)
    assert served.authorization == ["Bearer sartor_abc"]
    shown = sartor("--url", served.url, "--once").stdout
    assert "triage" in shown
    assert "75.0%" in shown
    assert "capture 41 written, 2 dropped" in shown


def test_without_a_server_it_says_what_to_do() -> None:
    said = sartor("--url", "http://127.0.0.1:9", "--once")
    assert said.returncode == 75
    assert "Start one with 'sartor serve'" in said.stderr
    assert sartor("--url", "gopher://x", "--once").returncode == 2

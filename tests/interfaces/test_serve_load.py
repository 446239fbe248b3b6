"""A seeded part of `benchmarks load`: routes, keys and pointers change under traffic, and no request fails."""

import asyncio
from pathlib import Path

import pytest
from serve_house import giant

from benchmarks import load
from benchmarks._ours import ours, release_desk

SECONDS = 8.0
RATE = 40.0


def test_no_request_fails_while_routes_keys_and_pointers_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARTOR_KEY", str(tmp_path / "signing.key"))
    monkeypatch.setenv("SARTOR_THREADS", "1")
    home = tmp_path / "home"
    release_desk(home)
    with giant() as upstream:
        load.prepare(home, f"http://127.0.0.1:{upstream.port}/v1")
        with ours(home) as server:
            tally = asyncio.run(load.drive(server, RATE, SECONDS))
            assert server.stop() == 0
    assert tally.failed == []
    assert tally.good >= RATE * SECONDS - load.CONNECTIONS
    assert tally.changes >= 4
    files = [files for _, _, files in tally.memory]
    assert files[-1] <= files[1] + load.CONNECTIONS

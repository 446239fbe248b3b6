"""A real gateway and a real replay server as processes, for the benchmarks that go through them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._shared import HOME, ROOT

COMMAND = (sys.executable, "-m", "sartor.interfaces.cli.main")


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[str]:
    """A command that prints the address at which it listens; ended with SIGTERM when the block ends."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive", "SARTOR_HOME": str(HOME)} | environment
    env.setdefault("SARTOR_KEY", str(HOME.parent / "bench.key"))
    running = subprocess.Popen([*COMMAND, *arguments], env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield _address(running)
    finally:
        running.terminate()
        try:
            running.wait(timeout=60)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _address(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    for line in running.stdout:
        if found := re.search(r"http://\S+?(?=/v1|\s|$)", line):
            return found[0].rstrip("/.,")
    raise SystemExit(f"{' '.join(map(str, running.args))} ended before it listened.")  # type: ignore[arg-type]


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """Rows as a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path

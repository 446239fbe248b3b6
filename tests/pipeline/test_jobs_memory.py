"""The remembered steps of workers that stand on one store: none takes away what another one waits at."""

import subprocess
import sys
from pathlib import Path

import pytest

from sartor.store.opening import open_store

pytest.importorskip("dbos", reason="needs the extra 'worker'")

BEGIN = """
import os, sys
from pathlib import Path
from dbos import DBOS
from sartor.pipeline.durable import Memory
from sartor.store.opening import open_store

memory = Memory(open_store(Path(sys.argv[1])), sys.argv[2])
print(*sorted(queue.name for queue in DBOS.list_queues()), flush=True)
if sys.argv[3] == "stop":
    memory.close()
os._exit(0)  # else as one that is killed, or that has only just begun
"""


def begin(home: Path, worker: str, end: str) -> list[str]:
    """A worker's memory opens in a process of its own; the queues that stand then."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, str(home), worker, end], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_worker_that_begins_leaves_the_queues_of_others_alone(tmp_path):
    open_store(tmp_path / "home").close()
    assert begin(tmp_path / "home", "one-1", "go on") == ["sartor-one-1"]
    assert begin(tmp_path / "home", "two-1", "stop") == ["sartor-one-1", "sartor-two-1"]
    assert begin(tmp_path / "home", "six-1", "stop") == ["sartor-one-1", "sartor-six-1"]

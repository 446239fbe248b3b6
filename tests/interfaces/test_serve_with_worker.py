"""`sartor serve --with-worker`: jobs are done beside answering, the worker comes back when it dies and ends with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from serve_house import Serving, serving, until

from benchmarks.kill import write_rows
from sartor.core.jobs import JobRequest
from sartor.pipeline.run_job import run_request
from sartor.store.opening import open_store

pytest.importorskip("dbos", reason="a worker needs the extra 'worker'")
TASK = {
    "name": "desk",
    "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
    "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}},
}


def worker_of(server: Serving) -> int:
    """Process of the worker of jobs; 0 while there is none."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
            parent = int((place.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == server.process.pid and b"sartor.interfaces.job_worker" in words:
            return int(place.parent.name)
    return 0


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_done_beside_answering_and_the_worker_ends_with_the_server(tmp_path: Path, workers: int) -> None:
    write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(TASK))
    store = open_store(tmp_path / "home")
    job = store.jobs.submit(run_request(tmp_path / "task.yaml"))
    with serving(tmp_path / "home", "--with-worker", "--workers", str(workers)) as server:
        until(lambda: store.jobs.get(job.id).has_ended, 60)
        done = store.jobs.get(job.id)
        assert (done.state, done.result["version"]) == ("succeeded", "desk@v1"), done
        until(lambda: server.chat("desk")[0] == 200, 30)  # what the job released is served
        first = worker_of(server)
        os.kill(first, signal.SIGKILL)
        second = store.jobs.submit(JobRequest("run"))
        until(lambda: store.jobs.get(second.id).has_ended, 60)
        assert store.jobs.get(second.id).code == "bad_job"
        assert worker_of(server) not in (0, first)
        assert [hand["queues"] for hand in server.ask("GET", "/api/v1/workers", port=server.admin)[1]][-1] == ["cpu"]
        last = worker_of(server)
        code, said = server.stop()
        assert code == 0, said
        assert not Path(f"/proc/{last}").exists()
    store.close()


def test_who_only_answers_or_asks_never_loads_dbos() -> None:
    modules = ("interfaces.http", "interfaces.cli.main", "interfaces.cli.jobs", "interfaces.beside")
    verbs = ("pipeline.jobs", "pipeline.work", "pipeline.worker", "pipeline.run_job", "store.opening")
    imports = "; ".join(f"import sartor.{name}" for name in (*modules, *verbs))
    code = f"import sys; {imports}; sys.exit('dbos' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_it_says_so_before_it_serves(tmp_path: Path) -> None:
    hidden = (
        "import importlib.util as u, sys; found = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'dbos' else found(name, *a); "
        "from sartor.interfaces.cli.main import main; "
        "sys.argv = ['sartor', 'serve', '--with-worker', '--port', '0']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden],
        env=os.environ | {"SARTOR_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    assert "pip install 'sartor[worker]'" in done.stderr
    assert not (tmp_path / "home").exists()

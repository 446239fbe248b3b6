"""Jobs in this process: the walk as a job, what is tried again and what not, what the command line says."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jobs_house import KINDS, lines

from sartor.core.errors import (
    AskError,
    BusyError,
    ConflictError,
    MissingExtraError,
    NotFoundError,
    OverdueError,
    RateError,
    RefusedError,
    SartorError,
    StoreError,
    UpstreamError,
)
from sartor.core.jobs import Job, JobRequest
from sartor.core.records import Decision, Report, Run
from sartor.core.task import Task
from sartor.interfaces.cli.main import app
from sartor.pipeline import attempt, stock
from sartor.pipeline.attempt import again_in
from sartor.pipeline.run import run
from sartor.pipeline.run_job import plan_job, run_request
from sartor.pipeline.work import run_here
from sartor.pipeline.worker import Settings, Worker, queues_named
from sartor.pipeline.workshop import Workshop

Command = Callable[..., Any]


@pytest.fixture
def task_file(rows_folder: Path, desk: Task, tmp_path: Path) -> Path:
    path = tmp_path / "task.yaml"
    (tmp_path / "rows.jsonl").write_bytes((rows_folder / "rows.jsonl").read_bytes())
    path.write_text(yaml.safe_dump(json.loads(desk.model_dump_json(exclude_defaults=True))))
    return path


def test_the_walk_as_a_job_is_that_of_sartor_run(shop: Workshop, task_file: Path, desk: Task) -> None:
    request = run_request(task_file)
    planned = plan_job(shop, request.args)
    assert [step["verb"] for step in planned["steps"]] == ["curate", "make", "answer"]
    assert planned["seconds"] > 0
    assert planned["cost"] > 0
    job = run_here(shop, request)
    assert (job.state, job.result["version"], job.result["verdict"]) == ("succeeded", "desk@v1", "ship"), job.error
    records = [shop.store.ledger.count(kind) for kind in (Run, Decision, Report)]
    (task_file.parent / "rows.jsonl").touch()
    direct = run(shop, desk, task_file.parent)
    assert direct.body() == job.result
    assert run_here(shop, request).result == job.result
    assert [shop.store.ledger.count(kind) for kind in (Run, Decision, Report)] == records
    assert plan_job(shop, request.args)["seconds"] == 0
    assert shop.store.ledger.get(direct.decision.digest).who == "tester"  # type: ignore[attr-defined]


def test_a_run_whose_task_is_wrong_or_retired_says_so_and_is_not_tried_again(shop: Workshop, task_file: Path) -> None:
    request = run_request(task_file)
    broken = run_here(shop, replace(request, args=request.args | {"task": "name: desk"}))
    assert (broken.state, broken.code, broken.attempts) == ("failed", "bad_task", 1)
    empty = run_here(shop, JobRequest("run"))
    assert (empty.state, empty.code) == ("failed", "bad_job")
    moved = run_here(shop, replace(request, args=request.args | {"base_dir": "/nowhere"}))
    assert moved.state == "failed"
    assert "/nowhere/rows.jsonl" in moved.error
    assert run_here(shop, request).state == "succeeded"
    stock.retire(shop, "desk", why="no longer sold")
    retired = run_here(shop, request)
    assert (retired.state, retired.attempts) == ("failed", 1)
    assert "retired" in retired.error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StoreError("full"), 2.0),
        (OverdueError("late"), 2.0),
        (ConnectionResetError(), 2.0),
        (OSError(28, "no room"), 2.0),
        (BusyError("busy", retry_after=7.0), 7.0),
        (RateError("slow down", retry_after=0.1), 2.0),
        (UpstreamError("away", retryable=True, retry_after=30.0), 30.0),
        (UpstreamError("refused", retryable=False), None),
        (ConflictError("moved", code="pointer_moved"), 2.0),
        (ConflictError("taken"), None),
        (AskError("wrong"), None),
        (NotFoundError("gone"), None),
        (RefusedError("no"), None),
        (SartorError("odd"), None),
        (ValueError("a bug"), None),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_else(error: Exception, again: float | None) -> None:
    assert again_in(error, 0) == again
    if again is not None:
        assert (again_in(error, 3) or 0.0) == max(again, 16.0)
        assert again_in(error, 50) == 300.0


def test_a_job_is_done_here_to_its_end_through_failures_and_waits(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "BACKOFF", (0.05, 1.0))
    asked = JobRequest("shaky", {"folder": str(tmp_path)})
    done = run_here(shop, asked, KINDS)
    assert (done.state, done.failures, done.attempts) == ("succeeded", 2, 3)
    dead = run_here(shop, JobRequest("shaky", {"folder": str(tmp_path / "none")}, most_attempts=1), KINDS)
    assert (dead.state, dead.code) == ("failed", "job_failed")  # its own fault: there is no such folder
    with pytest.raises(NotFoundError, match="Did you mean 'shaky'"):
        run_here(shop, JobRequest("shakey"), KINDS)
    assert shop.store.leases.hands() == []


def test_who_waits_sees_progress_and_a_cancel_reaches_the_job(shop: Workshop, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    watching = replace(shop, progress=lambda *how: seen.append(how))
    found: list[Job] = []
    asked = JobRequest("long", {"folder": str(tmp_path)}, once="long")
    waiting = threading.Thread(target=lambda: found.append(run_here(watching, asked, KINDS)))
    waiting.start()
    while not lines(tmp_path):
        time.sleep(0.01)
    job = shop.store.jobs.find()[0]
    second = threading.Thread(target=lambda: found.append(run_here(shop, asked, KINDS)))  # waits for the same one
    second.start()
    shop.store.jobs.ask(job.id, "cancel")
    waiting.join()
    second.join()
    assert {(one.id, one.state) for one in found} == {(job.id, "cancelled")}
    assert seen[0] == ("epochs", 0, 400)
    assert len(lines(tmp_path)) == 1
    assert (found[0].attempts, found[0].failures) == (1, 0)
    assert 0 < seen[-1][1] < 399


def test_a_worker_that_can_not_begin_says_why(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AskError, match="can't name a worker"):
        Worker(shop, Settings(name="My Worker"))
    with pytest.raises(NotFoundError, match="There is no queue 'tpu'"):
        queues_named(["cpu", "tpu"])
    monkeypatch.delitem(sys.modules, "sartor.pipeline.durable", raising=False)
    monkeypatch.setitem(sys.modules, "dbos", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sartor\[worker\]'"):
        Worker(shop).run()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Runs `sartor jobs …` in this process; its JSON, or with `plain` what people see."""
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SARTOR_KEY", str(tmp_path / "signing.key"))
    monkeypatch.setenv("SARTOR_WHO", "Kim")
    for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")

    def ran(*arguments: str, plain: bool = False) -> Any:
        app(args=[*([] if plain else ["--json"]), "jobs", *arguments], prog_name="sartor", standalone_mode=False)
        said = capsys.readouterr().out
        return said if plain else json.loads(said)

    return ran


def test_the_command_line_asks_looks_and_changes(command: Command, task_file: Path, tmp_path: Path) -> None:
    assert [step["verb"] for step in command("submit", str(task_file), "--dry-run")["steps"]] == [
        *("curate", "make", "answer")
    ]
    assert command("list") == []
    job = command("submit", str(task_file), "--priority", "2")
    assert command("submit", str(task_file))["id"] == job["id"]  # the same run is not asked for twice
    assert (job["kind"], job["task"], job["once"], job["who"]) == ("run", "desk", "run:desk", "Kim")
    assert command("show", job["id"]) == command("list", "--state", "queued")[0] == job
    assert command("pause", job["id"])["state"] == "paused"
    assert command("resume", job["id"])["state"] == "queued"
    done = command("submit", str(task_file), "--wait")
    assert (done["id"], done["state"], done["result"]["version"]) == (job["id"], "succeeded", "desk@v1")
    assert command("cancel", job["id"])["state"] == "succeeded"
    with pytest.raises(ConflictError, match="succeeded"):
        command("retry", job["id"])
    assert "succeeded" in command("logs", job["id"], plain=True)
    assert "desk@v1" in command("watch", job["id"], plain=True)
    assert "No worker" in command("workers", plain=True)
    assert {kind["kind"] for kind in command("kinds")} >= {"run"}
    assert "run" in command("list", plain=True)
    with pytest.raises(NotFoundError, match="There is no job 'job-0'"):
        command("show", "job-0")
    with pytest.raises(AskError, match="JSON object"):
        command("submit", "learn", "--args", "[1]")
    assert command("submit", "learn", "--args", '{"task": "desk"}', "--queue", "gpu")["queue"] == "gpu"

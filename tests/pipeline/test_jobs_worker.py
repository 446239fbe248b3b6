"""Workers as real processes on both databases: killed, frozen, stopped, cut off from the database, side by side."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jobs_house import lines, shop_in

from sartor.core.jobs import Job, JobRequest
from sartor.core.records import TaskRecord
from sartor.pipeline.workshop import Workshop

pytest.importorskip("dbos", reason="a worker needs the extra 'worker'")
PATIENCE = 40.0
on_sqlite = pytest.mark.parametrize("yard", ["sqlite"], indirect=True)
"""What the database has no part in; the store's own tests run on both."""


@dataclass
class Yard:
    """A store, and the workers that were started on it."""

    folder: Path
    url: str
    shop: Workshop
    running: list["subprocess.Popen[str]"] = field(default_factory=list)

    def worker(self, name: str = "", queues: str = "cpu", slots: int = 1) -> "subprocess.Popen[str]":
        command = [sys.executable, str(Path(__file__).with_name("jobs_house.py")), str(self.folder), self.url, name]
        process = subprocess.Popen([*command, queues, str(slots)], stdout=subprocess.PIPE, text=True)
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def ask(self, kind: str, **args: Any) -> Job:
        how = {name: args.pop(name) for name in ("tenant", "queue", "most_attempts", "once") if name in args}
        return self.shop.store.jobs.submit(JobRequest(kind, {"folder": str(self.folder), **args}, **how))

    def until(self, holds: Callable[[], bool]) -> None:
        over = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < over, self.shop.store.jobs.find()
            time.sleep(0.02)

    def ended(self, job: Job) -> Job:
        self.until(lambda: self.shop.store.jobs.get(job.id).has_ended)
        return self.shop.store.jobs.get(job.id)

    def begun(self, what: str) -> None:
        self.until(lambda: any(line[0] == what for line in lines(self.folder)))

    def times(self, what: str) -> int:
        return sum(line[0] == what for line in lines(self.folder))

    def go(self) -> None:
        (self.folder / "go").touch()

    def stop(self, process: "subprocess.Popen[str]") -> str:
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=PATIENCE)[0]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    shop = shop_in(tmp_path, url)
    made = Yard(tmp_path, url, shop)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()
    shop.store.close()


@pytest.mark.parametrize("second", ["first", "another"])
def test_a_killed_workers_job_goes_on_after_its_last_finished_step(yard: Yard, second: str) -> None:
    job = yard.ask("steps", steps=4, wait_in=2)
    first = yard.worker("first")
    yard.begun("x-2")
    first.kill()
    first.wait()
    yard.go()
    yard.worker(second)
    done = yard.ended(job)
    assert (done.state, done.result["total"], done.attempts, done.failures) == ("succeeded", 6, 2, 1)
    assert [yard.times(f"x-{n}") for n in range(4)] == [1, 1, 2, 1]
    assert done.result["by"] != first.pid
    says = [event.message for event in yard.shop.store.jobs.events(job.id)]
    assert "worker first was lost" in says
    assert [says.count(f"did {n}") for n in range(2, 4)] == [1, 1]


def test_a_worker_that_only_slept_writes_nothing_and_works_on(yard: Yard) -> None:
    job = yard.ask("steps", steps=3, wait_in=1)
    sleeper = yard.worker("sleeper")
    yard.begun("x-1")
    sleeper.send_signal(signal.SIGSTOP)
    yard.worker("awake")
    yard.until(lambda: yard.times("x-1") == 2)  # the lease is over, and the other one has the job
    yard.go()
    done = yard.ended(job)
    sleeper.send_signal(signal.SIGCONT)
    after = yard.ask("steps", steps=1, tag="after")
    assert yard.ended(after).state == "succeeded"
    other = yard.running[1]
    yard.until(lambda: not any(job.id in hand.jobs for hand in yard.shop.store.leases.hands()))
    assert yard.stop(other).endswith("ended\n")
    last = yard.ask("steps", steps=1, tag="last")
    assert yard.ended(last).result["by"] == sleeper.pid  # it lives, and works on
    made = yard.shop.store.ledger.find(TaskRecord, name="x-1") + yard.shop.store.ledger.find(TaskRecord, name="x-2")
    assert [record.contract["by"] for record in made] == [other.pid, other.pid]
    assert (done.state, done.attempts, done.result["by"]) == ("succeeded", 2, other.pid)
    assert yard.times("x-1-written") == 1


def test_two_workers_share_the_jobs_and_do_each_once(yard: Yard) -> None:
    jobs = [yard.ask("steps", steps=2, tag=f"j{n}", tenant=f"t{n % 2}") for n in range(10)]
    gpu = yard.ask("steps", steps=1, tag="gpu", queue="gpu")
    yard.worker("one")
    yard.worker("two", queues="cpu,gpu", slots=2)
    found = [yard.ended(job) for job in jobs]
    assert {job.state for job in found} == {"succeeded"}
    assert [yard.times(f"j{n}-{step}") for n in range(10) for step in range(2)] == [1] * 20
    assert yard.ended(gpu).result["by"] == yard.running[1].pid
    assert all(job.attempts == 1 for job in found)


@on_sqlite
def test_cancel_pause_and_resume_reach_a_running_job(yard: Yard) -> None:
    yard.worker("w", slots=2)
    paused, cancelled = yard.ask("steps", steps=3, wait_in=1), yard.ask("long")
    jobs = yard.shop.store.jobs
    yard.begun("x-1")
    yard.begun("long")
    jobs.ask(paused.id, "pause")
    jobs.ask(cancelled.id, "cancel")
    jobs.ask(cancelled.id, "cancel")
    assert yard.ended(cancelled).state == "cancelled"  # inside its step, where it tells how far it is
    yard.go()
    yard.until(lambda: jobs.get(paused.id).state == "paused")
    assert yard.times("x-2") == 0
    jobs.resume(paused.id)
    done = yard.ended(paused)
    assert (done.state, done.failures) == ("succeeded", 0)
    assert [yard.times(f"x-{n}") for n in range(3)] == [1, 1, 1]
    again = jobs.retry(cancelled.id)
    assert yard.ended(again).state == "succeeded"


@on_sqlite
def test_failures_are_told_tried_again_or_not_and_finished_steps_stay(yard: Yard) -> None:
    yard.worker("w")
    wrong = yard.ended(yard.ask("wrong"))
    assert (wrong.state, wrong.error, wrong.code, wrong.attempts) == (
        *("failed", "There is no task 'gone'.", "task_not_found"),
        1,
    )
    dead = yard.ended(yard.ask("shaky", most_attempts=2))
    assert (dead.state, dead.error, dead.failures) == ("dead", "The disk is full.", 2)
    yard.shop.store.jobs.retry(dead.id)
    done = yard.ended(dead)
    assert (done.state, done.result, yard.times("steady"), yard.times("shaky")) == ("succeeded", {"fine": True}, 1, 3)
    changed = yard.ended(yard.ask("changed"))
    assert (changed.state, changed.result) == ("succeeded", {"steps": "new"})


@on_sqlite
def test_a_job_that_waits_for_its_parts_leaves_its_place_to_them(yard: Yard) -> None:
    job = yard.ask("parent")
    yard.worker("only")
    done = yard.ended(job)
    assert (done.state, done.failures, done.result) == ("succeeded", 0, {"done": {"succeeded": 3}})
    assert len(yard.shop.store.jobs.find(part_of=job.id)) == 3


@on_sqlite
def test_a_worker_that_is_told_to_stop_gives_its_job_back(yard: Yard) -> None:
    job, waiting = yard.ask("steps", steps=3, wait_in=1), yard.ask("long")
    first = yard.worker("first", slots=2)
    yard.begun("x-1")
    yard.begun("long")
    first.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    yard.go()
    assert first.communicate(timeout=PATIENCE)[0].endswith("ended\n")
    assert first.returncode == 0
    stands = yard.shop.store.jobs.get(job.id)
    assert (stands.state, stands.failures, yard.times("x-2")) == ("queued", 0, 0)
    assert yard.shop.store.leases.hands() == []
    yard.worker("second")
    assert (yard.ended(job).state, yard.ended(waiting).state) == ("succeeded", "succeeded")
    assert [yard.times(f"x-{n}") for n in range(3)] == [1, 1, 1]


@on_sqlite
def test_a_second_worker_of_the_same_name_ends_the_first(yard: Yard) -> None:
    job = yard.ask("steps", steps=3, wait_in=1)
    first = yard.worker("same")
    yard.begun("x-1")
    second = yard.worker("same")
    yard.until(lambda: yard.times("x-1") == 2)
    yard.go()
    done = yard.ended(job)
    assert (done.state, done.result["by"], done.attempts) == ("succeeded", second.pid, 2)
    assert first.communicate(timeout=PATIENCE)[0] == ""
    assert first.returncode == 1
    assert second.poll() is None


@pytest.mark.postgres
def test_a_database_that_is_away_is_waited_for(tmp_path: Path, postgres_server: Any, postgres_url: str) -> None:
    name = postgres_url.split("@/")[1].split("?", maxsplit=1)[0]
    shop = shop_in(tmp_path, postgres_url)
    yard = Yard(tmp_path, postgres_url, shop)
    try:
        job = yard.ask("steps", steps=4, wait_in=1)
        worker = yard.worker("w")
        yard.begun("x-1")
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yard.go()
        time.sleep(4.0)  # longer than the lease
        assert worker.poll() is None
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        done = yard.ended(job)
        assert (done.state, done.result["total"], done.result["by"]) == ("succeeded", 6, worker.pid)
        assert [yard.times(f"x-{n}") for n in (0, 2, 3)] == [1, 1, 1]
        assert yard.stop(worker).endswith("ended\n")
    finally:
        for process in yard.running:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        shop.store.close()

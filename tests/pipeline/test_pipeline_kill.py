"""A seeded part of `benchmarks kill`: SIGKILL, run again, and everything is as if nothing had happened."""

import random

import pytest

from benchmarks.kill import digests, finish, one_kill, start, write_rows

TASK = """
name: kill
data:
  sources: [{use: jsonl, path: rows.jsonl, licence: owned}]
value: {wrong: 5, escalate: {to: person, price: 1, error_rate: 0.05}}
candidates: [{recipe: linear, size: small}]
gate: {min_rows: 50, guards: {}}
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    import shutil
    import time

    work = tmp_path_factory.mktemp("kill")
    (work / "task.yaml").write_text(TASK)
    write_rows(work / "rows.jsonl")
    seed_home = work / "seed"
    seed_home.mkdir()
    shutil.copytree(seed_home, work / "undisturbed")
    started = time.perf_counter()
    finish(work, work / "undisturbed", "run", "task.yaml")
    return work, seed_home, digests(work / "undisturbed"), time.perf_counter() - started


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_an_instant(prepared, seed):
    work, seed_home, undisturbed, seconds = prepared
    kill = {"after_seconds": random.Random(seed).uniform(0.3, seconds)}
    outcome = one_kill(work, seed_home, kill, undisturbed)
    assert outcome["same"]
    assert outcome["once"]


@pytest.mark.parametrize("steps", [1, 2])
def test_killed_at_a_step_boundary(prepared, steps):
    work, seed_home, undisturbed, _ = prepared
    outcome = one_kill(work, seed_home, {"after_steps": steps}, undisturbed)
    assert outcome == {"killed": True, "same": True, "once": True}


def test_two_runs_at_once_end_as_one(prepared):
    work, seed_home, undisturbed, _ = prepared
    import shutil

    home = work / "both"
    shutil.copytree(seed_home, home)
    pair = [start(work, home, "run", "task.yaml") for _ in range(2)]
    codes = [process.wait() for process in pair]
    for process in pair:
        process.stderr.close()
    assert 0 in codes
    finish(work, home, "run", "task.yaml")
    found = digests(home)
    assert found["pointers"] == undisturbed["pointers"]

"""A seeded part of `benchmarks kill`: disturbed runs end as if nothing had happened."""

import random

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("dbos", reason="the extra 'worker' is not installed")

from benchmarks import _killing as killing
from benchmarks.kill import Case, matrix, outcome, prepared


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("kill") / "work", None, runs=1)


def as_undisturbed(found) -> bool:
    assert not found.trouble
    return found.same and found.once and found.whole


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_an_instant(bench, seed):
    at = random.Random(seed).uniform(0.2, bench.seconds)
    assert as_undisturbed(outcome(bench, Case("instant", at, "sqlite", 0), f"instant{seed}"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_is_killed_at_a_step_boundary(bench, workers):
    boundary = random.Random(workers).randint(2, bench.boundaries - 2)
    found = outcome(bench, Case("boundary", boundary, "sqlite", workers), f"boundary{workers}")
    assert as_undisturbed(found)
    assert found.hit


def test_a_worker_that_slept_past_its_lease_writes_nothing(bench):
    found = outcome(bench, Case("woken late", 0.4 * bench.seconds, "sqlite", 2), "frozen")
    assert as_undisturbed(found)


def test_no_room_for_checkpoints(bench):
    found = outcome(bench, Case("disk full", 0, "sqlite", 1), "full")
    if not found.hit:
        pytest.skip("a small file system can't be mounted here: not root")
    assert as_undisturbed(found)


def test_two_runs_at_once_end_as_one(bench):
    case = Case("instant", 0, "sqlite", 0)
    with bench.place(case, "both") as place:
        for name in ("a", "b"):
            place.begin(name, killing.sartor, "run", "task.yaml")
        for process in place.crew.values():
            process.join(killing.PATIENCE)
        assert 0 in {process.exitcode for process in place.crew.values()}
        killing.run_again(place)
        found = killing.left(place)
    assert found.found["pointers"] == bench.wanted.found["pointers"]
    assert not found.faults


def test_the_matrix_has_every_disturbance(bench):
    cases = matrix(bench)
    assert len(cases) == len(set(cases)) == 3 * (bench.boundaries + 20) + 2 * (4 + 4) + 3
    assert bench.boundaries == 15

"""Sweeps: tried on few rows, then on more, within the seconds, on validation alone; killed and gone on; on Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sartor.core.errors import AskError, NotFoundError, SartorError
from sartor.core.halving import halve, rungs
from sartor.core.records import Report, Run
from sartor.core.rows import Row, Snapshot
from sartor.core.sweeping import Range, Sweep
from sartor.core.task import Task
from sartor.pipeline.run import run
from sartor.pipeline.sweep import read_sweep, sweep, with_settings, written
from sartor.pipeline.sweep_file import write_candidate
from sartor.pipeline.sweep_places import in_order, place_of, ray_environment, ray_settings, task_settings
from sartor.pipeline.sweep_trial import some
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

SPACE = {"losses": [["hinge"], ["logistic"]], "characters": [[2, 3], [2, 4]]}


def swept_task(desk: Task, **more: object) -> Task:
    spec = {"of": "linear", "space": SPACE, "least_rows": 60, **more}
    return desk.model_copy(update={"sweep": Sweep.model_validate(spec)})


def here(shop: Workshop, environment: dict[str, str] | None = None):
    return lambda wanted, do: place_of(wanted, do, environment or {}, 1)


def runs(shop: Workshop, verb: str) -> list[Run]:
    return shop.store.ledger.find(Run, verb=verb, status="done", limit=1000)


def test_rounds_halve_and_the_last_has_all():
    plan = rungs(9, 50, 450, 3.0)
    assert [(rung.arms, rung.amount) for rung in plan] == [(9, 50), (3, 450)]
    assert [(r.arms, r.amount) for r in rungs(27, 10, 270, 3.0)] == [(27, 10), (9, 30), (3, 270)]
    assert [(r.arms, r.amount) for r in rungs(1, 10, 20)] == [(1, 20)]
    asked = Counter[int]()

    def losses(arms, amount):
        asked.update({amount: len(arms)})
        return [None if arm == 4 else abs(arm - 6) / amount for arm in arms]

    found = halve(range(9), plan, losses)
    assert asked == {50: 9, 450: 3}
    assert found.losses[0][0] == 6
    assert halve(range(9), plan, lambda arms, _: [None] * len(arms)).losses == ()


def test_combinations_are_drawn_by_the_seed_and_each_once():
    grid = Sweep.model_validate({"of": "x", "space": SPACE}).combinations(1)
    assert len(grid) == 4
    assert grid != Sweep.model_validate({"of": "x", "space": SPACE}).combinations(2)
    drawn = {"rate": {"low": 1e-4, "high": 1e-2, "log": True}, "rank": {"low": 1, "high": 3, "whole": True}}
    some_ = Sweep.model_validate({"of": "x", "space": drawn, "samples": 30}).combinations(0)
    assert len(some_) == 30
    assert all(1e-4 <= one["rate"] <= 1e-2 and one["rank"] in (1, 2, 3) for one in some_)
    assert sum(one["rate"] < 1e-3 for one in some_) > 8
    few = Sweep.model_validate({"of": "x", "space": {"rank": [1, 2]}, "samples": 9})
    assert len(few.combinations(0)) == 2
    with pytest.raises(ValueError, match="samples"):
        Sweep.model_validate({"of": "x", "space": drawn})
    with pytest.raises(ValueError, match="above 0"):
        Range(low=0, high=1, log=True)


def test_fewer_rows_are_always_among_more_and_labels_keep_their_share():
    rows = [Row(str(n), f"t{n}", "rare" if n % 10 == 0 else "common") for n in range(200)]
    snapshot = Snapshot({"train": rows, "validation": rows[:5], "test": rows}, ("common", "rare"))
    small, large = (some(snapshot, count, 3).splits for count in (40, 120))
    assert {row.id for row in small["train"]} < {row.id for row in large["train"]}
    assert Counter(row.label for row in small["train"]) == {"common": 36, "rare": 4}
    assert list(small["test"]) == []
    assert some(snapshot, 500, 3).splits["train"] == rows


def test_a_sweep_finds_keeps_and_writes(shop, desk, rows_folder, tmp_path):
    task = swept_task(desk)
    found = sweep(shop, task, rows_folder, here(shop))
    first, last = found.rounds
    assert (first["rows"], len(first["tried"])) == (60, 5)  # four combinations, and the candidate as it stands
    assert last["rows"] > 60
    assert 1 <= len(last["tried"]) <= 2
    assert found.loss == last["tried"][0]["loss"]
    tried = runs(shop, "try")
    assert len(tried) == sum(len(one["tried"]) for one in found.rounds)
    assert not runs(shop, "answer"), "no variant was asked about any test row"
    assert found.cpu_seconds == pytest.approx(sum(run.cpu_seconds for run in tried))
    assert isinstance(shop.store.ledger.get(found.report), Report)
    # Again: nothing is tried again, and all is the same.
    again = sweep(shop, task, rows_folder, here(shop))
    assert replace(again, report="") == replace(found, report="")
    assert len(runs(shop, "try")) == len(tried)
    # What is found runs through the chain as any candidate does.
    winner = with_settings(desk.candidates[0], {"losses": ["hinge"], "size": "medium"})
    named = written(winner.model_copy(update={"name": "linear-swept"}))
    assert named == {"recipe": "linear", "name": "linear-swept", "params": {"losses": ["hinge"]}}
    result = run(
        shop,
        task.model_copy(update={"candidates": (*desk.candidates, winner.model_copy(update={"name": "w"}))}),
        rows_folder,
    )
    assert set(result.variants) == {"linear", "w"}


def test_the_seconds_end_the_search(shop, desk, rows_folder):
    found = sweep(shop, swept_task(desk, cpu_seconds=1e-3), rows_folder, here(shop))
    assert found.over
    assert [len(one["tried"]) for one in found.rounds] == [1]
    assert found.settings == {}


def test_what_cannot_be_searched_is_told(shop, desk, rows_folder, tmp_path):
    with pytest.raises(NotFoundError, match=r"no candidate 'linaer'.*Did you mean 'linear'"):
        sweep(shop, swept_task(desk, of="linaer"), rows_folder, here(shop))
    with pytest.raises(AskError, match="unknown key 'loses'"):
        sweep(shop, swept_task(desk, space={"loses": [1]}), rows_folder, here(shop))
    with pytest.raises(AskError, match="says nothing to search through"):
        sweep(shop, desk, rows_folder, here(shop))
    (tmp_path / "task.yaml").write_text(json.dumps(swept_task(desk).body()))
    with pytest.raises(AskError, match="'on'"):
        read_sweep(tmp_path / "task.yaml", {"on": "moon"})
    assert read_sweep(tmp_path / "task.yaml", {"workers": 3}).sweep.workers == 3


def test_settings_that_fail_are_dropped_and_told(shop, desk, rows_folder):
    # The base has no files here, and nothing is fetched in tests: the trial fails, the search goes on.
    found = sweep(shop, swept_task(desk, space={"base": ["folder:/nowhere"]}), rows_folder, here(shop))
    assert found.settings == {}
    assert found.failed[0]["settings"] == {"base": "folder:/nowhere"}
    assert "/nowhere" in found.failed[0]["error"]


def test_the_winner_is_written_and_the_rest_of_the_file_stays(tmp_path):
    file = tmp_path / "task.yaml"
    head = "name: desk\ndata:\n  sources: [{use: jsonl, path: rows.jsonl}]\ncandidates:  # in this order\n"
    file.write_text(head + "  - recipe: linear\n    size: small  # the floor\n\ngate:\n  min_rows: 5\n")
    line = write_candidate(file, {"recipe": "linear", "name": "linear-swept", "params": {"folds": 4}})
    assert f"    size: small  # the floor\n  - {line}\n\ngate:" in file.read_text()
    write_candidate(file, {"recipe": "linear", "name": "linear-swept", "params": {"folds": 2}})
    assert file.read_text().count("linear-swept") == 1
    assert "in this order" in file.read_text()
    file.write_text("name: desk\ndata:\n  sources: [{use: jsonl, path: rows.jsonl}]\ncandidates: [{recipe: linear}]\n")
    before = file.read_text()
    with pytest.raises(AskError, match=r"by hand: \{recipe: linear"):
        write_candidate(file, {"recipe": "linear", "name": "other"})
    assert file.read_text() == before


def test_several_at_once_end_in_order_and_keep_to_what_they_may():
    begun: list[int] = []

    def do(body):
        time.sleep(0.02 * (3 - body["n"]))
        return {"n": body["n"]}

    def may() -> bool:
        begun.append(1)
        return len(begun) <= 3

    ended: list[int] = []
    found = in_order([{"n": n} for n in range(5)], do, may, lambda body, _: ended.append(body["n"]), 3)
    assert found == [{"n": 0}, {"n": 1}, {"n": 2}, None, None]
    assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"num_cpus": 6, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}),
        ({"address": "ray://head:10001"}, {"address": "ray://head:10001"}),
    ],
)
def test_ray_is_told_where_and_its_own_cluster_is_on_loopback(given, wanted):
    spec = Sweep.model_validate({"of": "x", "space": {"a": [1]}, "on": "ray", "workers": 3, "gpus": 0.5, **given})
    told = ray_settings(spec, threads=2)
    assert {name: told[name] for name in wanted} == wanted
    assert ("num_cpus" in told) is not bool(given)  # a cluster that is there has its own
    assert ray_environment(spec.address)["RAY_USAGE_STATS_ENABLED"] == "0"
    assert ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in ray_environment(spec.address)) is not bool(given)
    assert task_settings(spec, threads=2) == {"num_cpus": 2, "max_retries": 2, "num_gpus": 0.5}


PROGRAM = """
import sys
from sartor.interfaces.cli.main import main
sys.argv = ["sartor", *sys.argv[1:]]
main()
"""


def command(home: Path, *arguments: str, **how) -> subprocess.Popen[str]:
    calm = {"OMP_NUM_THREADS": "1", "SARTOR_THREADS": "1", "SARTOR_KEY": str(home.parent / "signing.key")}
    environment = os.environ | calm | {"SARTOR_HOME": str(home)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, stdout=pipe, stderr=pipe, text=True, **how
    )


def task_file(folder: Path, desk: Task, rows_folder: Path, **more: object) -> Path:
    body = swept_task(desk, **more).body()
    body["data"]["sources"][0]["path"] = str(rows_folder / "rows.jsonl")
    (folder / "task.yaml").write_text(json.dumps(body))
    return folder / "task.yaml"


def test_a_killed_sweep_goes_on_where_it_was(desk, rows_folder, tmp_path):
    file, home = task_file(tmp_path, desk, rows_folder), tmp_path / "home"
    first = command(home, "sweep", str(file), "--json", start_new_session=True)
    store, done = None, 0
    until = time.monotonic() + 60
    while done < 2 and time.monotonic() < until and first.poll() is None:
        time.sleep(0.02)
        if (home / "ledger.db").is_file():
            store = store or open_store(home)
            done = len(store.ledger.find(Run, verb="try", status="done", limit=100))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert store is not None
    kept = {run.key for run in store.ledger.find(Run, verb="try", status="done", limit=100)}
    out, err = command(home, "sweep", str(file), "--json").communicate(timeout=100)
    found = json.loads(out), err
    after = store.ledger.find(Run, verb="try", status="done", limit=100)
    store.close()
    assert len(kept) >= 2
    assert len(after) == len({run.key for run in after}) == sum(len(one["tried"]) for one in found[0]["rounds"])
    assert kept <= {run.key for run in after}


@pytest.mark.parametrize("on", ["local", "ray"])
def test_processes_and_ray_find_what_one_process_finds(on, shop, desk, rows_folder, tmp_path):
    if on == "ray":
        pytest.importorskip("ray")
    here_ = sweep(shop, swept_task(desk, space={"losses": [["hinge"], ["logistic"]]}), rows_folder, here(shop))
    file = task_file(tmp_path, desk, rows_folder, on=on, workers=2, space={"losses": [["hinge"], ["logistic"]]})
    program = command(tmp_path / "other", "sweep", str(file), "--json")
    out, err = program.communicate(timeout=110)
    assert program.returncode == 0, err
    found = json.loads(out)
    assert found["rounds"] == json.loads(json.dumps(here_.rounds))
    assert found["winner"]["name"] == "linear-swept"


def test_a_trial_process_that_dies_is_told(shop, desk, rows_folder):
    broken = {"SARTOR_THREADS": "no number", "SARTOR_HOME": str(shop.store.root)}
    with pytest.raises(SartorError, match=r"process ended with code 1.*SARTOR_THREADS"):
        sweep(shop, swept_task(desk, workers=2), rows_folder, here(shop, broken))

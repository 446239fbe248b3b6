"""200 live variants moved to another base by two workers on two cores, each gated; a worker is killed twice on the way.

The fleet stands on static embeddings; the campaign makes every head again on MiniLM, holds it against what is live, and
releases it where the gate lets. SIGKILL hits a worker while it has a job: its lease runs out, and another one goes on.
At the end the ledger is read by plain SQL: no step was finished twice, no variant has two versions, no task has two
jobs, and the board says of each task what the ledger says.

    python -m benchmarks campaign [--tasks 200]
"""

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks._fleet import BASE, SIZE, copied, fleet
from benchmarks._ours import workshop
from benchmarks._shared import ROOT, result, show
from sartor.pipeline.campaign import board, start_campaign
from sartor.pipeline.campaign_plan import Campaign, plan_campaign
from sartor.pipeline.workshop import Workshop

WORK = ROOT / ".sartor" / "bench-campaign"
TO = "minilm"
WORKERS = 2
KILLS = (0.25, 0.6)
"""Shares of the tasks that have ended when a worker is killed."""
LEASE = 6.0
PATIENCE = 1800.0
"""Most seconds that are waited; what has not ended then is told as such."""


def run() -> dict[str, Any]:
    """Plan, start, kill twice, wait, compare."""
    parser = argparse.ArgumentParser(prog="campaign")
    parser.add_argument("--tasks", type=int, default=SIZE, help="only so many of the fleet's tasks")
    given = parser.parse_args()
    names = tuple(member.name for member in fleet(TO)[1][: given.tasks])
    home = copied(WORK)
    shop = workshop(home)
    before = _facts(home)
    spec = Campaign(name=f"{BASE} retired", tasks=names, bases={BASE: TO}, at_once=2 * WORKERS)
    began = time.monotonic()
    planned = plan_campaign(shop, spec)
    planning = time.monotonic() - began
    began = time.monotonic()
    job = start_campaign(shop, spec)
    kills = _worked(shop, home, job.id, began)
    wall = time.monotonic() - began
    found = board(shop, job.id)
    shop.store.close()
    checks = _checked(home, found, before)
    figures = {
        "tasks": found["tasks"],
        "ended": found["ended"],
        "state": found["state"],
        "wall_seconds": wall,
        "plan_seconds": planning,
        "forecast_cpu_seconds": planned["cpu_seconds"],
        "making_cpu_seconds": sum(line["cpu_seconds"] for line in found["parts"]),
        "states": found["states"],
        "released": found["money"]["released"],
        "money": found["money"],
        "kills": kills,
        "begun_again": sum(line["attempts"] > 1 for line in found["parts"]),
        **checks,
        "load_average": os.getloadavg(),
    }
    show(
        "200 variants moved to another base",
        ("", "figure"),
        [(k.replace("_", " "), str(v)) for k, v in figures.items()],
    )
    goals = {
        "all 200 tasks ended": found["state"] == "succeeded" and found["ended"] == found["tasks"] == SIZE,
        "killed twice while it worked": len(kills) == len(KILLS) and all(kill["had_a_job"] for kill in kills),
        "nothing done twice": not any(checks[name] for name in ("steps_twice", "versions_twice", "jobs_twice")),
        "board as the ledger": not checks["board_differs"],
    }
    return result("campaign", figures, goals)


def _worker(home: Path, name: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--home", str(home), "worker", "--name", name]
    environment = os.environ | {"SARTOR_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with (home.parent / f"{name}.log").open("a") as log:
        return subprocess.Popen([*command, "--lease-seconds", str(LEASE)], stdout=log, stderr=log, env=environment)


def _worked(shop: Workshop, home: Path, ident: str, began: float) -> list[dict[str, Any]]:
    """Workers until the campaign has ended; one is killed at each share, and another one begun in its place."""
    workers = {f"w{number}": _worker(home, f"w{number}") for number in range(WORKERS)}
    kills: list[dict[str, Any]] = []
    try:
        while time.monotonic() - began < PATIENCE:
            job = shop.store.jobs.get(ident)
            if job.has_ended:
                break
            counts = shop.store.jobs.counts(part_of=ident)
            ended = sum(count for state, count in counts.items() if state in ("succeeded", "failed", "dead"))
            due = len(kills) < len(KILLS) and ended >= KILLS[len(kills)] * len(job.args["parts"])
            if due and (kill := _killed(shop, workers, ident)) is not None:
                kills.append(kill | {"at_seconds": round(time.monotonic() - began, 1), "ended": ended})
                name = f"after-{len(kills)}"
                workers[name] = _worker(home, name)
            time.sleep(0.1)
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.wait(timeout=90)
    return kills


def _killed(shop: Workshop, workers: dict[str, Any], ident: str) -> dict[str, Any] | None:
    """Kill a worker that is inside a rebuild just now."""
    for part in shop.store.jobs.find(part_of=ident, state="running"):
        if part.worker in workers:
            process = workers.pop(part.worker)
            process.send_signal(signal.SIGKILL)
            process.wait()
            now = shop.store.jobs.get(part.id)
            return {"worker": part.worker, "task": part.task, "had_a_job": now.state == "running"}
    return None


def _facts(home: Path) -> dict[str, Any]:
    """Finished steps by key, versions by variant, jobs by task, and where live names stand: by plain SQL."""
    with sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True) as database:
        bodies = [json.loads(body) for (body,) in database.execute("select body from record where kind = 'Run'")]
        names = dict(database.execute("select name, digest from pointer where digest is not null").fetchall())
        parts = database.execute("select task, state, result from job where kind = 'rebuild'").fetchall()
    done = Counter(run["key"] for run in bodies if run["status"] == "done")
    versions = Counter((name.partition("@")[0], digest) for name, digest in names.items() if "@v" in name)
    return {"steps": done, "versions": versions, "parts": parts, "names": names}


def _checked(home: Path, found: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What was done twice, and where the board and the ledger differ."""
    now = _facts(home)
    jobs = Counter(task for task, _, _ in now["parts"])
    stored = {task: (state, json.loads(result)) for task, state, result in now["parts"]}
    differs = []
    for line in found["parts"]:
        task = line["task"]
        state, result_ = stored.get(task, ("", {}))
        live = now["names"].get(f"{task}@live")
        moved = live != before["names"].get(f"{task}@live")
        says_moved = bool(line["version"]) and now["names"].get(line["version"]) == live
        if moved != says_moved or (state == "succeeded" and result_["state"] != line["state"]):
            differs.append(task)
    return {
        "steps_finished": sum((now["steps"] - before["steps"]).values()),
        "steps_twice": sum(count > 1 for key, count in now["steps"].items() if key not in before["steps"]),
        "versions_twice": sum(count > 1 for count in now["versions"].values()),
        "jobs_twice": sum(count > 1 for count in jobs.values()),
        "board_differs": differs,
    }

"""One supplier's rows are recalled from a fleet of 200 real variants, while a real server answers a steady load.

What the recall finds is compared with an oracle that reads every record and every row of every data set by itself. Then
names and routes move: it is measured how long the transaction takes, and when the last answer of a recalled variant
went out (the server looks for changes four times a second and loads what takes over before it does). A worker makes
the tasks again without the supplier, each gated against what is live; a proof is signed, and checked by the oracle. The
giant behind some routes is simulated: it gives every chat the same answer at once.

    python -m benchmarks recall [--rate 40]
"""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._fleet import BAD, BASE, GIANT, Member, copied, fleet
from benchmarks._giant import giant
from benchmarks._oracle import descendants, live_names
from benchmarks._ours import declare, ours, workshop
from benchmarks._shared import ROOT, result, show
from benchmarks._steady import Steady, steady
from sartor.pipeline.recall import recall
from sartor.pipeline.recall_kept import show as show_recall
from sartor.pipeline.recall_plan import plan
from sartor.pipeline.recall_proof import prove
from sartor.pipeline.workshop import Workshop

WORK = ROOT / ".sartor" / "bench-recall"
WARM, AFTER = 10.0, 8.0
"""Seconds of load before the recall, and before the worker starts."""
PATIENCE = 420.0
"""Most seconds for the rebuilds."""
ENDED = ("better", "same", "worse", "needs data")
TEXTS = ("Cholera due to Vibrio cholerae 01, biovar cholerae", "Unspecified fracture of shaft of left tibia")


def run() -> dict[str, Any]:
    """Copy the fleet, serve it, recall, rebuild, prove."""
    parser = argparse.ArgumentParser(prog="recall")
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second")
    given = parser.parse_args()
    _, members = fleet(BASE)
    home = copied(WORK)
    with giant() as address:
        cascade = {"use": "cascade", "to": GIANT}
        routed = [m for m in members if m.kind == "route"]
        declare(
            home,
            {GIANT: address},
            [{"name": m.name, "task": m.name, "policy": cascade | {"local": f"{m.name}@live"}} for m in routed],
        )
        with ours(home) as server:
            names = [member.name for member in members]
            with steady(server, names, TEXTS, given.rate) as load:
                time.sleep(WARM)
                figures, goals = _recalled(workshop(home), home, members, load)
    figures |= {"rate": given.rate, "load_average": os.getloadavg()}
    _print(figures)
    return result("recall", figures, goals)


def _recalled(
    shop: Workshop, home: Path, members: Sequence[Member], load: Steady
) -> tuple[dict[str, Any], dict[str, bool]]:
    began = time.monotonic()
    found = plan(shop, "source", BAD)
    planned = time.monotonic() - began
    began = time.monotonic()
    oracle = descendants(home, lambda row: row["source"] == BAD)
    brute = time.monotonic() - began
    gone = {name for name, at in live_names(home).items() if at in oracle and "@v" in name}
    bad_before = sum(one.by in gone for one in load.said)

    begun = time.monotonic()
    done = recall(shop, "source", BAD, why="benchmark")
    moved = time.monotonic()
    time.sleep(AFTER)
    began = time.monotonic()
    with _worker(home):
        told = _rebuilt(shop, done["recall"])
    rebuilt = time.monotonic() - began
    time.sleep(2.0)
    still = {name: at for name, at in live_names(home).items() if name.endswith(("@live", "@previous"))}
    tainted = descendants(home, lambda row: row["source"] == BAD)

    offset = time.time() - time.monotonic()
    committed = done["moved_at"] - offset
    last = max((one.begun for one in load.said if one.by in gone), default=begun)
    late = [one for one in load.said if one.begun > committed and one.by in gone]
    states = Counter(job["state"] or job["job_state"] for job in told["jobs"])
    ways = Counter(move["how"] for move in done["moves"]["tasks"])
    figures = {
        "variants_live": sum(name.endswith("@live") for name in still),
        "tasks_with_the_source": sum(bool(m.kind) for m in members),
        "records_found": len(found.found.records),
        "records_of_the_oracle": len(oracle),
        "missed": len(set(oracle) - set(found.found.records)),
        "too_many": len(set(found.found.records) - set(oracle)),
        "counts": found.counts(),
        "plan_seconds": planned,
        "oracle_seconds": brute,
        "went_to": dict(ways),
        "transaction_seconds": done["moved_in_seconds"],
        "whole_command_seconds": moved - begun,
        "last_recalled_answer_after_command_began": last - begun,
        "last_recalled_answer_after_move_began": max(0.0, last - committed + done["moved_in_seconds"]),
        "recalled_answers_before": bad_before,
        "recalled_answers_after_commit": len(late),
        "requests": len(load.said),
        "failed_requests": len(load.failed),
        "first_failures": [one.error for one in load.failed[:3]],
        "ms_before": load.milliseconds(until=begun),
        "ms_while_moving": load.milliseconds(begun, moved + 2.0),
        "ms_while_rebuilding": load.milliseconds(began, began + rebuilt),
        "rebuilds": len(told["jobs"]),
        "rebuilt_as": dict(states),
        "released_again": sum(bool(job["version"]) for job in told["jobs"]),
        "rebuild_seconds": rebuilt,
        "proof": told["proof"],
        "live_names_that_descend_by_oracle": sorted(name for name, at in still.items() if at in tainted),
    }
    goals = {
        "exact against the oracle": figures["missed"] == figures["too_many"] == 0 and len(oracle) > 0,
        "routes moved in under 1 s": figures["last_recalled_answer_after_move_began"] < 1.0,
        "no failed request": not load.failed and len(load.said) > 0,
        "all rebuilt and gated": sum(states[name] for name in ENDED) == sum(ways.values()) > 0,
        "nothing live descends, by proof and by oracle": bool(
            told["proof"] and told["proof"]["verdict"] == "ship" and not figures["live_names_that_descend_by_oracle"]
        ),
    }
    shop.store.close()
    return figures, goals


@contextmanager
def _worker(home: Path) -> Iterator[None]:
    """One worker with two places, ended when the block ends."""
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--home", str(home), "worker", "--slots", "2"]
    with (home.parent / "worker.log").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            running.terminate()
            running.wait(timeout=90)


def _rebuilt(shop: Workshop, ident: str) -> dict[str, Any]:
    """How the recall stands once all its rebuilds have ended and the proof is signed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        told = show_recall(shop, ident)
        if told["proof"] and all(job["job_state"] in ("succeeded", "failed", "dead") for job in told["jobs"]):
            return told
        time.sleep(1.0)
    prove(shop, ident)  # out of patience: what answers now is looked at all the same
    return show_recall(shop, ident)


def _print(figures: dict[str, Any]) -> None:
    rows = [(name.replace("_", " "), str(value)) for name, value in figures.items()]
    show("One source recalled from 200 live variants under load", ("", "figure"), rows)

"""SIGKILL at every step boundary and at random instants of `sartor run`: the same content digests, nothing twice.

A step boundary is a finished run record: the process is killed as soon as the ledger shows the next one. The random
instants are drawn with a fixed seed over the time that an undisturbed run took.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._shared import ROOT, result, show
from sartor.core.errors import SartorError
from sartor.core.records import Decision, Run
from sartor.store.opening import open_store

INSTANTS = 20
TASK = """
name: kill
data:
  sources: [{use: jsonl, path: rows.jsonl, licence: owned}]
value: {wrong: 5, escalate: {to: person, price: 1, error_rate: 0.05}}
candidates:
  - {recipe: linear, size: small}
  - {recipe: head, base: minilm, size: small}
  - {recipe: blend, of: [linear, "head:minilm"]}
gate: {min_rows: 50, guards: {}}
"""
LABELS = {
    "card": ("my card", "the card", "a new card", "this card"),
    "transfer": ("a transfer", "my transfer", "the wire", "this transfer"),
    "top up": ("a top up", "my top up", "adding money", "loading money"),
    "rate": ("the rate", "an exchange rate", "your rates", "the fee"),
}
VERBS = ("did not arrive", "was refused", "is late", "looks wrong", "was charged twice", "needs a change", "is pending")
ENDS = (
    "today",
    "again",
    "since Monday",
    "in the app",
    "at the shop",
    "abroad",
    "on my phone",
    "for my son",
    "at night",
)


def run() -> dict[str, Any]:
    """The undisturbed run, then every kill; each on a store of its own that already holds the base."""
    work = ROOT / ".sartor" / "bench-kill"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "task.yaml").write_text(TASK, encoding="utf-8")
    write_rows(work / "rows.jsonl")
    seed_home = work / "seed"
    finish(work, seed_home, "hub", "fetch", "minilm")
    undisturbed, seconds = _undisturbed(work, seed_home)
    boundaries = len(undisturbed["steps"])
    draw = random.Random(0)
    kills: list[dict[str, Any]] = [{"after_steps": n} for n in range(boundaries)]
    kills += [{"after_seconds": draw.uniform(0.2, seconds)} for _ in range(INSTANTS)]
    outcomes = [one_kill(work, seed_home, kill, undisturbed) for kill in kills]
    show(
        "Kills",
        ["killed", "killed while running", "same digests", "nothing twice"],
        [
            (json.dumps(kill), str(o["killed"]), str(o["same"]), str(o["once"]))
            for kill, o in zip(kills, outcomes, strict=True)
        ],
    )
    figures = {
        "step_boundaries": boundaries,
        "instants": INSTANTS,
        "killed_while_running": sum(o["killed"] for o in outcomes),
        "same_digests": sum(o["same"] for o in outcomes),
        "nothing_twice": sum(o["once"] for o in outcomes),
        "undisturbed_seconds": seconds,
        "digests": {k: v for k, v in undisturbed.items() if k != "steps"},
    }
    goals = {
        "killed in the middle at every step boundary": all(o["killed"] for o in outcomes[:boundaries]),
        "the same content digests every time": all(o["same"] for o in outcomes),
        "no variant twice, nothing half-made": all(o["once"] for o in outcomes),
    }
    return result("kill", figures, goals)


def write_rows(path: Path, rows: int = 480) -> None:
    """A small labelled set, the same every time."""
    draw = random.Random(7)
    texts: dict[str, str] = {}
    while len(texts) < rows:
        label = draw.choice(sorted(LABELS))
        text = f"{draw.choice(LABELS[label])} {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)}"
        texts[text] = label
    path.write_text("".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in texts.items()), encoding="utf-8")


def environment(work: Path, home: Path) -> dict[str, str]:
    """One thread, one key, one store."""
    return os.environ | {
        "SARTOR_HOME": str(home),
        "SARTOR_KEY": str(work / "signing.key"),
        "SARTOR_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "SARTOR_WHO": "kill",
    }


def start(work: Path, home: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """`sartor` as a process of its own."""
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=work, env=environment(work, home), **quiet)


def finish(work: Path, home: Path, *arguments: str) -> None:
    """Run `sartor` to its end; its exit code must be 0 or 7 (a gate not passed)."""
    process = start(work, home, *arguments)
    _, error = process.communicate()
    if process.returncode not in (0, 7):
        raise SystemExit(f"sartor {' '.join(arguments)} failed: {error.decode()}")


def _undisturbed(work: Path, seed_home: Path) -> tuple[dict[str, Any], float]:
    home = work / "undisturbed"
    shutil.copytree(seed_home, home)
    started = time.perf_counter()
    finish(work, home, "run", "task.yaml")
    seconds = time.perf_counter() - started
    found = digests(home)
    shutil.rmtree(home)
    return found, seconds


def digests(home: Path) -> dict[str, Any]:
    """What a store holds, by content: pointers, and what each finished step made."""
    store = open_store(home)
    try:
        pointers = {p.name: p.digest for p in store.ledger.pointers()}
        runs = [run for run in store.ledger.find(Run, limit=1000) if run.status == "done" and run.verb != "fetch"]
        steps = sorted((run.key, tuple(sorted(run.outputs.items()))) for run in runs)
        decisions = sorted(decision.digest for decision in store.ledger.find(Decision, limit=1000))
        return {"pointers": pointers, "decisions": decisions, "steps": steps}
    finally:
        store.close()


def one_kill(work: Path, seed_home: Path, kill: dict[str, Any], undisturbed: dict[str, Any]) -> dict[str, bool]:
    """Kill one run, run again, compare."""
    home = work / "killed"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(seed_home, home)
    process = start(work, home, "run", "task.yaml")
    if "after_steps" in kill:
        while process.poll() is None and _finished(home) <= kill["after_steps"]:
            time.sleep(0.005)
    else:
        time.sleep(kill["after_seconds"])
    killed = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(work, home, "run", "task.yaml")
    finish(work, home, "registry", "verify", "kill")
    found = digests(home)
    keys = [key for key, _ in found["steps"]]
    return {"killed": killed, "same": found == undisturbed, "once": len(keys) == len(set(keys))}


def _finished(home: Path) -> int:
    """Steps that the ledger shows as done, fetching the base left out."""
    try:
        store = open_store(home, read_only=True)
    except SartorError:  # the process has not made its ledger yet
        return 0
    try:
        ledger = store.ledger
        return ledger.count(Run, status="done") - ledger.count(Run, status="done", verb="fetch")
    finally:
        store.close()

"""Do a teacher's rationales help a small language model? SVAMP with and without PaLM's, on SmolLM2, equal epochs.

Hsieh et al. 2023, "Distilling step-by-step": the rationale is learned beside the answer and never written when the
model serves. Beside both stands a rule of one line. Validation rows choose the epoch; test rows are read once, when all
trainings are done. It takes two hours of CPU a seed: what is done is kept in `.sartor/bench-rationales`, and a training
that was stopped goes on from its last state.

`python -m benchmarks rationales [--seeds 0,1,2] [--epochs 7] [--slice SECONDS]`; with `--slice` it stops after so long
with exit code 75, to be called again.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._shared import HOME, paired, result, show
from benchmarks._svamp import INSTRUCTIONS, Problem, Svamp, right, rule, smollm2, svamp
from sartor.core.jobs import Stopped

OWN = HOME.parent / "bench-rationales"
ARMS = ("answers", "rationales")
LEAST = 2000.0
"""CPU seconds that each training is to have."""
BATCH = 16
MAX_TOKENS = 48


def run() -> dict[str, Any]:
    """Train what is not trained, ask all, compare."""
    given = _given()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    data = svamp()
    for seed in seeds:
        for arm in ARMS:
            _trained(data, arm, seed, given.epochs, _until(given.slice))
    figures: dict[str, Any] = {"rows": {part: len(rows) for part, rows in data._asdict().items()}}
    ruled = right(data.test, [rule(problem) for problem in data.test])
    figures["rule"] = {
        "test": float(ruled.mean()),
        "validation": float(right(data.validation, [rule(p) for p in data.validation]).mean()),
    }
    found = {(arm, seed): _asked(data, arm, seed, given.epochs) for seed in seeds for arm in ARMS}
    means = {}
    for arm in ARMS:
        each = [found[arm, seed] for seed in seeds]
        scores = np.array([one["right"] for one in each])
        means[arm] = scores.mean(axis=0)
        figures[arm] = {
            "test": float(scores.mean()),
            "test_by_seed": [float(score) for score in scores.mean(axis=1)],
            "spread": float(scores.mean(axis=1).std(ddof=1)) if len(seeds) > 1 else None,
            "validation": [one["validation"] for one in each],
            "cpu_seconds": [one["cpu_seconds"] for one in each],
            "over_rule": paired(means[arm] - ruled),
        }
    figures["rationales_over_answers"] = paired(means["rationales"] - means["answers"])
    figures["epochs"], figures["seeds"] = given.epochs, seeds
    lines = [("rule of one line", figures["rule"]["test"], "", 0)] + [
        (arm, figures[arm]["test"], str(figures[arm]["test_by_seed"]), int(min(figures[arm]["cpu_seconds"])))
        for arm in ARMS
    ]
    show("SVAMP test, expression comes to the right number", ("arm", "right#", "by seed#", "least CPU s#"), lines)
    least = min(min(figures[arm]["cpu_seconds"]) for arm in ARMS)
    return result("rationales", figures, {"three_seeds": len(seeds) >= 3, "each_at_least_2000_s": least >= LEAST})


def _given() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks rationales")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--slice", type=float, default=0.0)
    return parser.parse_args()


def _until(seconds: float) -> Callable[[str, int, int], None]:
    """Progress that stops the training after so long, to go on later."""
    end = time.monotonic() + (seconds or float("inf"))

    def progress(what: str, done: int, total: int) -> None:
        if time.monotonic() > end:
            print(f"{what}: {done} of {total}, goes on later", file=sys.stderr, flush=True)
            raise Stopped("pause")

    return progress


def _home(arm: str, seed: int, epochs: int) -> Path:
    return OWN / f"{arm}-{epochs}-{seed}"


def _trained(data: Svamp, arm: str, seed: int, epochs: int, progress: Callable[[str, int, int], None]) -> None:
    """Train one arm, unless it is done; CPU seconds add up over the parts of a training."""
    from sartor.core.shelf import Shelf
    from sartor.pipeline.checkpoints import Folder
    from sartor.training.job import Job, Writing

    home = _home(arm, seed, epochs)
    if (home / "done.json").exists():
        return
    files = home / "files"
    files.mkdir(parents=True, exist_ok=True)
    spent = home / "cpu_seconds.json"
    before, began = json.loads(spent.read_text()) if spent.exists() else 0.0, time.process_time()

    def counted(what: str, done: int, total: int) -> None:
        # After each step, so that a training that is killed loses no more than one from the count.
        spent.write_text(json.dumps(before + time.process_time() - began))
        progress(what, done, total)

    checkpoints = Folder(home / "states", every=120.0)
    job = Job(
        labels=(),
        train_texts=[p.text for p in data.train],
        train_targets=np.zeros(0, dtype=np.int64),
        validation_texts=[p.text for p in data.validation],
        validation_targets=np.zeros(0, dtype=np.int64),
        folder=files,
        base=smollm2(),
        writing=Writing(
            "generate",
            [p.label for p in data.train],
            [p.label for p in data.validation],
            instructions=INSTRUCTIONS,
            max_tokens=MAX_TOKENS,
            rationales=[p.rationale for p in data.train] if arm == "rationales" else (),
        ),
        checkpoints=checkpoints,
        seed=seed,
        progress=counted,
    )
    recipe = Shelf("sartor.training.recipes").take("lora")
    try:
        draft = recipe(job, recipe.read({"epochs": epochs, "batch": BATCH}))
    except Stopped:
        raise SystemExit(75) from None
    seconds = json.loads(spent.read_text())
    (home / "done.json").write_text(json.dumps({"cpu_seconds": seconds, "facts": draft.facts}))
    checkpoints.discard()


def _asked(data: Svamp, arm: str, seed: int, epochs: int) -> dict[str, Any]:
    """What a trained arm answers to the test rows, through the engine that serves; asked once and kept."""
    home = _home(arm, seed, epochs)
    done = json.loads((home / "done.json").read_text())
    kept = home / "answers.json"
    if not kept.exists():
        parts = {"test": data.test, "validation": data.validation}
        kept.write_text(json.dumps({name: _written(home / "files", rows) for name, rows in parts.items()}))
    said = json.loads(kept.read_text())
    return {
        "right": right(data.test, said["test"]),
        "validation": float(right(data.validation, said["validation"]).mean()),
        "cpu_seconds": round(done["cpu_seconds"], 1),
    }


def _written(folder: Path, rows: list[Problem]) -> list[str]:
    from sartor.serving.engine import Writer, open_engine

    engine = open_engine("lm", smollm2())
    assert isinstance(engine, Writer)
    engine.add("own", folder)
    found = []
    for start in range(0, len(rows), BATCH):
        found += engine.write([("own", row.text) for row in rows[start : start + BATCH]])
    return [one.output for one in found]

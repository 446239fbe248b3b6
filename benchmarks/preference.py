"""What people's corrections teach beyond rows: SVAMP on SmolLM2, the rule and the prompt beside it. Small and honest.

A lora variant answers rows that it was not taught; where it is wrong, the right answer beside its own is a pair (a
demonstration), and both are marks. `dpo` and `kto` go on from it, and so does plain teaching with those right answers,
which is what they must beat. Judged on validation rows; no test row is read. One seed and few rows: it says what came
out and claims nothing.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._shared import paired, result, show
from benchmarks._svamp import right, smollm2, svamp
from sartor.core.predict import Floats
from sartor.core.shelf import Shelf
from sartor.serving.engine import Writer, open_engine
from sartor.training.job import Job, Part, Preferences, Trial, Writing

RECIPES = Shelf("sartor.training.recipes")
TOLD = "Answer with the expression that solves the problem, for instance ( 7.0 - 4.0 )."
TUNED, MORE = "lora", "lora of all rows"
PREFERRED = ("dpo", "kto")
EPOCHS = 3
"""In which the right answers are taught, of some rows or of all."""


def run() -> dict[str, Any]:
    """Run it; see the module."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks preference")
    asked.add_argument("--taught", type=int, default=200)
    asked.add_argument("--corrected", type=int, default=120)
    given = asked.parse_args()
    figures = measure(given.taught, given.corrected)
    rows = [(name, one["right"], one["cpu_seconds"]) for name, one in figures["made"].items()]
    show("SVAMP, right on validation rows", ["what", "share#", "CPU seconds#"], rows)
    return result("preference", figures, {})


def measure(taught: int, corrected: int) -> dict[str, Any]:
    """Shares of right answers, what making took, and paired differences."""
    base, data = smollm2(), svamp()
    first, later = data.train[:taught], data.train[taught : taught + corrected]
    held = [p.text for p in data.validation]
    folder = Path(tempfile.mkdtemp(prefix="preference-"))
    job = Job(
        labels=(),
        train_texts=[p.text for p in first],
        train_targets=np.full(taught, -1),
        validation_texts=held,
        validation_targets=np.full(len(held), -1),
        folder=folder,
        base=base,
        writing=Writing(
            "generate", [p.label for p in first], [p.label for p in data.validation], instructions=TOLD, max_tokens=24
        ),
        attempt=lambda engine, files, asked: [Trial(one) for one in _answers(engine, base, files, asked)],
    )
    figures: dict[str, Any] = {}
    scores: dict[str, Floats] = {}

    def made(name: str, recipe: str, job: Job, **params: Any) -> Path:
        home = folder / name
        home.mkdir()
        began, plugin = time.process_time(), RECIPES.take(recipe)
        draft = plugin(replace(job, folder=home), plugin.read({"size": "small", **params}))
        seconds = time.process_time() - began
        scores[name] = right(data.validation, _answers(draft.engine, base, home, held))
        figures[name] = {
            "right": float(scores[name].mean()),
            "cpu_seconds": round(seconds, 1),
            "facts": draft.facts,
        }
        return home

    made("rule", "rules", replace(job, base=None))
    made("prompt", "prompt", job, rows=16)
    tuned = made(TUNED, "lora", job, epochs=EPOCHS)
    said = _answers("lm", base, tuned, [p.text for p in later])
    pairs = [(p.text, p.label, answer) for p, answer in zip(later, said, strict=True) if answer != p.label]
    marks = [(p.text, p.label, True) for p in later] + [(text, answer, False) for text, _, answer in pairs]
    heard = Preferences(pairs, marks)
    part = Part(TUNED, "0" * 64, np.empty((0, 0)), tuned, "lm", base, "lora")
    onward = replace(job, parts=(part,), preferences=lambda: heard)
    for recipe in PREFERRED:
        made(recipe, recipe, onward)
    every = [*first, *later]
    assert job.writing is not None
    made(
        MORE,
        "lora",
        replace(
            job,
            train_texts=[p.text for p in every],
            train_targets=np.full(len(every), -1),
            writing=replace(job.writing, train=[p.label for p in every]),
        ),
        epochs=EPOCHS,
    )
    return {
        "pairs": len(pairs),
        "validation_rows": len(held),
        "made": figures,
        "paired": {
            f"{recipe} minus {other}": paired(scores[recipe] - scores[other])
            for recipe in PREFERRED
            for other in (TUNED, MORE)
        },
    }


def _answers(engine: str, base: Path, files: Path, texts: Sequence[str]) -> list[str]:
    opened = open_engine(engine, base)
    assert isinstance(opened, Writer)
    opened.add("v", files)
    return [one.output for one in opened.write([("v", text) for text in texts])]

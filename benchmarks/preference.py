"""What people's corrections teach beyond rows: SVAMP on SmolLM2, the rule and the prompt beside it. Small and honest.

A lora variant answers rows that it was not taught; where it is wrong, the right answer beside its own is a pair (a
demonstration), and both are marks. `dpo` and `kto` go on from it, and so does plain teaching with those right answers,
which is what they must beat. Judged on validation rows; no test row is read. One seed, few rows: a smoke test that
says what came out, not a claim.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._shared import ROOT, data_folder, show
from sartor.core.records import Base
from sartor.core.shelf import Shelf
from sartor.serving.engine import Writer, open_engine
from sartor.store.opening import open_store
from sartor.training.job import Job, Part, Preferences, Trial, Writing

RECIPES = Shelf("sartor.training.recipes")
TOLD = "Answer with the expression that solves the problem, for instance ( 7.0 - 4.0 )."


def run() -> dict[str, Any]:
    """Run it; see the module."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks preference")
    asked.add_argument("--home", type=Path, default=ROOT / ".sartor")
    asked.add_argument("--taught", type=int, default=200)
    asked.add_argument("--corrected", type=int, default=120)
    asked.add_argument("--validation", type=int, default=100)
    given = asked.parse_args()
    found = measure(given.home, given.taught, given.corrected, given.validation)
    rows = [(name, one["exact"], one["cpu_seconds"]) for name, one in found["right"].items()]
    show("Exact answers on validation rows", ["what", "share#", "CPU seconds#"], rows)
    return found | {"met": True}  # nothing was promised


def measure(home: Path, taught: int, corrected: int, validation: int) -> dict[str, Any]:
    """Shares of exact answers, and what making took."""
    store = open_store(home)
    base = store.folder(store.ledger.find(Base, name="smollm2", limit=1)[0])
    lines = [json.loads(line) for line in (data_folder() / "svamp" / "train.jsonl").open(encoding="utf-8")]
    order = np.random.default_rng(0).permutation(len(lines))
    texts, answers = [lines[n]["input"] for n in order], [lines[n]["label"] for n in order]
    cut, held = taught + corrected, slice(taught + corrected, taught + corrected + validation)
    folder = Path(tempfile.mkdtemp(prefix="preference-"))
    writing = Writing("generate", answers[:taught], answers[held], instructions=TOLD, max_tokens=24)
    nothing = np.full(len(texts), -1)
    job = Job(
        (), texts[:taught], nothing[:taught], texts[held], nothing[held], folder, base=base, writing=writing,
        attempt=lambda engine, files, asked: [Trial(one) for one in _answers(engine, base, files, asked)],
    )  # fmt: skip
    right: dict[str, Any] = {}

    def made(name: str, recipe: str, job: Job, **params: Any) -> Path:
        home = folder / name
        home.mkdir()
        began, plugin = time.process_time(), RECIPES.take(recipe)
        draft = plugin(replace(job, folder=home), plugin.read(params))
        seconds = time.process_time() - began
        said = _answers(draft.engine, base, home, texts[held])
        exact = float(np.mean([s == a for s, a in zip(said, answers[held], strict=True)]))
        right[name] = {"exact": round(exact, 4), "cpu_seconds": round(seconds, 1), "facts": draft.facts}
        return home

    made("rule", "rules", replace(job, base=None), size="small")
    made("prompt", "prompt", job, size="small", rows=16)
    tuned = made("lora", "lora", job, size="small")
    said = _answers("lm", base, tuned, texts[taught:cut])
    pairs = [(t, a, s) for t, a, s in zip(texts[taught:cut], answers[taught:cut], said, strict=True) if s != a]
    marks = [(t, a, True) for t, a in zip(texts[taught:cut], answers[taught:cut], strict=True)]
    heard = Preferences(pairs, [*marks, *((t, s, False) for t, _, s in pairs)])
    part = Part("lora", "0" * 64, np.empty((0, 0)), tuned, "lm", base, "lora")
    onward = replace(job, parts=(part,), preferences=lambda: heard)
    made("lora, then dpo", "dpo", onward, size="small")
    made("lora, then kto", "kto", onward, size="small")
    more = replace(writing, train=answers[:cut])
    made(
        "lora of all rows",
        "lora",
        replace(job, train_texts=texts[:cut], train_targets=nothing[:cut], writing=more),
        size="small",
    )
    store.close()
    return {"pairs": len(pairs), "validation_rows": validation, "right": right}


def _answers(engine: str, base: Path, files: Path, texts: Sequence[str]) -> list[str]:
    opened = open_engine(engine, base)
    assert isinstance(opened, Writer)
    opened.add("v", files)
    return [one.output for one in opened.write([("v", text) for text in texts])]

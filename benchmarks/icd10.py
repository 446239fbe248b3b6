"""ICD-10-CM: official descriptions to train on, the words that clinicians use to test on; every rung beside the floor.

The floor is the linear model on the same rows, its loss and C cross-validated. One candidate is picked on validation
rows (the terms of one fifth of the categories) and gated on the test rows (the terms of the others); the rest is shown.
Two sizes of training set: 12 and 40 descriptions a category.
"""

from typing import Any

import numpy as np

from benchmarks._shared import HOME, paired, result, show, task, workshop
from sartor.core.rows import Snapshot
from sartor.core.task import Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.statistics import mcnemar
from sartor.interfaces.demo import demo_body
from sartor.pipeline.inspect import answers_behind
from sartor.pipeline.make import made_for
from sartor.pipeline.run import decide_on, inspect_all, make_all, open_hall

SIZES = (12, 40)
RUNGS: list[dict[str, Any]] = [
    {"recipe": "linear"},
    {"recipe": "head", "base": "static-minilm"},
    {"recipe": "head", "base": "minilm"},
    {"recipe": "blend", "name": "blend:linear+head", "of": ["linear", "head:minilm"]},
    {"recipe": "adapter", "base": "minilm", "size": "small"},
    {"recipe": "tune", "base": "minilm"},
    {"recipe": "blend", "name": "blend:linear+tune", "of": ["linear", "tune:minilm"]},
]
MORE = RUNGS[:4]
"""Rungs of the larger set: what the smaller one showed to be worth its cost."""


def run() -> dict[str, Any]:
    """Every rung on both sizes, paired with the floor; what is released on the larger one."""
    shop = workshop()
    figures: dict[str, Any] = {}
    for size in SIZES:
        contract = contract_of(size)
        place = open_hall(shop, contract, HOME)
        variants = make_all(place, contract.candidates)
        found = inspect_all(place, variants)
        verdict = decide_on(place, variants, found)
        answers = {title: answers_behind(place, report) for title, report in found.test.items()}
        floor = answers["linear"]
        figures[f"{size} a category"] = {
            "train_rows": place.dataset.counts["train"],
            "test_rows": place.dataset.counts["test"],
            "picked_on_validation": verdict.picked.title,
            "released": verdict.title,
            "verdict": verdict.decision.verdict,
            "reasons": list(verdict.decision.reasons),
            "rungs": {
                title: {
                    "block": found.test[title].metrics["top_accuracy"].value,
                    "chapter": _chapters_right(answers[title], place.snapshot),
                    "money_per_1000": found.test[title].metrics["money_per_1000"].value,
                    "cpu_seconds_to_make": made_for(shop, variants[title]).cpu_seconds,
                    "latency_ms": found.test[title].measured["latency_ms"],
                    "over_floor_on_blocks": _over(answers[title], floor),
                }
                for title in variants
            },
        }
        _print(size, figures[f"{size} a category"])
    whole = figures[f"{SIZES[0]} a category"]
    goals = {
        "released is the floor, or significantly above it on blocks": all(_earned(f) for f in figures.values()),
        "blocks at least 77 % right, all rungs tried": whole["rungs"][whole["released"]]["block"] >= 0.77,
    }
    return result("icd10", figures, goals)


def _earned(found: dict[str, Any]) -> bool:
    over = found["rungs"][found["released"]]["over_floor_on_blocks"]["difference"]["low"]
    return found["released"] == "linear" or over > 0


def contract_of(size: int) -> Task:
    """The demo's task with all test rows, this many descriptions a category, and every rung."""
    body = demo_body()
    descriptions, validation, terms = body["data"]["sources"]
    body["name"] = f"icd10-blocks-{size}"
    body["data"]["sources"] = [
        descriptions | {"per_category": size},
        validation,
        {k: v for k, v in terms.items() if k != "per_category"},
    ]
    body["candidates"] = RUNGS if size == SIZES[0] else MORE
    return task(body)


def _chapters_right(answers: Answers, snapshot: Snapshot) -> float:
    """Share of rows whose likeliest block stands in the right chapter."""
    assert answers.probabilities is not None
    chapters = np.array([snapshot.hierarchy.parents[label][0] for label in snapshot.labels])
    return float((chapters[answers.probabilities.argmax(axis=1)] == chapters[answers.true]).mean())


def _over(mine: Answers, floor: Answers) -> dict[str, Any]:
    assert mine.probabilities is not None
    assert floor.probabilities is not None
    right = mine.probabilities.argmax(axis=1) == mine.true
    there = floor.probabilities.argmax(axis=1) == floor.true
    gains = right.astype(np.float64) - there.astype(np.float64)
    return {"difference": paired(gains), "mcnemar_p": mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))}


def _print(size: int, found: dict[str, Any]) -> None:
    rows = [
        (
            title,
            100.0 * (r["block"] or 0.0),
            100.0 * (r["chapter"] or 0.0),
            *(100.0 * r["over_floor_on_blocks"]["difference"][k] for k in ("value", "low", "high")),
            r["money_per_1000"],
            r["cpu_seconds_to_make"],
            "released" if title == found["released"] else "",
        )
        for title, r in found["rungs"].items()
    ]
    columns = ["rung", "block %#", "chapter %#", "over floor#", "low#", "high#", "EUR per 1,000#", "CPU s#", ""]
    show(f"ICD-10-CM, {size} descriptions a category, {found['test_rows']:,} test rows", columns, rows)

"""SVAMP for benchmarks: rows, a fixed validation part, the one-line rule, and the base that learns it."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks._shared import HOME, data_folder, workshop
from sartor.core.predict import Floats
from sartor.core.shelf import Shelf

INSTRUCTIONS = "Write the arithmetic expression that answers the question."
VALIDATION = 150
"""Training rows by which choices are made, always the same."""


class Problem(NamedTuple):
    """One row."""

    text: str
    label: str
    rationale: str


class Svamp(NamedTuple):
    """The set, divided."""

    train: list[Problem]
    validation: list[Problem]
    test: list[Problem]


def svamp() -> Svamp:
    """Read it."""
    parts = {}
    for split in ("train", "test"):
        lines = (data_folder() / "svamp" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        parts[split] = [Problem(row["input"], row["label"], row["palm_rationale"]) for row in rows]
    order = np.random.default_rng(0).permutation(len(parts["train"]))
    taken = [parts["train"][place] for place in order]
    return Svamp(taken[VALIDATION:], taken[:VALIDATION], parts["test"])


def rule(problem: Problem) -> str:
    """The larger minus the smaller of the first two numbers."""
    found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", problem.text)[:2]]
    return f"{max(found)} - {min(found)}" if len(found) == 2 else "0"


def right(problems: list[Problem], answers: list[str]) -> Floats:
    """(rows,) 1 where an answer comes to the same number as the label."""
    scorer = Shelf("sartor.evaluation.scorers").take("expression")
    params = scorer.read({})
    return np.array([scorer(p.label, answer, params) for p, answer in zip(problems, answers, strict=True)])


def smollm2() -> Path:
    """Folder of the base, fetched if it isn't there."""
    from sartor.pipeline.bases import base_named

    shop = workshop(HOME.parent / "bases")
    try:
        return shop.store.folder(base_named(shop, "smollm2"))
    finally:
        shop.store.close()

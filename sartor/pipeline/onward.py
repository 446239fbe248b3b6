"""Go on from the live variant: what a strategy planned becomes the job of a recipe, and what is done after it.

Knows no ledger: the live variant is a folder of files, its labels and the rows that it was made from, so that the
task's past can be played through with variants that are never recorded.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.rows import Row
from sartor.core.section import Pick
from sartor.core.shelf import Shelf
from sartor.training.job import Draft, Job, Writing
from sartor.training.strategy import Past, Plan, Skipped
from sartor.training.weights import Side, interpolate

STRATEGIES = Shelf("sartor.training.strategies")
SCRATCH = "scratch"
"""The strategy that needs no live variant."""
NETWORKS = ("encoder", "adapter")
"""Folders of a variant's files that hold layers of its own."""


@dataclass(frozen=True)
class Onward:
    """A strategy, and the variant that it goes on from."""

    strategy: Pick
    start: Path
    """Folder of that variant's files."""
    labels: tuple[str, ...]
    """By the place of its outputs."""
    learned: frozenset[str]
    """Ids of the rows that it was made from."""
    digest: str = ""
    """Of that variant; '' where it is only played with."""
    why_not: str = ""
    """Why this candidate can't go on from it; '' where it can."""

    @property
    def module(self) -> str:
        """Import name of the strategy's file."""
        return STRATEGIES.take(self.strategy.use).module

    @property
    def settings(self) -> dict[str, Any]:
        """Of the strategy, all of them."""
        settings = STRATEGIES.take(self.strategy.use).read(dict(self.strategy.settings))
        return {"use": self.strategy.use, **settings.model_dump(mode="json")}


def planned(onward: Onward, job: Job, rows: Sequence[Row]) -> Plan | Skipped:
    """What the strategy says to this job.

    Args:
        rows: the training rows, in the order of the job's.
    """
    strategy = STRATEGIES.take(onward.strategy.use)
    past = Past(
        targets=np.maximum(job.train_targets, 0),  # written answers are all of one sort
        new=np.array([row.id not in onward.learned for row in rows], dtype=bool),
        weights=job.train_weights,
        why_not=onward.why_not or _why_not(onward, job),
        network=any((onward.start / name).is_dir() for name in NETWORKS),
        seed=job.seed,
    )
    plan: Plan | Skipped = strategy(past, strategy.read(dict(onward.strategy.settings)))
    return plan


def _why_not(onward: Onward, job: Job) -> str:
    if not (onward.start / "head.safetensors").is_file():
        return "what was learned is bound to the words of its rows, or is a mixture: it can't be gone on from"
    if job.writing is not None:
        return "whoever learns to write answers begins at its base"
    if not set(onward.labels) & set(job.labels):
        return "the live variant knows none of today's labels"
    return ""


def carry_out(
    plan: Plan,
    onward: Onward,
    job: Job,
    recipe: Callable[..., Draft],
    params: Any,
    read: Callable[[dict[str, Any]], Any],
) -> Draft:
    """Run the recipe as planned, and mix weights after it where that is planned.

    Args:
        params: the recipe's settings.
        read: settings from a plain mapping, by which a plan changes them.
    """
    changed = _cut(job, plan)
    if plan.start or plan.frozen:
        changed = replace(changed, start=onward.start, start_labels=onward.labels)
    if plan.frozen:
        params = read({**params.model_dump(mode="json"), "epochs": 0})
    if plan.mix == 0:
        return recipe(changed, params)
    trained = Path(tempfile.mkdtemp(prefix="trained-", dir=job.folder.parent))
    try:
        draft = recipe(replace(changed, folder=trained), params)
        sides = Side(onward.start, onward.labels), Side(trained, job.labels)
        interpolate(*sides, 1.0 - plan.mix, job.labels, job.folder)
    finally:
        shutil.rmtree(trained, ignore_errors=True)
    return draft


def _cut(job: Job, plan: Plan) -> Job:
    """The job on the rows of the plan."""
    if plan.rows is None:
        return job if plan.weights is None else replace(job, train_weights=plan.weights)
    rows = plan.rows.tolist()
    weights = plan.weights
    if weights is None and job.train_weights is not None:
        weights = job.train_weights[plan.rows] / job.train_weights[plan.rows].mean()
    return replace(
        job,
        train_texts=[job.train_texts[row] for row in rows],
        train_targets=np.asarray(job.train_targets)[plan.rows],
        train_weights=weights,
        writing=None if job.writing is None else _cut_writing(job.writing, rows),
        train_groups=None if job.train_groups is None else [job.train_groups[row] for row in rows],
    )


def _cut_writing(writing: Writing, rows: Sequence[int]) -> Writing:
    rationales = [writing.rationales[row] for row in rows] if writing.rationales else ()
    return replace(writing, train=[writing.train[row] for row in rows], rationales=rationales)


def told(plan: Plan, onward: Onward) -> Mapping[str, Any]:
    """What the variant's facts say of how it went on."""
    return {"strategy": onward.settings, "how": plan.says}

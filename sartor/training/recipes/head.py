"""Logistic regression on the embeddings of a frozen base, static or encoder.

The base is read, never changed, and its embeddings are cached by whoever calls: a second head costs seconds. C is
chosen on the validation rows, each fit beginning where the last one ended, the first where an earlier variant did:
the loss is convex, so that this saves steps and changes little. Knows nothing of words or hierarchies.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from sartor.core.calibration import Calibration
from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.calibration import loss
from sartor.training.heads import Head, Singles, centroids, fit_head, write_head
from sartor.training.job import Draft, Job
from sartor.training.warm import carried, fits

PATHS = {"small": (30.0,), "medium": (3.0, 10.0, 30.0, 100.0), "large": (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)}
"""Values of C tried at each size, smallest first."""
STEPS = {"small": 25, "medium": 60, "large": 60}
"""Most L-BFGS iterations for each C."""

MS_PER_ROW = {"small": 6.0, "medium": 10.0, "large": 12.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the head recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """How many values of C are tried: 1, 4 or 6."""
    c: tuple[float, ...] = ()
    """Inverse strengths of the penalty to try, instead of the ones of `size`."""
    steps: int | None = Field(default=None, ge=1)
    """Most L-BFGS iterations for each C, instead of the 25 or 60 of `size`."""


@plugin
def head(job: Job, params: Params) -> Draft:
    """Fit the head and write `head.safetensors`."""
    base = job.needs_base("head")
    if job.embed is None:
        raise AskError("Recipe 'head' needs the embeddings of its base, and nobody computes them.")
    start = fits(job, "head")
    job.progress("embedding", 0, 2)
    train = job.embed(job.train_texts)
    job.progress("embedding", 1, 2)
    validation = job.embed(job.validation_texts)
    job.progress("embedding", 2, 2)
    before = None if start is None else carried(job, "head", lambda: (train, np.asarray(job.train_targets)))
    best, c, tried = _choose(job, params, train, validation, before)
    write_head(job.folder, best, centroids(train, job.train_targets, len(job.labels)))
    return Draft(engine=_engine(base), facts={"c": c, "validation_loss": tried, "width": int(train.shape[1])})


def _choose(
    job: Job, params: Params, train: Singles, validation: Singles, last: Head | None
) -> tuple[Head, float, dict[str, float]]:
    """The head of least validation log loss over the path of C; with no validation rows the middle of the path."""
    known = np.asarray(job.validation_targets) >= 0
    path = sorted(params.c or PATHS[params.size])
    fitted: dict[float, Head] = {}
    scores: dict[float, float] = {}
    for done, c in enumerate(path):
        job.progress("fitting the head", done, len(path))
        last = fit_head(
            train,
            job.train_targets,
            len(job.labels),
            c,
            weights=job.train_weights,
            start=last,
            steps=params.steps or STEPS[params.size],
        )
        fitted[c] = last
        if known.any():
            shares = Calibration().probabilities(last.logits(validation[known]))
            scores[c] = loss(shares, job.validation_targets[known])
    job.progress("fitting the head", len(path), len(path))
    best = min(scores, key=lambda c: scores[c]) if scores else path[len(path) // 2]
    return fitted[best], best, {f"{c:g}": round(score, 6) for c, score in scores.items()}


def _engine(base: Path) -> str:
    """Static bases are model2vec folders, whose configuration names their kind; all others are encoders."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return "static" if config.get("model_type") == "model2vec" else "encoder"

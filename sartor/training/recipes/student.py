"""A small model that learns from a larger one's probabilities, or from texts that nobody labelled.

Teachers are the candidates named in `of` (soft targets: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a
neural network"), a column of probabilities (`data.scores`), or, where there is neither, the few labelled rows: their
labels spread over the unlabelled texts (`split: unlabelled`), and the surest of these are learned from. Of an encoder
the head alone is trained, or all of it; of a static base the head, or the vectors of the tokens too.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from sartor.core.calibration import Calibration
from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.calibration import loss
from sartor.training.heads import Head, centroids, fit_head, write_head
from sartor.training.job import Draft, Job
from sartor.training.taught import Ask, Taught, learn, someone
from sartor.training.warm import anew

SIZES = {"small": 0, "medium": 3, "large": 6}
"""Epochs in which the base is trained too; 0: the head alone."""
PATH = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Values of C from which a head's is chosen."""

MS_PER_ROW = {"small": 12.0, "medium": 60.0, "large": 120.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the student recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs in which the base is trained too: none (the head alone), 3 or 6."""
    epochs: int | None = Field(default=None, ge=0)
    """Instead of the epochs of `size`."""
    temperature: float = Field(default=1.0, gt=0, le=20)
    """Of the teacher's probabilities; above 1 the less likely labels are heard better."""
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the loss of labelled rows that the teacher makes."""
    keep: float = Field(default=0.9, gt=0, le=1)
    """Share of the unlabelled texts that are learned from, the surest first."""
    spread: tuple[float, ...] = Field(default=(0.0, 0.3, 0.5, 0.7, 0.8), min_length=1)
    """Without a teacher: shares that neighbours may have in a text's label, chosen by cross-validation; [0]: none."""
    neighbours: int = Field(default=15, ge=1, le=1000)
    """Of a text, in that."""
    rounds: int = Field(default=1, ge=1, le=20)
    """Without a teacher: 2 and more learn again from what was learned (self-training)."""
    names: bool = True
    """Without a teacher: the words of a label's name are an example of it."""
    rate: float | None = Field(default=None, gt=0)
    """Greatest learning rate of the base; default 2e-4 of an encoder, 3e-3 of static vectors."""
    head_rate: float = Field(default=2e-3, gt=0)
    """Greatest learning rate of the head."""
    batch: int = Field(default=32, ge=2)
    """Rows of one step."""
    contrast: float = Field(default=0.0, ge=0)
    """Weight of the supervised contrastive loss; only where labels can be trusted."""


@plugin
def student(job: Job, params: Params) -> Draft:
    """Learn from the teacher; write `head.safetensors`, and `encoder/` or `tokens.safetensors` where those changed.

    Raises:
        AskError: there is no base, nobody to learn from, or the teacher gives no probabilities.
    """
    anew(job, "student")
    someone(job)
    base = job.needs_base("student")
    if job.embed is None:
        raise AskError("Recipe 'student' needs the embeddings of its base, and nobody computes them.")
    settings = params.model_dump(include={"temperature", "keep", "rounds", "names"})
    ask = Ask(params.teacher_weight, alphas=params.spread, near=params.neighbours, **settings)
    taught = learn(job, ask)
    epochs = SIZES[params.size] if params.epochs is None else params.epochs
    if not epochs:
        return _head(job, taught, _engine(base))
    return _tokens(job, params, taught, epochs) if _engine(base) == "static" else _encoder(job, params, taught, epochs)


def _head(job: Job, taught: Taught, engine: str) -> Draft:
    """A head on the frozen base, C chosen on the validation rows."""
    assert job.embed is not None
    seen, held = job.embed(taught.texts), job.embed(job.validation_texts)
    targets = np.asarray(job.validation_targets)
    known = targets >= 0
    fitted: dict[float, Head] = {}
    scores: dict[float, float] = {}
    last = None
    for c in PATH:
        last = fit_head(seen, taught.mixed, len(job.labels), c, weights=taught.weights, start=last)
        fitted[c] = last
        if known.any():
            scores[c] = loss(Calibration().probabilities(last.logits(held[known])), targets[known])
    best = min(scores, key=lambda c: scores[c]) if scores else PATH[1]
    write_head(job.folder, fitted[best], centroids(seen, taught.targets, len(job.labels)))
    tried = {f"{c:g}": round(score, 6) for c, score in scores.items()}
    return Draft(engine=engine, facts={**taught.facts, "c": best, "validation_loss": tried})


def _encoder(job: Job, params: Params, taught: Taught, epochs: int) -> Draft:
    """The encoder with its head, by the loop that all encoders are trained with."""
    import torch

    from sartor.training.encoder import load, repeatable
    from sartor.training.loop import Plan, Soft, train

    plan = Plan(
        epochs=epochs,
        rows=len(taught.texts),
        rate=params.rate or 2e-4,
        head_rate=params.head_rate,
        batch=params.batch,
        smoothing=0.0,
        contrast=params.contrast,
        recipe="student",
    )
    soft = Soft(torch.from_numpy(taught.shares).float(), torch.from_numpy(taught.soft).float(), params.temperature)
    with repeatable(job.seed, job.threads):
        encoder = load(job.needs_base("student"))
        encoder.model.get_input_embeddings().requires_grad_(False)  # noqa: FBT003 - torch's signature
        made = train(encoder, as_job(job, taught), plan, soft)
    encoder.save(job.folder / "encoder")
    write_head(job.folder, made.head, made.centroids)
    return Draft(engine="encoder", facts={**taught.facts, **made.facts}, measured=made.measured)


def _tokens(job: Job, params: Params, taught: Taught, epochs: int) -> Draft:
    """Static vectors of the tokens that occur, and the head."""
    from sartor.training.static_loop import Pace, train_static

    pace = Pace(epochs, params.rate or 3e-3, params.head_rate, params.batch, params.temperature)
    found = train_static(job, taught, pace)
    return Draft(engine="static", facts={**taught.facts, **found})


def as_job(job: Job, taught: Taught) -> Job:
    """The job with the texts and targets that were taught."""
    return replace(
        job,
        train_texts=taught.texts,
        train_targets=taught.targets,
        train_weights=taught.weights,
        train_groups=None,
    )


def _engine(base: Path) -> str:
    """Static bases are model2vec folders, whose configuration names their kind; all others are encoders."""
    config: dict[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return "static" if config.get("model_type") == "model2vec" else "encoder"

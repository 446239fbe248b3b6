"""A LoRA adapter on the queries and values of an encoder: a few hundred kilobytes a variant, the base shared.

Hu et al. 2021, "LoRA: low-rank adaptation of large language models". The loop is shared with `tune`.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.encoder import adapted, adapted_as, load, repeatable, save_adapter
from sartor.training.heads import write_head
from sartor.training.job import Draft, Job
from sartor.training.loop import Plan, train
from sartor.training.warm import fits, misfit

SIZES = {"small": (1, 10_000, 8), "medium": (3, 20_000, 8), "large": (6, 200_000, 32)}
"""Epochs, most rows of an epoch, rank."""

MS_PER_ROW = {"small": 8.0, "medium": 24.0, "large": 60.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the adapter recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs, most rows of an epoch and rank: 1 of 10,000 at 8; 3 of 20,000 at 8; 6 of 200,000 at 32."""
    epochs: int | None = Field(default=None, ge=0)
    """Instead of the epochs of `size`; 0 leaves the adapter as it is and fits the head alone."""
    rank: int | None = Field(default=None, ge=1)
    """Instead of the rank of `size`."""
    rate: float = Field(default=2e-3, gt=0)
    """Greatest learning rate of the adapter."""
    head_rate: float = Field(default=2e-3, gt=0)
    """Greatest learning rate of the head."""
    batch: int = Field(default=32, ge=2)
    """Rows of one step."""
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of each target that is spread over the other labels."""
    contrast: float = Field(default=0.3, ge=0)
    """Weight of the supervised contrastive loss."""
    levels_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss of each broader class of the label hierarchy."""


@plugin
def adapter(job: Job, params: Params) -> Draft:
    """Train the adapter; write `adapter/` and `head.safetensors`."""
    base = job.needs_base("adapter")
    epochs, rows, rank = SIZES[params.size]
    rank = params.rank or rank
    start = _start(job, rank)
    plan = Plan(
        epochs=epochs if params.epochs is None else params.epochs,
        rows=rows,
        recipe="adapter",
        **params.model_dump(include={"rate", "head_rate", "batch", "smoothing", "contrast", "levels_weight"}),
    )
    with repeatable(job.seed, job.threads):
        encoder = adapted(load(base), rank, alpha=2 * rank) if start is None else adapted_as(load(base), start)
        made = train(encoder, job, plan)
    save_adapter(encoder, job.folder / "adapter")
    write_head(job.folder, made.head, made.centroids)
    return Draft(engine="encoder", facts={"rank": rank, **made.facts}, measured=made.measured)


def _start(job: Job, rank: int) -> Path | None:
    """The earlier adapter to go on from, if there is one; its rank is part of its shape."""
    start = fits(job, "adapter")
    if start is None:
        return None
    found = json.loads((start / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    if found != rank:
        raise misfit("adapter", f"its adapter is of rank {found} where rank {rank} is asked for")
    return start / "adapter"

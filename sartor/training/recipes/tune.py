"""An encoder tuned whole: cross-entropy with label smoothing, supervised contrast, and the label hierarchy.

Word embeddings stay frozen: they hold half of a small encoder's weights, and few of them occur in one task. Knows
only its job; the loop is shared with `adapter`.
"""

from typing import Literal

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.encoder import load, repeatable
from sartor.training.heads import write_head
from sartor.training.job import Draft, Job
from sartor.training.loop import Plan, train
from sartor.training.warm import fits, same_build

SIZES = {"small": (1, 10_000), "medium": (3, 20_000), "large": (6, 200_000)}
"""Epochs, and most rows of an epoch."""

MS_PER_ROW = {"small": 10.0, "medium": 30.0, "large": 60.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the tune recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs and most rows of an epoch: 1 of 10,000, 3 of 20,000, 6 of 200,000."""
    epochs: int | None = Field(default=None, ge=0)
    """Instead of the epochs of `size`; 0 leaves the encoder as it is and fits the head alone."""
    rate: float = Field(default=3e-4, gt=0)
    """Greatest learning rate of the encoder."""
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
def tune(job: Job, params: Params) -> Draft:
    """Tune the encoder; write `encoder/` and `head.safetensors`."""
    base = job.needs_base("tune")
    start = fits(job, "tune")
    if start is not None:
        same_build("tune", base, start / "encoder")
    epochs, rows = SIZES[params.size]
    plan = Plan(
        epochs=epochs if params.epochs is None else params.epochs,
        rows=rows,
        recipe="tune",
        **params.model_dump(include={"rate", "head_rate", "batch", "smoothing", "contrast", "levels_weight"}),
    )
    with repeatable(job.seed, job.threads):
        encoder = load(base if start is None else start / "encoder")
        encoder.model.get_input_embeddings().requires_grad_(False)  # noqa: FBT003 - torch's signature
        made = train(encoder, job, plan)
    encoder.save(job.folder / "encoder")
    write_head(job.folder, made.head, made.centroids)
    return Draft(engine="encoder", facts=made.facts, measured=made.measured)

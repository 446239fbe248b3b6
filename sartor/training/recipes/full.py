"""A causal language model tuned whole, or its top layers: for small bases, or where an adapter does not reach.

Embeddings and the head stay as they are: they hold a fifth of a small model's weights, and few of them occur in one
task. The optimiser keeps twelve bytes a weight. The loop is shared with `lora`.
"""

from typing import Literal

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.causal import How, teach
from sartor.training.causal_learners import Whole
from sartor.training.causal_loop import Plan
from sartor.training.causal_plain import whole
from sartor.training.job import Draft, Job

KINDS = ("extract", "generate")
DEVICES = ("cpu", "cuda")

SIZES = {"small": (1, 2_000), "medium": (3, 10_000), "large": (6, 100_000)}
"""Epochs, and most rows of an epoch."""

MS_PER_ROW = {"small": 120.0, "medium": 360.0, "large": 720.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the full recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs and most rows of an epoch: 1 of 2,000, 3 of 10,000, 6 of 100,000."""
    epochs: int | None = Field(default=None, ge=0)
    """Instead of the epochs of `size`."""
    rate: float = Field(default=1e-4, gt=0)
    """Greatest learning rate."""
    batch: int = Field(default=8, ge=1)
    """Rows of one step."""
    layers: int | None = Field(default=None, ge=1)
    """Tune only so many top layers; None: all."""
    keep_trunk: bool = True
    """Keep what the layers below made of the rows in memory, so that each row goes through them once."""
    max_row: int | None = Field(default=None, ge=16)
    """Most tokens of a row, prompt and answer together; default what the base reads."""
    too_long: Literal["drop", "cut", "stop"] = "drop"
    """Longer training rows: leave them out, cut the end of their text, or stop. They are counted and shown."""
    rationale_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss on rationales, where rows carry them; 0 leaves them out."""
    loop: Literal["auto", "lean", "plain"] = "auto"
    """`lean` is this project's own pass, `plain` transformers; auto takes lean where it knows the base."""


@plugin
def full(job: Job, params: Params) -> Draft:
    """Tune the model; write `model/` and `writing.json`."""
    epochs, rows = SIZES[params.size]
    base = job.needs_base("full")
    how = How(
        recipe="full",
        plan=Plan(epochs if params.epochs is None else params.epochs, rows, (params.rate,), params.batch),
        **params.model_dump(include={"layers", "keep_trunk", "max_row", "too_long", "rationale_weight", "loop"}),
    )
    return teach(job, how, lambda lean, kept: Whole(lean, kept, base), whole)

"""A lora variant that learns which of two answers people preferred, straight from the pairs.

Rafailov et al. 2023, "Direct preference optimization: your language model is secretly a reward model"; through trl. A
pair is a demonstration beside what had been answered. The variant is named under `of`.
"""

from typing import Any, Literal

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job, Preferences
from sartor.training.preference import Length, Taught, prefer

KINDS = ("extract", "generate")
DEVICES = ("cpu", "cuda")
SIZES = {"small": (1, 500), "medium": (2, 2_000), "large": (3, 20_000)}
"""Epochs, most pairs."""
MS_PER_ROW = {"small": 200.0, "medium": 400.0, "large": 600.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the dpo recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs and most pairs: 1 of 500, 2 of 2,000, 3 of 20,000."""
    epochs: int | None = Field(default=None, ge=1)
    """Instead of the epochs of `size`."""
    rate: float = Field(default=5e-5, gt=0)
    """Greatest learning rate."""
    batch: int = Field(default=8, ge=1)
    """Pairs of one step."""
    beta: float = Field(default=0.1, gt=0)
    """How dearly it pays for straying from the variant that it goes on from."""
    four_bit: bool = False
    """Hold the frozen base in 4 bits (with `device: cuda`)."""


@plugin
def dpo(job: Job, params: Params) -> Draft:
    """Learn from the pairs; write `adapter/` and `writing.json`."""
    epochs, rows = SIZES[params.size]
    taught = Taught("dpo", "DPOTrainer", _pairs, ("chosen", "rejected"), {"beta": params.beta}, params.four_bit)
    return prefer(job, taught, Length(params.epochs or epochs, rows, params.batch, params.rate))


def _pairs(said: Preferences) -> list[dict[str, Any]]:
    return [{"text": text, "chosen": better, "rejected": worse} for text, better, worse in said.pairs]

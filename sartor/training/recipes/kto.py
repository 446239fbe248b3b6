"""A lora variant that learns from answers that people called right or wrong, each by itself; no pairs are needed.

Ethayarajh et al. 2024, "KTO: model alignment as prospect theoretic optimization"; through trl. The variant is named
under `of`.
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
"""Epochs, most marks."""
MS_PER_ROW = {"small": 200.0, "medium": 400.0, "large": 600.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the kto recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs and most marks: 1 of 500, 2 of 2,000, 3 of 20,000."""
    epochs: int | None = Field(default=None, ge=1)
    """Instead of the epochs of `size`."""
    rate: float = Field(default=5e-5, gt=0)
    """Greatest learning rate."""
    batch: int = Field(default=8, ge=2)
    """Marks of one step; what one is held against comes from the others of its step."""
    beta: float = Field(default=0.1, gt=0)
    """How dearly it pays for straying from the variant that it goes on from."""
    good_weight: float = Field(default=1.0, gt=0)
    """Weight of answers that were right, where they are much rarer than wrong ones."""
    bad_weight: float = Field(default=1.0, gt=0)
    """Weight of answers that were wrong, where they are much rarer than right ones."""
    four_bit: bool = False
    """Hold the frozen base in 4 bits (with `device: cuda`)."""


@plugin
def kto(job: Job, params: Params) -> Draft:
    """Learn from the marks; write `adapter/` and `writing.json`."""
    epochs, rows = SIZES[params.size]
    settings = {"beta": params.beta, "desirable_weight": params.good_weight, "undesirable_weight": params.bad_weight}
    taught = Taught("kto", "KTOTrainer", _marks, ("completion",), settings, params.four_bit)
    return prefer(job, taught, Length(params.epochs or epochs, rows, params.batch, params.rate))


def _marks(said: Preferences) -> list[dict[str, Any]]:
    return [{"text": text, "completion": answer, "label": good} for text, answer, good in said.marks]

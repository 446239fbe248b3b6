"""A LoRA adapter on a causal language model that writes its answers: loss on answers only, the base's chat template.

Hu et al. 2021, "LoRA: low-rank adaptation of large language models". Where rows carry a teacher's rationales, these are
learned beside the answers (Hsieh et al. 2023, "Distilling step-by-step"). The loop is shared with `full`.
"""

from typing import Annotated, Literal

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.causal import How, teach
from sartor.training.causal_learners import Adapters
from sartor.training.causal_loop import Plan
from sartor.training.causal_plain import adapters
from sartor.training.job import Draft, Job

KINDS = ("extract", "generate")
DEVICES = ("cpu", "cuda")

SIZES = {"small": (1, 2_000, 8), "medium": (3, 10_000, 8), "large": (6, 100_000, 16)}
"""Epochs, most rows of an epoch, rank."""

MS_PER_ROW = {"small": 60.0, "medium": 180.0, "large": 400.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""

Rate = Annotated[float, Field(gt=0)]


class Params(Base):
    """Settings of the lora recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Epochs, most rows of an epoch and rank: 1 of 2,000 at 8; 3 of 10,000 at 8; 6 of 100,000 at 16."""
    epochs: int | None = Field(default=None, ge=0)
    """Instead of the epochs of `size`."""
    rank: int | None = Field(default=None, ge=1)
    """Instead of the rank of `size`."""
    rates: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=8)] = (1e-3,)
    """Greatest learning rates. Each trains its own adapter, all in one pass over the base; the best is kept."""
    batch: int = Field(default=8, ge=1)
    """Rows of one step."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers that are adapted."""
    layers: int | None = Field(default=None, ge=1)
    """Adapt only so many top layers; the layers below are run without gradients. None: all."""
    keep_trunk: bool = True
    """Keep what the layers below made of the rows in memory, so that each row goes through them once."""
    max_row: int | None = Field(default=None, ge=16)
    """Most tokens of a row, prompt and answer together; default what the base reads."""
    too_long: Literal["drop", "cut", "stop"] = "drop"
    """Longer training rows: leave them out, cut the end of their text, or stop. They are counted and shown."""
    rationale_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss on rationales, where rows carry them; 0 leaves them out."""
    four_bit: bool = False
    """Hold the frozen base in 4 bits; with `device: cuda` only."""
    loop: Literal["auto", "lean", "plain"] = "auto"
    """`lean` is this project's own pass, `plain` transformers and peft; auto takes lean where it knows the base."""


@plugin
def lora(job: Job, params: Params) -> Draft:
    """Train the adapter; write `adapter/` and `writing.json`."""
    epochs, rows, rank = SIZES[params.size]
    rank = params.rank or rank
    how = How(
        recipe="lora",
        plan=Plan(epochs if params.epochs is None else params.epochs, rows, params.rates, params.batch),
        **params.model_dump(
            include={"layers", "keep_trunk", "max_row", "too_long", "rationale_weight", "loop", "four_bit"}
        ),
    )
    count = len(params.rates)
    made = teach(
        job,
        how,
        lambda lean, kept: Adapters(lean, kept, rank=rank, targets=params.targets, count=count),
        lambda base, layers, device: adapters(base, layers, device, rank=rank, targets=params.targets, count=count),
    )
    return Draft(made.engine, {"rank": rank, **made.facts}, made.measured)

"""A made adapter at a lower rank: the nearest product of thinner matrices (Eckart & Young 1936).

The rank is the least that keeps a stated share of the squares of all layers, or is named. Knows no data.
"""

from typing import Literal

from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.job import Draft, Job
from sartor.training.lowrank import compressed, read_lora, write_lora
from sartor.training.surgery import ADAPTER, bytes_of, carry_over, patients, promised
from sartor.training.warm import anew

KINDS = ("classify", "extract", "generate")
SIZES = {"small": 0.9, "medium": 0.97, "large": 0.995}
"""Share of the squares that is kept."""
SURGERY = True
"""Its parts are operated on, and not asked."""
MS_PER_ROW = {"small": 0.1, "medium": 0.1, "large": 0.1}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the low_rank recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """Share of the squares of what the adapter adds that is kept: 90 %, 97 %, 99.5 %."""
    rank: int | None = Field(default=None, ge=1)
    """Instead of the rank that `size` leads to."""
    tolerance: float = Field(default=0.05, ge=0, le=1)
    """Share of the validation rows on which it may answer otherwise than what it was made of."""


@plugin
def low_rank(job: Job, params: Params) -> Draft:
    """Write `adapter/` at the lower rank; all else is the parent's.

    Raises:
        AskError: not one adapter is named under `of`, or the candidate names no base.
    """
    anew(job, "low_rank")
    (patient,) = patients(job, "low_rank")
    job.needs_base("low_rank")
    if patient.adapter is None:
        raise AskError(
            f"Recipe 'low_rank' works on adapters, and '{patient.part.title}' was tuned whole: take 'extract_adapter'.",
            param="candidates.of",
            code="parts_do_not_fit",
        )
    lora = read_lora(patient.adapter)
    lora.fits(patient.body.specs)
    rank = params.rank or 1
    while True:
        found = {name: compressed(layer, rank) for name, layer in lora.layers.items()}
        lost = sum(one.lost for one in found.values()) / max(sum(one.whole for one in found.values()), 1e-30)
        if params.rank is not None or rank >= lora.rank or 1.0 - lost >= SIZES[params.size]:
            break
        rank += 1
    carry_over(patient, job.folder)
    layers = {name: one.factors for name, one in found.items()}
    write_lora(job.folder / ADAPTER, layers, task_type=lora.config.get("task_type"))
    facts = promised(params.tolerance, rank=rank, rank_before=lora.rank, kept=round(1.0 - lost, 6))
    measured = {"bytes_before": bytes_of(patient.adapter), "bytes": bytes_of(job.folder / ADAPTER)}
    return Draft(patient.part.engine, facts, measured)

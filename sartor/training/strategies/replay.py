"""New rows and a memory of old ones, from the live variant's weights; what is remembered weighs as much as all did.

Experience replay (Rolnick et al. 2019, "Experience replay for continual learning") with the same memory for each
label (Rebuffi et al. 2017, "iCaRL"). Knows only what it is told of the past.
"""

import numpy as np
from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.strategy import Past, Plan, Skipped, sample_old


class Params(Base):
    """How much is remembered."""

    share: float = Field(default=0.3, gt=0, le=1)
    """Share of the old rows of each label."""
    least: int = Field(default=10, ge=0)
    """Old rows of a label that are kept however small its share is."""
    weigh: bool = True
    """Whether a remembered row stands for those of its label that are left out."""


@plugin
def replay(past: Past, params: Params) -> Plan | Skipped:
    """All new rows, and a weighed sample of the old ones."""
    if past.why_not:
        return Skipped(past.why_not)
    if not past.new.any():
        return Skipped("there are no new rows")
    old = sample_old(past, params.share, params.least)
    if len(old) == int((~past.new).sum()) and not past.network:
        return Skipped("so few old rows are all remembered: it would end where one from scratch does")
    new = np.flatnonzero(past.new)
    rows = np.sort(np.concatenate([new, old]))
    weights = np.ones(len(past.targets)) if past.weights is None else np.array(past.weights, dtype=np.float64)
    if params.weigh:
        labels = int(past.targets.max(initial=0)) + 1
        before = np.bincount(past.targets[~past.new], minlength=labels)
        kept = np.maximum(np.bincount(past.targets[old], minlength=labels), 1)
        weights[old] *= (before / kept)[past.targets[old]]
    weights = weights[rows]
    says = f"From the live variant's weights, on {len(new):,} new rows and a memory of {len(old):,} old ones."
    return Plan(says=says, rows=rows, weights=weights / weights.mean(), start=True)

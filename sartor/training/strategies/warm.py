"""Training begins at the live variant's weights: fewer steps to the same place, on all rows or fewer old ones.

A network that is warmed up generalises a little worse than one from scratch (Ash and Adams 2020, "On warm-starting
neural network training"), and one that sees only new rows forgets the old (McCloskey and Cohen 1989). Whether that
matters is measured on the task's own past. Knows only what it is told of the past.
"""

import numpy as np
from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.strategy import Past, Plan, Skipped, sample_old


class Params(Base):
    """What a warm start learns from."""

    old: float = Field(default=1.0, ge=0, le=1)
    """Share of the rows that the live variant has learned already; 0 is naive fine-tuning on the new rows alone."""


@plugin
def warm(past: Past, params: Params) -> Plan | Skipped:
    """New rows and a share of the old ones, from the live variant's weights."""
    if past.why_not:
        return Skipped(past.why_not)
    if params.old == 1 and not past.network:
        return Skipped("the loss of an output layer is convex: on the same rows it ends where one from scratch does")
    if not past.new.any() and params.old == 0:
        return Skipped("there are no new rows")
    new = np.flatnonzero(past.new)
    old = np.flatnonzero(~past.new) if params.old == 1 else sample_old(past, params.old, 0)
    rows = np.sort(np.concatenate([new, old]))
    says = f"From the live variant's weights, on {len(new):,} new rows and {len(old):,} old ones."
    return Plan(says=says, rows=rows, start=True)

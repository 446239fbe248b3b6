"""Trained on from the live variant, then mixed with its weights: a straight line between what was and what is new.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models": in between lies often less forgetting at little loss
on what is new. Knows only what it is told of the past.
"""

from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.strategy import Past, Plan, Skipped


class Params(Base):
    """Where on the line the result lies."""

    live: float = Field(default=0.3, gt=0, lt=1)
    """Share of the live variant's weights."""


@plugin
def interpolate(past: Past, params: Params) -> Plan | Skipped:
    """All rows, from the live variant's weights, then mixed with them."""
    if past.why_not:
        return Skipped(past.why_not)
    says = f"From the live variant's weights on all {len(past.targets):,} rows, then {100 * params.live:g} % of those."
    return Plan(says=says, start=True, mix=params.live)

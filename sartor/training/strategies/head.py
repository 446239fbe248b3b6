"""The live variant's own layers stay as they are; its outputs alone are learned anew, on all rows: seconds, not hours.

What the layers know can't be forgotten, and nothing new gets into them (Kumar et al. 2022, "Fine-tuning can distort
pretrained features and underperform out-of-distribution"). Knows only what it is told of the past.
"""

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.strategy import Past, Plan, Skipped


class Params(Base):
    """Nothing to set."""


@plugin
def head(past: Past, params: Params) -> Plan | Skipped:  # noqa: ARG001 - every strategy is called alike
    """All rows, on the embeddings of the live variant's layers."""
    if past.why_not:
        return Skipped(past.why_not)
    if not past.network:
        return Skipped("its outputs are all that was learned: that is training from scratch")
    return Plan(says=f"A new head on the live variant's layers, on all {len(past.targets):,} rows.", frozen=True)

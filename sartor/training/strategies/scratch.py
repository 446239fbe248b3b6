"""From the base on all rows, as if there were no live variant: nothing is forgotten that is still among the rows.

The yardstick of every other strategy, and the dearest. Knows only what it is told of the past.
"""

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.strategy import Past, Plan, Skipped


class Params(Base):
    """Nothing to set."""


@plugin
def scratch(past: Past, params: Params) -> Plan | Skipped:  # noqa: ARG001 - every strategy is called alike
    """All rows, from the base."""
    return Plan(says=f"From the base, on all {len(past.targets):,} rows.")

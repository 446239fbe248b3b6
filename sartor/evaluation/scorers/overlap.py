"""How many words a text shares with the right one: F1 of words (Rajpurkar et al. 2016), capitals aside."""

from collections import Counter

from pydantic import Field

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """When it is enough."""

    enough: float = Field(default=1.0, gt=0, le=1)
    """F1 from which on the criterion counts as fulfilled in full."""


@plugin
def overlap(truth: str, said: str, params: Params) -> float:
    """F1 of words, divided by what is enough, 1 at most."""
    one, other = Counter(truth.casefold().split()), Counter(said.casefold().split())
    total = one.total() + other.total()
    f1 = 2 * (one & other).total() / total if total else 1.0
    return min(f1 / params.enough, 1.0)

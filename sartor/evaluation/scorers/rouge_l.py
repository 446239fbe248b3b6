"""The longest run of words in common, in order: ROUGE-L (Lin 2004), as F1 of words."""

from collections.abc import Sequence

from pydantic import Field

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """When it is enough."""

    enough: float = Field(default=1.0, gt=0, le=1)
    """F1 from which on the criterion counts as fulfilled in full."""


@plugin
def rouge_l(truth: str, said: str, params: Params) -> float:
    """F1 of the longest common subsequence, divided by what is enough, 1 at most."""
    one, other = truth.casefold().split(), said.casefold().split()
    total = len(one) + len(other)
    f1 = 2 * _common(one, other) / total if total else 1.0
    return min(f1 / params.enough, 1.0)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, in memory of one row."""
    before = [0] * (len(other) + 1)
    for word in one:
        now = [0]
        for place, said in enumerate(other):
            now.append(before[place] + 1 if word == said else max(before[place + 1], now[place]))
        before = now
    return before[-1]

"""What a strategy is told and what it says: how a recipe goes on from the live variant. Knows no store and no recipe.

A strategy chooses: which training rows, with what weight, from which start, and what is done with the weights after
training. It trains nothing itself, so that one file serves every recipe.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.training.job import Ints

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Past:
    """What a strategy may look at."""

    targets: Ints
    """(train rows,) class index."""
    new: Bools
    """(train rows,) rows that the live variant was not made from."""
    weights: Floats | None = None
    """(train rows,) importance that the rows have anyway."""
    why_not: str = ""
    """Why the recipe can't go on from the live variant's files; '' where it can."""
    network: bool = False
    """The live variant brings layers of its own beneath its outputs; otherwise its outputs are all that was learned."""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """How a recipe goes on."""

    says: str
    """In plain words."""
    rows: Ints | None = None
    """Positions of the training rows that are learned from, in order; None: all."""
    weights: Floats | None = None
    """(rows,) importance of each of them, mean 1; None: what they have anyway."""
    start: bool = False
    """Training begins at the live variant's weights."""
    mix: float = 0.0
    """Share of the live variant's weights in the result."""
    frozen: bool = False
    """The live variant's layers stay as they are: only its outputs are learned anew."""

    @property
    def descends(self) -> bool:
        """Whether something of the live variant is in the result."""
        return self.start or self.mix > 0 or self.frozen


@dataclass(frozen=True)
class Skipped:
    """The strategy makes no sense here."""

    why: str


def sample_old(past: Past, share: float, least: int) -> Ints:
    """Positions of a part of the rows that are not new: of each label its share, never fewer than `least`.

    Drawn with the seed, so that the same past gives the same rows.
    """
    random = np.random.default_rng(past.seed)
    kept = []
    old = np.flatnonzero(~past.new)
    for label in np.unique(past.targets[old]):
        rows = old[past.targets[old] == label]
        count = min(len(rows), max(least, round(share * len(rows))))
        kept.append(random.permutation(rows)[:count])
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, dtype=np.int64)

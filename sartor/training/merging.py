"""Ways to make one tensor of several of one shape. Knows no files and no models.

Linear: model soups (Wortsman et al. 2022). SLERP: along the great circle (Shoemake 1985). TIES: trim, elect a sign,
merge what agrees with it (Yadav et al. 2023). DARE: drop changes at random and scale up the rest (Yu et al. 2024).
TIES and DARE work on what training changed, so they need the base.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Method = Literal["linear", "slerp", "ties", "dare"]
Values = npt.NDArray[Any]
NEEDS_BASE = ("ties", "dare")
PARALLEL = 1e-6
"""Sine of the angle under which two tensors count as of one direction."""


@dataclass(frozen=True)
class Mix:
    """How several are made one."""

    method: Method
    weights: tuple[float, ...]
    """Of each; their sum is one."""
    density: float = 0.5
    """Share of the changes that TIES and DARE keep."""
    scale: float = 1.0
    """What the merged change is multiplied by, in TIES and DARE."""
    seed: int = 0

    def __call__(self, name: str, parts: Sequence[Values], base: Values | None = None) -> Values:
        """One tensor, in float64; whole numbers are taken from the first.

        Args:
            name: of the tensor: what DARE drops is drawn from it and the seed, whatever the order of work.
            base: before training; zeros where the parts are changes already.
        """
        first = parts[0]
        if not np.issubdtype(first.dtype, np.floating):
            return first
        values = [part.astype(np.float64) for part in parts]
        if self.method == "linear":
            return linear(values, self.weights)
        if self.method == "slerp":
            return slerp(values[0], values[1], self.weights[1])
        ground = np.zeros_like(values[0]) if base is None else base.astype(np.float64)
        changes = [value - ground for value in values]
        if self.method == "ties":
            return ground + self.scale * ties(changes, self.weights, self.density)
        draw = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return ground + self.scale * linear([dare(change, self.density, draw) for change in changes], self.weights)


def linear(parts: Sequence[Values], weights: Sequence[float]) -> Values:
    """The weighted sum."""
    total = np.zeros_like(parts[0])
    for part, weight in zip(parts, weights, strict=True):
        total += weight * part
    return total


def slerp(first: Values, second: Values, share: float) -> Values:
    """`share` of the way from first to second, along the circle that both lie on; straight where they are parallel.

    The angle is that of the flattened tensors; their lengths stay what they are.
    """
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) == 0.0:
        return linear([first, second], [1.0 - share, share])
    cosine = float(np.clip(np.vdot(first, second) / (lengths[0] * lengths[1]), -1.0, 1.0))
    angle = float(np.arccos(cosine))
    if np.sin(angle) < PARALLEL:
        return linear([first, second], [1.0 - share, share])
    weights = [np.sin((1.0 - share) * angle) / np.sin(angle), np.sin(share * angle) / np.sin(angle)]
    return linear([first, second], weights)


def ties(changes: Sequence[Values], weights: Sequence[float], density: float) -> Values:
    """Keep each one's greatest changes, let their weighted sum elect a sign, average those that have it."""
    kept = np.stack([weight * trimmed(change, density) for change, weight in zip(changes, weights, strict=True)])
    elected = np.sign(kept.sum(axis=0))
    agree = np.sign(kept) == elected
    share = np.asarray(weights).reshape(-1, *[1] * changes[0].ndim)
    heard = (agree * share).sum(axis=0)
    merged: Values = np.where(agree, kept, 0.0).sum(axis=0) / np.where(heard > 0, heard, 1.0)
    return merged


def trimmed(change: Values, density: float) -> Values:
    """The share of greatest magnitude; the rest is zero."""
    count = int(np.ceil(density * change.size))
    if count >= change.size:
        return change
    least = np.partition(np.abs(change).ravel(), change.size - count)[change.size - count] if count else np.inf
    kept: Values = np.where(np.abs(change) >= least, change, 0.0)
    return kept


def dare(change: Values, density: float, draw: np.random.Generator) -> Values:
    """Each change is kept with chance `density` and divided by it: the expected sum of any row stays."""
    kept: Values = np.where(draw.random(change.shape) < density, change / density, 0.0)
    return kept

"""Evidence that may be looked at any time: wealth that a fair bettor could not have won, and bounds that follow.

Whoever bets against a claim with fair odds grows rich only if the claim is false: wealth of 1 / level refutes it at
that level, however often somebody looks (Ville 1939). Means of bounded values are tested by betting (Waudby-Smith
and Ramdas 2024, "Estimating means of bounded random variables by betting"), here with a fixed mixture of stakes
instead of tuned ones. Two randomised arms become one stream of values whose mean is their difference (Robins,
Rotnitzky and Zhao 1994). Pure arithmetic; rows are in the order of time.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats

Bools = npt.NDArray[np.bool_]
STAKES = 0.9 * 0.5 ** np.arange(10)
"""Shares of the most that could be staked, each held by a tenth of the wealth: some of them suit any effect."""
LOOKS = 2000
"""Times at which the wealth of a long stream is looked at."""
HALVINGS = 18
"""Of the span in which a bound is sought."""
TINY = 1e-9


def log_wealth(gains: Floats, most: Floats | float, *, every: int = 1) -> Floats:
    """Logarithm of the wealth won so far by betting that gains are above 0 on average.

    Where each gain has mean 0 or less given the past, wealth ever reaches 1 / level with chance `level` at most.

    Args:
        gains: (..., rows), at least one.
        most: what can be lost in one row, known before it: gains are never below -most. Above 0; broadcasts.
        every: rows between two looks; looking less often is allowed and only overlooks some wealth.

    Returns:
        (..., looks), the last one after all rows.
    """
    share = np.asarray(gains, dtype=np.float64) / most
    starts = np.arange(0, share.shape[-1], every)
    held = np.full((*share.shape[:-1], len(starts)), -np.inf)
    for stake in STAKES:
        won = np.add.reduceat(np.log1p(stake * share), starts, axis=-1)
        np.logaddexp(held, won.cumsum(axis=-1), out=held)
    return held - math.log(len(STAKES))


def best_wealth(gains: Floats, most: Floats | float) -> float:
    """The most that the wealth of one stream of (rows,) ever was, looked at `LOOKS` times; 0 at the start."""
    rows = len(gains)
    return max(0.0, float(log_wealth(gains, most, every=rows // LOOKS + 1).max())) if rows else 0.0


def chance_above(values: Floats, bound: float, high: Floats | float) -> float:
    """p-value, at any time, of the claim that the mean is above a bound: small where values prove it to be below.

    Args:
        high: the most that a value can be.
    """
    return math.exp(-best_wealth(bound - values, np.asarray(high) - bound))


def lower_bound(values: Floats, low: Floats | float, within: tuple[float, float], level: float) -> float:
    """A bound that the mean is above, at all times at once, but for a chance of `level`.

    Args:
        values: (rows,).
        low: (rows,) or one number: the least that each value can be, known before it.
        within: the mean is known to lie within these.
    """
    wanted, sure = math.log(1.0 / level), within[0]
    doubted = min(within[1], max(sure, float(values.mean()))) if len(values) else sure
    # Wealth falls as the claimed mean rises, so the bound is where it crosses what is wanted.
    for _ in range(HALVINGS):
        middle = (sure + doubted) / 2.0
        # Where no value can be as low as the claim, nothing can be lost, and any stake is fair.
        if best_wealth(values - middle, np.maximum(middle - np.asarray(low), TINY)) >= wanted:
            sure = middle
        else:
            doubted = middle
    return sure


def upper_bound(values: Floats, high: Floats | float, within: tuple[float, float], level: float) -> float:
    """A bound that the mean is below, at all times at once, but for a chance of `level`."""
    return -lower_bound(-np.asarray(values), -np.asarray(high), (-within[1], -within[0]), level)


@dataclass(frozen=True, eq=False)
class Contrast:
    """A stream of values whose mean is the difference of two randomised arms: treated minus control."""

    values: Floats
    """(..., rows)."""
    low: Floats
    """(..., rows) the least that each could have been, known before it."""
    high: Floats
    """(..., rows) the most."""

    def since(self, start: int) -> "Contrast":
        """Without the first rows: what came before only told what to expect."""
        return Contrast(self.values[..., start:], self.low[..., start:], self.high[..., start:])

    def bounds(self, level_low: float, level_high: float, span: float) -> tuple[float, float]:
        """Lower and upper bound of the difference (of one stream), each at its level; it lies within -span and span."""
        return (
            lower_bound(self.values, self.low, (-span, span), level_low),
            upper_bound(self.values, self.high, (-span, span), level_high),
        )


def contrast(
    treated: Bools,
    chance: Floats,
    weighted: Floats,
    weight: Floats,
    limits: tuple[float, float],
    most: Floats | float = 1.0,
) -> Contrast:
    """The difference of two arms, each row weighted by the inverse of its known chance of being where it is.

    From each value the mean of its arm so far is taken first, which keeps the difference unbiased and makes it
    steadier (augmented inverse-probability weighting).

    Args:
        treated: (..., rows) which arm.
        chance: (..., rows) chance with which the row was put into the treated arm, strictly between 0 and 1.
        weighted: (..., rows) weight times value; values are within `limits`.
        weight: (..., rows) inverse chance that the value is seen, 0 where it is not seen; 1 where all are. A mean of
            several values counts with its mean weight.
        limits: least and most of a value.
        most: no weight is above this, which is known before the row; broadcasts.
    """
    low, high = limits
    arms = (~treated, treated)
    means = [_mean_before(np.where(arm, weighted, 0.0), np.where(arm, weight, 0.0), limits) for arm in arms]
    own = np.where(treated, means[1], means[0])
    inverse = np.where(treated, 1.0 / chance, -1.0 / (1.0 - chance))
    values = means[1] - means[0] + inverse * (weighted - own * weight)
    # What a row could bring, whichever arm it falls into: its residual lies within these, times its weight.
    up = most * np.maximum((high - means[1]) / chance, (means[0] - low) / (1.0 - chance))
    down = most * np.maximum((means[1] - low) / chance, (high - means[0]) / (1.0 - chance))
    middle = means[1] - means[0]
    return Contrast(values, middle - down, middle + up)


def _mean_before(weighted: Floats, weight: Floats, limits: tuple[float, float]) -> Floats:
    """(..., rows) weighted mean of all rows before each one, begun with one row in the middle of the limits."""
    sums, sizes = (column.cumsum(axis=-1) - column for column in (weighted, weight))
    found: Floats = np.clip((sums + sum(limits) / 2.0) / (sizes + 1.0), *limits)
    return found

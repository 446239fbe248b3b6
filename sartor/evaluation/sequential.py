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


def log_wealth(gains: Floats, most: Floats | float) -> Floats:
    """Logarithm of the wealth won so far by betting that gains are above 0 on average.

    Where each gain has mean 0 or less given the past, wealth ever reaches 1 / level with chance `level` at most.

    Args:
        gains: (..., rows).
        most: what can be lost in one row, known before it: gains are never below -most. Above 0; broadcasts.

    Returns:
        (..., rows).
    """
    share = np.asarray(gains, dtype=np.float64) / most
    held = np.full(share.shape, -np.inf)
    for stake in STAKES:
        np.logaddexp(held, np.log1p(stake * share).cumsum(axis=-1), out=held)
    return held - math.log(len(STAKES))


def best_wealth(gains: Floats, most: Floats | float) -> float:
    """The most that `log_wealth` ever was; 0 at the start, so never below that."""
    return max(0.0, float(log_wealth(gains, most).max(initial=0.0)))


def chance_above(values: Floats, bound: float, high: Floats | float) -> float:
    """p-value, at any time, of the claim that the mean is above a bound: small where values prove it to be below.

    Args:
        high: the most that a value can be.
    """
    return math.exp(-best_wealth(bound - values, np.asarray(high) - bound))


def lower_bound(values: Floats, low: Floats | float, high: float, level: float) -> float:
    """A bound that the mean is above, at all times at once, but for a chance of `level`.

    Args:
        values: (rows,).
        low: (rows,) or one number: the least that each value can be, known before it.
        high: the most that the mean can be.
    """
    floor = float(np.min(low))
    if not len(values):
        return floor
    wanted = math.log(1.0 / level)
    sure, doubted = floor, min(high, float(values.mean()))
    # Wealth falls as the claimed mean rises, so the bound is where it crosses what is wanted.
    for _ in range(24):
        middle = (sure + doubted) / 2.0
        if middle > floor and best_wealth(values - middle, middle - np.asarray(low)) >= wanted:
            sure = middle
        else:
            doubted = middle
    return sure


def upper_bound(values: Floats, high: Floats | float, low: float, level: float) -> float:
    """A bound that the mean is below, at all times at once, but for a chance of `level`."""
    return -lower_bound(-np.asarray(values), -np.asarray(high), -low, level)


@dataclass(frozen=True, eq=False)
class Contrast:
    """A stream of values whose mean is the difference of two randomised arms: treated minus control."""

    values: Floats
    """(rows,)."""
    low: Floats
    """(rows,) the least that each could have been, known before it."""
    high: Floats
    """(rows,) the most."""

    def bounds(self, level_low: float, level_high: float, span: float) -> tuple[float, float]:
        """Lower and upper bound of the difference, each at its own level; it lies within -span and span."""
        return (
            max(-span, lower_bound(self.values, self.low, span, level_low)),
            min(span, upper_bound(self.values, self.high, -span, level_high)),
        )


def contrast(
    treated: Bools, chance: Floats, weighted: Floats, weight: Floats, limits: tuple[float, float], most: float = 1.0
) -> Contrast:
    """The difference of two arms, each row weighted by the inverse of its known chance of being where it is.

    From each value the mean of its arm so far is taken first, which keeps the difference unbiased and makes it
    steadier (augmented inverse-probability weighting).

    Args:
        treated: (rows,) which arm.
        chance: (rows,) chance with which the row was put into the treated arm, strictly between 0 and 1.
        weighted: (rows,) weight times value; values are within `limits`.
        weight: (rows,) inverse chance that the value is seen, 0 where it is not seen; 1 where all are. A mean of
            several values counts with its mean weight.
        limits: least and most of a value.
        most: no weight is above this.
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
    """(rows,) weighted mean of all rows before each one, begun with one row in the middle of the limits."""
    sums = np.concatenate([[0.0], weighted.cumsum()[:-1]])
    sizes = np.concatenate([[0.0], weight.cumsum()[:-1]])
    found: Floats = np.clip((sums + sum(limits) / 2.0) / (sizes + 1.0), *limits)
    return found

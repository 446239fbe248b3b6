"""How sure a figure is: intervals, paired tests, corrections for many of them, and the rows that would settle it.

Pure arithmetic on arrays, seeded. Knows no answers, money or metrics. Rows of one group move together: intervals
then resample whole groups (cluster bootstrap; Field and Welsh 2007, "Bootstrapping clustered data").
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.core.value import Ints

CELLS = 1_000_000
"""Resampled rows that are held in memory at once."""
POWER = 0.8
"""Chance with which the stated number of rows would settle a difference of the observed size."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure, its interval, and the resamples behind it."""

    value: float
    low: float
    high: float
    n: int
    """Rows that count."""
    draws: Floats
    """(draws,) the figure of each resample; empty where the interval needed none."""

    def chance_below(self, bound: float) -> float:
        """One-sided p-value of the claim that the true figure is at least `bound`.

        The share of resamples below it, with one added above and below the line so that it is never 0
        (Davison and Hinkley 1997, section 4.4).
        """
        return float(((self.draws < bound).sum() + 1) / (len(self.draws) + 1))


def wilson(successes: float, n: int, confidence: float) -> tuple[float, float]:
    """Interval of a share (Wilson 1927); keeps its promise at shares near 0 and 1, where the plain one fails.

    Raises:
        ValueError: n is less than 1.
    """
    if n < 1:
        raise ValueError("a share of no rows has no interval")
    z = _z(confidence)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def clusters_of(groups: npt.NDArray[np.str_] | None, n: int) -> Ints:
    """(rows,) number of each row's cluster, from 0; without groups each row is its own."""
    if groups is None:
        return np.arange(n)
    codes: Ints = np.unique(groups, return_inverse=True)[1]
    return codes


def resamples(count: int, draws: int, seed: int) -> Iterator[Ints]:
    """How often each of `count` clusters is drawn: chunks of (some, count), `draws` rows over all.

    Multinomial counts, made by tallying drawn indices: one matrix product then serves all columns at once.
    """
    random = np.random.default_rng(seed)
    step = max(1, min(draws, CELLS // max(count, 1)))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = random.integers(0, count, size=(size, count))
        drawn += np.arange(size)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)


def bootstrap_means(
    values: Floats, *, confidence: float, clusters: Ints | None = None, draws: int = 2000, seed: int = 0
) -> list[Estimate]:
    """Means of columns with bootstrap intervals, all columns on the same resamples.

    The interval is BCa (Efron 1987, "Better bootstrap confidence intervals"): money is skewed, a few dear mistakes
    among many cheap answers, and the plain percentile interval then lies too low.

    Args:
        values: (rows, columns); NaN where a row does not count in a column. For paired differences, the differences.
        clusters: (rows,) from `clusters_of`.

    Returns:
        One estimate a column.

    Raises:
        ValueError: in some column no row counts.
    """
    rows, columns = values.shape
    counts = ~np.isnan(values)
    if rows == 0 or not counts.any(axis=0).all():
        raise ValueError("there is a column in which no row counts")
    codes = np.arange(rows) if clusters is None else clusters
    sums = _by_cluster(np.where(counts, values, 0.0), codes)
    sizes = _by_cluster(counts.astype(np.float64), codes)
    both = np.hstack([sums, sizes])
    totals = np.vstack([weights @ both for weights in resamples(len(both), draws, seed)])
    middle = sums.sum(axis=0) / sizes.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals[:, :columns] / totals[:, columns:]
    # A resample without any row that counts says nothing: it stands at the observed mean.
    means = np.where(np.isnan(means), middle, means)
    found = []
    for j in range(columns):
        low, high = _bca(means[:, j], float(middle[j]), _jackknife(sums[:, j], sizes[:, j]), confidence)
        found.append(Estimate(float(middle[j]), low, high, int(counts[:, j].sum()), means[:, j]))
    return found


def bootstrap(
    figure: Callable[[Ints], float | None],
    *,
    confidence: float,
    clusters: Ints,
    draws: int = 400,
    seed: int = 0,
) -> Estimate | None:
    """Any figure of rows with a percentile interval (Efron 1979), widened to hold the figure itself.

    Args:
        figure: the figure of rows given by index, repeats allowed; None where it is undefined.
        clusters: (rows,) from `clusters_of`.

    Returns:
        None where the figure is undefined on all rows, or on more than half of the resamples.
    """
    rows = np.arange(len(clusters))
    value = figure(rows)
    if value is None or not math.isfinite(value):
        return None
    found = []
    for weights in resamples(int(clusters.max()) + 1, draws, seed):
        found += [figure(np.repeat(rows, drawn[clusters])) for drawn in weights]
    drawn_values = np.array([v for v in found if v is not None and math.isfinite(v)], dtype=np.float64)
    if len(drawn_values) < draws / 2:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn_values, [tail, 1 - tail])
    return Estimate(value, min(value, float(low)), max(value, float(high)), len(rows), drawn_values)


def mcnemar(fixed: int, broken: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): are rows fixed and broken equally often?"""
    from scipy.special import bdtr

    if fixed + broken == 0:
        return 1.0
    return min(1.0, 2.0 * float(bdtr(min(fixed, broken), fixed + broken, 0.5)))


def holm(chances: npt.ArrayLike) -> Floats:
    """Holm's step-down adjustment (1979) of p-values: compare each with the level as if it were alone."""
    p = np.asarray(chances, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def rows_needed(values: Floats, *, confidence: float, bound: float = 0.0, clusters: Ints | None = None) -> int | None:
    """More rows like these that would show the mean to be above a bound, if it is what it now seems to be.

    Normal approximation: n = ((z of the interval + z of the power) * sd / distance)^2, with a power of 0.8. With
    clusters the variance is that of cluster sums, so that "rows" are rows of groups of the present size.

    Args:
        values: (rows,) paired differences; NaN where a row does not count.

    Returns:
        0 where there are enough rows; None where the mean is not above the bound, so that no number helps.
    """
    counts = ~np.isnan(values)
    n = int(counts.sum())
    distance = float(values[counts].mean()) - bound if n else 0.0
    if n < 2 or distance <= 0:
        return None
    spread = standard_error(values, clusters) ** 2 * n
    needed = (_z(confidence) + _normal_quantile(POWER)) ** 2 * spread / distance**2
    return max(0, math.ceil(needed) - n)


def standard_error(values: Floats, clusters: Ints | None = None) -> float:
    """Standard error of the mean of (rows,) values, NaN where a row does not count; of cluster sums if clustered."""
    counts = ~np.isnan(values)
    n = int(counts.sum())
    if n == 0:
        return math.inf
    codes = np.arange(len(values)) if clusters is None else clusters
    residuals = np.where(counts, values - values[counts].mean(), 0.0)
    return math.sqrt(float((_by_cluster(residuals[:, None], codes) ** 2).sum())) / n


def paired_shares_chance(better: Floats, worse: Floats, n: Ints, margin: float) -> Floats:
    """One-sided p-values that a paired share fell by more than a margin, many at once.

    Half a row is added to each cell (Agresti and Min 2005, "Simple improved confidence intervals for comparing
    matched proportions"): a slice of three rows, all broken, then proves nothing.

    Args:
        better: (slices,) rows gained; fractions allowed.
        worse: (slices,) rows lost.
        n: (slices,) rows.

    Returns:
        (slices,) chances to see this or worse if the share had fallen by just the margin.
    """
    from scipy.special import ndtr

    size = n + 2.0
    difference = (better - worse) / size
    spread = np.sqrt((better + worse + 1.0 - size * difference**2) / size**2)
    chances: Floats = ndtr((difference + margin) / spread)
    return chances


def slice_chance(wrong: Floats, n: Ints, all_wrong: float, total: int) -> Floats:
    """One-sided p-values that a slice errs more than the other rows: Fisher's exact test (1922), many at once.

    Args:
        wrong: (slices,) errors in each slice; fractions are rounded.
        n: (slices,) rows in each slice.
        all_wrong: errors in all rows.
        total: all rows.
    """
    from scipy.stats import hypergeom

    chances: Floats = hypergeom.sf(np.rint(wrong) - 1, total, round(all_wrong), n)
    return chances


def _by_cluster(values: Floats, codes: Ints) -> Floats:
    """Sums of (rows, columns) over clusters: (clusters, columns)."""
    size = int(codes.max()) + 1
    return np.stack([np.bincount(codes, weights=column, minlength=size) for column in values.T], axis=1)


def _jackknife(sums: Floats, sizes: Floats) -> Floats:
    """The mean with each cluster left out in turn; clusters without which no row is left are passed over."""
    left = sizes.sum() - sizes
    means: Floats = (sums.sum() - sums)[left > 0] / left[left > 0]
    return means


def _bca(draws: Floats, value: float, jackknife: Floats, confidence: float) -> tuple[float, float]:
    """Bias-corrected and accelerated interval from resamples and leave-one-out figures."""
    from scipy.special import ndtr, ndtri

    # Ties count half, or discrete figures would look biased.
    below = ((draws < value).sum() + (draws == value).sum() / 2.0) / len(draws)
    if not 0.0 < below < 1.0:
        return min(value, float(draws.min())), max(value, float(draws.max()))
    bias = ndtri(below)
    centred = jackknife.mean() - jackknife if len(jackknife) else np.zeros(1)
    spread = 6.0 * float((centred**2).sum()) ** 1.5  # 0 also where the figures are too small for their cubes
    skew = float((centred**3).sum()) / spread if spread > 0 else 0.0
    tail = (1 - confidence) / 2
    corners = bias + ndtri(np.array([tail, 1 - tail]))
    levels = ndtr(bias + corners / np.maximum(1.0 - skew * corners, 1e-9))
    low, high = np.quantile(draws, levels)
    return min(value, float(low)), max(value, float(high))


def _z(confidence: float) -> float:
    return _normal_quantile((1.0 + confidence) / 2.0)


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))

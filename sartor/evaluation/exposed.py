"""What randomised traffic shows: who was drawn into which arm, what was seen of them, and how that is weighed.

Plain columns in, streams of differences out. Whoever was drawn counts once: rows of one person are not independent
draws, so a person's rows within a span after the first are one unit. Outcomes are seen of some rows only; a row that
is seen stands for those like it that are not (inverse probability weighting, Horvitz and Thompson 1952), by the rate
at which earlier rows of its arm and stratum were seen. Where being seen depends on more than that, no weight helps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.core.value import Ints
from sartor.evaluation.sequential import Bools, Contrast, contrast

Texts = npt.NDArray[np.str_]
ARMS = ("control", "canary")
WARM = 50
"""Rows of each arm that only tell at which rate outcomes are seen, where not all are."""
PRIOR = 20.0
"""Rows of the whole arm that the rate of each stratum starts with."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Exchanges of a route on both sides, one a row, in any order."""

    arm: Texts
    """`control` or `canary`; rows of any other do not count."""
    propensity: Floats
    """Chance with which it was put there; NaN where nothing was drawn: such rows do not count."""
    observed: Bools
    """Whether its cost is known: by an outcome, a correction, or a judge whose errors are measured."""
    cost: Floats
    """Money lost, serving included; anything where it is not known."""
    seconds: Floats
    """Until the whole answer."""
    failed: Bools
    stratum: Texts
    """What its chance of being observed depends on beside the arm: decision, bin of confidence."""
    age: Floats
    """Seconds since it happened."""
    delay: Floats | None = None
    """Seconds from it to its outcome; NaN where there is none yet."""
    unit: Texts | None = None
    """Who was drawn: the user; '' or None where each request was drawn by itself."""
    guards: Mapping[str, Floats] = field(default_factory=dict)
    """Other metrics between 0 and 1, higher is better; NaN where not known."""

    def __len__(self) -> int:
        return len(self.arm)


@dataclass(frozen=True, eq=False)
class Units:
    """Those who were drawn, in the order in which they came, and the rows that count for them."""

    of: Outcomes
    rows: Ints
    """(rows,) which rows count, the oldest first."""
    unit: Ints
    """(rows,) whose they are."""
    first: Ints
    """(units,) position among `rows` of the first row of each."""
    canary: Bools
    """(units,)."""
    chance: Floats
    """(units,) of having been drawn into the canary."""
    age: Floats
    """(units,) seconds since the first row."""

    def __len__(self) -> int:
        return len(self.first)

    def count(self, until: int) -> tuple[int, int]:
        """Units of control and canary among the first ones."""
        taken = int(self.canary[:until].sum())
        return until - taken, taken

    def older(self, age: float) -> int:
        """How many units, from the oldest on, are at least this old."""
        return int((self.age >= age).sum())


def units_of(outcomes: Outcomes, span: float) -> Units:
    """Who was drawn, and their rows within a span of seconds after the first."""
    propensity = np.asarray(outcomes.propensity, dtype=np.float64)
    drawn = np.isin(outcomes.arm, ARMS) & (propensity > 0.0) & (propensity < 1.0) & np.isfinite(outcomes.age)
    rows = np.flatnonzero(drawn)
    rows = rows[np.argsort(-outcomes.age[rows], kind="stable")]
    unit = _codes(outcomes.unit, rows)
    first = np.unique(unit, return_index=True)[1]
    canary = outcomes.arm[rows] == ARMS[1]
    start = first[unit]
    # Whoever was moved to the other side since, by a larger share, stays where the first row was.
    kept = (outcomes.age[rows[start]] - outcomes.age[rows] <= span) & (canary == canary[start])
    place = kept.cumsum() - 1
    rows, unit, first = rows[kept], unit[kept], place[first]
    side = outcomes.arm[rows[first]] == ARMS[1]
    chance = np.where(side, propensity[rows[first]], 1.0 - propensity[rows[first]])
    return Units(outcomes, rows, unit, first, side, chance, outcomes.age[rows[first]])


def _codes(names: Texts | None, rows: Ints) -> Ints:
    """(rows,) number of each row's unit, in the order of their first rows; a row without a name is its own."""
    if names is None:
        return np.arange(len(rows))
    _, first, code = np.unique(names[rows], return_index=True, return_inverse=True)
    alone = names[rows] == ""
    begun = np.where(alone, np.arange(len(rows)), first[code])
    found: Ints = np.unique(begun, return_inverse=True)[1]
    return found


@dataclass(frozen=True, eq=False)
class Stream:
    """One metric as a stream of differences, canary minus control."""

    contrast: Contrast
    limits: tuple[float, float]
    """Least and most of a value."""
    means: tuple[float, float]
    """Of control and canary, weighted."""
    seen: tuple[int, int]
    """Units of control and canary of which anything was seen."""
    clipped: float
    """Share of seen values that were cut at the limits."""
    rare: float
    """Share of all rows whose arm and stratum were seen so rarely that the weight is cut: for these, nobody speaks."""


def stream(
    units: Units, values: Floats, seen: Bools, limits: tuple[float, float], *, until: int, most: float = 20.0
) -> Stream:
    """The difference of one metric between the arms, over the first `until` units.

    Args:
        values: (all rows,); anything where not seen.
        seen: (all rows,).
        limits: values are cut to these.
        until: units that count, from the oldest on.
        most: weights are cut to this.
    """
    counts = units.unit < until
    rows, unit = units.rows[counts], units.unit[counts]
    known = seen[rows]
    value = np.where(known, values[rows], 0.0)
    cut = np.clip(value, *limits)
    rate, rarest = rates(units, seen, until)
    weight = np.where(known, 1.0 / np.maximum(rate, 1.0 / most), 0.0)
    size = np.bincount(unit, minlength=until)
    weighted, mean = (np.bincount(unit, column, until) / np.maximum(size, 1) for column in (weight * cut, weight))
    canary, chance = units.canary[:until], units.chance[:until]
    largest = np.minimum(most, 1.0 / rarest[units.first[:until]])
    found = contrast(canary, chance, weighted, mean, limits, largest)
    warm = _warm(canary)
    start = 0 if known[unit < warm].all() else warm
    sides = (~canary, canary)
    return Stream(
        found.since(start),
        limits,
        (_mean(weighted, mean, sides[0]), _mean(weighted, mean, sides[1])),
        (int((mean[sides[0]] > 0).sum()), int((mean[sides[1]] > 0).sum())),
        float((known & (cut != value)).sum() / max(1, known.sum())),
        float((rate < 1.0 / most).sum() / max(1, len(rate))),
    )


def rates(units: Units, seen: Bools, until: int) -> tuple[Floats, Floats]:
    """(rows,) rate at which rows of the same arm and stratum were seen before each row's unit came.

    And (rows,) the lowest rate of all arms and strata by then: it bounds a weight before the row is drawn.
    """
    counts = units.unit < until
    rows, start = units.rows[counts], units.first[units.unit[counts]]
    known, canary = seen[rows], units.canary[units.unit[counts]]
    rate, rarest = np.ones(len(rows)), np.ones(len(rows))
    strata = np.unique(units.of.stratum[rows], return_inverse=True)[1]
    for arm in (~canary, canary):
        sums, sizes = _before(known, arm, start)
        whole = (sums + 1.0) / (sizes + 1.0)
        rarest = np.minimum(rarest, whole)
        for stratum in np.unique(strata):
            cell = arm & (strata == stratum)
            own, size = _before(known, cell, start)
            found = (own + PRIOR * whole) / (size + PRIOR)
            rate[cell], rarest = found[cell], np.minimum(rarest, found)
    return rate, rarest


def _before(known: Bools, cell: Bools, start: Ints) -> tuple[Floats, Floats]:
    """Rows of a cell that were seen, and all of them, before each row's unit came."""
    sums = np.concatenate([[0.0], (cell & known).cumsum()])
    sizes = np.concatenate([[0.0], cell.cumsum()])
    return sums[start], sizes[start]


def _warm(canary: Bools) -> int:
    """How many units pass until each arm has enough to tell its rates."""
    enough = np.minimum(canary.cumsum(), (~canary).cumsum()) >= WARM
    return int(enough.argmax()) if enough.any() else len(canary)


def _mean(weighted: Floats, weight: Floats, side: Bools) -> float:
    total = weight[side].sum()
    return float(weighted[side].sum() / total) if total > 0 else float("nan")

"""A threshold of confidence with a promise: above it, risk is at most alpha, but for a chance of delta.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021): every threshold on a list that was fixed before
the rows were seen is a hypothesis "its risk is above alpha"; they are tested in order, the safest first, and a
threshold whose hypothesis falls may be used. The list is walked by the fallback procedure (Wiens 2003): a share of
delta waits at each of a few starting points and is carried on while hypotheses fall, so that too few rows at the safe
end spoil nothing. No property of the model is assumed. Confidence that is well calibrated only makes the walk long.

What is promised rests on rows like those that will come. It knows nothing of tomorrow's, and it is lost if the rows
chose the model, its calibration or the list as well.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.evaluation.sequential import Bools, best_wealth, chance_above
from sartor.evaluation.statistics import POWER, rows_needed

Risk = Literal["error", "loss"]
STARTS = {0.3: 0.1, 1.0: 0.8, 3.0: 0.1}
SHARES = {0.2: 0.2, 0.4: 0.4, 0.6: 0.4}


@dataclass(frozen=True, eq=False)
class Ladder:
    """Thresholds fixed before the rows are seen, and where the walk over them may start."""

    thresholds: Floats
    """(steps,) falling: the safest first."""
    budget: Floats
    """(steps,) share of delta that waits at each; sums to 1, 0 at all but the starting points."""


@dataclass(frozen=True)
class Certificate:
    """What can be promised of a threshold, or what it would take."""

    threshold: float | None
    """Answer locally at this confidence or above; None where nothing could be certified."""
    risk: Risk
    """`error`: share of wrong ones among local answers. `loss`: how much worse than the giant alone, per request."""
    alpha: float
    delta: float
    rows: int
    """Calibration rows."""
    kept: float
    """Share of them that would be answered locally."""
    observed: float | None
    """Their risk at the threshold."""
    upper: float | None
    """The risk is below this but for a chance of delta; never above alpha."""
    rows_needed: int | None
    """More rows like these that would let a threshold be certified; 0: one is; None: no number would."""
    method: str
    says: str
    """In plain words."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def ladder(alpha: float, *, start: Mapping[float, float] = STARTS, step: float = 1.03) -> Ladder:
    """The list for confidence that says the chance to be right: doubts from a hundredth of alpha up to 1.

    A model that is calibrated errs with less than alpha where its doubt is below alpha, so most of delta waits there.

    Args:
        start: doubt, in parts of alpha, at which the walk may begin -> share of delta that waits there.
        step: factor between neighbouring doubts.

    Raises:
        AskError: alpha is no share between 0 and 1.
    """
    _check_share("alpha", alpha)
    count = math.ceil(math.log(100.0 / alpha) / math.log(step))
    doubts = np.minimum(1.0, alpha / 100.0 * step ** np.arange(count + 1))
    return _with_starts(1.0 - doubts, doubts, {alpha * doubt: share for doubt, share in start.items()})


def ladder_of(confidences: Floats, *, start: Mapping[float, float] = SHARES, steps: int = 200) -> Ladder:
    """The list for any score, from other rows, labelled or not; calibration rows would spoil the promise.

    Args:
        confidences: (other rows,).
        start: share of those rows that are kept, at which the walk may begin -> share of delta that waits there.
        steps: how many thresholds.
    """
    shares = np.linspace(0.0, 1.0, steps + 1)[1:]
    thresholds = np.quantile(confidences, 1.0 - shares)
    return _with_starts(thresholds, shares, start)


def certify(
    confidence: Floats,
    wrong: Floats,
    *,
    alpha: float,
    delta: float = 0.05,
    giant_wrong: Floats | None = None,
    steps: Ladder | None = None,
    seed: int = 0,
) -> Certificate:
    """The lowest threshold that can be promised.

    Args:
        confidence: (rows,) of the local answer.
        wrong: (rows,) its loss, 0 to 1.
        giant_wrong: (rows,) the giant's loss on the same rows; the risk is then the loss against the giant alone.
        steps: the list, fixed without these rows; default `ladder(alpha)`.
        seed: rows are put into random order before they are bet on, whatever order they were stored in.

    Raises:
        AskError: a share is none, a loss is outside 0 and 1, or the columns are of different lengths.
    """
    _check_share("alpha", alpha)
    _check_share("delta", delta)
    confidence, wrong = np.asarray(confidence, dtype=np.float64), np.asarray(wrong, dtype=np.float64)
    _check_rows(confidence, wrong, giant_wrong)
    steps = steps or ladder(alpha)
    tests = _tests(confidence, wrong, giant_wrong, alpha, seed)
    chances = np.array([tests.chance(confidence >= t) for t in steps.thresholds])
    levels = spent(chances, steps.budget * delta)
    fallen = np.flatnonzero(chances <= levels)
    shared: dict[str, Any] = {
        "risk": tests.risk,
        "alpha": alpha,
        "delta": delta,
        "rows": len(confidence),
        "method": tests.method,
    }
    if not len(fallen):
        return _refused(steps, confidence, tests, shared)
    last = int(fallen[-1])
    threshold = float(steps.thresholds[last])
    keep = confidence >= threshold
    upper = min(alpha, tests.upper(keep, float(levels[last])))
    kept, observed = float(keep.mean()), tests.observed(keep)
    says = (
        f"Answering locally at a confidence of {threshold:.4f} or more: {_named(tests.risk)} at most {alpha:.1%} but "
        f"for a chance of {delta:.1%} (observed {observed:.2%}, below {upper:.2%}; {kept:.1%} of {len(keep):,} rows "
        "are answered locally)."
    )
    return Certificate(
        threshold=threshold, kept=kept, observed=observed, upper=upper, rows_needed=0, says=says, **shared
    )


def spent(chances: Floats, budget: Floats) -> Floats:
    """The level at which each hypothesis stands when its turn comes, under the fallback procedure.

    What waits at a step is added to what the steps before it carried on; a hypothesis that does not fall keeps all.

    Args:
        chances: (..., steps) p-values.
        budget: (steps,) level that waits at each.
    """
    levels = np.zeros(chances.shape)
    carried = np.zeros(chances.shape[:-1])
    for i, waiting in enumerate(budget):
        levels[..., i] = carried + waiting
        carried = np.where(chances[..., i] <= levels[..., i], levels[..., i], 0.0)
    return np.where(levels > 0.0, levels, -1.0)


def binomial_chances(wrong: Floats, kept: Floats, alpha: float) -> Floats:
    """Exact p-values of "more than alpha of them are wrong", given how many were kept. Any shape."""
    from scipy.special import bdtr

    chances: Floats = np.where(kept > 0, bdtr(wrong, np.maximum(kept, 1).astype(np.int64), alpha), 1.0)
    return chances


@dataclass(frozen=True, eq=False)
class _Tests:
    """One kind of risk: how its hypotheses are tested."""

    risk: Risk
    method: str
    alpha: float
    losses: Floats
    """(rows,) in random order of betting."""
    order: npt.NDArray[np.intp]

    @property
    def counts(self) -> bool:
        """Whether losses are right or wrong, so that they can be counted exactly."""
        return self.risk == "error" and bool(np.isin(self.losses, (0.0, 1.0)).all())

    def values(self, keep: Bools) -> Floats:
        """What each row that counts adds to the risk: kept rows only, or all rows with 0 where the giant answers."""
        taken = self.losses[self.order], keep[self.order]
        return taken[0][taken[1]] if self.risk == "error" else np.where(taken[1], taken[0], 0.0)

    def observed(self, keep: Bools) -> float:
        values = self.values(keep)
        return float(values.mean()) if len(values) else 0.0

    def chance(self, keep: Bools) -> float:
        values = self.values(keep)
        if self.counts:
            return float(binomial_chances(values.sum(), np.asarray(len(values)), self.alpha))
        return chance_above(values, self.alpha, 1.0) if len(values) else 1.0

    def upper(self, keep: Bools, level: float) -> float:
        """Upper bound of the risk at one threshold, at a level."""
        from scipy.special import bdtri

        values = self.values(keep)
        if self.counts:
            return float(bdtri(values.sum(), len(values), level)) if values.sum() < len(values) else 1.0
        wanted, low, high = math.log(1.0 / level), self.observed(keep), self.alpha
        for _ in range(40):
            middle = (low + high) / 2.0
            low, high = (low, middle) if best_wealth(middle - values, 1.0 - middle) >= wanted else (middle, high)
        return high

    def needed(self, keep: Bools, level: float) -> int | None:
        """More rows that would let this threshold be certified, if its risk is what it now seems to be."""
        values = self.values(keep)
        if not self.counts:
            return rows_needed(-values, confidence=1.0 - 2.0 * level, bound=-self.alpha) if len(values) > 1 else None
        from scipy.special import ndtri

        observed = float(values.mean()) if len(values) else 0.0
        if observed >= self.alpha:
            return None
        # One wrong row is added, so that a few lucky rows do not promise too much; but no more than halfway to alpha.
        rate = min((float(values.sum()) + 1.0) / (len(values) + 1.0), (observed + self.alpha) / 2.0)
        spread = -ndtri(level) * math.sqrt(self.alpha * (1 - self.alpha)) + ndtri(POWER) * math.sqrt(rate * (1 - rate))
        kept_rows = max((float(spread) / (self.alpha - rate)) ** 2, math.log(level) / math.log1p(-self.alpha))
        share = max(len(values), 1) / (len(keep) + 1)
        return max(1, math.ceil(kept_rows / share) - len(keep))


def _tests(confidence: Floats, wrong: Floats, giant_wrong: Floats | None, alpha: float, seed: int) -> _Tests:
    order = np.random.default_rng(seed).permutation(len(confidence))
    if giant_wrong is not None:
        return _Tests("loss", "learn then test, fallback, betting", alpha, wrong - np.asarray(giant_wrong), order)
    found = _Tests("error", "learn then test, fallback, exact binomial", alpha, wrong, order)
    return found if found.counts else _Tests("error", "learn then test, fallback, betting", alpha, wrong, order)


def _refused(steps: Ladder, confidence: Floats, tests: _Tests, shared: dict[str, Any]) -> Certificate:
    starts = [(confidence >= t, b * shared["delta"]) for t, b in zip(steps.thresholds, steps.budget, strict=True) if b]
    more = [found for keep, level in starts if (found := tests.needed(keep, level)) is not None]
    least = max(1, min(more)) if more else None
    cure = (
        f"About {least:,} more labelled rows like these would do."
        if least is not None
        else "More rows like these would not help: no threshold shows a risk below that."
    )
    says = (
        f"No threshold can be certified such that {_named(tests.risk)} at most {shared['alpha']:.1%} on "
        f"{len(confidence):,} rows. {cure}"
    )
    return Certificate(threshold=None, kept=0.0, observed=None, upper=None, rows_needed=least, says=says, **shared)


def _named(risk: Risk) -> str:
    return "the share of wrong ones among local answers is" if risk == "error" else "the loss against the giant is"


def _with_starts(thresholds: Floats, places: Floats, start: Mapping[float, float]) -> Ladder:
    """A list with its budget: each start falls on the first of the rising places that reaches it."""
    budget = np.zeros(len(thresholds))
    for place, share in start.items():
        budget[min(int(np.searchsorted(places, place)), len(places) - 1)] += share / sum(start.values())
    return Ladder(thresholds, budget)


def _check_share(name: str, share: float) -> None:
    if not 0.0 < share < 1.0:
        raise AskError(f"A guarantee needs a share between 0 and 1, and {name} is {share}.", param=name)


def _check_rows(confidence: Floats, wrong: Floats, giant_wrong: Floats | None) -> None:
    for name, column in (("wrong", wrong), ("giant_wrong", giant_wrong)):
        if column is None:
            continue
        if np.shape(column) != confidence.shape:
            raise AskError(f"A guarantee needs columns of one length, and '{name}' has another.", param=name)
        if not ((np.asarray(column) >= 0) & (np.asarray(column) <= 1)).all():
            raise AskError(f"A guarantee needs losses from 0 to 1, and '{name}' has others.", param=name)
    if not np.isfinite(confidence).all():
        raise AskError("A guarantee needs a confidence on every row, and some rows have none.", param="confidence")

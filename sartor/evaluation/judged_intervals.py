"""How many answers are right, when a judge who errs has looked at most of them and people at some.

Two ways, both with the judge's error in the interval. Rogan and Gladen (1978) turn the judge's share around by its
sensitivity and specificity, with the interval of Lang and Reiczigel (2014): it holds when people looked at answers of
their own choice, as long as they choose by nothing that the judge's errors depend on beyond right and wrong.
Prediction-powered inference (Angelopoulos et al. 2023; with its weight tuned, Angelopoulos, Duchi and Zrnic 2023)
corrects the judge's mean by its mean error: it asks that people looked at a random sample, and is then shorter. Pure
arithmetic; passes no judgement on the judge but the figures.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from sartor.core.predict import Floats
from sartor.evaluation.statistics import wilson

Way = Literal["people", "rogan_gladen", "prediction_powered"]
SPREAD_DRAWS = 4000
"""Resamples behind the interval of kappa."""
LEAST = 10
"""Answers that people looked at, below which no correction is made."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Golden:
    """Answers that both people and the judge looked at."""

    right_right: int
    """Right, and the judge says so."""
    right_wrong: int
    """Right, and the judge says wrong."""
    wrong_right: int
    """Wrong, and the judge says right."""
    wrong_wrong: int

    @classmethod
    def of(cls, truth: Floats, judged: Floats) -> "Golden":
        """Count verdicts, 1 for right and 0 for wrong."""
        right, said = np.asarray(truth) > 0.5, np.asarray(judged) > 0.5
        pairs = [(True, True), (True, False), (False, True), (False, False)]
        return cls(*(int(((right == one) & (said == other)).sum()) for one, other in pairs))

    @property
    def n(self) -> int:
        """All of them."""
        return self.right + self.wrong

    @property
    def right(self) -> int:
        """Of which right."""
        return self.right_right + self.right_wrong

    @property
    def wrong(self) -> int:
        """Of which wrong."""
        return self.wrong_right + self.wrong_wrong


@dataclass(frozen=True)
class Measured:
    """What a judge is worth."""

    golden: Golden
    sensitivity: Interval | None
    """Of right answers, the share that it calls right; None where there was none."""
    specificity: Interval | None
    """Of wrong answers, the share that it calls wrong."""
    informedness: Interval | None
    """Sensitivity plus specificity minus one (Youden 1950): 0 for a judge who does not look."""
    kappa: Interval | None
    """Agreement beyond chance (Cohen 1960); None where one of the two always said the same."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def measure(golden: Golden, confidence: float = 0.95, *, seed: int = 0) -> Measured:
    """The judge's figures on answers that people looked at."""
    sensitivity = _share(golden.right_right, golden.right, confidence)
    specificity = _share(golden.wrong_wrong, golden.wrong, confidence)
    informedness = None
    if sensitivity and specificity:
        # Distances to the bounds of both are added as if they were standard errors (Newcombe 1998).
        down = math.hypot(sensitivity.value - sensitivity.low, specificity.value - specificity.low)
        up = math.hypot(sensitivity.high - sensitivity.value, specificity.high - specificity.value)
        value = sensitivity.value + specificity.value - 1.0
        informedness = Interval(value, max(-1.0, value - down), min(1.0, value + up))
    return Measured(golden, sensitivity, specificity, informedness, _kappa(golden, confidence, seed))


def _share(count: int, n: int, confidence: float) -> Interval | None:
    return Interval(count / n, *wilson(count, n, confidence)) if n else None


def _kappa(golden: Golden, confidence: float, seed: int) -> Interval | None:
    table = np.array([golden.right_right, golden.right_wrong, golden.wrong_right, golden.wrong_wrong], dtype=np.float64)
    value = _kappas(table[None, :])[0]
    if not np.isfinite(value):
        return None
    # A little is added to empty cells, or resamples would never leave them.
    shares = (table + 0.5) / (table.sum() + 2.0)
    drawn = _kappas(np.random.default_rng(seed).multinomial(golden.n, shares, size=SPREAD_DRAWS).astype(np.float64))
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(drawn, [tail, 1.0 - tail])
    return Interval(float(value), min(float(value), float(low)), max(float(value), float(high)))


def _kappas(tables: Floats) -> Floats:
    """Of (tables, 4); NaN where one of the two always said the same."""
    n = tables.sum(axis=1)
    agreed = (tables[:, 0] + tables[:, 3]) / n
    right, said = (tables[:, 0] + tables[:, 1]) / n, (tables[:, 0] + tables[:, 2]) / n
    chance = right * said + (1.0 - right) * (1.0 - said)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(chance < 1.0, (agreed - chance) / (1.0 - chance), np.nan)
    return found


def rogan_gladen(judged_right: int, judged: int, golden: Golden, confidence: float = 0.95) -> Interval:
    """The share of right answers, from a judge's verdicts on answers that people did not see.

    Args:
        judged_right: verdicts `right` among `judged`.

    Raises:
        ValueError: nothing was judged.
    """
    if judged < 1:
        raise ValueError("no answer was judged")
    z = _z(confidence)
    # One right verdict of each kind is added (Lang and Reiczigel 2014, section 2), and z²/2 to what was judged.
    n = judged + z * z
    share = (judged_right + z * z / 2.0) / n
    right, wrong = golden.right + 2.0, golden.wrong + 2.0
    sensitivity, specificity = (golden.right_right + 1.0) / right, (golden.wrong_wrong + 1.0) / wrong
    worth = sensitivity + specificity - 1.0
    plain = _turned(judged_right / judged, golden)
    if worth <= 0.0:
        return Interval(plain, 0.0, 1.0)
    value = (share + specificity - 1.0) / worth
    spread = (
        math.sqrt(
            share * (1.0 - share) / n
            + value**2 * sensitivity * (1.0 - sensitivity) / right
            + (1.0 - value) ** 2 * specificity * (1.0 - specificity) / wrong
        )
        / worth
    )
    moved = (
        2.0
        * z
        * z
        * (
            value * sensitivity * (1.0 - sensitivity) / right
            - (1.0 - value) * specificity * (1.0 - specificity) / wrong
        )
    )
    low, high = value + moved - z * spread, value + moved + z * spread
    low, high = min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)
    return Interval(min(max(plain, low), high), low, high)


def prediction_powered(
    truth: Floats, judged: Floats, rest: Floats, limits: tuple[float, float], confidence: float = 0.95
) -> Interval:
    """The mean of a value over all answers, of which a random sample was looked at by people too.

    The judge's values count with the weight that makes the interval shortest, kept between 0 and 1. So that it holds
    for small samples and means near the limits, where the plain one covers far too seldom, one value is added in each
    corner (both least, both most, one each) and Student's quantile is used (as Agresti and Coull 1998 do for shares).

    Args:
        truth: (golden,) what people say each is worth: 1 or 0 for right and wrong, or money.
        judged: (golden,) what the judge's verdict on the same would make of it.
        rest: (others,) what the judge's verdicts on all others make of them.
        limits: least and most of a value.

    Raises:
        ValueError: there is none of one kind.
    """
    if not len(truth) or not len(rest):
        raise ValueError("people and the judge must have looked at something")
    low, high = limits
    truth = np.concatenate([truth, (low, low, high, high)])
    judged = np.concatenate([judged, (low, high, low, high)])
    others = np.concatenate([rest, (low, high, low, high)])
    return _powered(_Moments.of(truth, judged, others), limits, confidence)


def powered_share(judged_right: int, judged: int, golden: Golden, confidence: float = 0.95) -> Interval:
    """`prediction_powered` for shares of right answers, from counts.

    Args:
        judged_right: verdicts `right` among the `judged` answers that people did not see.

    Raises:
        ValueError: there is none of one kind.
    """
    if not golden.n or judged < 1:
        raise ValueError("people and the judge must have looked at something")
    n, both = golden.n + 4.0, golden.right_right + 1.0
    right, said = (golden.right + 2.0) / n, (golden.right_right + golden.wrong_right + 2.0) / n
    others = (judged_right + 2.0) / (judged + 4.0)
    return _powered(
        _Moments(n, right, said, right * (1.0 - right), said * (1.0 - said), both / n - right * said,
                 judged + 4.0, others, others * (1.0 - others)),
        (0.0, 1.0), confidence,
    )  # fmt: skip


@dataclass(frozen=True)
class _Moments:
    n: float
    truth: float
    judged: float
    truth_spread: float
    """Variance."""
    judged_spread: float
    both: float
    """Covariance."""
    others: float
    """How many."""
    rest: float
    """Mean of the judge's values on them."""
    rest_spread: float

    @classmethod
    def of(cls, truth: Floats, judged: Floats, rest: Floats) -> "_Moments":
        both = float(((truth - truth.mean()) * (judged - judged.mean())).mean())
        means = float(truth.mean()), float(judged.mean()), float(truth.var()), float(judged.var())
        return cls(float(len(truth)), *means, both, float(len(rest)), float(rest.mean()), float(rest.var()))


def _powered(m: _Moments, limits: tuple[float, float], confidence: float) -> Interval:
    from scipy.special import stdtrit

    weight = m.both / (m.judged_spread * (1.0 + m.n / m.others)) if m.judged_spread > 0 else 0.0
    weight = min(max(weight, 0.0), 1.0)
    value = m.truth + weight * (m.rest - m.judged)
    variance = (m.truth_spread - 2.0 * weight * m.both + weight**2 * m.judged_spread) / m.n
    variance += weight**2 * m.rest_spread / m.others
    half = float(stdtrit(m.n - 1.0, (1.0 + confidence) / 2.0)) * math.sqrt(max(variance, 0.0))
    low, high = (min(max(bound, limits[0]), limits[1]) for bound in (value - half, value + half))
    return Interval(min(max(value, low), high), low, high)


@dataclass(frozen=True)
class Corrected:
    """How many answers are right, as far as can be said."""

    right: Interval
    way: Way
    uncorrected: Interval | None
    """What the judge's verdicts alone would say."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def share_right(
    judged_right: int, judged: int, golden: Golden, *, random_sample: bool, confidence: float = 0.95
) -> Corrected | None:
    """The share of right answers by the way that holds; None where too little was looked at to say anything.

    Args:
        judged_right: verdicts `right` among the `judged` answers that people did not see.
        random_sample: people looked at answers drawn at random from the same ones.
    """
    plain = _share(judged_right, judged, confidence)
    if golden.n < LEAST:
        return None
    if not judged:
        people = _share(golden.right, golden.n, confidence)
        return Corrected(people, "people", None) if people and random_sample else None
    if random_sample:
        return Corrected(powered_share(judged_right, judged, golden, confidence), "prediction_powered", plain)
    return Corrected(rogan_gladen(judged_right, judged, golden, confidence), "rogan_gladen", plain)


def _turned(share: float, golden: Golden) -> float:
    """Rogan and Gladen's estimate itself, within 0 and 1."""
    sensitivity = golden.right_right / golden.right if golden.right else 1.0
    specificity = golden.wrong_wrong / golden.wrong if golden.wrong else 1.0
    worth = sensitivity + specificity - 1.0
    return min(max((share + specificity - 1.0) / worth, 0.0), 1.0) if worth > 0 else share


def _z(confidence: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1.0 + confidence) / 2.0))

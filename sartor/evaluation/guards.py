"""Guarded metrics: how much better or worse the candidate is in each, tested against what the task allows.

Non-inferiority: the claim to be shown is "not worse by more than the margin". Pure, and passes no judgement.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from sartor.core.predict import Floats
from sartor.core.records import Metric
from sartor.core.value import Ints
from sartor.evaluation import measure
from sartor.evaluation.inspect import WHOLE_DRAWS, as_metric
from sartor.evaluation.measure import Measure, Sample
from sartor.evaluation.statistics import Estimate, bootstrap, bootstrap_means, holm, rows_needed
from sartor.evaluation.terms import Terms


class Guard(BaseModel):
    """A metric that may not get worse by more than a margin."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    margin: float
    """In the metric's unit."""
    candidate: float | None = None
    incumbent: float | None = None
    gain: Metric
    """How much better the candidate is; negative: worse. Value None where it can't be said; its note says why."""
    chance: float | None = None
    """p-value of "not worse by more than the margin", Holm over all guards."""
    rows_needed: int | None = None
    """More rows that would show it; 0: shown; None: no number would, or nobody can say."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two samples of the same rows."""

    new: Sample
    old: Sample
    clusters: Ints | None
    """(rows,) cluster of each row, or None where rows are independent."""

    @property
    def terms(self) -> Terms:
        """The terms of both."""
        return self.new.terms

    def means(self, columns: list[Floats]) -> list[Estimate]:
        """Means of (rows,) columns, all on the same resamples whenever this is asked."""
        terms = self.terms
        return bootstrap_means(
            np.stack(columns, axis=1),
            confidence=terms.confidence,
            clusters=self.clusters,
            draws=terms.draws,
            seed=terms.seed,
        )

    def needed(self, gains: Floats, margin: float, *, settled: bool) -> int | None:
        """More rows that would show the mean gain to be above minus the margin."""
        if settled:
            return 0
        more = rows_needed(gains, confidence=self.terms.confidence, bound=-margin, clusters=self.clusters)
        # Not settled though the approximation says it should be: a few more, not none.
        return None if more is None else max(more, 1)


def hold(pair: Pair, margins: Mapping[str, float]) -> dict[str, Guard]:
    """Test every guard against its margin; Holm over those that can be worked out.

    Since all guards must hold, no correction would be needed to release safely; Holm's makes each line true on its
    own beside the others, at the price of a stricter test.
    """
    guards = {name: _guard(pair, name, margin) for name, margin in sorted(margins.items())}
    chances = {name: guard.chance for name, guard in guards.items() if guard.chance is not None}
    for name, chance in zip(chances, holm(list(chances.values())).tolist(), strict=True):
        more = 0 if chance < pair.terms.alpha else guards[name].rows_needed
        guards[name] = guards[name].model_copy(update={"chance": chance, "rows_needed": more})
    return guards


def _guard(pair: Pair, name: str, margin: float) -> Guard:
    """One guard, its chance not yet adjusted."""
    try:
        taken = measure.take(name)
        gains = None if taken.per_row is None else _gains(taken, pair)
        estimate = _whole_gain(taken, pair) if gains is None else pair.means([gains])[0]
        both = taken(pair.new), taken(pair.old)
    except Exception as error:  # noqa: BLE001 - a stranger's metric may raise anything: its guard then can't be passed
        return Guard(margin=margin, gain=Metric(value=None, note=f"{type(error).__name__}: {error}"))
    if estimate is None:
        return Guard(margin=margin, gain=Metric(value=None, unit=taken.unit, note=taken.undefined))
    return Guard(
        margin=margin,
        candidate=both[0],
        incumbent=both[1],
        gain=as_metric(estimate, taken.unit),
        chance=estimate.chance_below(-margin),
        rows_needed=None if gains is None else pair.needed(gains, margin, settled=False),
    )


def _gains(taken: Measure, pair: Pair) -> Floats | None:
    """(rows,) how much better each row is."""
    assert taken.per_row is not None
    gains = np.asarray(taken.per_row(pair.new) - taken.per_row(pair.old), dtype=np.float64)
    if gains.shape != (len(pair.new),) or np.isinf(gains).any():
        raise ValueError(f"expected {len(pair.new)} finite values, one a row")
    return gains if taken.higher_is_better else -gains


def _whole_gain(taken: Measure, pair: Pair) -> Estimate | None:
    sign = 1.0 if taken.higher_is_better else -1.0

    def difference(rows: Ints) -> float | None:
        new, old = taken(pair.new.take(rows)), taken(pair.old.take(rows))
        return None if new is None or old is None else sign * (new - old)

    return bootstrap(
        difference,
        confidence=pair.terms.confidence,
        clusters=np.arange(len(pair.new)) if pair.clusters is None else pair.clusters,
        draws=min(WHOLE_DRAWS, pair.terms.draws),
        seed=pair.terms.seed,
    )

"""One subject against another on the same rows, pair by pair: money, accuracy, guards, flips, slices, rows needed.

Pure: two sets of answers and the terms in, plain data out. It passes no judgement (see `gates`). Figures are turned
so that positive is good for the candidate.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from sartor.core.errors import SartorError
from sartor.core.predict import Floats
from sartor.core.records import Metric
from sartor.core.task import Gate
from sartor.core.value import Ints, Return, Value, compute_return
from sartor.evaluation import measure
from sartor.evaluation.answers import Answers
from sartor.evaluation.inspect import WHOLE_DRAWS, as_metric
from sartor.evaluation.measure import Measure, Sample
from sartor.evaluation.slices import NO_ANSWER, OUTSIDE, cuts
from sartor.evaluation.statistics import (
    Estimate,
    bootstrap,
    bootstrap_means,
    clusters_of,
    holm,
    mcnemar,
    paired_shares_chance,
    rows_needed,
)
from sartor.evaluation.terms import Terms

EXAMPLES = 20
"""Flipped rows of each kind that are named."""
Kind = Literal["fixed", "broken", "changed"]
KINDS: tuple[Kind, ...] = ("fixed", "broken", "changed")


class Part(BaseModel):
    """A frozen part of a comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Flip(Part):
    """A row on which the two differ."""

    id: str
    kind: Kind
    """The candidate alone is right; the other alone is right; both are wrong, differently."""
    true: str
    before: str
    after: str
    saved: float
    """Money saved by the change on this row; negative: lost."""


class Guard(Part):
    """A metric that may not get worse by more than a margin."""

    margin: float
    """In the metric's unit."""
    candidate: float | None = None
    incumbent: float | None = None
    gain: Metric
    """How much better the candidate is; negative: worse. Value None where it can't be said; its note says why."""
    chance: float | None = None
    """p-value of "not worse by more than the margin", Holm over all guards."""
    rows_needed: int | None = None
    """More rows that would show it; None where no number would."""


class Change(Part):
    """The two on a slice of the rows."""

    column: str
    value: str
    n: int
    candidate: float
    """Accuracy."""
    incumbent: float
    chance: float
    """p-value of "not worse by more than the slice margin", Holm over all slices; small: it is worse."""
    worse: bool


class Comparison(Part):
    """Everything found by holding one subject against another."""

    n: int
    saved: Metric
    """Money saved per request by the candidate; negative: it costs more."""
    candidate_money: float
    """Mean money lost per request."""
    incumbent_money: float
    accuracy: Metric
    """Difference of the shares of right answers."""
    candidate_accuracy: float
    incumbent_accuracy: float
    fixed: int
    broken: int
    changed: int
    """Rows that both answer themselves: only the candidate is right, only the other is, both wrong in two ways."""
    p_value: float
    """Exact McNemar test of fixed against broken."""
    flips: tuple[Flip, ...]
    """The examples that move most money, of each kind."""
    margin: float
    rows_needed: int | None
    """More rows that would show the saving to be above minus the margin; 0: shown; None: no number would."""
    guards: dict[str, Guard]
    slices: tuple[Change, ...]
    """The most suspect first."""


def compare(
    candidate: Answers,
    incumbent: Answers,
    terms: Terms,
    *,
    gate: Gate = Gate(),
    overheads: tuple[float, float] = (0.0, 0.0),
) -> Comparison:
    """Hold a candidate against another on the same rows.

    Args:
        gate: its margins and guards; nothing is decided here.
        overheads: measured money per request of the candidate and of the other.

    Raises:
        SartorError: the two were not asked about the same rows, or not judged by the same truths.
    """
    incumbent = _aligned(candidate, incumbent)
    pair = _Pair(
        Sample.of(candidate, terms, overheads[0]),
        Sample.of(incumbent, terms, overheads[1]),
        None if candidate.groups is None else clusters_of(candidate.groups, len(candidate)),
        terms,
    )
    gains = [_gain(pair, name, margin) for name, margin in sorted(gate.guards.items())]
    saved = pair.old.costs - pair.new.costs
    money, accuracy, *others = bootstrap_means(
        np.stack([saved, pair.new.right - pair.old.right, *(g.rows for g in gains if g.rows is not None)], axis=1),
        confidence=terms.confidence,
        clusters=pair.clusters,
        draws=terms.draws,
        seed=terms.seed,
    )
    kinds = _kinds(candidate, incumbent)
    fixed, broken, changed = (int((kinds == kind).sum()) for kind in KINDS)
    return Comparison(
        n=len(candidate),
        saved=as_metric(money, "money per request"),
        candidate_money=float(pair.new.costs.mean()),
        incumbent_money=float(pair.old.costs.mean()),
        accuracy=as_metric(accuracy, "share of rows"),
        candidate_accuracy=float(pair.new.right.mean()),
        incumbent_accuracy=float(pair.old.right.mean()),
        fixed=fixed,
        broken=broken,
        changed=changed,
        p_value=mcnemar(fixed, broken),
        flips=_flips(candidate, incumbent, kinds, saved, terms.labels),
        margin=gate.margin,
        rows_needed=_needed(saved, pair, gate.margin, settled=money.low > -gate.margin),
        guards=_guards(pair, gains, others),
        slices=_changes(candidate, pair, gate.slice_margin),
    )


def return_of(comparison: Comparison, value: Value, made_for: float) -> Return:
    """What replacing the other by the candidate brings; `made_for` is the money that making the candidate cost."""
    return compute_return(value, comparison.incumbent_money, comparison.candidate_money, made_for)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The two samples, row by row."""

    new: Sample
    old: Sample
    clusters: Ints | None
    terms: Terms


@dataclass(frozen=True, eq=False)
class _Gain:
    """How a guarded metric changed."""

    name: str
    margin: float
    taken: Measure | None = None
    rows: Floats | None = None
    """(rows,) gains, for a metric that is a mean."""
    note: str = ""
    """Why nothing can be said."""


def _gain(pair: _Pair, name: str, margin: float) -> _Gain:
    try:
        taken = measure.take(name)
        if taken.per_row is None:
            return _Gain(name, margin, taken)
        gains = taken.per_row(pair.new) - taken.per_row(pair.old)
        gains = np.asarray(gains if taken.higher_is_better else -gains, dtype=np.float64)
    except Exception as error:  # noqa: BLE001 - a stranger's metric may raise anything: its guard then can't be passed
        return _Gain(name, margin, note=f"failed: {type(error).__name__}: {error}")
    if gains.shape != (len(pair.new),) or np.isinf(gains).any():
        return _Gain(name, margin, taken, note="gave no finite value for each row")
    if np.isnan(gains).all():
        return _Gain(name, margin, taken, note=taken.undefined)
    return _Gain(name, margin, taken, gains)


def _guards(pair: _Pair, gains: list[_Gain], means: list[Estimate]) -> dict[str, Guard]:
    """All guards, each tested against its margin, Holm over those that could be worked out.

    Since all guards must hold, no correction would be needed to release safely; Holm's makes each line true on its
    own beside the others, at the price of a stricter test.
    """
    drawn = iter(means)
    estimates = [next(drawn) if gain.rows is not None else _whole_gain(pair, gain) for gain in gains]
    tested = [e.chance_below(-g.margin) for g, e in zip(gains, estimates, strict=True) if e is not None]
    chances = iter(holm(tested).tolist())
    found = {}
    for gain, estimate in zip(gains, estimates, strict=True):
        if estimate is None or gain.taken is None:
            note = gain.note or (gain.taken.undefined if gain.taken else "")
            found[gain.name] = Guard(margin=gain.margin, gain=Metric(value=None, note=note))
            continue
        chance = next(chances)
        settled = chance < pair.terms.alpha
        found[gain.name] = Guard(
            margin=gain.margin,
            candidate=gain.taken(pair.new),
            incumbent=gain.taken(pair.old),
            gain=as_metric(estimate, gain.taken.unit),
            chance=chance,
            rows_needed=_needed(gain.rows, pair, gain.margin, settled=settled),
        )
    return found


def _whole_gain(pair: _Pair, gain: _Gain) -> Estimate | None:
    taken = gain.taken
    if taken is None or gain.note:
        return None
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


def _needed(gains: Floats | None, pair: _Pair, margin: float, *, settled: bool) -> int | None:
    if settled:
        return 0
    if gains is None:
        return None
    more = rows_needed(gains, confidence=pair.terms.confidence, bound=-margin, clusters=pair.clusters)
    # Not settled though the approximation says it should be: a few more, not none.
    return None if more is None else max(more, 1)


def _aligned(candidate: Answers, incumbent: Answers) -> Answers:
    """The incumbent's answers in the order of the candidate's rows."""
    if not np.array_equal(candidate.ids, incumbent.ids):
        order, wanted = np.argsort(incumbent.ids), np.argsort(candidate.ids)
        if not np.array_equal(candidate.ids[wanted], incumbent.ids[order]):
            alone = np.setxor1d(candidate.ids, incumbent.ids)
            raise SartorError(
                f"The two can't be compared: {len(alone)} rows were answered by only one of them, e.g. '{alone[0]}'. "
                "Inspect both on the same split.",
                code="unpaired_answers",
            )
        position = np.empty(len(order), dtype=np.int64)
        position[wanted] = order
        incumbent = incumbent.take(position)
    if not np.array_equal(candidate.true, incumbent.true):
        raise SartorError(
            "The two can't be compared: they were judged by different truths. Inspect both on the same data set.",
            code="unpaired_answers",
        )
    return incumbent


def _kinds(new: Answers, old: Answers) -> npt.NDArray[np.str_]:
    """(rows,) kind of flip, '' for none: only rows that both answer themselves, since nobody knows other answers."""
    both = ~new.escalated & ~old.escalated
    known = new.true >= 0
    now, before = known & (new.answer == new.true), known & (old.answer == old.true)
    kinds = [both & now & ~before, both & ~now & before, both & ~now & ~before & (new.answer != old.answer)]
    return np.select(kinds, KINDS, default="")


def _flips(
    new: Answers, old: Answers, kinds: npt.NDArray[np.str_], saved: Floats, labels: tuple[str, ...]
) -> tuple[Flip, ...]:
    truths, said = (*labels, OUTSIDE), (*labels, NO_ANSWER)
    found = []
    for kind in KINDS:
        rows = np.flatnonzero(kinds == kind)
        for row in rows[np.argsort(-np.abs(saved[rows]), kind="stable")][:EXAMPLES]:
            before, after = said[old.answer[row]], said[new.answer[row]]
            flip = Flip(
                id=str(new.ids[row]),
                kind=kind,
                true=truths[new.true[row]],
                before=before,
                after=after,
                saved=float(saved[row]),
            )
            found.append(flip)
    return tuple(found)


def _changes(answers: Answers, pair: _Pair, margin: float) -> tuple[Change, ...]:
    """All slices with rows enough, tested for having got worse by more than the margin."""
    gained = pair.new.right - pair.old.right
    found: list[dict[str, Any]] = []
    chances: list[float] = []
    for cut in cuts(answers, pair.terms):
        kept = cut.kept()
        n = cut.count()[kept]
        better, worse = cut.total(np.maximum(gained, 0.0))[kept], cut.total(np.maximum(-gained, 0.0))[kept]
        chances += paired_shares_chance(better, worse, n, margin).tolist()
        new, old = cut.total(pair.new.right)[kept] / n, cut.total(pair.old.right)[kept] / n
        for i, position in enumerate(kept):
            names = {"column": cut.column, "value": str(cut.names[position]), "n": int(n[i])}
            found.append(names | {"candidate": float(new[i]), "incumbent": float(old[i])})
    adjusted = holm(chances)
    changes = [Change(**item, chance=p, worse=p < pair.terms.alpha) for item, p in zip(found, adjusted, strict=True)]
    return tuple(sorted(changes, key=lambda c: (c.chance, c.candidate - c.incumbent, c.column, c.value)))

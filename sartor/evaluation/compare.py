"""One subject against another on the same rows, pair by pair: money, accuracy, guards, flips, slices, rows needed.

Pure: two sets of answers and the terms in, plain data out. It passes no judgement (see `gates`). Figures are turned
so that positive is good for the candidate.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from sartor.core.errors import SartorError
from sartor.core.predict import Floats
from sartor.core.records import Metric
from sartor.core.task import Gate
from sartor.core.value import Return, Value, compute_return
from sartor.evaluation.answers import Answers, Notes
from sartor.evaluation.guards import Guard, Pair, hold
from sartor.evaluation.inspect import as_metric
from sartor.evaluation.measure import Sample
from sartor.evaluation.slices import cuts
from sartor.evaluation.statistics import clusters_of, holm, mcnemar, paired_shares_chance
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
    """By how much of the answers is right; the most suspect first."""
    whole_slices: tuple[Change, ...]
    """By answers that are right as a whole, as release policies before version 3 look at them."""


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
    clusters = None if candidate.groups is None else clusters_of(candidate.groups, len(candidate))
    new, old = Sample.of(candidate, terms, overheads[0]), Sample.of(incumbent, terms, overheads[1])
    pair = Pair(new, old, clusters)
    saved = old.costs - new.costs
    money, accuracy = pair.means([saved, new.right - old.right])
    kinds = _kinds(candidate, incumbent, pair)
    fixed, broken, changed = (int((kinds == kind).sum()) for kind in KINDS)
    return Comparison(
        n=len(candidate),
        saved=as_metric(money, "money per request"),
        candidate_money=float(new.costs.mean()),
        incumbent_money=float(old.costs.mean()),
        accuracy=as_metric(accuracy, "share of rows"),
        candidate_accuracy=float(new.right.mean()),
        incumbent_accuracy=float(old.right.mean()),
        fixed=fixed,
        broken=broken,
        changed=changed,
        p_value=mcnemar(fixed, broken),
        flips=_flips(candidate, incumbent, kinds, saved, terms),
        margin=gate.margin,
        rows_needed=pair.needed(saved, gate.margin, settled=money.low > -gate.margin),
        guards=hold(pair, gate.guards),
        slices=_changes(candidate, pair, gate.slice_margin, new.share, old.share),
        whole_slices=_changes(candidate, pair, gate.slice_margin, new.right, old.right),
    )


def return_of(comparison: Comparison, value: Value, made_for: float) -> Return:
    """What replacing the other by the candidate brings; `made_for` is the money that making the candidate cost."""
    return compute_return(value, comparison.incumbent_money, comparison.candidate_money, made_for)


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
    if not np.array_equal(candidate.true, incumbent.true) or not _same(candidate.truth, incumbent.truth):
        raise SartorError(
            "The two can't be compared: they were judged by different truths. Inspect both on the same data set.",
            code="unpaired_answers",
        )
    return incumbent


def _same(one: Notes | None, other: Notes | None) -> bool:
    return one is other if one is None or other is None else bool((one == other).all())


def _kinds(new: Answers, old: Answers, pair: Pair) -> npt.NDArray[np.str_]:
    """(rows,) kind of flip, '' for none: only rows that both answer themselves, since nobody knows other answers."""
    both = ~new.escalated & ~old.escalated
    now, before = pair.new.right == 1.0, pair.old.right == 1.0
    judging = pair.terms.judging
    differ = judging.texts(new)[1] != judging.texts(old)[1]
    kinds = [both & now & ~before, both & ~now & before, both & ~now & ~before & differ]
    return np.select(kinds, KINDS, default="")


def _flips(new: Answers, old: Answers, kinds: npt.NDArray[np.str_], saved: Floats, terms: Terms) -> tuple[Flip, ...]:
    truths, after = terms.judging.texts(new)
    _, before = terms.judging.texts(old)
    found = []
    for kind in KINDS:
        rows = np.flatnonzero(kinds == kind)
        for row in rows[np.argsort(-np.abs(saved[rows]), kind="stable")][:EXAMPLES]:
            flip = Flip(
                id=str(new.ids[row]),
                kind=kind,
                true=truths[row],
                before=before[row],
                after=after[row],
                saved=float(saved[row]),
            )
            found.append(flip)
    return tuple(found)


def _changes(answers: Answers, pair: Pair, margin: float, now: Floats, before: Floats) -> tuple[Change, ...]:
    """All slices with rows enough, tested for having got worse by more than the margin.

    Groups are not counted here: where rows move together this errs on the side of calling a slice worse.
    """
    gained = now - before
    found: list[dict[str, Any]] = []
    chances: list[float] = []
    for cut in cuts(answers, pair.terms):
        kept = cut.kept()
        n = cut.count()[kept]
        better, worse = cut.total(np.maximum(gained, 0.0))[kept], cut.total(np.maximum(-gained, 0.0))[kept]
        chances += paired_shares_chance(better, worse, n, margin).tolist()
        new, old = cut.total(now)[kept] / n, cut.total(before)[kept] / n
        for i, position in enumerate(kept):
            names = {"column": cut.column, "value": str(cut.names[position]), "n": int(n[i])}
            found.append(names | {"candidate": float(new[i]), "incumbent": float(old[i])})
    adjusted = holm(chances)
    changes = [Change(**item, chance=p, worse=p < pair.terms.alpha) for item, p in zip(found, adjusted, strict=True)]
    return tuple(sorted(changes, key=lambda c: (c.chance, c.candidate - c.incumbent, c.column, c.value)))

"""Whether a change of the answers is one of the labels' shares alone, and what reweighing by them would save."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.core.value import choose
from sartor.evaluation.answers import Answers
from sartor.evaluation.terms import Terms
from sartor.feedback.drift import Alarm
from sartor.feedback.prior import errors_of, explain, fit, reweigh
from sartor.pipeline.drift_views import Seen, Sighted

NAMED = 5


@dataclass(frozen=True)
class Shift:
    """The labels' shares since the answers changed."""

    since: float
    requests: int
    """Answers that it is told from."""
    explains: bool
    """Whether the new shares alone explain how inputs and answers look now."""
    least: str
    """The view that they explain least."""
    far: float
    """By how many standard errors it differs still."""
    shares: dict[str, tuple[float, float]]
    """Label -> share before and now, of those that changed most."""
    odds: dict[str, float]
    """Label -> its share now by the one before."""
    saves: float
    """Money per request that reweighing the probabilities is expected to save, from validation rows weighed alike."""
    says: str

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def shift_of(
    alarms: Sequence[Alarm],
    seen: Sequence[Seen],
    sighted: Sighted,
    rows: Floats,
    names: Sequence[str],
    answers: Answers,
    terms: Terms,
) -> Shift | None:
    """What the shares of labels are since the answers changed; None where they have not.

    Args:
        sighted: what is watched of the inputs; so are `rows` of the validation rows, by `names`.
        answers: on the validation rows.
    """
    changed = [alarm for alarm in alarms if alarm.watched == "answers" and not alarm.slice]
    if not changed or answers.probabilities is None:
        return None
    since, labels = changed[-1].since, terms.labels
    index = {label: i for i, label in enumerate(labels)}
    given = np.array([index[one.label] for one in seen if one.at >= since and one.label in index], dtype=np.int64)
    before = np.bincount(answers.true[answers.true >= 0], minlength=len(labels)) + 1.0
    before /= before.sum()
    errors = errors_of(answers.true, answers.answer, len(labels))
    now = fit(errors, np.bincount(given, minlength=len(labels)).astype(np.float64), before)
    weights = now / before
    late = {one.id for one in seen if one.at >= since}
    stream = sighted.values[[place for place, id_ in enumerate(sighted.ids) if id_ in late]]
    held = explain(rows, answers.true, stream, tuple(names), weights) if len(stream) else None
    saves = _saves(answers, terms, before, now)
    most = np.argsort(-np.abs(now - before), kind="stable")[:NAMED]
    shares = {labels[i]: (float(before[i]), float(now[i])) for i in most}
    explains = held is not None and held.whole
    least, far = (held.worst, held.far) if held else ("no content was kept", 0.0)
    says = (
        f"The shares of labels alone explain the change: reweighing by them is expected to save {saves:.4g} a request, "
        "without training anew."
        if explains
        else f"The shares of labels alone do not explain the change: '{least}' differs by {far:.1f} standard errors."
    )
    odds = dict(zip(labels, weights.tolist(), strict=True))
    return Shift(since, len(given), explains, least, far, shares, odds, saves, says)


def _saves(answers: Answers, terms: Terms, before: Floats, now: Floats) -> float:
    """Money per request, on validation rows weighed by the new shares."""
    assert answers.probabilities is not None
    kept = answers.true >= 0
    probabilities = answers.probabilities[kept].astype(np.float64)
    weight = (now / before)[answers.true[kept]]
    weight = weight / weight.sum()
    cost = []
    for tried in (probabilities, reweigh(probabilities, before, now)):
        choice = choose(tried, terms.matrix, terms.target)
        asked = terms.target[answers.true[kept]] if terms.target is not None else 0.0
        cost.append(np.where(choice.escalate, asked, terms.matrix[answers.true[kept], choice.answer]))
    return float(weight @ (cost[0] - cost[1]))

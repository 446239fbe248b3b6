"""Fit what a writing variant's scores mean, on validation rows: chances that a value is right, or should not be there.

Logistic regression of each outcome on the score (Platt 1999), the outcome of being right with an offset for each field
that is drawn towards none: most fields have few values. What no claim was made for is counted, so that an answer that
says little is not taken for a sure one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sartor.core.calibration import ClaimScale
from sartor.core.claims import build, field_of, parse
from sartor.core.errors import AskError
from sartor.core.pairing import equal, pairs
from sartor.core.predict import Claim, Floats
from sartor.core.stating import Pricing, log_odds, state
from sartor.training.job import Writing

SMOOTH = 1.0
"""Right and wrong values that are added to what was seen, so that no chance is ever 0 or 1."""
STRENGTH = 2.0
"""Inverse variance of a field's offset, in log-odds."""


class Said(Protocol):
    """One value that a variant wrote, before calibration."""

    @property
    def path(self) -> str:
        """JSON pointer into the answer; '' for a whole text."""
        ...

    @property
    def value(self) -> Any:
        """The JSON value, or the text."""
        ...

    @property
    def score(self) -> float:
        """Roughly the log-odds that it is right."""
        ...


@dataclass(frozen=True, slots=True)
class _Case:
    field: str
    score: float
    right: bool
    absent: bool


def fit_claims(said: Sequence[Sequence[Said]], writing: Writing | None) -> ClaimScale:
    """The scale of one variant.

    Args:
        said: (validation rows,) what it said of each.
    """
    assert writing is not None
    cases: list[_Case] = []
    unseen = 0
    for row, truth in zip(said, writing.validation, strict=True):
        if writing.kind == "extract":
            found, missed = _extracted(row, truth)
            cases += found
            unseen += missed
        else:
            cases += [_Case("", one.score, right, absent=False) for one, right in _texts(row, truth, writing)]
    if not cases:
        return ClaimScale(unseen=unseen / max(len(said), 1))
    score = np.array([case.score for case in cases], dtype=np.float64)
    right = np.array([case.right for case in cases], dtype=np.float64)
    absent = np.array([case.absent for case in cases], dtype=np.float64)
    fields = [case.field for case in cases]
    slope, offset, each = _logistic(score, right, fields if writing.kind == "extract" else None)
    gone = right == 0
    lost = _logistic(score[gone], absent[gone], None) if gone.any() else (0.0, 0.0, {})
    scale = ClaimScale(right=(slope, offset), absent=lost[:2], fields=each, unseen=unseen / len(said))
    return scale.model_copy(update={"whole": _whole(said, writing, scale)}) if writing.kind == "extract" else scale


def _whole(said: Sequence[Sequence[Said]], writing: Writing, scale: ClaimScale) -> tuple[float, float]:
    """From chances of values to the chance of the whole: what is missed, and what comes together, is in no value's."""
    odds, right = [], []
    for row, truth in zip(said, writing.validation, strict=True):
        claims = [Claim(one.path, one.value, *scale.chances(one.score, field_of(one.path))) for one in row]
        stated = state(claims, Pricing((1.0, 1.0, 1.0)))
        odds.append(log_odds(stated.confidence))
        right.append(stated.output == truth if writing.right is None else writing.right(truth, stated.output))
    slope, offset, _ = _logistic(np.array(odds), np.array(right, dtype=np.float64), None)
    return slope, offset


def _extracted(said: Sequence[Said], truth: str) -> tuple[list[_Case], int]:
    """Cases of one row, and how many of its values nobody named.

    A value is right where it stands in the truth's place for it. Rivals at one place are told apart by the value alone.
    """
    try:
        right = parse(truth)
    except AskError:
        return [], 0
    first: dict[str, Said] = {}
    for one in said:
        first.setdefault(one.path, one)
    found = pairs(right, build((path, one.value) for path, one in first.items()))
    there = {pair.said_at: pair for pair in found if pair.said_at is not None}
    closed = dict(zip(_closed(first), first, strict=True))
    place = {closed[at]: pair for at, pair in there.items() if at in closed}
    cases = []
    for one in said:
        pair = place.get(one.path)
        if pair is None:
            continue
        absent = pair.truth_at is None
        cases.append(_Case(field_of(one.path), one.score, not absent and equal(pair.truth, one.value), absent))
    return cases, sum(1 for pair in found if pair.said_at is None)


def _closed(paths: Sequence[str] | dict[str, Any]) -> Iterator[str]:
    """The places as they are once gaps between positions have closed up (`core.claims.build`)."""
    paths = list(paths)
    steps: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            here = steps.setdefault("/".join(parts[:depth]), [])
            if parts[depth] not in here:
                here.append(parts[depth])
    for path in paths:
        parts, out = path.split("/"), [""]
        for depth in range(1, len(parts)):
            among = steps["/".join(parts[:depth])]
            if all(step.isdigit() for step in among):
                out.append(str(sorted(among, key=int).index(parts[depth])))
            else:
                out.append(parts[depth])
        yield "/".join(out)


def _texts(said: Sequence[Said], truth: str, writing: Writing) -> Iterator[tuple[Said, bool]]:
    for one in said:
        same = str(one.value).strip() == truth.strip()
        yield one, same if writing.right is None else writing.right(truth, str(one.value))


def _logistic(score: Floats, outcome: Floats, fields: Sequence[str] | None) -> tuple[float, float, dict[str, float]]:
    """(slope, offset, offsets of fields) by penalised maximum likelihood."""
    from scipy.optimize import minimize

    names = sorted(set(fields)) if fields else []
    index = {name: i for i, name in enumerate(names)}
    codes = np.array([index[name] for name in fields], dtype=np.int64) if fields else np.zeros(len(score), np.int64)
    positive = (outcome.sum() + SMOOTH) / (len(outcome) + 2.0 * SMOOTH)
    # Platt's targets: a little less sure than what was seen.
    target = np.where(outcome > 0, 1.0 - SMOOTH / (len(outcome) + 2.0), SMOOTH / (len(outcome) + 2.0))

    def cost(theta: Floats) -> tuple[float, Floats]:
        odds = theta[0] * score + theta[1] + (theta[2:][codes] if names else 0.0)
        loss = np.logaddexp(0.0, odds) - target * odds
        slack = 1.0 / (1.0 + np.exp(-odds)) - target
        gradient = np.array([slack @ score + 1e-3 * theta[0], slack.sum()])
        total = float(loss.sum()) + 0.5e-3 * theta[0] ** 2
        if names:
            total += 0.5 * STRENGTH * float(theta[2:] @ theta[2:])
            own = np.bincount(codes, weights=slack, minlength=len(names)) + STRENGTH * theta[2:]
            gradient = np.concatenate([gradient, own])
        return total, gradient

    start = np.zeros(2 + len(names))
    start[1] = np.log(positive / (1.0 - positive))
    bounds = [(0.0, None), (None, None), *[(None, None)] * len(names)]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0]), float(found[1]), {name: round(float(found[2 + i]), 6) for name, i in index.items()}

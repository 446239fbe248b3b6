"""The value function: what mistakes, escalations and slowness cost, and everything computed from that.

One declared value weighs training examples, picks the answer, decides when to escalate, gates releases and
computes the return. All arithmetic is pure. Costs are money lost: positive is bad, a gain is negative.

Sources: least expected cost under calibrated probabilities is Bayes' rule for a loss matrix (Elkan 2001, "The
foundations of cost-sensitive learning"); the reject option is Chow (1970), here with the errors of whoever is
asked counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sartor.core.errors import AskError, unknown
from sartor.core.predict import Floats
from sartor.core.rows import Hierarchy

Money = Annotated[float, Field(allow_inf_nan=False)]
Ints = npt.NDArray[np.integer]


ANY = "*"


class Confusion(BaseModel):
    """The cost of one particular mistake; `*` on one side stands for every other label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    true: str
    """The right label."""
    answer: str
    """The label that was given."""
    cost: Money
    """Money that it costs."""


class Escalation(BaseModel):
    """Whoever is asked instead of answering: a person, a giant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str = "person"
    """For people: who it is."""
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Money per question asked."""
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of its answers that are wrong; a refuge that errs more often than the model is none."""
    column: str | None = None
    """Column with its recorded answers; its errors are then measured on training-side rows instead of declared."""


class FieldCosts(BaseModel):
    """What mistakes in one field of an extraction cost; what is not stated costs what `value` says for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wrong: Money | None = None
    """A value stands there that should be another one."""
    missed: Money | None = None
    """Nothing stands there and something should."""
    invented: Money | None = None
    """A value stands there and nothing should."""


class Criterion(BaseModel):
    """One thing that a text must fulfil; the scorer's own settings stand beside it and its Params check them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str
    """Name of the scorer."""
    cost: Money = 1.0
    """Money lost where it is not fulfilled; where it is half fulfilled, half of that."""
    name: str = ""
    """By which reports name it; default the scorer's."""

    @property
    def title(self) -> str:
        """The name, or the scorer's."""
        return self.name or self.use

    @property
    def settings(self) -> dict[str, Any]:
        """The scorer's settings."""
        return dict(self.model_extra or {})


class Value(BaseModel):
    """What a domain expert declares. All money in `currency`, per request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: str = "EUR"
    """For people: what one is of."""
    right: Money = 0.0
    """Cost of a right answer: 0, or negative where a right answer earns money."""
    wrong: Money = 1.0
    """Cost of a wrong answer that nothing below makes dearer or cheaper."""
    levels: dict[str, Money] = Field(default_factory=dict)
    """Cost of a wrong answer that is right at this level of the label hierarchy (wrong block, right chapter)."""
    confusions: tuple[Confusion, ...] = ()
    """Costs of particular mistakes; they win over `levels` and `wrong`."""
    missed: Money | None = None
    """Cost of a field that stays empty and should not (kind `extract`); default as `wrong`, which counts each field."""
    invented: Money | None = None
    """Cost of a value where none should stand (kind `extract`); default as `wrong`."""
    fields: dict[str, FieldCosts] = Field(default_factory=dict)
    """Costs of mistakes in particular fields (kind `extract`), by name: `brand`, `lines[].price`."""
    rubric: tuple[Criterion, ...] = ()
    """What a text must fulfil, each with its cost (kind `generate`); empty: it must be the right one exactly."""
    escalate: Escalation | None = None
    """Who can be asked instead of answering; none: every request is answered."""
    latency: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Money per second of waiting."""
    volume: Annotated[int, Field(ge=0)] = 0
    """Requests per month, for the return; 0: not stated."""


def cost_matrix(value: Value, labels: Sequence[str], hierarchy: Hierarchy = Hierarchy()) -> Floats:
    """Money lost for every pair of truth and answer.

    Returns:
        (labels, labels) array; row is the truth, column the answer.

    Raises:
        NotFoundError: a confusion names a label, or `levels` a level, that does not exist.
    """
    size = len(labels)
    index = {label: i for i, label in enumerate(labels)}
    matrix = np.full((size, size), value.wrong, dtype=np.float64)
    for name in value.levels:
        if name not in hierarchy.levels:
            raise unknown(
                "level of the label hierarchy", name, hierarchy.levels, param="value.levels", code="unknown_level"
            )
    # The farthest level first, so that the nearest shared class, the mildest mistake, is written last.
    for depth in reversed(range(len(hierarchy.levels))):
        cost = value.levels.get(hierarchy.levels[depth])
        if cost is None:
            continue
        classes = np.array([hierarchy.parents[label][depth] for label in labels])
        matrix[classes[:, None] == classes[None, :]] = cost
    np.fill_diagonal(matrix, value.right)
    # Those that name both sides are written last, so that they win over `*`.
    for item in sorted(value.confusions, key=lambda c: ANY not in (c.true, c.answer)):
        rows, columns = (_positions(name, index) for name in (item.true, item.answer))
        kept = matrix.diagonal().copy()
        matrix[rows, columns] = item.cost
        if ANY in (item.true, item.answer):
            np.fill_diagonal(matrix, kept)
    return matrix


def _positions(name: str, index: dict[str, int]) -> int | slice:
    """Where a label of a confusion stands in the matrix; `*` is everywhere."""
    if name == ANY:
        return slice(None)
    if name not in index:
        raise unknown("label", name, index, param="value.confusions", code="unknown_label")
    return index[name]


def expected_costs(probabilities: Floats, matrix: Floats) -> Floats:
    """Expected money lost by each possible answer: (rows, labels) from (rows, labels) and (labels, labels)."""
    return np.asarray(probabilities, dtype=np.float64) @ matrix


def target_costs(value: Value, matrix: Floats, confusion: Floats | None = None) -> Floats:
    """Expected money lost when the escalation target answers, for each truth, its price included.

    Args:
        confusion: (labels, labels) measured chances of the target's answers given the truth; without it the
            declared `error_rate` is spread evenly over the wrong labels.

    Returns:
        (labels,) array.

    Raises:
        AskError: the value function declares no escalation.
    """
    if value.escalate is None:
        raise AskError(
            "The value function declares no escalation: add 'escalate: {to, price, error_rate}'.",
            param="value.escalate",
        )
    if confusion is None:
        size = len(matrix)
        rate = value.escalate.error_rate if size > 1 else 0.0
        confusion = np.full((size, size), rate / max(size - 1, 1))
        np.fill_diagonal(confusion, 1.0 - rate)
    errors: Floats = (confusion * matrix).sum(axis=1)
    return value.escalate.price + errors


def measured_confusion(true: Ints, answers: Ints, size: int, wrong_answer: int = -1) -> Floats:
    """Chances of a target's answers given the truth, from its recorded answers.

    Rows are shrunk towards the target's overall accuracy by one pseudo-row, since most labels have few rows; a
    recorded answer of `wrong_answer` (no valid label) counts as an error spread over the other labels.

    Returns:
        (size, size) array whose rows sum to 1.
    """
    right = float((true == answers).mean()) if len(true) else 0.0
    prior = np.full((size, size), (1.0 - right) / max(size - 1, 1))
    np.fill_diagonal(prior, right)
    counts = prior.copy()
    for truth, answer in zip(true, answers, strict=True):
        if answer != wrong_answer:
            counts[truth, answer] += 1.0
        elif size > 1:
            counts[truth] += np.where(np.arange(size) == truth, 0.0, 1.0 / (size - 1))
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares


@dataclass(frozen=True)
class Choice:
    """The decision for each row of a batch."""

    answer: Ints
    """(rows,) class index of the least-cost answer."""
    escalate: npt.NDArray[np.bool_]
    """(rows,) whether asking the target is cheaper in expectation."""
    cost: Floats
    """(rows,) expected money lost by the decision taken."""


def choose(probabilities: Floats, matrix: Floats, target: Floats | None = None) -> Choice:
    """The least-cost decision under calibrated probabilities.

    Args:
        probabilities: (rows, labels).
        matrix: (labels, labels) from `cost_matrix`.
        target: (labels,) from `target_costs`, or None where nobody can be asked.
    """
    costs = expected_costs(probabilities, matrix)
    answer = costs.argmin(axis=1)
    best = costs[np.arange(len(costs)), answer]
    if target is None:
        return Choice(answer, np.zeros(len(costs), dtype=bool), best)
    asked = np.asarray(probabilities, dtype=np.float64) @ target
    escalate = asked < best
    return Choice(answer, escalate, np.where(escalate, asked, best))


def realised_costs(
    true: Ints,
    answer: Ints,
    matrix: Floats,
    escalated: npt.NDArray[np.bool_] | None = None,
    target: Floats | None = None,
    invalid: float | None = None,
) -> Floats:
    """Money lost on rows whose truth is known.

    Args:
        true: (rows,) class index; -1 where the truth is no label of the task (every answer is then wrong).
        answer: (rows,) class index of the answers; -1 for no valid label.
        escalated: (rows,) rows that were sent to the target.
        target: (labels,) expected cost of the target given the truth, from `target_costs`.
        invalid: cost of an invalid answer or truth; the dearest mistake of the matrix if not given.

    Returns:
        (rows,) array.
    """
    dearest = float(matrix.max()) if invalid is None else invalid
    known = (true >= 0) & (answer >= 0)
    costs = np.full(len(true), dearest, dtype=np.float64)
    costs[known] = matrix[true[known], answer[known]]
    if escalated is not None and escalated.any():
        if target is None:
            raise AskError("Rows were escalated but nobody is declared who could be asked.", param="value.escalate")
        costs[escalated] = np.where(true[escalated] >= 0, target[true[escalated]], float(target.max()))
    return costs


def example_weights(true: Ints, matrix: Floats) -> Floats:
    """Weight of each training example: the mean cost of getting it wrong, scaled to mean 1. (rows,)."""
    size = len(matrix)
    off = matrix.sum(axis=1) - matrix.diagonal()
    regret = off / max(size - 1, 1) - matrix.diagonal()
    weights = np.maximum(regret[true], 0.0)
    mean = weights.mean() if len(weights) else 1.0
    scaled: Floats = weights / mean if mean > 0 else np.ones_like(weights)
    return scaled


@dataclass(frozen=True)
class Return:
    """What replacing the incumbent brings."""

    saved_per_1000: float
    """Money saved per 1,000 requests (negative: lost)."""
    saved_per_month: float | None
    """At the declared volume; None where no volume is declared."""
    made_for: float
    """Money that making the candidate cost."""
    payback_days: float | None
    """Days until the making is paid back; None where it never is, or no volume is declared."""


def compute_return(value: Value, incumbent_cost: float, candidate_cost: float, made_for: float) -> Return:
    """The return of a candidate, from mean money per request of it and of the incumbent."""
    saved = incumbent_cost - candidate_cost
    monthly = saved * value.volume if value.volume else None
    payback = made_for / (monthly / 30.0) if monthly is not None and monthly > 0 else None
    return Return(saved * 1000.0, monthly, made_for, payback)

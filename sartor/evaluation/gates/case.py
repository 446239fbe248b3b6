"""All that a release is judged on, and how it is put together from stored evidence.

What is stored about a subject's quality is not trusted: every figure is worked out again from the answers, row by
row, so that a replayed decision rests on the rows alone. Measured figures (latency, unit cost, looks) can't be worked
out again and are taken as they were sealed. Knows no store and passes no judgement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sartor.core.licence import Licence
from sartor.core.records import Metric, Report
from sartor.core.task import Gate, Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.compare import Comparison, compare
from sartor.evaluation.inspect import Inspection, inspect
from sartor.evaluation.terms import Terms

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """Everything that the gate reads. What is None was not to be had, and the gate then fails closed."""

    gate: Gate
    currency: str = "EUR"
    has_incumbent: bool = True
    """False where nothing answers today, so that there is nothing to compare with."""
    has_floor: bool = True
    """False where the task names no floor among its candidates."""
    is_floor: bool = False
    """The candidate is the floor itself."""
    incumbent: Comparison | None = None
    """The candidate against what answers today."""
    floor: Comparison | None = None
    """The candidate against the floor."""
    metrics: Mapping[str, Metric] | None = None
    """Of the candidate."""
    licence: Licence | None = None
    latency_ms: float | None = None
    """Milliseconds in which 95 % of single answers came."""
    unit_cost: float | None = None
    """Money per request that serving costs."""
    rows: int | None = None
    """Test rows that the candidate was judged on."""
    looks: int | None = None
    """How often these test rows have been read, this time included."""
    errors: tuple[str, ...] = ()
    """What went wrong while the evidence was gathered."""


def case_from(
    task: Task,
    terms: Terms,
    reports: Mapping[str, Report],
    answers: Mapping[str, Answers],
    *,
    looks: int | None = None,
) -> Case:
    """The case that the evidence makes. What can't be worked out becomes an error in it instead of raising.

    Args:
        reports: inspection reports by role: `candidate`, `incumbent`, `floor`. Read of them: `title`,
            `facts["licence" | "errors"]` and `measured["unit_cost" | "latency_ms" | "latency_p95_ms"]`.
        answers: the answers behind them, by the same roles, decided under any terms; those of these terms count.
        looks: how often the test rows have been read, this time included.
    """
    desk = _Desk([f"{role}: {error}" for role, report in reports.items() for error in report.facts.get("errors", ())])
    candidate = reports.get("candidate")
    facts, measured = (candidate.facts, candidate.measured) if candidate else ({}, {})
    for role in sorted(set(reports) ^ set(answers)):
        desk.errors.append(f"{role}: there are answers without a report, or a report without answers")
    if measured.get("unit_cost") is None:
        desk.errors.append("what serving the candidate costs was not measured")
    decided = {role: given.redecide(terms.matrix, terms.target) for role, given in answers.items()}

    def against(role: str) -> Comparison | None:
        if "candidate" not in decided or role not in decided:
            return None
        costs = (_overhead(task, reports, "candidate"), _overhead(task, reports, role))
        return compare(decided["candidate"], decided[role], terms, gate=task.gate, overheads=costs)

    def inspected() -> Inspection | None:
        return inspect(decided["candidate"], terms, metrics=GATED) if "candidate" in decided else None

    found = desk.tried("inspecting the candidate", inspected)
    is_floor = candidate is not None and candidate.title == task.gate.floor
    mine = decided.get("candidate")
    return Case(
        gate=task.gate,
        currency=task.value.currency,
        has_incumbent=task.incumbent.kind != "none",
        has_floor=any(c.title == task.gate.floor for c in task.candidates),
        is_floor=is_floor,
        incumbent=desk.tried("comparing with what answers today", lambda: against("incumbent")),
        floor=None if is_floor else desk.tried("comparing with the floor", lambda: against("floor")),
        metrics=found.metrics if found else None,
        licence=desk.tried("reading the licence", lambda: Licence.model_validate(facts["licence"])),
        latency_ms=measured.get("latency_p95_ms", measured.get("latency_ms")),
        unit_cost=None if mine is None else desk.tried("adding up unit cost", lambda: _unit_cost(mine, measured)),
        rows=None if mine is None else len(mine),
        looks=looks,
        errors=tuple(desk.errors) + (tuple(found.facts["errors"]) if found else ()),
    )


GATED = ("calibration_error",)
"""Metrics of the candidate alone that the gate reads; all others it reads as differences."""


@dataclass(frozen=True)
class _Desk:
    """Where evidence is gathered, and what went wrong is written down."""

    errors: list[str]

    def tried(self, what: str, work: Callable[[], T | None]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the gate must see it and fail closed
            self.errors.append(f"{what} failed: {type(error).__name__}: {error}")
            return None


def _overhead(task: Task, reports: Mapping[str, Report], role: str) -> float:
    """Measured money per request: serving, and waiting at its price; none for what was not run here."""
    measured = reports[role].measured if role in reports else {}
    waiting = float(measured.get("latency_ms") or 0.0) / 1000.0 * task.value.latency
    return float(measured.get("unit_cost") or 0.0) + waiting


def _unit_cost(answers: Answers, measured: Mapping[str, Any]) -> float | None:
    if measured.get("unit_cost") is None:
        return None
    return float(measured["unit_cost"]) + float(answers.serving_cost.mean())

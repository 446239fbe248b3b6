"""All that a release is judged on, and how it is put together from stored evidence.

What is stored about a subject's quality is not trusted: every figure is worked out again from the answers, row by
row, so that a replayed decision rests on the rows alone. Measured figures (latency, unit cost, looks) can't be worked
out again and are taken from the sealed reports. Knows no store and passes no judgement.

What a report must carry for this, beside the subject's `answers.parquet`:
    facts: `licence` (`Licence.model_dump()`), `errors` (a list of what went wrong while inspecting)
    measured: `latency_ms`, `unit_cost` (money per request beyond what stands in the answers), `looks` (how often the
        test rows have been read, this time included)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sartor.core.licence import Licence
from sartor.core.records import Metric, Report
from sartor.core.task import Gate, Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.compare import Comparison, compare
from sartor.evaluation.inspect import inspect
from sartor.evaluation.terms import Terms


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
    """Measured milliseconds of one answer."""
    unit_cost: float | None = None
    """Money per request that serving costs."""
    rows: int | None = None
    """Test rows that the candidate was judged on."""
    looks: int | None = None
    """How often these test rows have been read, this time included."""
    errors: tuple[str, ...] = ()
    """What went wrong while the evidence was gathered."""


def case_from(task: Task, terms: Terms, reports: Mapping[str, Report], answers: Mapping[str, Answers]) -> Case:
    """The case that the evidence makes. Never raises on odd evidence: what can't be worked out is an error in it.

    Args:
        reports: inspection reports by role: `candidate`, `incumbent`, `floor`.
        answers: the answers behind them, by the same roles.
    """
    errors: list[str] = [f"{role}: {e}" for role, report in reports.items() for e in report.facts.get("errors", ())]
    overheads = {role: _overhead(task, report) for role, report in reports.items()}

    def against(role: str) -> Comparison | None:
        if role not in answers or "candidate" not in answers or (role == "floor" and is_floor):
            return None
        pair = (overheads.get("candidate", 0.0), overheads.get(role, 0.0))
        return compare(answers["candidate"], answers[role], terms, gate=task.gate, overheads=pair)

    def tried(what: str, work: Any, *given: Any) -> Any:
        try:
            return work(*given)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the gate must see it and fail closed
            errors.append(f"{what} failed: {type(error).__name__}: {error}")
            return None

    candidate = reports.get("candidate")
    facts, measured = (candidate.facts, candidate.measured) if candidate else ({}, {})
    is_floor = candidate is not None and candidate.title == task.gate.floor
    mine = answers.get("candidate")
    found = tried("inspection of the candidate", inspect, mine, terms) if mine is not None else None
    return Case(
        gate=task.gate,
        currency=task.value.currency,
        has_incumbent=task.incumbent.kind != "none",
        has_floor=any(c.title == task.gate.floor for c in task.candidates),
        is_floor=is_floor,
        incumbent=tried("comparison with the incumbent", against, "incumbent"),
        floor=tried("comparison with the floor", against, "floor"),
        metrics=found.metrics if found else None,
        licence=tried("reading the licence", Licence.model_validate, facts["licence"]) if "licence" in facts else None,
        latency_ms=measured.get("latency_ms"),
        unit_cost=_unit_cost(mine, measured),
        rows=None if mine is None else len(mine),
        looks=measured.get("looks"),
        errors=tuple(errors + (found.facts["errors"] if found else [])),
    )


def _overhead(task: Task, report: Report) -> float:
    """Measured money per request: serving, and waiting at its price."""
    unit, wait = report.measured.get("unit_cost") or 0.0, report.measured.get("latency_ms") or 0.0
    return float(unit) + float(wait) / 1000.0 * task.value.latency


def _unit_cost(answers: Answers | None, measured: Mapping[str, Any]) -> float | None:
    if answers is None or measured.get("unit_cost") is None:
        return None
    return float(measured["unit_cost"]) + float(answers.serving_cost.mean())

"""All that a release is judged on, and how it is put together from stored evidence.

What is stored about a subject's quality is not trusted: every figure is worked out again from the answers, row by
row, so that a replayed decision rests on the rows alone. Measured figures (latency, unit cost, looks) can't be worked
out again and are taken as they were sealed. Knows no store and passes no judgement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from sartor.core.licence import Licence
from sartor.core.records import Metric, Report
from sartor.core.task import Gate, Task
from sartor.evaluation.answers import Answers
from sartor.evaluation.compare import Comparison, compare
from sartor.evaluation.inspect import inspect
from sartor.evaluation.suites import Held, Standing, hold_suites
from sartor.evaluation.terms import Terms

T = TypeVar("T")
GATED = ("calibration_error",)
"""Metrics of the candidate alone that the gate reads; all others it reads as differences."""


@dataclass(frozen=True)
class Case:
    """Everything that the gate reads. What is None was not to be had, and the gate then fails closed."""

    gate: Gate
    currency: str = "EUR"
    has_incumbent: bool = True
    """False where nothing answers today, so that there is nothing to compare with."""
    is_live: bool = False
    """The candidate is what answers today."""
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
    forgetting: float = 0.01
    """Share of a standing suite that may be lost."""
    suites: tuple[Held, ...] | None = ()
    """The candidate against what is live on every standing suite; empty where none stands."""


def case_from(
    task: Task,
    terms: Terms,
    reports: Mapping[str, Report],
    answers: Mapping[str, Answers],
    *,
    looks: int | None = None,
    standing: Standing | None = None,
) -> Case:
    """The case that the evidence makes. What can't be worked out becomes an error in it instead of raising.

    Args:
        reports: inspection reports by role: `candidate`, `incumbent`, `floor`. Read of them: `title`,
            `facts["licence" | "errors"]` and `measured["unit_cost" | "latency_ms" | "latency_p95_ms"]`.
        answers: the answers behind them, by the same roles, decided under any terms; those of these terms count.
        looks: how often the test rows have been read, this time included.
        standing: standing suites, where there are any.
    """
    case = Case(
        gate=task.gate,
        currency=task.value.currency,
        has_incumbent=task.incumbent.kind != "none",
        has_floor=any(candidate.title == task.gate.floor for candidate in task.candidates),
        looks=looks,
        forgetting=task.learn.forgetting,
    )
    if "candidate" not in reports or "candidate" not in answers:
        return replace(case, errors=("candidate: there is no report, or there are no answers",))
    desk = _Desk(task, terms, reports, answers)
    candidate, incumbent = reports["candidate"], reports.get("incumbent")
    is_floor = candidate.title == task.gate.floor
    found = replace(
        case,
        is_live=incumbent is not None and incumbent.subject == candidate.subject,
        is_floor=is_floor,
        incumbent=desk.tried("comparing with what answers today", lambda: desk.against("incumbent")),
        floor=None if is_floor else desk.tried("comparing with the floor", lambda: desk.against("floor")),
        metrics=desk.tried("inspecting the candidate", desk.metrics),
        licence=desk.tried("reading the licence", lambda: Licence.model_validate(candidate.facts["licence"])),
        latency_ms=candidate.measured.get("latency_p95_ms", candidate.measured.get("latency_ms")),
        unit_cost=desk.tried("adding up what serving costs", desk.unit_cost),
        rows=len(answers["candidate"]),
        suites=desk.tried("holding the standing suites", lambda: desk.suites(standing)),
    )
    return replace(found, errors=(*desk.stored_errors(), *desk.errors))


@dataclass(frozen=True)
class _Desk:
    """Where evidence is worked through, and what goes wrong is written down."""

    task: Task
    terms: Terms
    reports: Mapping[str, Report]
    answers: Mapping[str, Answers]
    errors: list[str] = field(default_factory=list)

    def tried(self, what: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the gate must see it and fail closed
            self.errors.append(f"{what} failed: {type(error).__name__}: {error}")
            return None

    def stored_errors(self) -> list[str]:
        """What the reports say went wrong, and roles of which only half the evidence is there."""
        halves = sorted(set(self.reports) ^ set(self.answers))
        return [
            *(f"{role}: {error}" for role, report in self.reports.items() for error in report.facts.get("errors", ())),
            *(f"{role}: there are answers without a report, or a report without answers" for role in halves),
        ]

    def against(self, role: str) -> Comparison | None:
        if role not in self.answers:
            return None
        costs = (self.overhead("candidate"), self.overhead(role))
        return compare(self.decided["candidate"], self.decided[role], self.terms, gate=self.task.gate, overheads=costs)

    @cached_property
    def decided(self) -> Mapping[str, Answers]:
        """The answers as these terms would have them."""
        return {role: self.terms.judging.redecide(given) for role, given in self.answers.items()}

    def overhead(self, role: str) -> float:
        """Measured money per request: serving, and waiting at its price; none for what was not run here."""
        measured = self.reports[role].measured if role in self.reports else {}
        waiting = float(measured.get("latency_ms") or 0.0) / 1000.0 * self.task.value.latency
        return float(measured.get("unit_cost") or 0.0) + waiting

    def suites(self, standing: Standing | None) -> tuple[Held, ...]:
        return () if standing is None else hold_suites(standing, self.terms, self.task.learn.forgetting)

    def metrics(self) -> Mapping[str, Metric]:
        found = inspect(self.decided["candidate"], self.terms, metrics=GATED)
        self.errors.extend(found.facts["errors"])
        return found.metrics

    def unit_cost(self) -> float:
        """Money per request of serving the candidate; a KeyError where it was not measured."""
        return float(self.reports["candidate"].measured["unit_cost"]) + float(
            self.answers["candidate"].serving_cost.mean()
        )

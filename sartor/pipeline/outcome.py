"""What a run has found by its end, as the summary and the report read it."""

from dataclasses import dataclass

from sartor.core.records import Decision, Report, Variant
from sartor.evaluation.pick import Picked
from sartor.pipeline.inspect import Hall


@dataclass(frozen=True)
class Inspected:
    """Reports of a run's candidates, by title."""

    validation: dict[str, Report]
    test: dict[str, Report]


@dataclass(frozen=True)
class Verdict:
    """What was decided, about whom, and against what."""

    title: str
    """The candidate of the decision: the picked one, or the floor in its stead."""
    decision: Decision
    incumbent: Report
    picked: Picked
    """The choice on validation rows."""


@dataclass(frozen=True)
class Outcome:
    """Everything that a run has found."""

    place: Hall
    variants: dict[str, Variant]
    found: Inspected
    verdict: Verdict
    version: str
    """Handle of the released variant; '' where none was."""

    def subjects(self) -> dict[str, Report]:
        """Reports on the test rows by title: every candidate, then the incumbent."""
        return {**self.found.test, self.verdict.incumbent.title: self.verdict.incumbent}

    def role_of(self, title: str) -> str:
        """The part that a subject plays, in words."""
        parts = {
            "released" if self.version else "picked": title == self.verdict.title,
            "floor": title == self.place.task.gate.floor,
            "incumbent": title == self.verdict.incumbent.title,
        }
        return ", ".join(name for name, true in parts.items() if true)

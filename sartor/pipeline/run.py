"""The walk: source, curate, make, inspect, decide, release. Each step is found or done; a killed run goes on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.records import Dataset, Decision, Report, TaskRecord, Variant
from sartor.core.task import Candidate, Task
from sartor.data.check import check_task
from sartor.evaluation.pick import Offer, Picked, pick
from sartor.pipeline.approvals import let_live
from sartor.pipeline.check import check_plugins
from sartor.pipeline.curate import curate, open_dataset, read
from sartor.pipeline.decide import SUITES, decide
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.inspect import (
    Hall,
    answers_behind,
    check_incumbent,
    hall,
    incumbent_subject,
    inspect_subject,
    overhead_of,
    variant_subject,
)
from sartor.pipeline.make import made_for, make, order
from sartor.pipeline.onward import Onward
from sartor.pipeline.outcome import Inspected, Outcome, Verdict
from sartor.pipeline.parity import certify
from sartor.pipeline.report import write_report
from sartor.pipeline.teachers import refuse_forbidden
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register_many


@dataclass(frozen=True)
class Line:
    """One subject as the summary shows it."""

    title: str
    subject: str
    accuracy: float
    """Share of right answers on the test rows; a row passed on counts with the chance that its answer is right."""
    asked: float
    """Share of the test rows that are passed on to whoever can be asked."""
    money: float
    """Money lost per 1,000 requests, serving included."""
    money_low: float
    money_high: float
    latency_ms: float | None
    unit_cost: float | None
    seconds: float | None
    """That making it took."""
    role: str
    """released or picked, floor, incumbent."""


@dataclass(frozen=True)
class RunResult:
    """What a run found, made and decided."""

    task: Task
    dataset: Dataset
    lines: tuple[Line, ...]
    picked: str
    """Title of the candidate that validation picked, or of the floor that is released in its stead."""
    decision: Decision
    version: str
    """Handle of the released variant; '' where none was."""
    report: Path
    variants: dict[str, str]
    """Title -> digest."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "task": self.task.name,
            "data": self.dataset.digest,
            "candidates": [asdict(line) for line in self.lines],
            "picked": self.picked,
            "verdict": self.decision.verdict,
            "reasons": list(self.decision.reasons),
            "decision": self.decision.digest,
            "version": self.version,
            "report": str(self.report),
            "variants": self.variants,
        }


def run(shop: Workshop, task: Task, base_dir: Path) -> RunResult:
    """Rows in, a gated and released model out.

    Args:
        base_dir: where relative paths of the task's sources start.

    Raises:
        AskError: the task does not fit its rows; every error is named before anything is made.
        SartorError: a step failed; what was finished is kept, and running again goes on from there.
    """
    place = open_hall(shop, task, base_dir)
    variants = make_all(place, task.candidates)
    found = inspect_all(place, variants)
    verdict = decide_on(place, variants, found)
    version = settle(place, variants, verdict)
    return told(Outcome(place, variants, found, verdict, version))


def told(outcome: Outcome) -> RunResult:
    """What a run found, with its report written."""
    return RunResult(
        task=outcome.place.task,
        dataset=outcome.place.dataset,
        lines=tuple(_lines(outcome)),
        picked=outcome.verdict.title,
        decision=outcome.verdict.decision,
        version=outcome.version,
        report=write_report(outcome),
        variants={title: variant.digest for title, variant in outcome.variants.items()},
    )


def open_hall(shop: Workshop, task: Task, base_dir: Path) -> Hall:
    """Source, curate and check: everything up to the first training."""
    check_plugins(task)
    place = hall_on(shop, task, curate(shop, task, base_dir, read(shop, task, base_dir)))
    check_incumbent(place)
    return place


def hall_on(shop: Workshop, task: Task, dataset: Dataset, *, may: Sequence[str] = ()) -> Hall:
    """The task checked against a data set.

    Args:
        may: findings, by their stable word, that are no errors here.

    Raises:
        AskError: the task does not fit the rows; every error is named.
        RefusedError: a model labelled rows, and its terms forbid to train on its answers.
    """
    refuse_forbidden(task, dataset)
    contract = shop.store.ledger.put(TaskRecord(name=task.name, contract=task.body()))
    snapshot = open_dataset(shop, dataset)
    errors = [f.says for f in check_task(task, snapshot) if f.level == "error" and f.what not in may]
    if errors:
        raise AskError(f"Task '{task.name}' does not fit its rows.\n  " + "\n  ".join(errors), code="task_does_not_fit")
    return hall(shop, EmbeddingCache(shop), task, contract, dataset, snapshot)


def make_all(place: Hall, candidates: Sequence[Candidate]) -> dict[str, Variant]:
    """Every candidate's variant by title, those that others are mixed of first."""
    made: dict[str, Variant] = {}
    for candidate in in_order(candidates):
        place.shop.progress("make candidates", len(made), len(candidates))
        made[candidate.title] = make_one(place, candidate, made)
    place.shop.progress("make candidates", len(made), len(candidates))
    return {candidate.title: made[candidate.title] for candidate in candidates}


def make_one(place: Hall, candidate: Candidate, made: Mapping[str, Variant], onward: Onward | None = None) -> Variant:
    """One candidate's variant, of those that were made before.

    Args:
        onward: how it goes on from the live variant; None: it is made from scratch.
    """
    what = order(place.shop, place.task, candidate, place.dataset, place.snapshot, made)
    variant = make(place.shop, place.cache, replace(what, onward=onward))
    certify(place.shop, place.cache, variant, place.dataset, place.snapshot)
    return variant


def in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, those that others are mixed of first.

    Raises:
        AskError: they are mixed of each other in a circle.
    """
    found: list[Candidate] = []
    waiting = list(candidates)
    while waiting:
        ready = [c for c in waiting if set(c.of) <= {before.title for before in found}]
        if not ready:
            raise AskError(
                f"Candidates are mixed of each other in a circle: {', '.join(c.title for c in waiting)}. "
                "Name others under 'of'.",
                param="candidates",
                code="mixed_in_a_circle",
            )
        found += ready
        waiting = [c for c in waiting if c not in ready]
    return found


def inspect_all(place: Hall, variants: dict[str, Variant]) -> Inspected:
    """Reports of every candidate on validation and test rows."""
    validation: dict[str, Report] = {}
    test: dict[str, Report] = {}
    for title, variant in variants.items():
        for split, reports in (("validation", validation), ("test", test)):
            reports[title] = inspect_subject(place, variant_subject(place, variant, split), split)
    return Inspected(validation, test)


def decide_on(
    place: Hall,
    variants: dict[str, Variant],
    found: Inspected,
    standing: Callable[[Variant], Report | None] = lambda _: None,
) -> Verdict:
    """Pick one candidate on validation rows and gate that one on the test rows.

    Where the gate says that it does not beat the floor by what it costs, the floor is gated in its stead.

    Args:
        standing: the report on a candidate's standing suites; None where none stand.
    """
    picked = pick_one(place, variants, found)
    incumbent = incumbent_report(place, variants, variants[picked.title])
    floor = found.test.get(place.task.gate.floor)

    def judged(title: str) -> Decision:
        suites = standing(variants[title])
        roles = {"candidate": found.test[title], "incumbent": incumbent, "floor": floor, SUITES: suites}
        return decide(place, {role: report for role, report in roles.items() if report is not None})

    decision = judged(picked.title)
    if decision.measured["instead"] == "floor" and floor is not None:
        return Verdict(place.task.gate.floor, judged(place.task.gate.floor), incumbent, picked)
    return Verdict(picked.title, decision, incumbent, picked)


def pick_one(place: Hall, variants: dict[str, Variant], found: Inspected) -> Picked:
    """The candidate that validation rows say is worth gating."""
    offers = [
        Offer(
            title,
            answers_behind(place, report),
            overhead_of(place.task, report.measured),
            made_for(place.shop, variants[title]).cost,
        )
        for title, report in found.validation.items()
    ]
    return pick(offers, place.terms)


def incumbent_report(place: Hall, variants: dict[str, Variant], picked: Variant) -> Report:
    """What the candidate is held against.

    Where this very run's release was made before, that decision's incumbent, so that running again changes nothing.
    """
    ledger = place.shop.store.ledger
    live = ledger.resolve(f"{place.task.name}@live")
    if live is not None and live.digest in {variant.digest for variant in variants.values()}:
        taken = ledger.get(live.decision)
        if isinstance(taken, Decision) and taken.contract == place.contract and "incumbent" in taken.evidence:
            before = ledger.get(taken.evidence["incumbent"].digest)
            if isinstance(before, Report) and before.data == place.dataset.digest:
                return before
    subject = incumbent_subject(place, "test", besides=picked.digest)
    return inspect_subject(place, subject, "test")


def settle(place: Hall, variants: dict[str, Variant], verdict: Verdict, *, asked_by_approver: bool = True) -> str:
    """Take every variant into stock, and make the chosen one live if verdict and policy say so; its version, or ''.

    Args:
        asked_by_approver: whether whoever asked for the run may approve a release.
    """
    versions = register_many(place.shop.store.ledger, list(variants.values()))
    if verdict.decision.verdict != "ship":
        return ""
    if not let_live(place.shop, place.task, verdict.decision, asked_by_approver=asked_by_approver):
        return ""
    return next(v.name for v in versions if v.digest == verdict.decision.candidate)


def _lines(outcome: Outcome) -> Iterator[Line]:
    for title, report in outcome.subjects().items():
        accuracy, money = report.metrics["accuracy"], report.metrics["money_per_1000"]
        overhead = 1000.0 * overhead_of(outcome.place.task, report.measured)
        variant = outcome.variants.get(title)
        yield Line(
            title=title,
            subject=report.subject,
            accuracy=accuracy.value or 0.0,
            asked=report.facts["escalated"] / max(report.facts["rows"], 1),
            money=(money.value or 0.0) + overhead,
            money_low=(money.low or 0.0) + overhead,
            money_high=(money.high or 0.0) + overhead,
            latency_ms=report.measured.get("latency_ms"),
            unit_cost=report.measured.get("unit_cost"),
            seconds=made_for(outcome.place.shop, variant).seconds if variant else None,
            role=outcome.role_of(title),
        )

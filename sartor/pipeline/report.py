"""The paper of a run: gathers what was found into a ReportView and writes it as HTML and JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sartor.core.errors import unknown
from sartor.core.records import Artifact, Decision, Metric, Report, Variant
from sartor.evaluation.compare import Comparison, compare, return_of
from sartor.evaluation.report.render import render
from sartor.evaluation.report.view import (
    Bin,
    CandidateView,
    ComparisonView,
    ConfusionView,
    CurationView,
    CuratorView,
    DecisionView,
    FlipView,
    LeakView,
    LineageView,
    ReportView,
    SliceView,
    TaskView,
    VerdictView,
)
from sartor.pipeline.decide import SUITES, decision_named
from sartor.pipeline.inspect import answers_behind, overhead_of
from sartor.pipeline.make import Making, made_for
from sartor.pipeline.memo import environment
from sartor.pipeline.outcome import Outcome
from sartor.pipeline.workshop import Workshop

FLIPS = 30


def write_report(outcome: Outcome) -> Path:
    """Write the run's report into the store's `reports` folder; the path of the HTML file."""
    shop = outcome.place.shop
    view = view_of(outcome)
    folder = shop.store.root / "reports"
    folder.mkdir(exist_ok=True)
    path = folder / f"{outcome.place.task.name}-{outcome.verdict.decision.digest[:12]}.html"
    _replace(path.with_suffix(".json"), view.to_json())
    _replace(path, render(view))
    return path


def report_of(shop: Workshop, which: str, out: Path | None) -> tuple[dict[str, Any], Path]:
    """The report of a decision, or of a task's latest: its JSON, and where its HTML lies.

    Raises:
        NotFoundError: no such decision or report.
    """
    newest = shop.store.ledger.find(Decision, task=which, verb="release", limit=1)
    if not newest and not re.fullmatch(r"[0-9a-f]{8,64}", which):
        decided = {decision.task for decision in shop.store.ledger.find(Decision, verb="release", limit=1000)}
        raise unknown("task with a decision", which, decided, code="task_not_found")
    decision = newest[0] if newest else decision_named(shop, which)
    folder = shop.store.root / "reports"
    path = folder / f"{decision.task}-{decision.digest[:12]}.html"
    if not path.exists():
        raise unknown("report", which, [p.stem for p in folder.glob("*.html")])
    view = ReportView.model_validate_json(path.with_suffix(".json").read_bytes())
    if out is not None:
        out.write_text(render(view), encoding="utf-8")
    return json.loads(view.to_json()), out or path


def view_of(outcome: Outcome) -> ReportView:
    """Everything that the report says."""
    place, verdict = outcome.place, outcome.verdict
    report = outcome.found.test[verdict.title]
    against = {outcome.verdict.incumbent.title: outcome.verdict.incumbent}
    floor = place.task.gate.floor
    if floor in outcome.found.test and floor != verdict.title:
        against[f"floor: {floor}"] = outcome.found.test[floor]
    compared = {title: _compare(outcome, report, other) for title, other in against.items()}
    main = compared[verdict.incumbent.title]
    return ReportView(
        task=_task(outcome),
        candidates=tuple(_candidate(outcome, title, r) for title, r in outcome.subjects().items()),
        verdict=_verdict(outcome, main, made_for(place.shop, outcome.variants[verdict.title])),
        checks=verdict.decision.checks,
        comparisons=tuple(_comparison(title, found) for title, found in compared.items()),
        reliability=tuple(Bin.model_validate(b) for b in report.facts["reliability"]),
        confusions=tuple(_confusions(report)),
        slices=tuple(_slices(report, main)),
        suites=tuple(_suites(place.shop, verdict.decision)),
        flips=tuple(_flips(outcome, main)),
        flip_counts={"fixed": main.fixed, "broken": main.broken, "changed": main.changed},
        curation=_curation(outcome, report),
        looks=verdict.decision.measured["looks"],
        test_rows=place.dataset.counts["test"],
        lineage=tuple(_lineage(outcome)),
        licence=outcome.variants[verdict.title].licence,
        decision=_decision(verdict.decision),
        environment=environment() | {"threads": str(place.shop.threads)},
        measuring=(
            "Latency is the median of up to 200 single requests, unit cost is the CPU time of a request in batches of "
            f"32 at {place.shop.hourly_price:g} {place.task.value.currency} per core-hour, both in this run."
        ),
        facts={"picked": verdict.picked.says},
    )


def _compare(outcome: Outcome, mine: Report, other: Report) -> Comparison:
    place = outcome.place
    return compare(
        answers_behind(place, mine),
        answers_behind(place, other),
        place.terms,
        gate=place.task.gate,
        overheads=(overhead_of(place.task, mine.measured), overhead_of(place.task, other.measured)),
    )


def _times(metric: Metric, factor: float, plus: float = 0.0) -> Metric:
    """The metric in another unit."""
    return metric.model_copy(
        update={n: None if (v := getattr(metric, n)) is None else v * factor + plus for n in ("value", "low", "high")}
    )


def _task(outcome: Outcome) -> TaskView:
    task = outcome.place.task
    return TaskView(
        name=task.name,
        description=task.description,
        currency=task.value.currency,
        volume=task.value.volume,
        confidence=task.gate.confidence,
        labels=len(outcome.place.snapshot.labels),
        contract=outcome.place.contract,
    )


def _candidate(outcome: Outcome, title: str, report: Report) -> CandidateView:
    place, variant = outcome.place, outcome.variants.get(title)
    overhead = 1000.0 * overhead_of(place.task, report.measured)
    checked = outcome.found.validation.get(title)
    return CandidateView(
        title=title,
        recipe=variant.recipe if variant else "",
        base=variant.base if variant else "",
        digest=report.subject,
        picked=title == outcome.verdict.title,
        floor=title == place.task.gate.floor,
        incumbent=report is outcome.verdict.incumbent,
        money=_times(report.metrics["money_per_1000"], 1.0, overhead),
        metrics={name: metric for name, metric in report.metrics.items() if name != "money_per_1000"},
        validation=_times(checked.metrics["money_per_1000"], 1.0, overhead) if checked else None,
        latency_ms=report.measured.get("latency_ms"),
        latency_p95_ms=report.measured.get("latency_p95_ms"),
        unit_cost=report.measured.get("unit_cost"),
        make_seconds=made_for(place.shop, variant).seconds if variant else None,
        size_bytes=_bytes(place.shop, variant) if variant else None,
    )


def _bytes(shop: Workshop, variant: Variant) -> int:
    return sum(p.stat().st_size for p in shop.store.folder(variant).rglob("*") if p.is_file())


def _verdict(outcome: Outcome, main: Comparison, making: Making) -> VerdictView:
    task, decision = outcome.place.task, outcome.verdict.decision
    returned = return_of(main, task.value, making.cost)
    return VerdictView(
        verdict=decision.verdict,
        reasons=decision.reasons,
        candidate=outcome.verdict.title,
        incumbent=outcome.verdict.incumbent.title,
        saved_per_1000=_times(main.saved, 1000.0),
        saved_per_month=_times(main.saved, task.value.volume) if task.value.volume else None,
        made_for=making.cost,
        payback_days=returned.payback_days,
        rows_needed=decision.measured["rows_needed"],
    )


def _comparison(title: str, found: Comparison) -> ComparisonView:
    return ComparisonView(
        against=title,
        saved_per_1000=_times(found.saved, 1000.0),
        accuracy=found.accuracy,
        fixed=found.fixed,
        broken=found.broken,
        p_value=found.p_value,
    )


def _confusions(report: Report) -> Iterator[ConfusionView]:
    for item in report.facts["confusions"]:
        each, per_1000 = item["money"] / item["count"], 1000.0 * item["money"] / report.facts["rows"]
        yield ConfusionView(
            true=item["true"], answer=item["answer"], n=item["count"], cost_each=each, cost_per_1000=per_1000
        )


def _slices(report: Report, main: Comparison) -> Iterator[SliceView]:
    changes = {(change.column, change.value): change for change in main.slices}
    for item in report.slices:
        change = changes.get((item["column"], item["value"]))
        yield SliceView(
            column=item["column"],
            value=item["value"],
            n=item["n"],
            accuracy=Metric(value=item["accuracy"], low=item["low"], high=item["high"], n=item["n"]),
            incumbent=Metric(value=change.incumbent, n=change.n) if change else None,
            outcome="" if change is None else "worse" if change.worse else "holds",
        )


def _suites(shop: Workshop, decision: Decision) -> Iterator[SliceView]:
    """What the decision's evidence says of standing suites."""
    piece = decision.evidence.get(SUITES)
    report = shop.store.ledger.get(piece.digest) if piece else None
    for item in report.slices if isinstance(report, Report) else ():
        n = item["n"]
        yield SliceView(
            column={"fixed": "mended before"}.get(item["kind"], item["kind"]),
            value=item["name"] or ("all of them" if item["kind"] == "fixed" else "before eras were told"),
            n=n,
            accuracy=Metric(value=item["candidate"], n=n),
            incumbent=Metric(value=item["live"], n=n),
            difference=Metric(value=item["gain"], low=item["low"], high=item["high"], n=n),
            outcome="worse" if item["forgotten"] else "holds",
        )


def _flips(outcome: Outcome, main: Comparison) -> Iterator[FlipView]:
    texts = {row.id: row.text for row in outcome.place.snapshot.splits["test"]}
    for flip in main.flips[:FLIPS]:
        yield FlipView(
            kind=flip.kind, text=texts[flip.id], true=flip.true, before=flip.before, after=flip.after, saved=flip.saved
        )


def _curation(outcome: Outcome, report: Report) -> CurationView:
    place = outcome.place
    sheet = json.loads(place.shop.store.vault.read(place.dataset.files["datasheet.json"]))
    flagged = report.facts["flagged"]
    near = flagged.get("near_leaks", {})
    leaks = [
        LeakView(kind=name.replace("_", " "), rows=found["rows"], action="reported; the figures stand with and without")
        for name, found in flagged.items()
    ]
    without = near.get("without", {}).get("accuracy")
    return CurationView(
        read=sum(source["rows"] for source in sheet["sources"]),
        counts={name: n for name, n in place.dataset.counts.items() if name != "quarantine"},
        curators=tuple(
            CuratorView(name=step["use"], taken=sum(step["taken"].values()), says=_says(step))
            for step in sheet["curators"]
        ),
        quarantine=sheet["quarantine"],
        leaks=tuple(leaks),
        all_rows=report.metrics["accuracy"],
        without_near_leaks=Metric.model_validate(without) if without else None,
        notes=tuple(sheet["warnings"]),
    )


def _says(step: dict[str, Any]) -> str:
    told = [f"{n} {reason}" for reason, n in step["taken"].items()]
    told += [f"{name.replace('_', ' ')}: {n}" for name, n in step["notes"].items() if isinstance(n, int | str)]
    return "; ".join(told)


def _lineage(outcome: Outcome) -> Iterator[LineageView]:
    shop, variant = outcome.place.shop, outcome.variants[outcome.verdict.title]
    yield LineageView(
        role="variant",
        name=outcome.version or variant.title,
        digest=variant.digest,
        licence=", ".join(variant.licence.names),
        detail=f"recipe {variant.recipe}, seed {variant.seed}",
    )
    for role, digest in sorted(variant.parents.items()):
        parent = shop.store.ledger.get(digest)
        if isinstance(parent, Artifact):
            licence = ", ".join(parent.licence.names)
            yield LineageView(role=role, name=parent.name, digest=digest, licence=licence, detail=parent.made_by)
    yield LineageView(role="contract", name=outcome.place.task.name, digest=outcome.place.contract)


def _decision(decision: Decision) -> DecisionView:
    return DecisionView(
        digest=decision.digest,
        policy=f"{decision.policy} {decision.policy_version}",
        who=decision.who,
        key_id=decision.key_id,
        replay=f"sartor decide --replay {decision.digest[:12]}",
        time=decision.created,
    )


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)

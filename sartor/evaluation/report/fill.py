"""Parts of the view from what evaluation and curation left behind: reports, comparisons, the datasheet.

Takes figures as they stand and brings them to the units of the page (money per 1,000 requests). Knows no store and
no HTML; whoever runs the chain puts the parts together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.records import Metric, Report, Variant
from sartor.core.task import Task
from sartor.core.value import Value
from sartor.evaluation.compare import Comparison, return_of
from sartor.evaluation.gates.release import Verdict
from sartor.evaluation.report.view import (
    Bin,
    CandidateView,
    ComparisonView,
    ConfusionView,
    CurationView,
    CuratorView,
    FlipView,
    LeakView,
    SliceView,
    TaskView,
    VerdictView,
)

MONEY = "money_per_1000"


def task_of(task: Task, labels: int, contract: str = "") -> TaskView:
    """The head of the page from a contract."""
    return TaskView(
        name=task.name,
        description=task.description,
        currency=task.value.currency,
        volume=task.value.volume,
        confidence=task.gate.confidence,
        labels=labels,
        contract=contract,
    )


def candidate_of(
    report: Report, variant: Variant | None = None, *, overhead: float = 0.0, unit_cost: float | None = None
) -> CandidateView:
    """A candidate from its report on the test rows; set `picked`, `floor` and `incumbent` by `model_copy`.

    Args:
        overhead: measured money per request that the stored figures leave out because it differs by machine.
        unit_cost: money that serving one request costs, where the report did not measure it.
    """
    measured = report.measured
    metrics = {name: metric for name, metric in report.metrics.items() if name != MONEY}
    money = report.metrics.get(MONEY, Metric(value=None, note="not measured"))
    return CandidateView(
        title=report.title or report.subject,
        recipe=variant.recipe if variant else "",
        base=variant.base if variant else "",
        digest=variant.digest if variant else "",
        money=shifted(money, 1000.0 * overhead),
        metrics=metrics,
        latency_ms=measured.get("latency_ms"),
        latency_p95_ms=measured.get("latency_p95_ms"),
        unit_cost=measured.get("unit_cost") if unit_cost is None else unit_cost,
        make_seconds=variant.measured.get("seconds") if variant else None,
        size_bytes=variant.measured.get("bytes") if variant else None,
    )


def verdict_of(
    verdict: Verdict, titles: tuple[str, str], comparison: Comparison | None, value: Value, made_for: float
) -> VerdictView:
    """The head of the page: what was decided, and what it is worth.

    Args:
        titles: of the picked candidate and of what answers today.
        made_for: money that making the candidate cost.
    """
    saved = comparison.saved if comparison else None
    worth = return_of(comparison, value, made_for) if comparison else None
    return VerdictView(
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        candidate=titles[0],
        incumbent=titles[1],
        saved_per_1000=scaled(saved, 1000.0) if saved else None,
        saved_per_month=scaled(saved, float(value.volume)) if saved and value.volume else None,
        made_for=made_for,
        payback_days=worth.payback_days if worth else None,
        rows_needed=verdict.rows_needed,
    )


def difference_of(against: str, comparison: Comparison, note: str = "") -> ComparisonView:
    """The picked candidate against another, as one line of the page."""
    return ComparisonView(
        against=against,
        saved_per_1000=scaled(comparison.saved, 1000.0),
        accuracy=comparison.accuracy,
        fixed=comparison.fixed,
        broken=comparison.broken,
        p_value=comparison.p_value,
        note=note,
    )


def slices_of(comparison: Comparison, inspected: Sequence[Mapping[str, Any]] = ()) -> tuple[SliceView, ...]:
    """Slices as compared; intervals come from the candidate's own slices, where they are given."""
    own = {(s["column"], s["value"]): s for s in inspected}
    views = []
    for change in comparison.slices:
        found = own.get((change.column, change.value), {})
        views.append(
            SliceView(
                column=change.column,
                value=change.value,
                n=change.n,
                accuracy=Metric(value=change.candidate, low=found.get("low"), high=found.get("high"), n=change.n),
                incumbent=Metric(value=change.incumbent, n=change.n),
                difference=Metric(value=change.candidate - change.incumbent, n=change.n),
                outcome="worse" if change.worse else "holds",
            )
        )
    return tuple(views)


def flips_of(comparison: Comparison, texts: Mapping[str, str]) -> tuple[FlipView, ...]:
    """Examples of flipped rows with their texts, by row id."""
    return tuple(
        FlipView(
            text=texts.get(flip.id, flip.id),
            kind=flip.kind,
            true=flip.true,
            before=flip.before,
            after=flip.after,
            saved=flip.saved,
        )
        for flip in comparison.flips
    )


def flip_counts_of(comparison: Comparison) -> dict[str, int]:
    """How many rows changed in which way."""
    return {"fixed": comparison.fixed, "broken": comparison.broken, "changed but still wrong": comparison.changed}


def reliability_of(facts: Mapping[str, Any]) -> tuple[Bin, ...]:
    """The bins of an inspection."""
    return tuple(Bin.model_validate(item) for item in facts.get("reliability", ()))


def confusions_of(facts: Mapping[str, Any]) -> tuple[ConfusionView, ...]:
    """The dearest mistakes of an inspection."""
    rows = max(int(facts.get("rows", 0)), 1)
    return tuple(
        ConfusionView(
            true=item["true"],
            answer=item["answer"],
            n=item["count"],
            cost_each=item["money"] / item["count"],
            cost_per_1000=1000.0 * item["money"] / rows,
        )
        for item in facts.get("confusions", ())
    )


def curation_of(sheet: Mapping[str, Any], report: Report | None = None) -> CurationView:
    """What curation did, from the datasheet; with the picked candidate's report, what near leaks do to its accuracy."""
    counts = {name: n for name, n in sheet.get("counts", {}).items() if name != "quarantine"}
    near = report.facts.get("flagged", {}).get("near_leaks", {}) if report else {}
    clean = near.get("without", {}).get("accuracy")
    return CurationView(
        read=sum(sheet.get("counts", {}).values()),
        counts=counts,
        curators=tuple(_curator(step) for step in sheet.get("curators", ())),
        quarantine=dict(sheet.get("quarantine", {})),
        leaks=_leaks(sheet),
        all_rows=report.metrics.get("accuracy") if report else None,
        without_near_leaks=Metric.model_validate(clean) if clean else None,
        notes=(*sheet.get("warnings", ()), *_restored(sheet)),
    )


def _curator(step: Mapping[str, Any]) -> CuratorView:
    """One step of the datasheet; of its notes those that are plain figures or words."""
    notes = {name: value for name, value in step.get("notes", {}).items() if isinstance(value, int | float | str)}
    said = [f"{name.replace('_', ' ')}: {value}" for name, value in notes.items()]
    said += [f"{reason}: {n:,}" for reason, n in step.get("taken", {}).items()]
    said += [f"put back by an edit: {len(step['put_back']):,}"] if step.get("put_back") else []
    return CuratorView(name=step["use"], taken=sum(step.get("taken", {}).values()), says="; ".join(said))


def _leaks(sheet: Mapping[str, Any]) -> tuple[LeakView, ...]:
    stopped: Mapping[str, int] = next(
        (step["taken"] for step in sheet.get("curators", ()) if step["use"] == "leaks"), {}
    )
    found = [LeakView(kind=kind, rows=n, action="Taken out of training.") for kind, n in stopped.items()]
    suspected = {
        "near_leaks": "test rows with a near copy in training",
        "label_in_text": "test rows whose text holds their own label",
    }
    leaks = sheet.get("leaks", {})
    found += [
        LeakView(kind=kind, rows=len(leaks[name]), action="Kept, and reported.")
        for name, kind in suspected.items()
        if name in leaks
    ]
    return tuple(found)


def _restored(sheet: Mapping[str, Any]) -> list[str]:
    edits = len(sheet.get("edits", ()))
    return [f"{edits:,} rows stand here because an edit of the task put them back."] if edits else []


def scaled(metric: Metric, by: float) -> Metric:
    """A metric in another unit: value and bounds times `by`."""
    return metric.model_copy(update={name: _times(getattr(metric, name), by) for name in ("value", "low", "high")})


def shifted(metric: Metric, by: float) -> Metric:
    """A metric with the same amount on top of value and bounds."""
    moved = {name: None if (old := getattr(metric, name)) is None else old + by for name in ("value", "low", "high")}
    return metric.model_copy(update=moved)


def _times(value: float | None, by: float) -> float | None:
    return None if value is None else value * by

"""The parity certificate of a child that surgery made: its answers beside its parent's, on the same validation rows.

Both answer through the engine that serves them, with their own template, tokenizer and dtype. What is certified is how
many answers are others (flips), which of those got better or worse, and whether that is within what the recipe
promised; whether the child is worth having is for the gate to say, in money.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.errors import NotFoundError
from sartor.core.records import Dataset, Metric, Record, Report, Variant
from sartor.core.rows import Snapshot
from sartor.evaluation.answers import Answers
from sartor.evaluation.statistics import wilson
from sartor.pipeline.answer import answer, read_answers
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.memo import Step, once
from sartor.pipeline.serve import variant_named
from sartor.pipeline.stock import variant_of
from sartor.pipeline.workshop import Workshop

PURPOSE = "parity"
SPLIT = "validation"
EXAMPLES = 20
"""Flipped rows that are named."""
CONFIDENCE = 0.95


def promise_of(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a surgery's child promised: `with`, the role of the parent, and `tolerance`; None for all others."""
    found = facts.get(PURPOSE)
    return dict(found) if isinstance(found, dict) and "tolerance" in found else None


def certify(
    shop: Workshop, cache: EmbeddingCache, child: Variant, dataset: Dataset, snapshot: Snapshot
) -> Report | None:
    """The certificate of a child, found if it was made before; None for what no surgery made."""
    promise = promise_of(child.facts)
    if promise is None:
        return None
    parent = variant_named(shop, child.parents[promise["with"]])
    kept = [answer(shop, cache, one, dataset, snapshot, SPLIT) for one in (child, parent)]
    files = {role: one.files["answers.parquet"] for role, one in zip(("child", "parent"), kept, strict=True)}
    step = Step(
        PURPOSE,
        child.task,
        "pipeline/parity",
        ("sartor.pipeline.parity",),
        {"subject": child.digest, "before": parent.digest, "data": dataset.digest, **files},
        {"tolerance": promise["tolerance"]},
    )

    def work(_: Path) -> dict[str, Record]:
        said, before = (read_answers(shop, one) for one in kept)
        found = compared(said, before, float(promise["tolerance"]))
        speeds = {
            f"{role}_{name}": one.measured[name]
            for role, one in zip(("child", "parent"), kept, strict=True)
            for name in ("latency_ms", "cpu_seconds")
            if name in one.measured
        }
        report = Report(
            purpose="parity",
            subject=child.digest,
            title=f"{child.title} beside {parent.title}",
            task=child.task,
            data=dataset.digest,
            split=SPLIT,
            rows=dataset.files[f"{SPLIT}.parquet"],
            metrics=found.pop("metrics"),
            files={f"{role}.parquet": digest for role, digest in files.items()},
            facts={
                "parent": parent.digest,
                "child_engine": child.engine,
                "parent_engine": parent.engine,
                "bytes": {"child": _bytes(shop, child), "parent": _bytes(shop, parent)},
                **found,
            },
            measured=speeds,
        )
        return {"report": report}

    made = once(shop, step, work)["report"]
    assert isinstance(made, Report)
    return made


def compared(child: Answers, parent: Answers, tolerance: float) -> dict[str, Any]:
    """How two sets of answers to the same rows differ: `metrics`, `holds`, `tolerance`, `flips`."""
    others, right, before = _differences(child, parent)
    rows = len(child)
    changed = int(others.sum())
    low, high = wilson(changed, rows, CONFIDENCE)
    metrics = {
        "flips": Metric(value=changed / max(rows, 1), low=low, high=high, n=rows),
        "fixed": Metric(value=float((others & right & ~before).sum()), n=rows),
        "broken": Metric(value=float((others & before & ~right).sum()), n=rows),
    }
    if child.probabilities is not None and parent.probabilities is not None:
        apart = np.abs(child.probabilities.astype(np.float64) - parent.probabilities).max(axis=1)
        metrics["mean_distance"] = Metric(value=float(apart.mean()), n=rows, note="of the probability that moved most")
        metrics["greatest_distance"] = Metric(value=float(apart.max(initial=0.0)), n=rows)
    flips = [
        {"id": str(child.ids[row]), "child_right": bool(right[row]), "parent_right": bool(before[row])}
        for row in np.flatnonzero(others)[:EXAMPLES]
    ]
    return {"metrics": metrics, "holds": changed <= tolerance * rows, "tolerance": tolerance, "flips": flips}


def _differences(child: Answers, parent: Answers) -> tuple[Any, Any, Any]:
    """(rows,) each: answers are others; the child's is right; the parent's is right."""
    if child.output is not None and parent.output is not None and child.truth is not None:
        return child.output != parent.output, child.output == child.truth, parent.output == child.truth
    return child.answer != parent.answer, child.answer == child.true, parent.answer == child.true


def _bytes(shop: Workshop, variant: Variant) -> int:
    return sum(path.stat().st_size for path in shop.store.folder(variant).rglob("*") if path.is_file())


def parity_of(shop: Workshop, handle: str) -> dict[str, Any]:
    """The newest parity certificate of a variant, as JSON.

    Raises:
        NotFoundError: there is none.
    """
    variant = variant_of(shop, handle)
    found = shop.store.ledger.find(Report, subject=variant.digest, purpose=PURPOSE, limit=1)
    if not found:
        raise NotFoundError(
            f"'{handle}' has no parity certificate: it is no child of surgery (quantise, prune, merge and the like).",
            code="no_parity",
        )
    (report,) = found
    figures = {name: metric.model_dump() for name, metric in report.metrics.items()}
    return {
        "variant": variant.digest,
        "title": report.title,
        "data": report.data,
        "split": report.split,
        "report": report.digest,
        "probe": "probe.json" in variant.files,
        "metrics": figures,
        **report.facts,
        "measured": dict(report.measured),
    }

"""What is found about one subject on one set of rows: figures with intervals, slices, reliability, dear confusions.

Pure: answers and terms in, plain data out. Knows no other subject (see `compare`) and passes no judgement (see
`gates`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from sartor.core.predict import Floats
from sartor.core.records import Metric
from sartor.core.value import Ints
from sartor.evaluation import measure
from sartor.evaluation.answers import Answers
from sartor.evaluation.measure import Measure, Sample
from sartor.evaluation.slices import cuts
from sartor.evaluation.statistics import Estimate, bootstrap, bootstrap_means, clusters_of, holm, slice_chance, wilson
from sartor.evaluation.terms import Terms

BINS = 15
CONFUSIONS = 20
WITHOUT = ("accuracy", "top_accuracy", "money_per_1000")
"""Metrics that are given without the flagged rows too."""
WHOLE_DRAWS = 400
"""Resamples for a figure that must be worked out anew on each."""


class Inspection(BaseModel):
    """Everything found about a subject; goes into a `Report` as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, Metric]
    """By name of the metrics shelf."""
    slices: tuple[dict[str, Any], ...]
    """column, value, n, accuracy (low, high), money_per_1000, chance (Holm) and `worse`; the most suspect first."""
    facts: dict[str, Any]
    """rows, escalated, unanswered, reliability, confusions, flagged, errors."""


def inspect(
    answers: Answers,
    terms: Terms,
    *,
    metrics: Iterable[str] | None = None,
    flagged: Mapping[str, Collection[str]] | None = None,
    overhead: float = 0.0,
) -> Inspection:
    """Measure a subject.

    Args:
        metrics: names of the shelf; default all that are on it.
        flagged: what is wrong with some rows (near_leaks, label_in_text) -> ids of those rows; accuracy and money
            are then given with and without them.
        overhead: measured money per request. Leave it out of what goes into a digest: it differs by machine.
    """
    sample = Sample.of(answers, terms, overhead)
    clusters = None if answers.groups is None else clusters_of(answers.groups, len(answers))
    chosen = list(metrics) if metrics is not None else measure.names(terms)
    found, errors = figures(sample, clusters, chosen)
    facts = {
        "rows": len(answers),
        "escalated": int(answers.escalated.sum()),
        "unanswered": int((~answers.escalated & (answers.answer < 0)).sum()),
        "out_of_scope": int((answers.true < 0).sum()),
        "clusters": None if clusters is None else int(clusters.max(initial=-1)) + 1,
        "confidence": terms.confidence,
        "reliability": _reliability(sample),
        "confusions": _confusions(answers, terms),
        "flagged": {name: _both_ways(answers, sample, ids) for name, ids in sorted((flagged or {}).items())},
        "errors": errors,
    } | terms.judging.facts(answers)
    return Inspection(metrics=found, slices=_slices(answers, sample), facts=facts)


def figures(sample: Sample, clusters: Ints | None, chosen: Iterable[str]) -> tuple[dict[str, Metric], list[str]]:
    """Metrics with intervals, and what went wrong with those that crashed.

    Args:
        clusters: (rows,) cluster of each row, or None where rows are independent.
        chosen: names of the shelf.
    """
    found: dict[str, Metric] = {}
    errors: list[str] = []
    means: dict[str, tuple[Measure, Floats]] = {}
    for name in chosen:
        try:
            taken = measure.take(name)
            if taken.per_row is None:
                found[name] = _whole(taken, sample, clusters)
                continue
            values = np.asarray(taken.per_row(sample), dtype=np.float64)
            if values.shape != (len(sample),) or np.isinf(values).any():
                raise ValueError(f"expected {len(sample)} finite values, one a row")
        except Exception as error:  # noqa: BLE001 - a stranger's metric may raise anything; it must not hide the others
            errors.append(f"metric '{name}' failed: {type(error).__name__}: {error}")
            found[name] = Metric(value=None, note=errors[-1])
            continue
        if np.isnan(values).all():
            found[name] = Metric(value=None, unit=taken.unit, note=taken.undefined)
        else:
            means[name] = (taken, values)
    found |= _means(means, sample.terms, clusters)
    return {name: found[name] for name in sorted(found)}, errors


def _means(means: Mapping[str, tuple[Measure, Floats]], terms: Terms, clusters: Ints | None) -> dict[str, Metric]:
    """Wilson's interval for plain shares, a bootstrap for everything else."""
    found, resampled = {}, {}
    for name, (taken, values) in means.items():
        counted = values[~np.isnan(values)]
        if clusters is None and np.isin(counted, (0.0, 1.0)).all():
            low, high = wilson(float(counted.sum()), len(counted), terms.confidence)
            found[name] = Metric(value=float(counted.mean()), low=low, high=high, n=len(counted), unit=taken.unit)
        else:
            resampled[name] = values
    if resampled:
        estimates = bootstrap_means(
            np.stack(list(resampled.values()), axis=1),
            confidence=terms.confidence,
            clusters=clusters,
            draws=terms.draws,
            seed=terms.seed,
        )
        for name, estimate in zip(resampled, estimates, strict=True):
            found[name] = as_metric(estimate, means[name][0].unit)
    return found


def _whole(taken: Measure, sample: Sample, clusters: Ints | None) -> Metric:
    estimate = None
    if len(sample):
        estimate = bootstrap(
            lambda rows: taken(sample.take(rows)),
            confidence=sample.terms.confidence,
            clusters=np.arange(len(sample)) if clusters is None else clusters,
            draws=min(WHOLE_DRAWS, sample.terms.draws),
            seed=sample.terms.seed,
        )
    return (
        Metric(value=None, unit=taken.unit, note=taken.undefined)
        if estimate is None
        else as_metric(estimate, taken.unit)
    )


def as_metric(estimate: Estimate, unit: str) -> Metric:
    """An estimate as the records keep it."""
    return Metric(value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.n, unit=unit)


def _reliability(sample: Sample) -> list[dict[str, Any]]:
    """Bins of equally many rows by confidence in the most probable label, over rows whose truth is a label."""
    sample = sample.take(sample.true >= 0)
    if sample.top is None or sample.confidence is None or not len(sample):
        return []
    order = np.argsort(sample.confidence, kind="stable")
    right = (sample.top == sample.true)[order]
    confidence = sample.confidence[order]
    bins = []
    for part in np.array_split(np.arange(len(order)), min(BINS, len(order))):
        low, high = wilson(float(right[part].sum()), len(part), sample.terms.confidence)
        mean = float(confidence[part].mean())
        share = float(right[part].mean())
        bins.append({"confidence": mean, "right": share, "n": len(part), "low": low, "high": high})
    return bins


def _confusions(answers: Answers, terms: Terms) -> list[dict[str, Any]]:
    """The mistakes that cost most, over rows answered here; dearest first."""
    found = terms.judging.mistakes(answers)
    dearest = sorted(enumerate(found), key=lambda m: (-m[1].money, -m[1].count, m[0]))[:CONFUSIONS]
    return [asdict(mistake) for _, mistake in dearest]


def _both_ways(answers: Answers, sample: Sample, ids: Collection[str]) -> dict[str, Any]:
    """Accuracy and money of the rows that are not flagged; those of all rows stand among the metrics."""
    kept = ~np.isin(answers.ids, np.array(sorted(ids), dtype=np.str_))
    clusters = None if answers.groups is None else clusters_of(answers.groups[kept], int(kept.sum()))
    without, _ = figures(sample.take(kept), clusters, WITHOUT) if kept.any() else ({}, [])
    return {
        "rows": int((~kept).sum()),
        "without": {name: metric.model_dump(mode="json") for name, metric in without.items()},
    }


def _slices(answers: Answers, sample: Sample) -> tuple[dict[str, Any], ...]:
    """All slices with rows enough, each held against all other rows."""
    found: list[dict[str, Any]] = []
    chances: list[float] = []
    wrong_all = float((1.0 - sample.right).sum())
    for cut in cuts(answers, sample.terms):
        kept = cut.kept()
        n, wrong, money = cut.count()[kept], cut.total(1.0 - sample.right)[kept], cut.total(sample.costs)[kept]
        chances += slice_chance(wrong, n, wrong_all, len(answers)).tolist() if len(kept) else []
        for i, position in enumerate(kept):
            right = float(n[i] - wrong[i])
            low, high = wilson(right, int(n[i]), sample.terms.confidence)
            found.append(
                {
                    "column": cut.column,
                    "value": str(cut.names[position]),
                    "n": int(n[i]),
                    "accuracy": right / int(n[i]),
                    "low": low,
                    "high": high,
                    "money_per_1000": 1000.0 * float(money[i]) / int(n[i]),
                }
            )
    for item, chance in zip(found, holm(chances), strict=True):
        item |= {"chance": float(chance), "worse": bool(chance < sample.terms.alpha)}
    return tuple(sorted(found, key=lambda s: (s["chance"], s["accuracy"], s["column"], s["value"])))

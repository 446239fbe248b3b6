"""Compares two variants: what they are, their files, and what was found about them on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sartor.core.records import Metric, Report, Variant
from sartor.store.ledger import Ledger

FIELDS = ("task", "recipe", "base", "title", "data", "engine", "labels", "seed", "licence", "parents")


@dataclass(frozen=True)
class Pair:
    """A thing that differs; None where one side lacks it."""

    a: Any
    b: Any


@dataclass(frozen=True)
class VariantDiff:
    """Only what differs; metrics that both have are all there, equal or not."""

    fields: Mapping[str, Pair]
    """Field, or `params.NAME` and `facts.NAME`, -> values."""
    files: Mapping[str, Pair]
    """Path -> sha256."""
    metrics: Mapping[str, Pair]
    """Metric -> `Metric`, from the newest inspections on one data set and split."""


def diff(ledger: Ledger, a: Variant, b: Variant) -> VariantDiff:
    """What differs between two variants."""
    one, two = _facts(a), _facts(b)
    return VariantDiff(differing(one, two), differing(a.files, b.files), _metrics(ledger, a, b))


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Keys whose values differ, sorted."""
    return {key: Pair(a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def _facts(variant: Variant) -> dict[str, Any]:
    body = variant.model_dump(mode="json")
    nested = {f"{part}.{key}": value for part in ("params", "facts") for key, value in body[part].items()}
    return {field: body[field] for field in FIELDS} | nested


def _metrics(ledger: Ledger, a: Variant, b: Variant) -> dict[str, Pair]:
    """Figures of both on the first data set and split on which both were inspected."""
    seen = _inspections(ledger, a)
    for place, report in _inspections(ledger, b).items():
        if place in seen:
            one, two = seen[place].metrics, report.metrics
            return {name: Pair(one.get(name), two.get(name)) for name in sorted({*one, *two})}
    return {}


def _inspections(ledger: Ledger, variant: Variant) -> dict[tuple[str, str], Report]:
    oldest_first = ledger.find(Report, subject=variant.digest, purpose="inspection")[::-1]
    # Of several on the same rows the newest, read last, stays; test comes before validation.
    ordered = sorted(oldest_first, key=lambda report: report.split != "test")
    return {(report.data, report.split): report for report in ordered}


def shown(value: Any) -> Any:
    """A value of a `Pair` as JSON."""
    return value.model_dump(mode="json") if isinstance(value, Metric) else value

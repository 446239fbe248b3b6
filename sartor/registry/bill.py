"""Writes the bill of materials of a variant: what it was made of, under which licences, how good it was found.

Format: CycloneDX 1.6 JSON with model cards (ECMA-424), https://cyclonedx.org/docs/1.6/json/. The same ledger gives
the same bytes.
"""

import uuid
from collections.abc import Iterable
from typing import Any

from sartor.core.licence import KNOWN, Licence
from sartor.core.records import Artifact, Base, Dataset, Metric, Record, Report, Variant
from sartor.registry.lineage import Lineage, lineage
from sartor.store.ledger import Ledger

NOT_SPDX = frozenset({"owned", "public-domain", "hosted-model-terms"})
"""Names of our licence table that SPDX does not list."""


def bill(ledger: Ledger, variant: Variant) -> dict[str, Any]:
    """The bill of materials as JSON.

    Components are the bases and data sets of the whole lineage; the variant itself stands in the metadata, its
    model card with the figures of every inspection.
    """
    walked = lineage(ledger, variant.digest, "up", limit=100_000)
    parts = [r for d, r in walked.nodes.items() if isinstance(r, Artifact) and d != variant.digest]
    subject = _component(variant) | {"modelCard": _card(ledger, variant, walked)}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'sartor:{variant.digest}')}",
        "version": 1,
        "metadata": {"timestamp": variant.created, "component": subject},
        "components": [_component(part) for part in parts],
        "dependencies": _dependencies(walked),
    }


def _component(item: Artifact) -> dict[str, Any]:
    return {
        "type": "data" if isinstance(item, Dataset) else "machine-learning-model",
        "bom-ref": item.digest,
        "name": item.name,
        "version": item.digest[:12],
        "licenses": [{"license": _licence(name)} for name in item.licence.names],
        "components": [_file(item, path, sha256) for path, sha256 in sorted(item.files.items())],
        "properties": list(_properties(item)),
    }


def _file(item: Artifact, path: str, sha256: str) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"{item.digest}/{path}",
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }


def _licence(name: str) -> dict[str, str]:
    return {"id": name} if name in KNOWN and name not in NOT_SPDX else {"name": name}


def _properties(item: Artifact) -> Iterable[dict[str, str]]:
    yield _property("digest", item.digest)
    yield _property("made_by", item.made_by)
    yield from (_property("obligation", obligation) for obligation in Licence.union([item.licence]).obligations)
    match item:
        case Base():
            yield _property("tier", item.tier)
            yield _property("engine", item.engine)
        case Dataset():
            yield from (_property(f"rows.{split}", str(count)) for split, count in sorted(item.counts.items()))
        case Variant():
            yield _property("task", item.task)
            yield _property("recipe", item.recipe)


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"sartor:{name}", "value": value}


def _card(ledger: Ledger, variant: Variant, walked: Lineage) -> dict[str, Any]:
    datasets = [d for d, record in walked.nodes.items() if isinstance(record, Dataset)]
    reports = ledger.find(Report, subject=variant.digest, purpose="inspection")
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "classification",
            "architectureFamily": variant.engine,
            "datasets": [{"ref": digest} for digest in datasets],
        },
        "quantitativeAnalysis": {"performanceMetrics": [m for report in reports for m in _figures(report)]},
    }


def _figures(report: Report) -> Iterable[dict[str, Any]]:
    for name, metric in sorted(report.metrics.items()):
        if metric.value is None:
            continue  # it could not be computed, and a bill states no figure that there is not
        yield {"type": name, "value": str(metric.value), "slice": report.split} | _interval(metric)


def _interval(metric: Metric) -> dict[str, Any]:
    if metric.low is None or metric.high is None:
        return {}
    return {"confidenceInterval": {"lowerBound": str(metric.low), "upperBound": str(metric.high)}}


def _dependencies(walked: Lineage) -> list[dict[str, Any]]:
    def artifact(digest: str) -> bool:
        record: Record | None = walked.nodes[digest]
        return isinstance(record, Artifact)

    needs: dict[str, set[str]] = {digest: set() for digest in walked.nodes if artifact(digest)}
    for edge in walked.edges:
        if edge.child in needs and edge.parent in needs:
            needs[edge.child].add(edge.parent)
    return [{"ref": digest, "dependsOn": sorted(parents)} for digest, parents in sorted(needs.items())]

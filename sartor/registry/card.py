"""Writes the card of a variant that leaves: what it is, how good it was found, of what, for whom, under which terms.

Markdown with the front matter that model hubs read. Shows facts that others gathered, computes none; the same facts
give the same text.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.licence import Licence
from sartor.core.records import Base, Decision, Report, Variant
from sartor.core.task import Task

SLICES = 8
"""Of the most rows; the others stand in the report."""
PIPELINES = {"classify": "text-classification", "extract": "token-classification", "generate": "text-generation"}


@dataclass(frozen=True)
class CardFacts:
    """Everything that a card says."""

    variant: Variant
    task: Task
    base: Base | None
    repo: str
    """Where the base can be had too; empty where nobody knows."""
    reports: Sequence[Report]
    """Inspections of this variant, the newest first."""
    decision: Decision | None
    datasheet: Mapping[str, Any]
    lineage: str
    """As text."""
    target: str
    notes: Sequence[str]
    """What was changed on the way out."""
    requires: Sequence[str]
    """Pinned packages that `predict.py` needs."""


def card(facts: CardFacts) -> str:
    """The card."""
    parts = [
        _front(facts),
        f"# {facts.variant.name}\n\n{facts.task.description or _what(facts)}",
        _section("Use", _use(facts)),
        _section("How good it was found", _figures(facts)),
        _section("What mistakes cost", _value(facts.task)),
        _section("Data", _data(facts)),
        _section("Made of", _made(facts)),
        _section("Licence", _licence(facts.variant.licence)),
        _section("Limits", _limits(facts)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines).strip("\n")
    return f"## {title}\n\n{body}" if body else ""


def _what(facts: CardFacts) -> str:
    does = {"classify": "chooses one of {} labels", "extract": "extracts a JSON object", "generate": "writes a text"}
    said = does[facts.task.kind].format(len(facts.variant.labels))
    return f"A model made to measure that {said} for the task '{facts.task.name}'."


def _front(facts: CardFacts) -> str:
    """YAML by hand: a handful of keys, every text quoted as JSON, which YAML reads too."""
    names = facts.variant.licence.names
    lines = [
        f"license: {json.dumps(names[0].lower() if len(names) == 1 else 'other')}",
        f"pipeline_tag: {PIPELINES[facts.task.kind]}",
        "tags:",
        f"- {json.dumps(facts.variant.recipe)}",
    ]
    if facts.base is not None:
        lines.append(f"base_model: {json.dumps(facts.repo or facts.base.name)}")
    return "\n".join(["---", *lines, "---"])


def _use(facts: CardFacts) -> Iterable[str]:
    yield "```sh"
    yield "pip install -r requirements.txt"
    yield 'python predict.py "a text"        # one JSON answer a line; --help says more'
    yield "```"
    spec = facts.task.input
    if spec.template:
        yield f"\nThe model reads {', '.join(spec.columns)} in this form: `{spec.template}`"
        yield "(`--columns` fills it from JSON objects)."
    elif len(spec.columns) > 1:
        yield f"\nThe model reads the columns {', '.join(spec.columns)}, joined by line breaks (`--columns`)."
    yield f"\nIt needs nothing but: {', '.join(facts.requires)}."
    for note in facts.notes:
        yield f"\n{note}"


def _figures(facts: CardFacts) -> Iterable[str]:
    seen: set[str] = set()
    for report in facts.reports:
        if report.split in seen:
            continue
        seen.add(report.split)
        rows = report.facts.get("rows", "")
        yield f"On the {report.split} split ({rows} rows, sha256 `{report.rows}`):\n"
        yield "| figure | value | interval | rows |\n|---|---|---|---|"
        for name, metric in sorted(report.metrics.items()):
            if metric.value is not None:
                between = "" if metric.low is None else f"{metric.low:.4g} to {metric.high:.4g}"
                unit = f" {metric.unit}" if metric.unit else ""
                yield f"| {name} | {metric.value:.4g}{unit} | {between} | {metric.n} |"
        if latency := report.measured.get("latency_ms"):
            yield f"\nMedian of single answers: {latency:.3g} ms on the machine that measured, with the original files."
        yield ""
    if not seen:
        yield "It was not inspected: nothing is known of how good it is."
    if facts.decision is not None:
        yield f"Decision `{facts.decision.digest[:12]}`: {facts.decision.verdict}. {'; '.join(facts.decision.reasons)}"


def _value(task: Task) -> Iterable[str]:
    yield f"Money in {task.value.currency} a request; positive is a loss. What is not stated has its default.\n"
    yield "```json"
    yield json.dumps(task.value.model_dump(mode="json", exclude_defaults=True), indent=1, ensure_ascii=False)
    yield "```"


def _data(facts: CardFacts) -> Iterable[str]:
    sheet = facts.datasheet
    yield f"Data set `{facts.variant.data}`."
    if not sheet:
        return
    counts = ", ".join(f"{count:,} {split}" for split, count in sheet["counts"].items())
    yield f"Rows: {counts}.\n\n| source | rows | split | licence |\n|---|---|---|---|"
    for source in sheet["sources"]:
        yield f"| {source['title']} | {source['rows']} | {source['split'] or 'divided'} | {source['licence']} |"
    leaks = sheet.get("leaks") or {}
    if leaks.get("near_leaks"):
        yield f"\n{len(leaks['near_leaks'])} test rows have a near copy in training."
    for warning in sheet.get("warnings") or ():
        yield f"\nWarning: {warning}"
    yield "\n`datasheet.json` has the rest."


def _made(facts: CardFacts) -> Iterable[str]:
    variant = facts.variant
    yield f"Variant `{variant.digest}`, recipe `{variant.recipe}`, seed {variant.seed}."
    if facts.base is not None:
        where = f" ({facts.repo})" if facts.repo else ""
        yield f"Base {facts.base.name}{where}, `{facts.base.digest}`."
    yield "`recipe.json` has every setting, `train.py` trains it again where there is one, `bom.json` names all parts."
    yield f"\n```text\n{facts.lineage.strip()}\n```"


def _licence(licence: Licence) -> Iterable[str]:
    yield f"What bears on it: {', '.join(licence.names)}."
    asked = ", ".join(name.replace("_", " ") for name in licence.obligations)
    yield f"They ask for: {asked or 'nothing'}. This is a table's word, not legal advice."
    if licence.unknown:
        yield f"Not known, so ask before you pass it on: {', '.join(licence.unknown)}."


def _limits(facts: CardFacts) -> Iterable[str]:
    yield "- It answers this one task; other inputs get an answer too, and nobody has measured how wrong."
    yield "- Its confidence was calibrated on validation rows; where the world drifts, it is off."
    first = next(iter(facts.reports), None)
    rows = sorted(first.slices, key=lambda one: -int(one.get("rows", one.get("n", 0)) or 0))[:SLICES] if first else []
    for one in rows:
        said = ", ".join(f"{name} {_short(value)}" for name, value in one.items() if not isinstance(value, dict | list))
        yield f"- Slice: {said}."


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

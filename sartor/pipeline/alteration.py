"""What becomes different when a task is made again: rows that leave, a base's successor, other settings.

Changes a contract and a data set; makes no variant and moves no name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sartor.core.errors import AskError, RefusedError
from sartor.core.records import Dataset
from sartor.core.rows import Row
from sartor.core.shelf import explain
from sartor.core.task import Candidate, Task
from sartor.data.reading import Reading, licence_of
from sartor.data.reading import title as title_of
from sartor.data.snapshot import read_datasheet, read_quarantine, read_snapshot
from sartor.pipeline.curate import curate
from sartor.pipeline.origins import What
from sartor.pipeline.workshop import Workshop

UNSTATED = "unstated"
FLOOR: Mapping[str, Any] = {"recipe": "linear"}
"""What is made where every candidate of a task stood on what is gone."""


@dataclass(frozen=True)
class Alteration:
    """What becomes different."""

    without: What | None = None
    """What is recalled: its rows, sources and bases leave."""
    bases: Mapping[str, str] = field(default_factory=dict)
    """Base -> the one that takes its place; '' leaves its candidates out."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key of the contract -> its new value, e.g. value.escalate.price, candidates.0.size."""
    curate: bool = False
    """Curate the rows again, by today's curators, though none leaves."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        without = {"kind": self.without.kind, "value": self.without.value} if self.without else None
        settings = {"bases": dict(self.bases), "settings": dict(self.settings), "curate": self.curate}
        return {"without": without, **settings}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Alteration":
        """From its JSON."""
        without = body.get("without")
        fields = {name: body[name] for name in ("bases", "settings", "curate") if name in body}
        return cls(What(**without) if without else None, **fields)


def altered(task: Task, change: Alteration) -> Task:
    """The contract under the change.

    Raises:
        AskError: a setting does not fit, or nothing changes by it.
        RefusedError: nothing would be left to learn from.
    """
    body = task.body()
    bases = dict(change.bases)
    if change.without and change.without.kind == "base":
        bases.setdefault(change.without.value, "")
    body["candidates"], titles = _candidates(task.candidates, bases)
    body["gate"].pop("floor")  # one that is gone, or was never made, is not asked for by name
    if task.gate.floor in titles:
        body["gate"]["floor"] = titles[task.gate.floor]
    body["data"]["sources"] = _sources(task, change.without)
    for key, value in change.settings.items():
        _set(body, key, value)
    try:
        return Task.model_validate(body)
    except ValidationError as error:
        raise AskError(f"Task '{task.name}' can't be changed so: {explain(error, Task)}.", param="set") from error


def _candidates(candidates: Sequence[Candidate], bases: Mapping[str, str]) -> tuple[list[Any], dict[str, str]]:
    """The candidates under other bases, and old title -> new title; one whose base or part is gone is left out."""
    titles: dict[str, str] = {}
    kept: dict[str, dict[str, Any]] = {}
    for candidate in sorted(candidates, key=lambda c: len(c.of)):
        base = bases.get(candidate.base, candidate.base) if candidate.base else candidate.base
        if base == "" or not set(candidate.of) <= set(titles):
            continue
        moved = candidate.model_copy(update={"base": base, "of": tuple(titles[part] for part in candidate.of)})
        titles[candidate.title] = moved.title
        kept.setdefault(moved.title, json.loads(moved.model_dump_json()))
    return list(kept.values()) or [dict(FLOOR)], titles


def _sources(task: Task, without: What | None) -> list[Any]:
    def stays(number: int) -> bool:
        pick = task.data.sources[number]
        if without is None or without.kind not in ("source", "licence"):
            return True
        return without.value != (title_of(pick) if without.kind == "source" else pick.licence or UNSTATED)

    sources = task.body()["data"]["sources"]
    left = [source for number, source in enumerate(sources) if stays(number)]
    if not left:
        raise RefusedError(
            f"Nothing is left of which '{task.name}' could be made without {without.says if without else 'that'}: it "
            "was its only source. Give the task another one.",
            code="nothing_left",
        )
    return left


def _set(body: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    place: Any = body
    try:
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise AskError(
            f"A task has no place '{key}' to set. Name it as in the task file, e.g. value.escalate.price.",
            param="set",
            code="bad_setting",
        ) from error


def altered_rows(shop: Workshop, task: Task, dataset: Dataset, change: Alteration) -> Dataset:
    """The data set under the change: itself, or its rows, the quarantined too, curated again without those that leave.

    Each row stays in its split, so that what was tested on before is tested on again.

    Args:
        task: the contract under the change.

    Raises:
        RefusedError: no row is left.
    """
    leaves_rows = change.without is not None and change.without.kind not in ("base", "variant")
    if not (leaves_rows or change.curate):
        return dataset
    reading = _reading(shop.store.folder(dataset), change.without if leaves_rows else None)
    made = curate(shop, task, Path(), reading)
    if not made.counts["train"] or not made.counts["test"]:
        raise RefusedError(
            f"Without it, '{task.name}' has {made.counts['train']:,} rows to learn from and {made.counts['test']:,} "
            "to test on. Give the task more rows.",
            code="nothing_left",
        )
    return made


def _reading(folder: Path, without: What | None) -> Reading:
    snapshot, sheet = read_snapshot(folder), read_datasheet(folder)
    sources = [source for source in sheet["sources"] if not _is(source, without)]
    gone = {source["title"] for source in sheet["sources"]} - {source["title"] for source in sources}
    rows: list[Row] = []
    given: dict[str, str] = {}
    for split, there in snapshot.splits.items():
        rows += there
        given.update((row.id, split) for row in there)
    fields = Row.__dataclass_fields__
    for out in read_quarantine(folder):
        rows.append(Row(**{name: out[name] for name in fields}))
        if out["split"]:
            given[out["id"]] = out["split"]
    kept = [row for row in rows if row.source not in gone and not leaves(row, without)]
    ids = {row.id for row in kept}
    licence = licence_of(sources)
    return Reading(kept, {name: split for name, split in given.items() if name in ids}, sources, licence)


def _is(source: Mapping[str, Any], without: What | None) -> bool:
    if without is None:
        return False
    return bool(
        (without.kind == "source" and source["title"] == without.value)
        or (without.kind == "licence" and without.value in licence_of([source]).names)
    )


def leaves(row: Row, without: What | None) -> bool:
    """Whether a row is taken back."""
    if without is None:
        return False
    if without.kind == "source":
        return row.source == without.value
    if without.kind == "subject":
        return row.extra.get("subject") == without.value
    if without.kind == "row":
        return without.value in (row.id, row.extra.get("exchange"))
    return False


def without_recalled(reading: Reading, recalls: Sequence[What]) -> Reading:
    """What sources gave, without what was taken back before."""
    if not recalls:
        return reading
    gone = {source["title"] for what in recalls for source in reading.sources if _is(source, what)}
    rows = [row for row in reading.rows if row.source not in gone and not any(leaves(row, what) for what in recalls)]
    ids = {row.id for row in rows}
    sources = [source for source in reading.sources if source["title"] not in gone]
    given = {name: split for name, split in reading.given.items() if name in ids}
    licence = licence_of(sources) if sources else reading.licence
    return replace(reading, rows=rows, given=given, sources=sources, licence=licence)

"""Sources to rows: which columns are the input, the label, the group; ids that stay. Knows nothing of curators.

A source yields dicts. Everything a task says about columns is applied here, the same for every source.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.canonical import digest
from sartor.core.errors import AskError, boundary, nearest
from sartor.core.licence import Licence
from sartor.core.progress import Progress, silent
from sartor.core.rows import SPLITS, UNLABELLED, Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import Plugin, Shelf
from sartor.core.task import SourcePick, Task
from sartor.data.kind import kind_of

SOURCES = Shelf("sartor.data.sources")
TERMS = "hosted-model-terms"
"""Of a teacher of whom nothing better is known."""
TAUGHT = ("giant", "own")
"""Who labelled a row (`said_by`), where it was a model: somebody else's, or one made here."""
Terms = Callable[[str], Sequence[str]]
"""A teacher's name -> licences of its answers."""
STEP = 5000
"""Rows between two reports of progress."""


@dataclass(frozen=True)
class Reading:
    """What the sources of a task gave."""

    rows: list[Row]
    given: dict[str, str]
    """Row id -> split (or `unlabelled`), for the rows whose source or split column says it."""
    sources: list[dict[str, Any]]
    """For the datasheet: title, plug-in, licence, split, rows."""
    licence: Licence


def open_source(pick: SourcePick, base_dir: Path) -> tuple[Plugin, Settings]:
    """The plug-in of a source with its settings; every relative Path among them starts at `base_dir`.

    Raises:
        NotFoundError: there is no such source.
        AskError: a setting is unknown or does not fit.
    """
    source = SOURCES.take(pick.use)
    params = source.read(pick.settings)
    placed = {name: base_dir / value for name, value in params if isinstance(value, Path)}
    return source, params.model_copy(update=placed)


def read_sources(task: Task, base_dir: Path, progress: Progress = silent, terms: Terms = lambda _: (TERMS,)) -> Reading:
    """All rows of all sources of a task, in the order in which they stand.

    Args:
        terms: what a teacher's answers may be used for.

    Raises:
        AskError: a file cannot be read, or a column that the task names is not there; the message lists those that are.
    """
    columns = _Columns.of(task)
    rows: list[Row] = []
    given: dict[str, str] = {}
    facts: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for pick in task.data.sources:
        source, params = open_source(pick, base_dir)
        name, before = title(pick), len(rows)
        there: dict[str, None] = {}
        for number, record in enumerate(_records(source, params, name, progress), start=1):
            there.update(dict.fromkeys(record))
            rows.append(_row(task, pick, record, columns, seen))
            if (split := _given_split(task, pick, record, f"{name}, row {number}")) is not None:
                given[rows[-1].id] = split
        _need_columns(task, pick, there)
        fact = {"title": name, "use": pick.use, "licence": pick.licence or "unstated", "split": pick.split}
        taught = {teacher: list(terms(teacher)) for teacher in _teachers(pick, rows[before:])}
        facts.append({**fact, **({"terms": taught} if taught else {}), "rows": len(rows) - before})
    return Reading(rows, given, facts, licence_of(facts))


def licence_of(sources: Sequence[Mapping[str, Any]]) -> Licence:
    """What bears on rows of these sources: their own licences, and the terms of whoever labelled them."""
    taught = [str(name) for source in sources for names in source.get("terms", {}).values() for name in names]
    return Licence.of(*(str(source["licence"]) for source in sources), *taught)


def _teachers(pick: SourcePick, rows: Sequence[Row]) -> list[str]:
    """The models that labelled rows of a source: the one that the task file names, and those that the rows name."""
    said = {row.extra.get("by", "") for row in rows if row.extra.get("said_by") in TAUGHT}
    return sorted((said | {pick.labelled_by}) - {""})


def title(pick: SourcePick) -> str:
    """A name for people: plug-in and file name or table, never a whole path or URL (it may hold a password)."""
    place = pick.settings.get("path") or pick.settings.get("table") or pick.settings.get("module") or ""
    return f"{pick.use}:{Path(str(place)).name}" if place else pick.use


def _records(source: Plugin, params: Settings, name: str, progress: Progress) -> Iterator[dict[str, Any]]:
    number = 0
    with boundary(source.shelf, source.name):
        for number, record in enumerate(source(params), start=1):
            if not isinstance(record, Mapping):
                raise TypeError(f"a source must yield one mapping of columns a row, not {type(record).__name__}")
            if number % STEP == 0:
                progress(f"read {name}", number, 0)
            yield dict(record)
    if number == 0:
        raise AskError(
            f"Reading {name} gave no rows: there is a header at most. Add rows, or leave this source out.",
            code="no_rows",
        )
    progress(f"read {name}", number, number)


@dataclass(frozen=True)
class _Columns:
    """The columns that a task names, by what they are for."""

    inputs: tuple[str, ...]
    special: frozenset[str]
    """Columns with a field of their own in a row; all others are kept as extra, and so are slices and levels."""

    @classmethod
    def of(cls, task: Task) -> "_Columns":
        data = task.data
        inputs = tuple(dict.fromkeys((*task.input.columns, *re.findall(r"\{(\w+)\}", task.input.template))))
        if data.label in inputs:
            raise AskError(
                f"The label column '{data.label}' is also an input column: the model would be told the answer. "
                "Take it out of input.columns and input.template.",
                code="label_in_input",
                param="input.columns",
            )
        special = {*inputs, data.label, data.group, data.time} - {None, *data.slices, *data.levels}
        return cls(inputs, frozenset(name for name in special if name))


def _need_columns(task: Task, pick: SourcePick, there: Mapping[str, None]) -> None:
    """Every column that the task names must stand in at least one row of each source."""
    data = task.data
    wanted = dict.fromkeys(_Columns.of(task).inputs, "input.columns")
    if pick.split == UNLABELLED:
        data = data.model_copy(update={"group": None, "time": None, "levels": ()})  # what is there is read all the same
    else:
        wanted[data.label] = "data.label"
    wanted |= {data.group: "data.group"} if data.group else {}
    wanted |= {data.time: "data.time"} if data.time else {}
    wanted |= dict.fromkeys(data.levels, "data.levels")
    if data.split.column and pick.split is None:
        wanted[data.split.column] = "data.split.column"
    for column, param in wanted.items():
        if column not in there:
            near = nearest(column, there)
            hint = f" Did you mean '{near}'?" if near else ""
            raise AskError(
                f"The task names the column '{column}' in {param}, but {title(pick)} has no such column.{hint} "
                f"It has: {', '.join(list(there)[:30])}.",
                code="missing_column",
                param=param,
            )


def as_text(value: Any) -> str | None:
    """A cell as text; None for an empty one. Lists and objects become JSON."""
    if isinstance(value, str):
        return _sound(value) or None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return _sound(json.dumps(value, ensure_ascii=False, default=str))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _sound(text: str) -> str:
    """The text with halves of surrogate pairs, which JSON can say but no file can hold, joined or replaced."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _row(task: Task, pick: SourcePick, record: Mapping[str, Any], columns: _Columns, seen: Counter[str]) -> Row:
    data = task.data
    cells = {_sound(name): text for name, value in record.items() if (text := as_text(value)) is not None}
    inputs = {name: cells.get(name, "") for name in columns.inputs}
    label = None if pick.split == UNLABELLED else kind_of(task).truth(task, record.get(data.label))
    named = digest([pick.use, pick.split or "", inputs, label])[:16]
    seen[named] += 1
    return Row(
        id=named if seen[named] == 1 else f"{named}-{seen[named]}",
        text=task.input.render(inputs),
        label=label,
        inputs=inputs,
        group=cells.get(data.group) if data.group else None,
        time=cells.get(data.time) if data.time else None,
        source=title(pick),
        extra={name: text for name, text in cells.items() if name not in columns.special},
    )


def _given_split(task: Task, pick: SourcePick, record: dict[str, Any], where: str) -> str | None:
    if pick.split is not None or task.data.split.column is None:
        return pick.split
    said = (as_text(record.get(task.data.split.column)) or "").strip().lower()
    if not said:
        return None
    alias = {"val": "validation", "valid": "validation", "dev": "validation", "eval": "validation", "training": "train"}
    split = alias.get(said, said)
    if split not in SPLITS:
        raise AskError(
            f"{where}: column '{task.data.split.column}' says '{said[:40]}', which is no split. "
            f"Use {', '.join(SPLITS)}, or leave the cell empty.",
            code="bad_split",
            param="data.split.column",
        )
    return split

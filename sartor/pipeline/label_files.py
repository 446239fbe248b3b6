"""Rows to label as files for other tools, and what people said there: Label Studio's JSON, and CSV.

Label Studio takes tasks with `data` and `predictions` and gives them back with `annotations`; its CSV names the columns
`annotator` and `lead_time`. An import is checked whole before anything of it is kept, and the same file again brings
nothing new. Knows no server of theirs.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sartor.core.errors import AskError, SartorError
from sartor.core.traffic import Feedback
from sartor.data.tables import csv_rows
from sartor.pipeline.label_pool import Desk
from sartor.pipeline.label_words import Given, How, feedback_of
from sartor.pipeline.labelling import Item, queue

Form = Literal["label-studio", "csv"]
CSV_COLUMNS = ("item", "text", "label", "who", "seconds", "guess", "share", "picked")
NAMES: Mapping[str, tuple[str, ...]] = {
    "item": ("item",),
    "label": ("label", "choice"),
    "who": ("who", "annotator", "completed_by"),
    "seconds": ("seconds", "lead_time"),
    "picked": ("picked",),
}
"""What is read of a CSV file, and the names that its column may have."""


HELD = {"choices": "choices", "textarea": "text"}
"""Type of a result of Label Studio -> where in it the answer stands."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: str
    rows: int
    config: str
    """Labelling configuration to paste into Label Studio; '' for CSV."""


def export(desk: Desk, target: Path, who: str, *, size: int = 100, form: Form | None = None) -> Exported:
    """Write the rows that somebody should label next to a new file, leased to them like those of a sitting.

    Args:
        form: default by the file's ending, `.json` or `.csv`.

    Raises:
        AskError: the file is there already, or its ending is neither.
        NotFoundError: there is nothing to label.
    """
    form = form or _form(target)
    if target.exists():
        raise AskError(f"{target} is there already. Name another file.", param="target", code="target_exists")
    sitting = queue(desk, who, size)
    if form == "csv":
        text = _csv(sitting.items)
    else:
        version = desk.variant.digest[:12] if desk.variant else ""
        made = _choices if desk.labels else _text_area
        tasks = [_task(item, version, place, made) for place, item in enumerate(sitting.items)]
        text = json.dumps(tasks, ensure_ascii=False, indent=1)
    target.write_text(text, encoding="utf-8")
    shown = "" if form == "csv" else config(desk.labels) if desk.labels else written_config()
    return Exported(str(target), len(sitting.items), shown)


def config(labels: tuple[str, ...]) -> str:
    """The labelling configuration of a Label Studio project for these labels."""
    from xml.sax.saxutils import quoteattr

    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in labels)
    return (
        '<View>\n  <Text name="text" value="$text"/>\n  <Choices name="label" toName="text" choice="single" '
        f'showInLine="true" required="true">\n{choices}\n  </Choices>\n</View>'
    )


def written_config() -> str:
    """The labelling configuration of a Label Studio project whose answers are written: documents as JSON, or texts."""
    return (
        '<View>\n  <Text name="text" value="$text"/>\n  <TextArea name="label" toName="text" rows="8" editable="true" '
        'maxSubmissions="1" required="true"/>\n</View>'
    )


def _form(path: Path) -> Form:
    forms: dict[str, Form] = {".json": "label-studio", ".csv": "csv"}
    if path.suffix not in forms:
        raise AskError(
            f"{path}: name a file that ends in .json (Label Studio) or .csv.", param="file", code="unknown_format"
        )
    return forms[path.suffix]


def _choices(label: str) -> dict[str, Any]:
    return {"type": "choices", "value": {"choices": [label]}}


def _text_area(label: str) -> dict[str, Any]:
    return {"type": "textarea", "value": {"text": [label]}}


def _task(item: Item, version: str, place: int, made: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    data = {"text": item.text, "item": item.item, "picked": item.picked, "rank": place + 1}
    guesses = [
        {
            "model_version": version,
            "score": share,
            "result": [{"from_name": "label", "to_name": "text", "score": share, **made(label)}],
        }
        for label, share in item.guesses[:1]
    ]
    return {"data": data, "predictions": guesses}


def _csv(items: tuple[Item, ...]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for item in items:
        guess, share = item.guesses[0] if item.guesses else ("", "")
        writer.writerow([item.item, _harmless(item.text), "", "", "", guess, share, item.picked])
    return out.getvalue()


def _harmless(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets a quote in front."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text


@dataclass(frozen=True)
class Imported:
    """What a file of labels brought."""

    rows: int
    """Labels in it."""
    new: int
    empty: int
    """Rows without a label, left out."""


def take_in(desk: Desk, path: Path, *, who: str = "") -> Imported:
    """Take labels from a file: all of them, or none.

    Args:
        who: whose labels they are, where the file does not say.

    Raises:
        AskError: a line or task can't be read, or has nobody's name; it is named.
        NotFoundError: a label or row is unknown; its line or task is named.
    """
    given = _annotations(path, who) if _form(path) == "label-studio" else _lines(path, who)
    found: dict[str, Feedback] = {}
    people: dict[tuple[str, str], str] = {}
    rows = empty = 0
    now = time.time()
    for place, one in given:
        if not one.label:
            empty += 1
            continue
        rows += 1
        with _at(path, place):
            before = people.setdefault((one.item, one.who), one.label)
            if before != one.label:
                raise AskError(f"{one.who} says '{before}' of '{one.item}' further up, and '{one.label}' here.")
            said = feedback_of(desk, one, now)
        if said is not None:
            found[said.id] = said
    pen = desk.shop.store.traffic.pen
    for said in found.values():
        pen.append_feedback(said, sync=False)
    pen.flush()
    desk.shop.store.traffic.index.catch_up()
    return Imported(rows, len(found), empty)


@contextmanager
def _at(path: Path, place: str) -> Iterator[None]:
    try:
        yield
    except SartorError as error:
        error.message = f"{path}, {place}: {error.message} Nothing of the file was taken in."
        error.args = (error.message,)
        raise


def _lines(path: Path, who: str) -> Iterator[tuple[str, Given]]:
    for number, row in enumerate(csv_rows(path), start=2):
        cells = {name: next((row[n] for n in names if row.get(n)), "") for name, names in NAMES.items()}
        with _at(path, f"line {number}"):
            if "item" not in row:
                raise AskError(f"There is no column 'item', which says which row it is. There are: {', '.join(row)}.")
            yield f"line {number}", _given(cells, who)


def _annotations(path: Path, who: str) -> Iterator[tuple[str, Given]]:
    """Every annotation of every task; one that was cancelled or skipped says nothing."""
    for number, task in enumerate(_tasks(path), start=1):
        name = f"task {number}" + (f" (id {task['id']})" if isinstance(task, dict) and "id" in task else "")
        with _at(path, name):
            if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "item" not in task["data"]:
                raise AskError("It has no data.item, which says which row it is. Import what 'labels export' wrote.")
            data = task["data"]
            for said in task.get("annotations") or ():
                if not isinstance(said, dict):
                    raise AskError("An annotation of it is no object. Export from Label Studio as JSON.")
                if said.get("was_cancelled"):
                    continue
                cells = {
                    "item": str(data["item"]),
                    "label": _choice(said),
                    "who": _person(said.get("completed_by")),
                    "seconds": said.get("lead_time") or "",
                    "picked": str(data.get("picked", "")),
                }
                yield name, _given(cells, who)


def _tasks(path: Path) -> list[Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AskError(f"There is no file '{path}'.", param="file", code="no_file") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise AskError(
            f"Reading {path} failed at {where}. Export from Label Studio as JSON.", code="bad_json"
        ) from error
    if not isinstance(loaded, list):
        raise AskError(f"{path} is no list of tasks. Export from Label Studio as JSON.", code="bad_json")
    return loaded


def _choice(said: Mapping[str, Any]) -> str:
    for part in said.get("result") or ():
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get("value") if kind in HELD else None
        held: Any = value.get(HELD[str(kind)]) if isinstance(value, dict) else None
        given = [held] if isinstance(held, str) else held
        if isinstance(given, list) and given:
            if len(given) > 1:
                raise AskError(f"{len(given)} labels were chosen ({', '.join(map(str, given))[:200]}); it takes one.")
            return str(given[0])
    return ""


def _person(by: Any) -> str:
    """Label Studio names a person by number, or with all that it knows of them."""
    if isinstance(by, dict):
        return str(by.get("email") or by.get("username") or by.get("id") or "")
    return "" if by is None else f"label-studio {by}"


def _given(cells: Mapping[str, Any], who: str) -> Given:
    try:
        seconds = float(cells["seconds"] or 0.0)
    except ValueError as error:
        raise AskError(f"'{str(cells['seconds'])[:40]}' are no seconds.", param="seconds") from error
    picked = cast("How", cells["picked"] or "import")  # checked with the rest
    return Given(
        item=str(cells["item"]),
        who=str(cells["who"]) or who,
        label=str(cells["label"]).strip(),
        picked=picked,
        sitting="import",
        seconds=seconds,
    )

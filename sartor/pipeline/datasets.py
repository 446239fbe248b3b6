"""Look at data sets: datasheets, differences, quarantine, and putting rows back."""

import re
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, unknown
from sartor.core.records import Dataset
from sartor.data.compare import diff
from sartor.data.datasheet import datasheet_html
from sartor.data.snapshot import read_datasheet, read_quarantine
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.task_file import read_task
from sartor.pipeline.workshop import Workshop


def dataset_named(shop: Workshop, which: str) -> Dataset:
    """The data set with this digest (or a unique beginning of it), or the newest of a task.

    Raises:
        NotFoundError: neither.
        AskError: the digest is of something else.
    """
    newest = shop.store.ledger.find(Dataset, task=which, limit=1)
    if newest:
        return newest[0]
    if not re.fullmatch(r"[0-9a-f]{8,64}", which):
        known = {d.task for d in shop.store.ledger.find(Dataset, limit=1000)}
        raise unknown("data set", which, known)
    found = shop.store.ledger.get(which)
    if not isinstance(found, Dataset):
        raise AskError(f"'{which}' is a {found.kind}, not a data set.", code="not_a_dataset")
    return found


def datasheet_of(shop: Workshop, which: str) -> tuple[Dataset, dict[str, Any]]:
    """A data set and its datasheet."""
    dataset = dataset_named(shop, which)
    return dataset, read_datasheet(shop.store.folder(dataset))


def write_datasheet(sheet: dict[str, Any], path: Path) -> None:
    """The datasheet as one HTML file."""
    path.write_text(datasheet_html(sheet), encoding="utf-8")


def diff_of(shop: Workshop, a: str, b: str) -> dict[str, Any]:
    """What changed between two data sets."""
    (one, sheet_one), (two, sheet_two) = (datasheet_of(shop, which) for which in (a, b))
    found = diff(open_dataset(shop, one), open_dataset(shop, two), sheet_a=sheet_one, sheet_b=sheet_two)
    return found.body()


def quarantine_of(shop: Workshop, which: str) -> list[dict[str, Any]]:
    """Rows that were taken out, with curator and reason."""
    return read_quarantine(shop.store.folder(dataset_named(shop, which)))


def restore_rows(shop: Workshop, task_file: Path, rows: list[str]) -> list[str]:
    """Add rows to the task file's `data.edits`; the next run records the edit with the data set that it makes.

    Returns:
        All edits that the file now has.

    Raises:
        NotFoundError: a row is not in the quarantine of the task's newest data set.
    """
    task = read_task(task_file)
    known = {row["id"] for row in quarantine_of(shop, task.name)}
    for row in rows:
        if row not in known:
            raise unknown("quarantined row", row, known)
    edits = sorted({*task.data.edits, *rows})
    text = task_file.read_text(encoding="utf-8")
    line = f"  edits: [{', '.join(edits)}]"
    if re.search(r"^  edits:.*$", text, re.MULTILINE):
        text = re.sub(r"^  edits:.*$", line, text, flags=re.MULTILINE)
    else:
        text = re.sub(r"^data:.*$", lambda m: f"{m[0]}\n{line}", text, count=1, flags=re.MULTILINE)
    task_file.write_text(text, encoding="utf-8")
    if read_task(task_file).data.edits != tuple(edits):
        raise AskError(
            f"Could not write the edit into '{task_file}'. Add under 'data:' the line:{line}", code="edit_by_hand"
        )
    return edits

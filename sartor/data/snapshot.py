"""Rows to files and back, in bytes that depend on nothing but the rows. Knows nothing of curation.

A data set folder holds `train.parquet`, `validation.parquet`, `test.parquet`, `quarantine.parquet`, `labels.json`
and `datasheet.json`; `unlabelled.parquet` only where there are such rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sartor.core.canonical import canonical
from sartor.core.errors import NotFoundError, StoreError
from sartor.core.rows import SPLITS, UNLABELLED, Hierarchy, Row, Snapshot

FIELDS = ("id", "text", "label", "inputs", "group", "time", "source", "extra")
MAPS = ("inputs", "extra")
QUARANTINE_FIELDS = ("split", "curator", "reason", "detail")


def write_snapshot(folder: Path, snapshot: Snapshot, quarantine: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write the rows and labels of a data set; the same rows give the same bytes.

    Args:
        quarantine: rows taken out: the fields of a row, and split, curator, reason and detail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        _write(folder / f"{split}.parquet", [as_dict(row) for row in snapshot.splits.get(split, ())], FIELDS)
    if snapshot.splits.get(UNLABELLED):
        write_rows(folder / f"{UNLABELLED}.parquet", snapshot.splits[UNLABELLED])
    _write(folder / "quarantine.parquet", quarantine, (*FIELDS, *QUARANTINE_FIELDS))
    levels, parents = snapshot.hierarchy.levels, snapshot.hierarchy.parents
    labels = {
        "labels": list(snapshot.labels),
        "levels": list(levels),
        "parents": {label: list(parents[label]) for label in sorted(parents)},
    }
    write_json(folder / "labels.json", labels)


def read_snapshot(folder: Path) -> Snapshot:
    """The rows and labels of a data set folder.

    Raises:
        NotFoundError: the folder is no data set.
        StoreError: a file of it cannot be read.
    """
    labels = labels_of(read_json(folder / "labels.json"))
    there = [split for split in (*SPLITS, UNLABELLED) if split in SPLITS or (folder / f"{split}.parquet").is_file()]
    return replace(labels, splits={split: _rows(_read(folder / f"{split}.parquet")) for split in there})


def labels_of(labels: Mapping[str, Any]) -> Snapshot:
    """What `labels.json` says, without a row."""
    hierarchy = Hierarchy(tuple(labels["levels"]), {name: tuple(of) for name, of in labels["parents"].items()})
    return Snapshot(dict.fromkeys(SPLITS, ()), tuple(labels["labels"]), hierarchy)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as one Parquet file, as they stand in a split; the same rows give the same bytes."""
    _write(path, [as_dict(row) for row in rows], FIELDS)


def read_rows(path: Path) -> list[Row]:
    """The rows of one Parquet file.

    Raises:
        NotFoundError: there is no such file.
        StoreError: it cannot be read.
    """
    return _rows(_read(path))


def write_taken(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that were taken out: the fields of a row, and split, curator, reason and detail."""
    _write(path, entries, (*FIELDS, *QUARANTINE_FIELDS))


def read_quarantine(folder: Path) -> list[dict[str, Any]]:
    """The rows taken out: the fields of a row, and split, curator, reason and detail."""
    return [{**record, **{m: dict(record[m] or ()) for m in MAPS}} for record in _read(folder / "quarantine.parquet")]


def read_datasheet(folder: Path) -> dict[str, Any]:
    """The datasheet of a data set folder."""
    return read_json(folder / "datasheet.json")


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON, ended by a line break."""
    path.write_bytes(canonical(value) + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a data set folder."""
    if not path.is_file():
        raise NotFoundError(f"Reading the data set in {path.parent} failed: it has no {path.name}.", code="no_data_set")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def as_dict(row: Row) -> dict[str, Any]:
    """The fields of a row."""
    return {name: getattr(row, name) for name in FIELDS}


def _write(path: Path, records: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    text_map = pa.map_(pa.string(), pa.string())
    schema = pa.schema([(name, text_map if name in MAPS else pa.string()) for name in fields])
    columns = {name: [sorted(r[name].items()) if name in MAPS else r.get(name) for r in records] for name in fields}
    parquet.write_table(
        pa.table(columns, schema=schema),
        path,
        version="2.6",
        compression="zstd",
        compression_level=3,
        row_group_size=65536,
        write_statistics=False,
        store_schema=False,
    )


def _read(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        raise NotFoundError(f"Reading the data set in {path.parent} failed: it has no {path.name}.", code="no_data_set")
    try:
        records: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            f"Reading {path} failed: {error}. Verify the store; the data set can be made again."
        ) from error
    return records


def _rows(records: Sequence[dict[str, Any]]) -> list[Row]:
    return [Row(**{**record, **{m: dict(record[m] or ()) for m in MAPS}}) for record in records]

"""Old records as Parquet: one file for each day and kind. A later generation of a day's file replaces the earlier ones.

Rows are in no order; a record's place is the number of its row. Content that is encrypted stays so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sartor.store.disk import sync
from sartor.store.traffic.frames import DEFAULTS, ERASED, EXCHANGE, FEEDBACK, TOMBSTONE, Record

KINDS = {EXCHANGE: "exchanges", FEEDBACK: "feedback", ERASED: "erasures"}
NAME = re.compile(r"(exchanges|feedback|erasures)-(\d{4}-\d\d-\d\d)-(\d{6})\.parquet")
GROUP = 1000
"""Rows that are read together."""
Full = tuple[Mapping[str, Any], int, int, bytes, bytes]
"""Fields by name, form, days, request and answer."""


def files(folder: Path) -> list[Path]:
    """The files that count: of each kind and day the newest."""
    newest: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else []:
        if found := NAME.fullmatch(path.name):
            newest[found[1], found[2]] = path
    return sorted(newest.values())


def of_day(folder: Path, kind: int, day: str) -> list[Path]:
    """All generations of a day's file, oldest first."""
    return sorted(folder.glob(f"{KINDS[kind]}-{day}-*.parquet"))


def read_name(path: Path) -> tuple[int, str]:
    """Kind and day of a file."""
    found = NAME.fullmatch(path.name)
    assert found
    return next(kind for kind, name in KINDS.items() if name == found[1]), found[2]


def write(folder: Path, kind: int, day: str, rows: Iterable[Full]) -> Path:
    """Write the next generation of a day's file; it is there, whole and synced, when this returns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    before = of_day(folder, kind, day)
    number = int(before[-1].stem[-6:]) + 1 if before else 1
    target = folder / f"{KINDS[kind]}-{day}-{number:06d}.parquet"
    part = target.with_suffix(".part")
    schema = schema_of(kind)
    with pq.ParquetWriter(part, schema, compression="zstd") as out:
        batch: list[dict[str, Any]] = []
        for row, form, days, asked, answered in rows:
            batch.append(_flat(kind, row, form, days, asked, answered))
            if len(batch) == GROUP:
                out.write_table(pa.Table.from_pylist(batch, schema=schema), row_group_size=GROUP)
                batch = []
        out.write_table(pa.Table.from_pylist(batch, schema=schema), row_group_size=GROUP)
    part.chmod(0o600)
    sync(part)
    part.rename(target)
    sync(folder)
    return target


def _flat(kind: int, row: Mapping[str, Any], form: int, days: int, asked: bytes, answered: bytes) -> dict[str, Any]:
    if kind == FEEDBACK:
        return dict(row) | {"value": orjson.dumps(row["value"]).decode(), "tags": orjson.dumps(row["tags"]).decode()}
    if kind == EXCHANGE:
        return dict(row) | {"form": form, "days": days, "asked": asked or None, "answered": answered or None}
    return dict(row)


def records(path: Path) -> Iterator[Record]:
    """What a file holds, without content."""
    kind, _ = read_name(path)
    for place, (row, form, days, _, _) in enumerate(_rows(path, content=False)):
        yield kind, row, place, form, days


def rows(path: Path) -> Iterator[Full]:
    """What a file holds, whole."""
    yield from _rows(path, content=True)


def _rows(path: Path, *, content: bool) -> Iterator[Full]:
    import pyarrow.parquet as pq

    kind, _ = read_name(path)
    with pq.ParquetFile(path) as file:
        names = [n for n in file.schema_arrow.names if content or n not in ("asked", "answered")]
        for batch in file.iter_batches(batch_size=GROUP, columns=names):
            for found in batch.to_pylist():
                form, days = found.pop("form", 0), found.pop("days", 0)
                asked, answered = found.pop("asked", None) or b"", found.pop("answered", None) or b""
                row = DEFAULTS[kind] | found
                if kind == FEEDBACK:
                    row |= {"value": orjson.loads(row["value"]), "tags": orjson.loads(row["tags"])}
                yield row, form, days, asked, answered


def content_at(path: Path, place: int) -> tuple[str, int, bytes, bytes] | None:
    """Exchange, form, request and answer in a row; None where there is none."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        before = 0
        for number in range(file.num_row_groups):
            size = file.metadata.row_group(number).num_rows
            if place < before + size:
                table = file.read_row_group(number, columns=["id", "form", "asked", "answered"])
                row = table.slice(place - before, 1).to_pylist()[0]
                return row["id"], row["form"], row["asked"] or b"", row["answered"] or b""
            before += size
    return None


def schema_of(kind: int) -> Any:
    """The columns of a kind's files."""
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    if kind == ERASED:
        return pa.schema([(name, number if name == "at" else text) for name in TOMBSTONE])
    if kind == FEEDBACK:
        names = ("id", "tenant", "metric", "value", "exchange", "business", "source", "source_id", "rationale", "tags")
        return pa.schema([("at", number), *((name, text) for name in (*names, "key"))])
    texts = (
        "id", "tenant", "key", "route", "model", "endpoint", "task", "version", "variant", "decision", "error", "label",
        "arm", "subject", "business", "shadow_of", "request_id",
    )  # fmt: skip
    wholes = ("status", "input_tokens", "output_tokens", "cost")
    step = pa.struct(
        [(name, text) for name in ("served_by", "kind", "label", "why")]
        + [(name, whole) for name in ("cost", "input_tokens", "output_tokens")]
        + [(name, number) for name in ("cpu_seconds", "seconds", "confidence")]
    )
    return pa.schema(
        [(name, text) for name in texts]
        + [(name, whole) for name in wholes]
        + [(name, number) for name in ("at", "confidence", "propensity", "seconds", "first_seconds")]
        + [("stream", pa.bool_()), ("hops", pa.list_(step)), ("form", pa.int8()), ("days", pa.int32())]
        + [("asked", pa.binary()), ("answered", pa.binary())]
    )

"""Tables in files: CSV, JSON lines and Parquet, row by row. Knows nothing of texts and labels.

What several sources read stands here, since no plug-in imports another.
"""

import json
from collections.abc import Iterator
from csv import Error, field_size_limit, reader
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.data.files import existing, text_lines

LONGEST = 1 << 26
"""Characters in a cell. The standard library's 131,072 refuse honest documents; some limit catches a lost quote."""


def csv_rows(path: Path, *, encoding: str = "utf-8", delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header line, one dict each.

    Raises:
        AskError: no file, wrong encoding, a doubled or empty column name, a row longer or shorter than the header.
    """
    field_size_limit(max(field_size_limit(), LONGEST))
    lines = reader(text_lines(path, encoding), delimiter=delimiter, strict=True)
    try:
        header = _header(next(lines, []), path, delimiter)
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise _ragged(path, delimiter, lines.line_num, cells, header)
            yield dict(zip(header, cells, strict=True))
    except Error as error:
        raise AskError(
            f'Reading {path} failed at line {lines.line_num}: {error}. Perhaps a quote (") is opened and never '
            "closed, or stands in the middle of a cell: double it there.",
            code="bad_csv",
        ) from error


def _header(cells: list[str], path: Path, delimiter: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    other = next((d for d in (";", "\t", "|", ",") if d != delimiter and len(names) == 1 and d in names[0]), None)
    if other is not None:
        shown = "\\t" if other == "\t" else other
        raise AskError(
            f"Reading {path} failed: split at '{delimiter}', its header has the single column "
            f"{names[0]!r}. It looks separated by '{shown}': say 'delimiter: \"{shown}\"'.",
            code="wrong_delimiter",
            param="delimiter",
        )
    doubles = sorted({name for name in names if names.count(name) > 1})
    if not names or doubles or "" in names:
        fault = f"column {doubles[0]!r} stands twice" if doubles and doubles[0] else "a column has no name"
        raise AskError(
            f"Reading {path} failed: in its header line, {fault}. Its first line must name each column once; "
            f"it is: {', '.join(names) or 'blank'}.",
            code="bad_header",
        )
    return names


def _ragged(path: Path, delimiter: str, line: int, cells: list[str], header: list[str]) -> AskError:
    return AskError(
        f"Reading {path} failed at line {line}: it has {len(cells)} cells, the header has {len(header)} "
        f"({', '.join(header[:8])}). A cell that contains '{delimiter}' must stand in double quotes.",
        code="ragged_row",
    )


def json_lines(path: Path, *, encoding: str = "utf-8") -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with their line numbers; blank lines are skipped.

    Raises:
        AskError: no file, wrong encoding, a line that is no JSON object.
    """
    for number, line in enumerate(text_lines(path, encoding), start=1):
        if line.strip():
            yield number, _parsed(line, number, path)


def _parsed(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deep"
        whole = " The file looks like one JSON list: write one object a line." if line.lstrip().startswith("[") else ""
        raise AskError(
            f"Reading {path} failed at line {number}: it is no JSON ({what}): {line.strip()[:60]!r}. "
            f"Each line must be one JSON object.{whole}",
            code="bad_json_line",
        ) from error
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else f"the value {line.strip()[:40]!r}"
        raise AskError(
            f"Reading {path} failed at line {number}: each line must be one JSON object like "
            f'{{"text": "...", "label": "..."}}, and this one is {kind}.',
            code="bad_json_line",
        )
    return value


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, read batch by batch.

    Raises:
        AskError: no file, an empty one, or one that is no Parquet.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    existing(path)
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=8192):
                yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise AskError(
            f"Reading {path} as Parquet failed: {str(error).rstrip('.')}. If it is text, use 'csv' or 'jsonl'; "
            "if it was cut off while being copied, copy it again.",
            code="bad_parquet",
        ) from error

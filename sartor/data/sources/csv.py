"""Rows of a CSV file with a header line.

Knows nothing of texts and labels: it yields every column as a string.
"""

from collections.abc import Iterator
from csv import Error, field_size_limit, reader
from pathlib import Path

from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.sources._files import text_lines


class Params(Settings):
    """Which file, and how it is written."""

    path: Path
    """Relative paths start at the folder of the task file."""
    encoding: str = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)


LONGEST = 1 << 26
"""Characters in a cell. The standard library's 131,072 refuse honest documents; some limit catches a lost quote."""


@plugin
def csv(params: Params) -> Iterator[dict[str, str]]:
    """Yield one dict a row.

    Raises:
        AskError: no file, wrong encoding, a doubled or empty column name, a row longer or shorter than the header.
    """
    field_size_limit(max(field_size_limit(), LONGEST))
    lines = reader(text_lines(params.path, params.encoding), delimiter=params.delimiter, strict=True)
    try:
        header = _header(next(lines, []), params)
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise _ragged(params, lines.line_num, cells, header)
            yield dict(zip(header, cells, strict=True))
    except Error as error:
        raise AskError(
            f'Reading {params.path} failed at line {lines.line_num}: {error}. Perhaps a quote (") is opened and never '
            "closed, or stands in the middle of a cell: double it there.",
            code="bad_csv",
        ) from error


def _header(cells: list[str], params: Params) -> list[str]:
    names = [cell.strip() for cell in cells]
    other = next(
        (d for d in (";", "\t", "|", ",") if d != params.delimiter and len(names) == 1 and d in names[0]), None
    )
    if other is not None:
        shown = "\\t" if other == "\t" else other
        raise AskError(
            f"Reading {params.path} failed: split at '{params.delimiter}', its header has the single column "
            f"{names[0]!r}. It looks separated by '{shown}': say 'delimiter: \"{shown}\"'.",
            code="wrong_delimiter",
            param="delimiter",
        )
    doubles = sorted({name for name in names if names.count(name) > 1})
    if not names or doubles or "" in names:
        fault = f"column {doubles[0]!r} stands twice" if doubles and doubles[0] else "a column has no name"
        raise AskError(
            f"Reading {params.path} failed: in its header line, {fault}. Its first line must name each column once; "
            f"it is: {', '.join(names) or 'blank'}.",
            code="bad_header",
        )
    return names


def _ragged(params: Params, line: int, cells: list[str], header: list[str]) -> AskError:
    return AskError(
        f"Reading {params.path} failed at line {line}: it has {len(cells)} cells, the header has {len(header)} "
        f"({', '.join(header[:8])}). A cell that contains '{params.delimiter}' must stand in double quotes.",
        code="ragged_row",
    )

"""Rows of a CSV file with a header line.

Knows nothing of texts and labels: it yields every column as a string.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.tables import csv_rows


class Params(Settings):
    """Which file, and how it is written."""

    path: Path
    """Relative paths start at the folder of the task file."""
    encoding: str = "utf-8"
    """How the file's bytes are text, e.g. utf-8, cp1252, utf-16."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What stands between two cells."""


@plugin
def csv(params: Params) -> Iterator[dict[str, str]]:
    """Yield one dict a row; raises what `csv_rows` raises."""
    return csv_rows(params.path, encoding=params.encoding, delimiter=params.delimiter)

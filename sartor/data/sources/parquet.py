"""Rows of a Parquet file, read batch by batch.

Knows nothing of texts and labels: it yields every column.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.tables import parquet_rows


class Params(Settings):
    """Which file."""

    path: Path
    """Relative paths start at the folder of the task file."""


@plugin
def parquet(params: Params) -> Iterator[dict[str, Any]]:
    """Yield one dict a row; raises what `parquet_rows` raises."""
    return parquet_rows(params.path)

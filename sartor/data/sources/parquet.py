"""Rows of a Parquet file, read batch by batch.

Knows nothing of texts and labels: it yields every column.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.sources._files import existing


class Params(Settings):
    """Which file."""

    path: Path
    """Relative paths start at the folder of the task file."""


@plugin
def parquet(params: Params) -> Iterator[dict[str, Any]]:
    """Yield one dict a row.

    Raises:
        AskError: no file, an empty one, or one that is no Parquet.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    existing(params.path)
    try:
        with ParquetFile(params.path) as file:
            for batch in file.iter_batches(batch_size=8192):
                yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise AskError(
            f"Reading {params.path} as Parquet failed: {str(error).rstrip('.')}. If it is text, use 'csv' or 'jsonl'; "
            "if it was cut off while being copied, copy it again.",
            code="bad_parquet",
        ) from error

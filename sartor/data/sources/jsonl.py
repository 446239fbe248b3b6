"""Rows of a JSON-lines file: one JSON object a line.

Knows nothing of texts and labels: it yields the objects as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.tables import json_lines


class Params(Settings):
    """Which file."""

    path: Path
    """Relative paths start at the folder of the task file."""
    encoding: str = "utf-8"
    """How the file's bytes are text, e.g. utf-8, cp1252, utf-16."""


@plugin
def jsonl(params: Params) -> Iterator[dict[str, Any]]:
    """Yield one dict a line; raises what `json_lines` raises."""
    return (record for _, record in json_lines(params.path, encoding=params.encoding))

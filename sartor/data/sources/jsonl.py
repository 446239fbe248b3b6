"""Rows of a JSON-lines file: one JSON object a line.

Knows nothing of texts and labels: it yields the objects as they are.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.sources._files import text_lines


class Params(Settings):
    """Which file."""

    path: Path
    """Relative paths start at the folder of the task file."""
    encoding: str = "utf-8"


@plugin
def jsonl(params: Params) -> Iterator[dict[str, Any]]:
    """Yield one dict a line; blank lines are skipped.

    Raises:
        AskError: no file, wrong encoding, a line that is no JSON object.
    """
    for number, line in enumerate(text_lines(params.path, params.encoding), start=1):
        if line.strip():
            yield parsed(line, number, params.path)


def parsed(line: str, number: int, path: Path) -> dict[str, Any]:
    """The JSON object of one line."""
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

"""Rows of a table that lies as a file in an installed Python package (CSV, TSV, JSON lines or Parquet).

The package is found, never run.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, missing_extra, unknown
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.tables import csv_rows, json_lines, parquet_rows

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")


class Params(Settings):
    """Which table of which package."""

    module: str
    """Import name of the package."""
    table: str
    """File inside it, e.g. `data/wine.csv`."""
    encoding: str = "utf-8"
    """How the file's bytes are text, e.g. utf-8, cp1252, utf-16."""


@plugin
def package(params: Params) -> Iterator[dict[str, Any]]:
    """Yield one dict a row of the table.

    Raises:
        MissingExtraError: the package is not installed.
        NotFoundError: it has no such file; the tables that it has are listed.
        AskError: the file is no table.
    """
    path = _find(params)
    if path.suffix == ".parquet":
        return parquet_rows(path)
    if path.suffix == ".jsonl":
        return (record for _, record in json_lines(path, encoding=params.encoding))
    return csv_rows(path, encoding=params.encoding, delimiter="\t" if path.suffix == ".tsv" else ",")


def _find(params: Params) -> Path:
    top = params.module.split(".")[0]
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra(top, "source plug-in 'package'")
    folder = Path(spec.submodule_search_locations[0]).joinpath(*params.module.split(".")[1:])
    path = (folder / params.table).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise AskError(f"'{params.table}' leads out of the package '{params.module}'.", code="bad_table", param="table")
    if path.suffix not in KINDS:
        raise AskError(
            f"Reading '{params.table}' of '{params.module}' failed: a table must end in {', '.join(KINDS)}.",
            code="bad_table",
            param="table",
        )
    if not path.is_file():
        tables = [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.suffix in KINDS]
        raise unknown(f"table in '{params.module}'", params.table, tables, param="table", code="table_not_found")
    return path

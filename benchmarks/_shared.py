"""What benchmarks share: a store of their own, tasks on the public sets, paired figures, tables."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from sartor.core.predict import Floats
from sartor.core.task import Task
from sartor.evaluation.statistics import bootstrap_means
from sartor.interfaces.settings import Settings
from sartor.pipeline.workshop import Workshop

ROOT = Path(__file__).parents[1]
HOME = Path(os.environ.get("SARTOR_BENCH_HOME", ROOT / ".sartor" / "bench"))
"""Kept between benchmarks, so that what one made another finds; remove the folder to start anew."""


def data_folder() -> Path:
    """The public data sets.

    Raises:
        SystemExit: they are not there; says what to set.
    """
    folder = Path(os.environ.get("SARTOR_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"There are no data sets in {folder}: set SARTOR_DATA to their folder.")
    return folder


def workshop(home: Path = HOME) -> Workshop:
    """A workshop on the benchmarks' own store, whose key is its own too; progress goes to the log."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SARTOR_KEY", str(home.parent / "bench.key"))
    return Settings.read(home).workshop(_log)


def _log(what: str, done: int, total: int) -> None:
    if done == 0 and os.environ.get("SARTOR_BENCH_VERBOSE"):
        print(f"  {what} (of {total})", flush=True)


def task(body: dict[str, Any]) -> Task:
    """A task from a plain dict."""
    return Task.model_validate(body)


def paired(gains: Floats, *, confidence: float = 0.95, seed: int = 0) -> dict[str, float]:
    """Mean of paired differences with its bootstrap interval; (rows,) in."""
    (found,) = bootstrap_means(np.asarray(gains, dtype=np.float64)[:, None], confidence=confidence, seed=seed)
    return {"value": found.value, "low": found.low, "high": found.high}


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people; columns that end in '#' are numbers."""
    from rich import print as out

    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in columns:
        table.add_column(column.removesuffix("#"), justify="right" if column.endswith("#") else "left")
    for row in rows:
        table.add_row(*(f"{v:,.3f}" if isinstance(v, float) else str(v) for v in row))
    out(table)


def result(name: str, figures: dict[str, Any], goals: dict[str, bool]) -> dict[str, Any]:
    """The one JSON object that ends a benchmark."""
    return {"benchmark": name, "figures": figures, "goals": goals, "met": all(goals.values())}

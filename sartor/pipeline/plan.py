"""What `sartor run` would do: each step, whether it is cached, and about how long it takes. Makes nothing.

Times come from earlier runs of the same plug-in in this store, row for row; where there is none, from the recipe's own
rule of thumb. Rows are read and, if they were curated before, counted; otherwise they are counted as they come.
"""

import importlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sartor.core.records import Base, Dataset, Run, Variant
from sartor.core.rows import Snapshot
from sartor.core.task import Candidate, Task
from sartor.hub.catalogue_reading import entry
from sartor.pipeline.answer import answer_step
from sartor.pipeline.bases import fetch_step
from sartor.pipeline.check import check_plugins
from sartor.pipeline.curate import curate_step, read
from sartor.pipeline.make import RECIPES, ROLES, Order, upstream_of
from sartor.pipeline.memo import Step, done_before
from sartor.pipeline.workshop import Workshop

CURATE_MS, ANSWER_MS, FETCH_SECONDS = 0.3, 2.0, 60.0
"""Rules of thumb: CPU milliseconds a row, seconds a base."""


@dataclass(frozen=True)
class Planned:
    """One step of the plan."""

    verb: str
    what: str
    cached: bool
    seconds: float
    """About how many CPU seconds it takes (of a cached step: took)."""
    basis: str
    """How that is known."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def plan(shop: Workshop, task: Task, base_dir: Path) -> list[Planned]:
    """The steps of a run, in order.

    Raises:
        AskError, NotFoundError: the task names what is not there, or its rows can't be read.
    """
    check_plugins(task)
    reading = read(shop, task, base_dir)
    step = curate_step(task, reading)
    done = done_before(shop, step)
    lines = [_line(shop, step, "rows to data set", done, len(reading.rows), CURATE_MS)]
    dataset = shop.store.ledger.get(done.outputs["data"]) if done else None
    if isinstance(dataset, Dataset):
        lines += _candidates(shop, task, dataset, dataset.counts["train"])
    else:
        lines += _candidates(shop, task, None, len(reading.rows))
    return lines


def plan_candidates(shop: Workshop, task: Task, dataset: Dataset) -> list[Planned]:
    """The steps that making the task's candidates of a data set takes."""
    return list(_candidates(shop, task, dataset, dataset.counts["train"]))


def _candidates(shop: Workshop, task: Task, dataset: Dataset | None, rows: int) -> Iterator[Planned]:
    made: dict[str, Variant] = {}
    for candidate in sorted(task.candidates, key=lambda c: len(c.of)):
        fetched = True
        if candidate.base:
            step = fetch_step(entry(candidate.base))
            done = done_before(shop, step)
            fetched = done is not None
            yield _line(shop, step, f"base {candidate.base}", done, 1, 1000.0 * FETCH_SECONDS)
        yield from _candidate(shop, task, candidate, dataset, rows, made, fetched=fetched)


def _candidate(
    shop: Workshop,
    task: Task,
    candidate: Candidate,
    dataset: Dataset | None,
    rows: int,
    made: dict[str, Variant],
    *,
    fetched: bool,
) -> Iterator[Planned]:
    """Making and asking one candidate; cached only if everything that goes into it is."""
    per_row = _rule_of_thumb(candidate)
    if dataset is None or not fetched or not set(candidate.of) <= set(made):
        yield _forecast(shop, "make", f"training.recipes/{candidate.recipe}", candidate.title, rows, per_row)
        yield _forecast(shop, "answer", "", candidate.title, rows // 4, ANSWER_MS)
        return
    base = shop.store.ledger.get(_fetched(shop, candidate.base)) if candidate.base else None
    parts = {role: made[title] for role, title in zip(ROLES, candidate.of, strict=False)}
    assert base is None or isinstance(base, Base)
    rows_unread = Snapshot({}, dataset.labels)  # the step is told by the data set's digest, not by its rows
    step = Order(
        task, candidate, dataset, rows_unread, base, parts, task.seed, upstream=upstream_of(shop, candidate)
    ).step
    done = done_before(shop, step)
    yield _line(shop, step, candidate.title, done, rows, per_row)
    variant = shop.store.ledger.get(done.outputs["variant"]) if done else None
    if not isinstance(variant, Variant):
        yield _forecast(shop, "answer", "", candidate.title, rows // 4, ANSWER_MS)
        return
    made[candidate.title] = variant
    for split in ("validation", "test"):
        step = answer_step(variant, dataset, split, task.data.slices)
        what = f"{candidate.title}: {split}"
        yield _line(shop, step, what, done_before(shop, step), dataset.counts[split], ANSWER_MS)


def _fetched(shop: Workshop, base: str) -> str:
    done = done_before(shop, fetch_step(entry(base)))
    assert done is not None
    return done.outputs["base"]


def _rule_of_thumb(candidate: Candidate) -> float:
    """CPU milliseconds a training row, as the recipe's file states it (`MS_PER_ROW`), 10 where it does not."""
    stated = getattr(importlib.import_module(RECIPES.take(candidate.recipe).module), "MS_PER_ROW", {})
    return float(stated.get(candidate.size, 10.0))


def _line(shop: Workshop, step: Step, what: str, done: Run | None, rows: int, ms_per_row: float) -> Planned:
    if done is not None:
        return Planned(step.verb, what, cached=True, seconds=done.cpu_seconds, basis="done before")
    return _forecast(shop, step.verb, step.plugin, what, rows, ms_per_row)


def _forecast(shop: Workshop, verb: str, plugin: str, what: str, rows: int, ms_per_row: float) -> Planned:
    fields = {"verb": verb, "status": "done"} | ({"plugin": plugin} if plugin else {})
    earlier = [run.cpu_seconds / n for run in _runs(shop, fields) if (n := _rows_of(shop, run, verb))]
    if earlier:
        each = sorted(earlier)[len(earlier) // 2]
        return Planned(verb, what, cached=False, seconds=each * rows, basis=f"{len(earlier)} earlier runs here")
    return Planned(verb, what, cached=False, seconds=ms_per_row * rows / 1000.0, basis="rule of thumb")


def _runs(shop: Workshop, fields: dict[str, str]) -> list[Run]:
    return shop.store.ledger.find(Run, limit=10, **fields)


def _rows_of(shop: Workshop, run: Run, verb: str) -> int:
    """Rows that an earlier run worked on; 0 where that is not known."""
    if verb == "fetch":
        return 1
    digest = run.outputs.get("data") if verb == "curate" else run.inputs.get("data")
    dataset = shop.store.ledger.get(digest) if digest else None
    if not isinstance(dataset, Dataset):
        return 0
    if verb == "curate":
        return sum(dataset.counts.values())
    return dataset.counts[str(run.params["split"])] if verb == "answer" else dataset.counts["train"]

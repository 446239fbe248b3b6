"""Sources to an immutable data set. The rows are read each time; only rows that changed are curated again."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sartor.core.canonical import digest
from sartor.core.errors import RefusedError
from sartor.core.records import Dataset, Record
from sartor.core.rows import Snapshot
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.data.reading import Reading, read_sources
from sartor.data.snapshot import read_snapshot
from sartor.pipeline.memo import Step, once
from sartor.pipeline.teachers import teachers_of, terms_of
from sartor.pipeline.workshop import Workshop

CURATORS = Shelf("sartor.data.curators")


def read(shop: Workshop, task: Task, base_dir: Path) -> Reading:
    """The rows of all sources, as they are now, without those that were recalled.

    Raises:
        RefusedError: all of them were.
    """
    from sartor.pipeline.alteration import without_recalled
    from sartor.pipeline.recall_kept import recalls

    found = read_sources(task, base_dir, shop.progress, lambda teacher: terms_of(shop, task, teacher))
    left = without_recalled(found, recalls(shop))
    if found.rows and not left.rows:
        raise RefusedError(
            f"All rows of task '{task.name}' were recalled. See: sartor recall list. Give the task another source.",
            code="all_recalled",
        )
    return left


def curate_step(task: Task, reading: Reading) -> Step:
    """The memo's view: the rows themselves, and everything in the task that bears on curating them."""
    rows = digest([_row_digest(asdict(row)) for row in reading.rows])
    contract = task.body()
    params = {part: contract[part] for part in ("data", "input", "labels", "relabel")}
    modules = ("sartor.data.curate", *(CURATORS.take(pick.use).module for pick in task.data.curate))
    return Step("curate", task.name, "data", modules, {"rows": rows}, params, task.seed)


def curate(shop: Workshop, task: Task, base_dir: Path, reading: Reading) -> Dataset:
    """The task's data set: found if these rows were curated so before, else made."""

    def work(folder: Path) -> dict[str, Record]:
        from sartor.data.curate import build_dataset

        draft = build_dataset(task, folder, base_dir=base_dir, reading=reading, progress=shop.progress)
        return {
            "data": Dataset(
                name=f"{task.name}/data",
                files=shop.store.vault.put_folder(folder),
                made_by="data",
                licence=draft.licence,
                # Examples are texts of rows: they stay in the datasheet, where a sweep or an erasure reaches them.
                facts={name: fact for name, fact in draft.facts.items() if name != "near_examples"}
                | teachers_of(reading.sources),
                task=task.name,
                labels=draft.labels,
                counts=draft.counts,
            )
        }

    made = once(shop, curate_step(task, reading), work)["data"]
    assert isinstance(made, Dataset)
    return made


def open_dataset(shop: Workshop, dataset: Dataset) -> Snapshot:
    """The rows of a data set, verified."""
    return read_snapshot(shop.store.folder(dataset))


def _row_digest(row: dict[str, Any]) -> list[Any]:
    columns = [sorted(row[part].items()) for part in ("inputs", "extra")]
    return [row["id"], row["text"], row["label"], row["group"], row["time"], row["source"], *columns]

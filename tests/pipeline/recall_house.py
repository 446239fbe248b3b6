"""Three small tasks on rows of several sources: one never saw the bad source, one did later, one always did."""

import csv
import random
import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.kill import ENDS, LABELS, VERBS
from sartor.core.task import Task
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

BAD = "csv:bad.csv"
SOURCES = {"clean": ["a", "b"], "later": ["a", "b"], "always": ["a", "bad"]}


def task(name: str, files: list[str], **fields) -> Task:
    sources = [
        {"use": "csv", "path": f"{file}.csv", "licence": "CC0-1.0" if file == "bad" else "owned"} for file in files
    ]
    body = {
        "name": name,
        "data": {"sources": sources},
        "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
        "candidates": [{"recipe": "linear", "size": "small"}],
        "gate": {"min_rows": 30, "guards": {}, "margin": 1.0},
        "wheel": {"ship": "auto"},
        "seed": sum(name.encode()),  # else equal tasks would share what is made
    }
    return Task.model_validate(body | fields)


def write_sources(folder: Path, rows: int = 220) -> None:
    """Each file its own rows, the same every time."""
    draw = random.Random(3)
    seen: set[str] = set()
    for file in ("a", "b", "bad"):
        with (folder / f"{file}.csv").open("w", newline="") as opened:
            write = csv.writer(opened)
            write.writerow(["text", "label"])
            count = 0
            while count < rows:
                label = draw.choice(sorted(LABELS))
                text = (
                    f"{draw.choice(LABELS[label])} {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)} {file}"
                )
                if text not in seen:
                    seen.add(text)
                    count += 1
                    write.writerow([text, label])


def fill(shop: Workshop, folder: Path) -> None:
    """Make and release all three; `later` a second time, with the bad source."""
    write_sources(folder)
    for name, files in SOURCES.items():
        done = run(shop, task(name, files), folder)
        assert done.version, (name, done.decision.reasons)
    done = run(shop, task("later", ["a", "b", "bad"]), folder)
    assert done.version == "later@v2", (done.version, done.decision.verdict, done.decision.reasons)


def opened(folder: Path) -> Workshop:
    """A workshop on the store in a folder."""
    return Workshop(store=open_store(folder / "home"), key=folder / "key", cache=folder, who="tester")


@lru_cache
def _filled() -> "TemporaryDirectory[str]":
    """Made once a process, removed at its end."""
    kept = TemporaryDirectory(prefix="recall-house-")
    shop = opened(Path(kept.name))
    fill(shop, Path(kept.name))
    shop.store.close()
    return kept


def filled(folder: Path) -> Workshop:
    """A workshop on a copy, in an empty folder, of the store in which all three tasks are live."""
    shutil.copytree(_filled().name, folder, dirs_exist_ok=True)
    return opened(folder)

"""A small task on generated rows, and a workshop on a store of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kill import write_rows
from sartor.core.task import Task
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

BODY = {
    "name": "desk",
    "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
    "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}},
}


@pytest.fixture(scope="session")
def rows_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "rows.jsonl")
    return folder


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, rows_folder: Path) -> Path:
    """A store in which the small task was run once; tests work on copies."""
    folder = tmp_path_factory.mktemp("stocked")
    store = open_store(folder / "home")
    run(
        Workshop(store=store, key=folder / "signing.key", cache=folder / "cache"),
        Task.model_validate(BODY),
        rows_folder,
    )
    store.close()
    return folder


@pytest.fixture
def home(stocked: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A workshop on a copy of the store in which the small task was run."""
    shutil.copytree(stocked, tmp_path / "copy")
    store = open_store(tmp_path / "copy" / "home")
    yield Workshop(store=store, key=tmp_path / "copy" / "signing.key", cache=tmp_path / "copy" / "cache", who="tester")
    store.close()


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    store = open_store(tmp_path / "home")
    yield Workshop(store=store, key=tmp_path / "signing.key", cache=tmp_path / "cache", who="tester")
    store.close()


@pytest.fixture
def desk() -> Task:
    return Task.model_validate(BODY)

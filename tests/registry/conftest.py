"""A fresh store for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_stock import stocked

from sartor.store.opening import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = stocked(open_store(tmp_path / "store"))
    yield opened
    opened.close()

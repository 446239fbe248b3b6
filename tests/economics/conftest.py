"""A workshop on a store of its own, whose books are in euros."""

import pytest

from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store


@pytest.fixture
def shop(tmp_path):
    store = open_store(tmp_path / "home")
    yield Workshop(store=store, key=tmp_path / "key", cache=tmp_path / "cache", who="ann", rates={"USD": 0.5})
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_shop(request, tmp_path):
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    store = open_store(tmp_path / "home", ledger_url=url)
    yield Workshop(store=store, key=tmp_path / "key", cache=tmp_path / "cache", who="ann", rates={"USD": 0.5})
    store.close()

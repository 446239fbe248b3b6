"""One ledger and one vault on each kind of ground, and records to put into them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sartor.core.licence import Licence
from sartor.core.records import Variant
from sartor.store.ledger import Ledger
from sartor.store.opening import Store, open_store
from sartor.store.vault import Vault

GROUNDS = [
    pytest.param("sqlite"),
    pytest.param("postgres", marks=pytest.mark.postgres),
]


@pytest.fixture
def make() -> Callable[..., Variant]:
    """A variant that differs by its number."""

    def variant(number: int, **changes: Any) -> Variant:
        facts: dict[str, Any] = {
            "name": f"variant {number}",
            "licence": Licence.of("owned"),
            "task": "triage",
            "recipe": "linear",
            "engine": "linear",
            "labels": ("no", "yes"),
            "seed": number,
        }
        return Variant(**facts | changes)

    return variant


@pytest.fixture(params=GROUNDS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Store]:
    """Opens the same store, as often as one likes."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None

    def opened(**how: Any) -> Store:
        store = open_store(tmp_path / "store", ledger_url=url, **how)
        request.addfinalizer(store.close)
        return store

    return opened


@pytest.fixture
def ledger(opener: Callable[..., Store]) -> Iterator[Ledger]:
    """An empty ledger."""
    return opener().ledger


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def vault_opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Store]:
    """Opens a store with its files on one kind of ground; `host` names a machine with a folder of its own."""
    how: dict[str, Any] = {}
    if request.param == "s3":
        bucket = request.getfixturevalue("s3_bucket")
        how = {"vault_url": f"{bucket.url}/some/prefix", "storage_options": bucket.options}

    def opened(host: str = "here", **more: Any) -> Store:
        store = open_store(tmp_path / (host if how else "here"), **how, **more)
        request.addfinalizer(store.close)
        return store

    return opened


@pytest.fixture
def vault(vault_opener: Callable[..., Store]) -> Vault:
    """An empty vault."""
    return vault_opener().vault


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on disk."""
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()

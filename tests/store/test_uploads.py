"""Files that people sent: each tenant's own, gone when they expire; no sweep takes the bytes of one that is there."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sartor.core.errors import NotFoundError
from sartor.store.backup import backup, restore
from sartor.store.credentials import EVERY_TENANT
from sartor.store.gc import collect
from sartor.store.opening import Store, open_store
from sartor.store.uploads import Upload
from sartor.store.verify import verify as verify_store


def keep(store: Store, name: str, tenant: str = "acme", expires: float | None = None) -> Upload:
    data = f"rows of {name}".encode()
    content = store.vault.put_stream(io.BytesIO(data))
    item = Upload(f"file-{name}", tenant, "fine-tune", f"{name}.jsonl", len(data), content, time.time(), expires)
    return store.uploads.add(item)


def test_a_file_is_its_tenants_alone(opener: Callable[..., Store]) -> None:
    store = opener()
    uploads = store.uploads
    one, two = keep(store, "one"), keep(store, "two")
    theirs = keep(store, "theirs", "other")
    assert uploads.get(one.id, "acme") == uploads.get(one.id, EVERY_TENANT) == one
    with pytest.raises(NotFoundError, match=r"There is no file 'file-theirs'. .*Known: file-one, file-two"):
        uploads.get(theirs.id, "acme")
    with pytest.raises(NotFoundError):
        uploads.remove(theirs.id, "acme")
    assert uploads.all("acme") == [two, one]
    assert uploads.all("acme", order="asc", limit=1) == [one]
    assert uploads.all("acme", after=two.id) == [one]
    assert uploads.all("acme", after=one.id, order="asc") == [two]
    assert uploads.all("acme", purpose="batch") == []
    assert uploads.all(EVERY_TENANT) == [theirs, two, one]
    # Kept once: an id that is known keeps what is known.
    assert uploads.add(Upload(one.id, "other", "x", "x", 1, "x", 0.0)) == one


def test_bytes_stay_as_long_as_a_file_that_names_them(opener: Callable[..., Store]) -> None:
    store = opener()
    kept, gone = keep(store, "kept"), keep(store, "gone")
    past = keep(store, "past", expires=time.time() - 1)
    store.uploads.remove(gone.id, "acme")
    with pytest.raises(NotFoundError):
        store.uploads.get(past.id, "acme")
    swept = collect(store, dry_run=True, grace=0.0)
    assert {item.digest for item in swept.files} == {gone.content, past.content}
    collect(store, dry_run=False, grace=0.0)
    assert store.vault.read(kept.content) == b"rows of kept"
    assert not store.vault.has(gone.content)
    assert store.uploads.sweep() == 0  # the sweep of files forgot what had expired
    assert verify_store(store) == []
    store.vault.remove(kept.content)
    (fault,) = verify_store(store)
    assert "file-kept" in fault.says


def test_a_backup_has_them(opener: Callable[..., Store], tmp_path: Path) -> None:
    store = opener()
    kept = keep(store, "kept")
    backup(store, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "again")
    again = open_store(tmp_path / "again")
    assert again.uploads.all("acme") == [kept]
    assert again.vault.read(kept.content) == b"rows of kept"
    again.close()

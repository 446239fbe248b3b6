"""Traffic in a backup: every record comes back; the keys of people lie apart, and erased people stay erased."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from traffic_sample import content, exchange, feedback

from sartor.core.errors import AskError, StoreError
from sartor.store.backup import backup, keys_of, restore
from sartor.store.doctor import examine
from sartor.store.gc import collect
from sartor.store.opening import Store, open_store
from sartor.store.traffic.segment import segments
from sartor.store.traffic.treatment import Treatment
from sartor.store.verify import verify

SEALED = Treatment(encrypt=True, days=60_000)


@pytest.fixture
def full(opener: Callable[..., Store]) -> Store:
    """Old files, a segment that is being written, feedback, two people."""
    store = opener()
    log = store.traffic.log("w0")
    for number in range(6):
        log.append(exchange(number, subject=store.traffic.mark(f"user {number % 2}")), content(number), how=SEALED)
    log.close()
    store.traffic.compact(days=0, now=2e9)
    log = store.traffic.log("w0")
    for number in range(6, 9):
        log.append(exchange(number, business=store.traffic.mark("order")), content(number), how=SEALED)
    log.append_feedback(feedback(1, exchange="", business=store.traffic.mark("order")), sync=False)
    log.flush()
    return store


@contextmanager
def restored(source: Path, target: Path, **how: Any) -> Iterator[Store]:
    assert restore(source, target, **how).faulty == ()
    with closing(open_store(target, **how)) as store:
        store.traffic.index.catch_up()
        yield store


def test_everything_comes_back_on_either_database(full: Store, tmp_path: Path) -> None:
    with segments(full.root / "traffic" / "log")[0].open("ab") as torn:
        torn.write(b"half a record")
    done = backup(full, tmp_path / "copy")
    assert done.keys == tmp_path / "copy.subjects" == keys_of(tmp_path / "copy")
    assert done.faulty == ()
    assert done.keys.stat().st_mode & 0o777 == 0o700
    kept_in_backup = b"".join(p.read_bytes() for p in (tmp_path / "copy").rglob("*") if p.is_file())
    assert b"question 1" not in kept_in_backup
    full.traffic.index.catch_up()
    with restored(tmp_path / "copy", tmp_path / "new") as store:
        index = store.traffic.index
        assert index.exchanges("acme").rows == full.traffic.index.exchanges("acme").rows
        assert [o.feedback for o in index.outcomes("acme", "triage")] == [
            o.feedback for o in full.traffic.index.outcomes("acme", "triage")
        ]
        assert store.traffic.mark("order") == full.traffic.mark("order")
        for number in range(9):
            assert store.traffic.read("acme", exchange(number).id).content == content(number)
        log = store.traffic.log("w0")  # cuts what was half written
        log.append(exchange(20))
        log.close()
        assert index.catch_up() == 1
        assert verify(store) == []


def test_without_the_keys_accounting_comes_back_and_peoples_content_does_not(full: Store, tmp_path: Path) -> None:
    backup(full, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy.subjects")
    with restored(tmp_path / "copy", tmp_path / "new") as store:
        assert len(store.traffic.index.exchanges("acme").rows) == 9
        states = [store.traffic.read("acme", exchange(n).id).state for n in (0, 8)]
        assert states == ["erased", "kept"]


def test_a_person_erased_in_the_log_stays_erased_though_old_keys_come_back(full: Store, tmp_path: Path) -> None:
    backup(full, tmp_path / "before")
    full.traffic.erase("acme", "user 1")
    backup(full, tmp_path / "after")
    shutil.rmtree(tmp_path / "after.subjects")
    shutil.copytree(tmp_path / "before.subjects", tmp_path / "after.subjects")
    with restored(tmp_path / "after", tmp_path / "new") as store:
        states = [store.traffic.read("acme", exchange(n).id).state for n in (0, 1)]
        assert states == ["kept", "erased"]


def test_a_damaged_copy_is_refused_and_keys_of_another_backup_are_not_overwritten(full: Store, tmp_path: Path) -> None:
    backup(full, tmp_path / "copy")
    (path,) = (tmp_path / "copy" / "traffic" / "log").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="does not fit the manifest"):
        restore(tmp_path / "copy", tmp_path / "new")
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(AskError, match=r"copy\.subjects is there already"):
        backup(full, tmp_path / "copy")


def test_health_tells_of_damage_and_sweeping_leaves_traffic_alone(full: Store) -> None:
    before = sorted(p for p in (full.root / "traffic").rglob("*"))
    collect(full, grace=0, dry_run=False)
    assert sorted(p for p in (full.root / "traffic").rglob("*")) == before
    assert verify(full) == []
    (path,) = segments(full.root / "traffic" / "log")
    data = bytearray(path.read_bytes())
    data[data.index(b"question 6")] ^= 1
    path.write_bytes(data)
    (fault,) = verify(full)
    assert fault.digest == path.name
    assert [s.what for s in examine(full) if s.level == "error"] == ["contents"]


def test_a_store_without_traffic_has_none_in_its_backup(store: Store, tmp_path: Path) -> None:
    assert backup(store, tmp_path / "copy").keys is None
    assert not (tmp_path / "copy.subjects").exists()
    with restored(tmp_path / "copy", tmp_path / "new") as again:
        assert again.traffic.index.exchanges(None).rows == []

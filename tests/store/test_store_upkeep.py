"""Backup, restore, sweep, verification and doctor, on both databases and both kinds of vault."""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from sartor.core.errors import AskError, ConflictError, StoreError
from sartor.core.licence import Licence
from sartor.core.records import Artifact, Dataset, Decision, Report, Run, TaskRecord, Variant
from sartor.store.backup import backup, restore
from sartor.store.contents import beside, rows
from sartor.store.disk import Disk
from sartor.store.doctor import examine
from sartor.store.gc import collect
from sartor.store.ledger import Change
from sartor.store.opening import Store, open_store
from sartor.store.schema import REVISION, record
from sartor.store.verify import verify

Opener = Callable[..., Store]
Make = Callable[..., Variant]
OWNED = Licence.of("owned")


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def age(store: Store, seconds: float = 10_000.0) -> None:
    """Let everything in the store be as old as this."""
    then = time.time() - seconds
    for path in store.root.rglob("*"):
        os.utime(path, (then, then))


def fill(store: Store, make: Make) -> dict[str, str]:
    """A small chain, from data to a pointer, and a cache. Name of a file -> its digest."""
    vault = store.vault
    files = {name: vault.put_bytes(name.encode() * 1000) for name in ("rows", "weights", "answers", "cache", "orphan")}
    data = Dataset(
        name="d", files={"train": files["rows"]}, licence=OWNED, task="triage", labels=("no",), counts={"train": 1}
    )
    variant = make(1, files={"weights": files["weights"]}, parents={"data": data.digest}, measured={"seconds": 0.1})
    task = TaskRecord(name="triage", contract={"cost": 0.1})
    report = Report(subject=variant.digest, data=data.digest, files={"answers.parquet": files["answers"]})
    decision = Decision(
        task="triage", contract=task.digest, candidate=variant.digest, incumbent="person", verdict="ship"
    )
    cache = Artifact(name="embeddings", files={"shard": files["cache"]}, licence=OWNED)
    run = Run(verb="make", key="k", inputs={"data": data.digest}, outputs={"variant": variant.digest})
    store.ledger.put_many([data, variant, task, report, decision, cache, run])
    store.ledger.point("triage@live", variant.digest, expected=None, decision=decision.digest)
    store.ledger.move_many([Change("triage@old", variant.digest, None)], decision="x")
    store.ledger.move_many([Change("triage@old", None, variant.digest)], decision="y")
    return files


def everything(store: Store) -> Any:
    with store.ledger.database.snapshot() as connection:
        kept = [(row.digest, row.kind, row.seal, json.loads(row.body)) for row in rows(connection)]
        return kept, beside(connection, "pointers"), beside(connection, "moves"), sorted(store.vault.digests())


def test_a_backup_restores_to_the_same_store(opener: Opener, make: Make, tmp_path: Path) -> None:
    store = opener()
    fill(store, make)
    copied = backup(store, tmp_path / "backup")
    assert (copied.records, copied.files, copied.faulty) == (7, 5, ())
    back = restore(tmp_path / "backup", tmp_path / "new")
    assert (back.records, back.files, back.faulty) == (7, 5, ())
    with closing(open_store(tmp_path / "new")) as new:
        assert everything(new) == everything(store)
        variant = new.ledger.find(Variant, task="triage")[0]
        assert (new.folder(variant) / "weights").read_bytes() == b"weights" * 1000
        assert new.ledger.children(variant.digest) == store.ledger.children(variant.digest)
        new.ledger.put(make(2))  # serial numbers go on where they stood
        assert new.ledger.find(Variant, limit=1)[0].seed == 2


@pytest.mark.postgres
@pytest.mark.s3
def test_a_store_moves_to_a_server_and_a_bucket(
    store: Store, make: Make, tmp_path: Path, postgres_url: str, s3_bucket: Any
) -> None:
    fill(store, make)
    backup(store, tmp_path / "backup")
    where = {"ledger_url": postgres_url, "vault_url": s3_bucket.url, "storage_options": s3_bucket.options}
    assert restore(tmp_path / "backup", tmp_path / "moved", **where).faulty == ()
    with closing(open_store(tmp_path / "elsewhere", **where)) as moved:
        assert everything(moved) == everything(store)
        moved.ledger.put(make(2))
        backup(moved, tmp_path / "second")
    restore(tmp_path / "second", tmp_path / "back")
    with closing(open_store(tmp_path / "back")) as back:
        assert back.ledger.count(Variant) == 2


def test_a_backup_is_a_copy_that_shares_nothing(store: Store, make: Make, tmp_path: Path) -> None:
    files = fill(store, make)
    backup(store, tmp_path / "backup")
    overwrite(store.vault.disk.place(files["weights"]), b"bad")
    assert restore(tmp_path / "backup", tmp_path / "new").faulty == ()


def test_a_damaged_file_does_not_stop_a_backup_but_is_named(store: Store, make: Make, tmp_path: Path) -> None:
    files = fill(store, make)
    overwrite(store.vault.disk.place(files["weights"]), b"bad")
    store.vault.remove(files["rows"])
    copied = backup(store, tmp_path / "backup")
    assert copied.files == 3
    assert [digest for digest in files.values() for says in copied.faulty if digest in says] == [
        files["rows"],
        files["weights"],
    ]
    assert len(restore(tmp_path / "backup", tmp_path / "new").faulty) == 2


def test_a_backup_goes_into_a_new_folder_only(store: Store, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    with pytest.raises(AskError, match="new folder"):
        backup(store, tmp_path / "backup")


def test_a_backup_that_fails_leaves_nothing(store: Store, make: Make, tmp_path: Path) -> None:
    fill(store, make)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="Tried writing"):
        backup(store, tmp_path / "file" / "backup")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "store"]


def test_what_a_killed_backup_left_is_no_hindrance(store: Store, make: Make, tmp_path: Path) -> None:
    fill(store, make)
    (tmp_path / "backup.part" / "vault").mkdir(parents=True)
    assert backup(store, tmp_path / "backup").files == 5


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AskError, match="no backup"):
        restore(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_flipped_byte_in_a_backup_is_found(store: Store, make: Make, tmp_path: Path) -> None:
    files = fill(store, make)
    backup(store, tmp_path / "backup")
    for name in ("records.jsonl", "pointers.jsonl", "moves.jsonl"):
        path = tmp_path / "backup" / name
        right = path.read_bytes()
        path.write_bytes(right[:50] + bytes([right[50] ^ 1]) + right[51:])
        with pytest.raises(StoreError, match=f"{name} is damaged"):
            restore(tmp_path / "backup", tmp_path / "new")
        path.write_bytes(right)
    assert not (tmp_path / "new").exists()
    overwrite(Disk(tmp_path / "backup" / "vault", tmp_path).place(files["rows"]), b"bad")
    with pytest.raises(StoreError, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "new")


def test_a_restore_never_mixes_two_stores(opener: Opener, make: Make, tmp_path: Path) -> None:
    store = opener()
    fill(store, make)
    backup(store, tmp_path / "backup")
    with closing(open_store(tmp_path / "other")) as other:
        other.ledger.put(make(9))
    with pytest.raises(ConflictError, match="not empty"):
        restore(tmp_path / "backup", tmp_path / "other")
    with closing(open_store(tmp_path / "other")) as other:
        assert other.ledger.count(Variant) == 1
        assert other.ledger.pointers() == []


def test_a_backup_holds_one_instant_while_work_goes_on(opener: Opener, make: Make, tmp_path: Path) -> None:
    store, stop = opener(), threading.Event()
    fill(store, make)

    def work() -> None:
        number, at = 100, None
        while not stop.is_set():
            variant = make(number, files={"w": store.vault.put_bytes(str(number).encode())})
            store.ledger.put(variant)
            store.ledger.point("busy@live", variant.digest, expected=at, decision="")
            number, at = number + 1, variant.digest

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for n in range(3):
            assert backup(store, tmp_path / f"backup{n}").faulty == ()
    finally:
        stop.set()
        worker.join()
    for n in range(3):
        assert restore(tmp_path / f"backup{n}", tmp_path / f"new{n}").faulty == ()


def test_the_sweep_takes_what_nothing_refers_to(opener: Opener, make: Make) -> None:
    store = opener()
    files = fill(store, make)
    variant = store.ledger.find(Variant)[0]
    cache = store.ledger.find(Artifact)[0]
    store.folder(variant)
    store.folder(cache)
    (store.temp / "half-made").mkdir()
    (store.temp / "half-made" / "weights").write_bytes(b"x" * 77)
    age(store)
    would = collect(store, grace=5_000)
    assert {item.digest for item in would.files} == {files["cache"], files["orphan"]}
    assert {path.name for path in would.leftovers} == {"half-made", cache.digest}
    assert (would.bytes, would.kept, would.dry_run) == (5_000 + 6_000 + 77, 3, True)
    assert len(list(store.vault.digests())) == 5  # a dry run removes nothing
    assert collect(store, grace=20_000).files == ()
    swept = collect(store, grace=5_000, dry_run=False)
    assert (swept.files, swept.leftovers, swept.bytes) == (would.files, would.leftovers, would.bytes)
    assert set(store.vault.digests()) == {files[name] for name in ("rows", "weights", "answers")}
    assert [path.name for path in store.laid.iterdir()] == [variant.digest]
    assert store.ledger.find(Artifact) == [cache]  # records stay
    assert collect(store, grace=0, dry_run=False).files == ()


def test_the_sweep_keeps_what_a_pointer_once_stood_at(store: Store) -> None:
    digest = store.vault.put_bytes(b"kept")
    one = store.ledger.put(Artifact(name="a", files={"f": digest}, licence=OWNED))
    store.ledger.point("a@live", one, expected=None, decision="")
    store.ledger.move_many([Change("a@live", None, one)], decision="")
    age(store)
    assert collect(store, grace=0, dry_run=False).files == ()


def test_a_stray_file_in_the_vault_disturbs_nothing(store: Store, make: Make, tmp_path: Path) -> None:
    files = fill(store, make)
    stray = store.vault.disk.place(files["rows"]).with_name("notes.txt")
    stray.write_bytes(b"mine")
    age(store)
    assert verify(store) == []
    assert len(collect(store, grace=0, dry_run=False).files) == 2
    assert backup(store, tmp_path / "backup").files == 3
    assert stray.read_bytes() == b"mine"


def test_the_sweep_leaves_work_under_way(store: Store) -> None:
    digest = store.vault.put_bytes(b"young")
    work = store.temp / "training"
    work.mkdir()
    age(store)
    (work / "checkpoint").write_bytes(b"")  # a folder whose content is young is in use
    os.utime(work, (0, 0))
    store.vault.put_bytes(b"young")  # storing again makes young again
    swept = collect(store, grace=5_000, dry_run=False)
    assert (swept.files, swept.leftovers) == ((), ())
    assert store.vault.read(digest) == b"young"


def test_the_sweep_does_not_race_with_a_registration(store: Store, make: Make) -> None:
    stop, faults = threading.Event(), []
    os.utime(store.vault.disk.place(store.vault.put_bytes(b"stray")), (0, 0))  # there is always something to sweep

    def register() -> None:
        for number in range(150):
            digest = store.vault.put_bytes(str(number).encode())
            with suppress(FileNotFoundError):
                os.utime(store.vault.disk.place(digest), (0, 0))  # old, and nothing refers to it: may be swept
            assert store.vault.put_bytes(str(number).encode()) == digest
            variant = make(number, files={"w": digest})
            store.ledger.put(variant)
            if not store.vault.has(digest):
                faults.append(number)
        stop.set()

    worker = threading.Thread(target=register)
    worker.start()
    swept = 0
    while not stop.is_set():
        swept += len(collect(store, grace=5.0, dry_run=False).files)
    worker.join()
    assert faults == []
    assert swept > 0
    assert verify(store) == []


@pytest.mark.s3
def test_the_sweep_of_a_bucket_asks_for_a_long_grace(tmp_path: Path, s3_bucket: Any, make: Make) -> None:
    how = {"vault_url": s3_bucket.url, "storage_options": s3_bucket.options}
    with closing(open_store(tmp_path / "s", **how)) as store:
        fill(store, make)
        with pytest.raises(AskError, match="3600"):
            collect(store, grace=60)
        assert collect(store, grace=3_600, dry_run=False).files == ()
        assert len(list(store.vault.digests())) == 5


def test_a_sound_store_verifies_and_is_called_sound(opener: Opener, make: Make) -> None:
    store = opener()
    fill(store, make)
    assert verify(store) == []
    found = {s.what: s for s in examine(store)}
    assert {"database", "durability", "schema", "file system", "space", "clock", "contents"} <= set(found)
    doubts = {s.what for s in found.values() if s.level != "ok"}
    assert doubts <= {"space", "durability"}  # the throw-away server is run without fsync, and that is said
    assert found["schema"].says == f"tables at {REVISION}, this Sartor at {REVISION}"


def test_every_kind_of_damage_is_found(opener: Opener, make: Make) -> None:
    store = opener()
    files = fill(store, make)
    ledger = store.ledger
    changed = ledger.find(Report)[0].digest
    retimed = ledger.find(Dataset)[0].digest
    broken = ledger.find(TaskRecord)[0].digest
    with ledger.database.write() as connection:
        for digest, old, new in (
            (changed, '"purpose":"inspection"', '"purpose":"comparison"'),
            (retimed, '"created":"2', '"created":"1'),
            (broken, '"contract"', '"kontrakt"'),
        ):
            body = connection.execute(record.select().where(record.c.digest == digest)).one().body
            assert old in body
            altered = update(record).where(record.c.digest == digest).values(body=body.replace(old, new))
            connection.execute(altered)
    overwrite(store.vault.disk.place(files["weights"]), b"bad")
    store.vault.remove(files["answers"])
    (store.vault.disk.folder / "sha256" / "zz").mkdir()
    says = {fault.digest: fault.says for fault in verify(store)}
    assert set(says) == {changed, retimed, broken, files["weights"], files["answers"]}
    assert "was changed" in says[changed]
    assert "seal does not fit" in says[retimed]
    assert "cannot be read" in says[broken]
    assert "is damaged" in says[files["weights"]]
    assert "not in the vault" in says[files["answers"]]
    assert sum(s.level == "error" for s in examine(store)) == 5
    with pytest.raises(StoreError, match="cannot be read"):
        ledger.get(broken)


@pytest.mark.s3
def test_damage_in_a_bucket_is_found_though_the_cache_is_sound(tmp_path: Path, s3_bucket: Any, make: Make) -> None:
    import s3fs

    how = {"vault_url": s3_bucket.url, "storage_options": s3_bucket.options}
    with closing(open_store(tmp_path / "s", **how)) as store:
        files = fill(store, make)
        assert verify(store) == []
        system = s3fs.S3FileSystem(**s3_bucket.options)
        (key,) = [name for name in system.find(s3_bucket.url) if files["weights"][2:] in name]
        system.pipe_file(key, b"bad")
        assert [fault.digest for fault in verify(store)] == [files["weights"]]
        assert list(store.temp.iterdir()) == []


def test_a_damaged_page_is_found_by_the_doctor(store: Store, make: Make) -> None:
    store.ledger.put_many(make(n) for n in range(300))
    store.close()
    path = store.root / "ledger.db"
    data = bytearray(path.read_bytes())
    for page in range(5, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with closing(open_store(store.root)) as again:
        found = examine(again, deep=True)
        assert any(s.level == "error" and "estore the last backup" in s.says for s in found)
    assert path.read_bytes() == data


def test_a_clock_that_was_set_back_is_noticed(opener: Opener, make: Make) -> None:
    store = opener()
    store.ledger.put(make(1, created="2199-01-01T00:00:00.000+00:00"))
    (clock,) = [s for s in examine(store, deep=False) if s.what == "clock"]
    assert clock.level == "warning"
    assert "in the future" in clock.says


def test_a_weaker_setting_of_durability_is_called_an_error(store: Store) -> None:
    with store.ledger.database.reader.connect() as connection:
        connection.execute(text("PRAGMA synchronous=NORMAL"))
    (found,) = [s for s in examine(store, deep=False) if s.what == "durability"]
    assert found.level == "error"

"""What was acknowledged stays: killed processes, full disks, disks that may not be written, writers that race."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from sartor.core.errors import StoreError
from sartor.core.licence import Licence
from sartor.core.records import Artifact, Variant
from sartor.store import engine
from sartor.store.doctor import examine
from sartor.store.engine import sqlite_module
from sartor.store.gc import collect
from sartor.store.opening import Store, open_store
from sartor.store.verify import verify

Make = Callable[..., Variant]

WORKER = """
import os, sys
from pathlib import Path
if sys.argv[2] == "sqlite3":
    sys.modules["pysqlite3"] = None
from sartor.core.errors import ConflictError
from sartor.core.licence import Licence
from sartor.core.records import Artifact
from sartor.store.opening import open_store

store = open_store(Path(sys.argv[1]))
who = sys.argv[3]
for number in range(int(sys.argv[4])):
    data = os.urandom(200_000)
    digest = store.vault.put_bytes(data)
    print("file", digest, flush=True)
    one, two = (
        Artifact(name=f"{who} {number} {n}", files={"f": digest}, parents={"b": "b" * 64}, licence=Licence.of("owned"))
        for n in "12"
    )
    store.ledger.put_many([one, two])
    print("record", one.digest, flush=True)
    print("record", two.digest, flush=True)
    at = store.ledger.resolve("t@live")
    try:
        store.ledger.point("t@live", one.digest, expected=at.digest if at else None, decision=who)
        print("move", one.digest, flush=True)
    except ConflictError:
        print("lost", one.digest, flush=True)
"""


def start(root: Path, binding: str = "pysqlite3", who: str = "w", times: int = 10**6) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(root), binding, who, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def acknowledged(said: str) -> list[tuple[str, str]]:
    """Whole lines only: the last one may be cut off."""
    whole = said[: said.rfind("\n") + 1].splitlines()
    return [(line.split()[0], line.split()[1]) for line in whole]


@pytest.mark.parametrize(("binding", "kills"), [("pysqlite3", 6), ("sqlite3", 4)])
def test_nothing_acknowledged_is_lost_by_a_kill(
    tmp_path: Path, binding: str, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, instants = tmp_path / "store", random.Random(20261125)
    if binding == "sqlite3":
        monkeypatch.setitem(sys.modules, "pysqlite3", None)
    said: list[tuple[str, str]] = []
    for _ in range(kills):
        worker = start(root, binding)
        assert worker.stdout is not None
        heard = "".join(worker.stdout.readline() for _ in range(instants.randint(1, 12)))
        time.sleep(instants.uniform(0.0, 0.02))  # anywhere in the work that follows
        worker.send_signal(signal.SIGKILL)
        said += acknowledged(heard + worker.stdout.read())
        worker.wait()
        worker.stdout.close()
    assert len(said) >= kills
    with closing(open_store(root)) as store:
        for what, digest in said:
            assert store.vault.has(digest) if what == "file" else store.ledger.get(digest)
        history = store.ledger.moves("t@live")
        acked = [digest for what, digest in said if what == "move"]
        assert [m.digest for m in history if m.digest in set(acked)] == acked
        assert [m.before for m in history] == [None, *(m.digest for m in history[:-1])]
        assert [m.seq for m in history] == list(range(1, len(history) + 1))
        assert verify(store) == []
        assert [s for s in examine(store) if s.level == "error"] == []
        collect(store, grace=0, dry_run=False)
        assert list(store.temp.iterdir()) == []
        assert [s for s in examine(store) if s.level == "error"] == []


@pytest.mark.parametrize("number", range(3))
def test_a_kill_while_a_store_is_made_leaves_no_store_or_a_whole_one(tmp_path: Path, number: int, make: Make) -> None:
    root = tmp_path / "store"
    worker = start(root)
    while not (root / "ledger.db").exists() and worker.poll() is None:
        time.sleep(0.001)
    time.sleep(random.Random(number).uniform(0.0, 0.1))  # in the midst of making the tables
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    with closing(open_store(root)) as store:
        store.ledger.put(make(1))
        assert [s for s in examine(store) if s.level == "error"] == []


def test_processes_that_race_on_one_pointer_take_turns(tmp_path: Path) -> None:
    root = tmp_path / "store"
    workers = [start(root, who=f"w{n}", times=15) for n in range(3)]
    said = [acknowledged(worker.communicate()[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    won = {digest for lines in said for what, digest in lines if what == "move"}
    lost = {digest for lines in said for what, digest in lines if what == "lost"}
    with closing(open_store(root)) as store:
        history = store.ledger.moves("t@live")
        assert {m.digest for m in history} == won
        assert not won & lost
        assert len(won) + len(lost) == 45
        assert [m.before for m in history] == [None, *(m.digest for m in history[:-1])]
        assert store.ledger.count(Artifact) == 90


def test_a_ledger_that_another_process_holds_is_said_to_be_locked(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    with (
        closing(open_store(store.root)) as impatient,
        closing(sqlite_module().connect(store.root / "ledger.db", isolation_level=None)) as other,
    ):
        digest = impatient.ledger.put(make(1))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="Another process holds the ledger"):
            impatient.ledger.put(make(2))
        if engine.journal_mode(sqlite_module()) == "wal":
            assert impatient.ledger.get(digest).digest == digest  # readers are not held up
        other.execute("ROLLBACK")
        impatient.ledger.put(make(2))
        assert impatient.ledger.count(Variant) == 2


@pytest.mark.postgres
def test_a_server_that_drops_its_clients_costs_no_later_request(tmp_path: Path, make: Make, postgres_url: str) -> None:
    with closing(open_store(tmp_path, ledger_url=postgres_url)) as store:
        digest = store.ledger.put(make(1))
        drop = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        for _ in range(2):
            with store.ledger.database.write() as connection:
                connection.execute(drop)
            assert store.ledger.get(digest).digest == digest
        with (
            pytest.raises(StoreError, match="cannot be reached") as caught,
            store.ledger.database.write() as connection,
        ):
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert caught.value.code == "store_unreachable"
        assert store.ledger.put(make(2)) == make(2).digest


@pytest.mark.postgres
def test_many_that_write_the_same_records_in_any_order_do_not_block_each_other(
    tmp_path: Path, make: Make, postgres_url: str
) -> None:
    with closing(open_store(tmp_path, ledger_url=postgres_url)) as store:
        made, failures = [make(n) for n in range(200)], []

        def write(number: int) -> None:
            order = random.Random(number).sample(made, len(made))
            try:
                store.ledger.put_many(order)
                for item in order[:10]:
                    store.ledger.put(item)
            except StoreError as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert store.ledger.count(Variant) == 200


def test_a_write_inside_a_write_is_refused_and_does_not_hang(store: Store, make: Make) -> None:
    with pytest.raises(StoreError, match="inside another write"):
        store.ledger.put_many(make(n) for n in range(3) if store.ledger.put(make(n + 10)))
    assert store.ledger.count(Variant) == 0
    store.ledger.put(make(1))


FILLER = """
import resource, sys
from pathlib import Path
from sartor.core.errors import StoreError
from sartor.core.licence import Licence
from sartor.core.records import Artifact
from sartor.store.opening import open_store

store = open_store(Path(sys.argv[1]))
store.vault.put_bytes(b"before")
store.ledger.put(Artifact(name="before", licence=Licence.of("owned")))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    store.vault.put_bytes(b"x" * 400_000)
except StoreError as error:
    print(error.code)
try:
    store.ledger.put_many(Artifact(name=f"{n}" * 100, licence=Licence.of("owned")) for n in range(5000))
except StoreError as error:
    print(error.code)
store.ledger.put(Artifact(name="after", licence=Licence.of("owned")))
store.vault.put_bytes(b"after")
"""


def test_a_write_over_the_limit_leaves_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "store"
    ran = subprocess.run([sys.executable, "-c", FILLER, str(root)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["store_full", "store_failed"]
    with closing(open_store(root)) as store:
        assert [a.name for a in store.ledger.find(Artifact)] == ["after", "before"]
        assert len(list(store.vault.digests())) == 2
        assert list(store.temp.iterdir()) == []
        assert verify(store) == []
        assert [s for s in examine(store) if s.level == "error"] == []


SYNCER = """
import sys
from pathlib import Path
from sartor.core.errors import StoreError
from sartor.core.licence import Licence
from sartor.core.records import Artifact
from sartor.store.opening import open_store

store = open_store(Path(sys.argv[1]))
item = Artifact(name="a", files={}, licence=Licence.of("owned"))
steps = {
    "file": lambda: store.vault.put_bytes(b"bytes"),
    "record": lambda: store.ledger.put(item),
    "move": lambda: store.ledger.point("a@live", item.digest, expected=None, decision=""),
}
for name, step in steps.items():
    try:
        step()
    except StoreError as error:
        print("failed", name, error.code, flush=True)
        step()  # from the start: it must work now
"""


def test_a_disk_that_fails_to_sync_fails_the_write_and_nothing_else(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("failing a chosen system call needs strace")
    failed = []
    for number in range(1, 9):
        root = tmp_path / f"store{number}"
        open_store(root).close()
        fault = f"inject=fsync,fdatasync:error=EIO:when={number}"
        command = [strace, "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e", fault]
        ran = subprocess.run(
            [*command, sys.executable, "-c", SYNCER, str(root)], capture_output=True, text=True, check=False
        )
        if "ptrace" in ran.stderr or "PTRACE" in ran.stderr:
            pytest.skip("tracing is not permitted here")
        assert ran.returncode == 0, ran.stderr
        failed += [line.split()[1] for line in ran.stdout.splitlines()]
        assert set(ran.stdout.split()) <= {"failed", "file", "record", "move", "store_failed"}
        with closing(open_store(root)) as store:
            (item,) = store.ledger.find(Artifact)
            assert [m.digest for m in store.ledger.moves("a@live")] == [item.digest]
            assert list(store.vault.digests()) == [hashlib.sha256(b"bytes").hexdigest()]
            assert verify(store) == []
            assert list(store.temp.iterdir()) == []
    assert {"file", "record", "move"} <= set(failed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_hurts_nothing(small_disk: Path, make: Make) -> None:
    with closing(open_store(small_disk / "store")) as store:
        digest, before = store.vault.put_bytes(b"before"), store.ledger.put(make(1))
        with pytest.raises(StoreError, match="disk is full") as caught:
            store.vault.put_bytes(os.urandom(3 << 20))
        assert (caught.value.code, caught.value.http_status) == ("store_full", 507)
        with pytest.raises(StoreError, match="disk is full") as caught:
            store.ledger.put_many(make(n, title="x" * 500) for n in range(2, 3000))
        assert caught.value.code == "store_full"
        (small_disk / "ballast").write_bytes(b"")
        with pytest.raises(OSError, match="No space"):
            (small_disk / "ballast").write_bytes(os.urandom(3 << 20))
        artifact = Artifact(name="a", files={"f": digest}, licence=Licence.of("owned"))
        assert store.vault.read(digest) == b"before"
        assert store.ledger.get(before).digest == before
        assert list(store.temp.iterdir()) == []
        (small_disk / "ballast").unlink()
        assert (store.folder(artifact) / "f").read_bytes() == b"before"
        store.ledger.put(make(2))
        assert store.ledger.count(Variant) == 2
        assert verify(store) == []


def test_a_disk_that_may_not_be_written_still_serves(small_disk: Path, make: Make) -> None:
    with closing(open_store(small_disk / "store")) as store:
        variant = make(1, files={"a/f": store.vault.put_bytes(b"bytes")})
        store.ledger.put(variant)
        store.ledger.point("t@live", variant.digest, expected=None, decision="")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"may not be written|cannot be opened"):
        open_store(small_disk / "store")
    with closing(open_store(small_disk / "store", read_only=True)) as store:
        stands = store.ledger.resolve("t@live")
        assert stands is not None
        found = store.ledger.get(stands.digest)
        assert isinstance(found, Variant)
        folder = store.folder(found)
        assert (folder / "a" / "f").read_bytes() == b"bytes"
        assert store.folder(found) == folder
        with pytest.raises(StoreError, match="read-only"):
            store.vault.put_bytes(b"more")
        assert verify(store) == []
    assert not folder.exists()

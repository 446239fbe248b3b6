"""Opening a store: made when missing, brought up when old, refused when newer, read where it may not be written."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sartor.core.errors import AskError, StoreError
from sartor.core.records import Variant
from sartor.store import migrate
from sartor.store.engine import (
    Database,
    explain,
    file_system,
    journal_mode,
    open_sqlite,
    open_url,
    sqlite_module,
)
from sartor.store.ledger import Ledger
from sartor.store.migrate import bring_up, revision
from sartor.store.opening import Store, open_store
from sartor.store.schema import REVISION, metadata

Opener = Callable[..., Store]
Make = Callable[..., Variant]


def test_a_store_is_made_once_and_found_again(opener: Opener, make: Make) -> None:
    digest = opener().ledger.put(make(1))
    assert opener().ledger.get(digest).digest == digest
    assert revision(opener().ledger.database) == REVISION


def test_the_migrations_make_the_tables_that_the_code_expects(opener: Opener) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with opener().ledger.database.writer.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_revision_in_the_code_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(migrate.scripts()).get_heads() == [REVISION]


def test_a_migration_goes_back_too(opener: Opener) -> None:
    from alembic import command
    from sqlalchemy import inspect

    config = migrate.scripts()
    with opener().ledger.database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_many_that_open_an_empty_place_at_once_make_one_store(opener: Opener, make: Make) -> None:
    lined_up, opened, failures = threading.Barrier(4), [], []

    def open_it(number: int) -> None:
        lined_up.wait()
        try:
            opened.append(opener().ledger.put(make(number)))
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert opener().ledger.count(Variant) == 4


def test_a_store_of_a_newer_sartor_is_refused_and_left_alone(opener: Opener) -> None:
    with opener().ledger.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for how in ({}, {"read_only": True}):
        with pytest.raises(StoreError, match=r"schema 9999.*a newer Sartor wrote it"):
            opener(**how)


NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9998", "BEFORE", None, None


def upgrade():
    op.add_column("record", sa.Column("note", sa.Text, server_default="none"))


def downgrade():
    op.drop_column("record", "note")
"""


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the code that runs a later one, which has one more migration."""

    def upgrade_code() -> None:
        later = tmp_path / "later"
        later.mkdir()
        (later / "9998_next.py").write_text(NEXT.replace("BEFORE", REVISION))
        config = migrate.scripts()
        config.set_main_option("version_locations", f"sartor.store.migrations:versions {later}")
        config.set_main_option("path_separator", "space")
        monkeypatch.setattr(migrate, "scripts", lambda: config)
        monkeypatch.setattr(migrate, "REVISION", "9998")

    return upgrade_code


def test_an_older_store_is_brought_up_when_it_is_opened(
    opener: Opener, make: Make, tmp_path: Path, next_version: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = opener().ledger.put(make(1))
    next_version()
    with pytest.raises(StoreError, match="behind this Sartor's 9998"):
        opener(read_only=True)
    newer = opener()
    assert revision(newer.ledger.database) == "9998"
    assert newer.ledger.get(digest).digest == digest
    with newer.ledger.database.read() as connection:
        assert connection.execute(text("SELECT note FROM record")).scalar() == "none"
    monkeypatch.undo()
    with pytest.raises(StoreError, match="a newer Sartor wrote it"):
        opener()
    copies = list((tmp_path / "store").glob(f"ledger.db.{REVISION}"))
    assert len(copies) == (newer.ledger.database.dialect == "sqlite")
    for copy in copies:  # the way back
        with closing(open_sqlite(copy, read_only=True)) as old:
            assert revision(old) == REVISION
            assert Ledger(old).get(digest).digest == digest


def test_a_migration_that_fails_leaves_the_old_tables(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", fail)
        with pytest.raises(OSError, match="killed"):
            opener()
    assert opener().ledger.count(Variant) == 0


def test_opening_a_store_that_is_up_to_date_loads_no_alembic(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)):
        pass
    code = (
        "import sys; from pathlib import Path; from sartor.store.opening import open_store; "
        f"open_store(Path({str(tmp_path)!r})).close(); "
        "print([m for m in ('alembic', 'mako', 's3fs', 'psycopg', 'fsspec') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_sqlite_keeps_what_it_acknowledges(store: Store) -> None:
    for engine in (store.ledger.database.reader, store.ledger.database.writer):
        with engine.connect() as connection:
            ask = {p: connection.execute(text(f"PRAGMA {p}")).scalar() for p in ("synchronous", "foreign_keys")}
            mode = connection.execute(text("PRAGMA journal_mode")).scalar()
        assert ask == {"synchronous": 2, "foreign_keys": 1}
        assert mode == journal_mode(sqlite_module())


@pytest.mark.parametrize(("version", "mode"), [((3, 46, 1), "delete"), ((3, 51, 2), "delete"), ((3, 51, 3), "wal")])
def test_the_faster_journal_is_used_only_where_it_is_safe(version: tuple[int, ...], mode: str) -> None:
    module: Any = type("binding", (), {"sqlite_version_info": version})
    assert journal_mode(module) == mode


def test_the_older_library_of_python_works_too(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    with closing(open_store(tmp_path)) as store:
        digest = store.ledger.put(make(1))
        with store.ledger.database.read() as connection:
            mode = connection.execute(text("PRAGMA journal_mode")).scalar()
        assert mode == journal_mode(sqlite_module())
        assert sqlite_module().__name__ == "sqlite3"
    monkeypatch.undo()
    with closing(open_store(tmp_path)) as store:
        assert store.ledger.get(digest).digest == digest


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    shared = tmp_path / "a share"
    shared.mkdir()
    name = str(shared).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {name} nfs4 rw 0 0\n")
    assert file_system(shared / "deep" / "store", mounts) == "nfs4"
    assert file_system(tmp_path, mounts) == "ext4"
    assert file_system(tmp_path, tmp_path / "none") == ""
    monkeypatch.setattr("sartor.store.engine.file_system", lambda _: "nfs4")
    with pytest.raises(StoreError, match=r"network file system.*PostgreSQL"):
        open_sqlite(shared / "ledger.db")


def test_a_file_that_is_no_ledger_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="Restore the last backup") as caught:
        open_store(tmp_path)
    assert caught.value.code == "store_damaged"
    assert path.read_bytes() == b"not a database at all" * 100


def test_a_missing_store_is_not_made_read_only(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no ledger"):
        open_store(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_place_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="Tried writing to"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize(
    ("url", "says"),
    [("nonsense", "no database URL|not a database URL"), ("mysql://h/d", "mysql"), ("sqlite://", "sqlite")],
)
def test_a_url_of_another_kind_is_refused(url: str, says: str) -> None:
    with pytest.raises(AskError, match=says) as caught:
        open_url(url)
    assert caught.value.param == "ledger_url"


def test_a_server_that_is_not_there_is_said_so_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_store(tmp_path, ledger_url="postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in caught.value.message


def test_what_a_driver_says_becomes_what_to_do() -> None:
    said = {
        "database or disk is full": "store_full",
        "attempt to write a readonly database": "store_read_only",
        "database is locked": "store_locked",
        "database disk image is malformed": "store_damaged",
        "cannot execute INSERT in a read-only transaction": "store_read_only",
        "something else": "store_failed",
    }
    assert {text: explain(OSError(text), "x").code for text in said} == said


def test_a_snapshot_does_not_see_later_writes(opener: Opener, make: Make) -> None:
    database: Database = opener().ledger.database
    with database.snapshot() as connection:
        count = text("SELECT count(*) FROM record")
        assert connection.execute(count).scalar() == 0
        opener().ledger.put(make(1))
        assert connection.execute(count).scalar() == 0
    with database.snapshot() as connection:
        assert connection.execute(count).scalar() == 1
    assert opener().ledger.count(Variant) == 1


def test_bring_up_is_repeatable(opener: Opener) -> None:
    database = opener().ledger.database
    bring_up(database)
    assert revision(database) == REVISION


def test_the_plan_of_a_search_walks_an_index_and_sorts_nothing(store: Store) -> None:
    from sartor.store.statements import search

    with store.ledger.database.read() as connection:
        for size in range(4):
            sql = str(search(size).compile(connection.engine, compile_kwargs={"render_postcompile": True}))
            names = search(size).compile(connection.engine).positiontup or ()
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple("1" for _ in names)).all()
            plan = " | ".join(str(row[-1]) for row in rows)
            assert "SCAN" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan


def test_threads_may_each_make_a_new_ledger_at_once(tmp_path):
    def opened(name: str) -> int:
        store = open_store(tmp_path / name)
        try:
            return store.ledger.count(Variant)
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, "abcd")) == [0, 0, 0, 0]


def test_on_postgresql_who_freezes_inside_a_write_gives_its_locks_back(postgres_url):
    database = open_url(postgres_url)
    asked = text("SHOW idle_in_transaction_session_timeout")
    with closing(database), database.write() as writing, database.read() as reading:
        assert writing.execute(asked).scalar() == "15s"
        assert reading.execute(asked).scalar() == "0"  # a backup reads for as long as it takes

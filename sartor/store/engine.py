"""Opens the database behind a ledger: SQLite with settings under which nothing acknowledged is lost, or PostgreSQL.

Knows connections and what their failures mean; knows no tables.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sartor.core.errors import AskError, StoreError, missing_extra

SAFE_WAL = (3, 51, 3)
"""SQLite before this can damage a write-ahead log when several connections write or checkpoint together."""
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "lustre"})
"""File systems whose locks SQLite cannot trust."""
BUSY_SECONDS = 30.0
FROZEN_SECONDS = 15.0
"""A process that does nothing for so long inside a write is frozen: PostgreSQL ends it, so that others can go on."""
ADVISORY_LOCK = 7_205_759_403
"""Key of the lock that PostgreSQL keeps for us; any number that no other program uses."""


def sqlite_module() -> ModuleType:
    """The SQLite binding to use: the newer bundled library where it is installed, else Python's own."""
    try:
        from pysqlite3 import dbapi2
    except ModuleNotFoundError:
        return sqlite3
    return dbapi2  # type: ignore[no-any-return]


def journal_mode(module: ModuleType) -> str:
    """WAL where this SQLite keeps it whole, else the rollback journal."""
    return "wal" if module.sqlite_version_info >= SAFE_WAL else "delete"


@dataclass(frozen=True)
class Database:
    """Two pools on one database: one whose statements stand alone, one whose transactions write."""

    reader: Engine
    writer: Engine
    where: str
    """For messages: a path, or a URL without its password."""
    read_only: bool
    turn: AbstractContextManager[Any]
    """SQLite has one writer: threads of this process queue here, fairly, instead of polling for the lock."""
    fence: Callable[[Connection], None] | None = None
    """Called first in each transaction that writes; what it raises ends that one."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.reader.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; each statement sees what is committed when it starts."""
        with speaking(f"reading the ledger at {self.where}"), self.reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; it is committed, durably, when the block ends well.

        Raises:
            StoreError: the store is read-only, full, locked, damaged or out of reach.
        """
        if self.read_only:
            raise StoreError(
                f"The store at {self.where} was opened read-only, so nothing was written. Open it for writing.",
                code="store_read_only",
            )
        with self.turn, speaking(f"writing to the ledger at {self.where}"), self.writer.begin() as connection:
            if self.fence is not None:
                self.fence(connection)
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for reading whose statements all see the ledger as it stood at the first of them."""
        level = {"isolation_level": "REPEATABLE READ"} if self.dialect == "postgresql" else {}
        with speaking(f"reading the ledger at {self.where}"), self.reader.connect() as connection:
            connection.execution_options(**level)
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection

    def alone(self, connection: Connection) -> None:
        """Let no other transaction that asks the same run beside this one, which takes many rows in any order.

        On SQLite that is so already. On PostgreSQL two such could wait for each other's rows for ever.
        """
        if self.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})

    def close(self) -> None:
        """Close all connections."""
        self.reader.dispose()
        self.writer.dispose()


def open_sqlite(path: Path, *, read_only: bool = False) -> Database:
    """The database in a file.

    Raises:
        StoreError: the file lies on a network file system, or it is not there and may not be made.
    """
    system = file_system(path.parent)
    if system in NETWORK:
        raise StoreError(
            f"The ledger {path} would lie on a network file system ({system}), where SQLite's locks cannot be trusted. "
            "Put the store on a local disk, or use PostgreSQL (ledger URL postgresql+psycopg://…).",
            code="network_file_system",
        )
    if read_only and not path.exists():
        raise StoreError(f"There is no ledger {path} to open read-only.", code="store_missing")
    module = sqlite_module()
    mode = "mode=ro" if read_only else "mode=rwc"
    if read_only and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        mode = "immutable=1"  # on a read-only disk nobody can be writing, and a WAL index cannot be made
    opener = partial(_open_file, module, f"{path.absolute().as_uri()}?{mode}", read_only=read_only)
    make = partial(create_engine, "sqlite://", module=module, creator=opener, poolclass=QueuePool)
    # One connection writes; who waits for it has its turn already, so it is asking from inside its own transaction.
    reader, writer = make(pool_size=16, pool_timeout=60), make(pool_size=1, max_overflow=0, pool_timeout=0.1)
    event.listen(writer, "begin", _begin_immediate)
    return Database(reader, writer, str(path), read_only, threading.RLock())


def _open_file(module: ModuleType, uri: str, *, read_only: bool) -> Any:
    connection = module.connect(
        uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None, cached_statements=256
    )
    try:
        if not read_only:
            _set_journal(module, connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-64000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _set_journal(module: ModuleType, connection: Any) -> None:
    # While somebody else changes the journal of a new file, SQLite says "locked" at once instead of waiting.
    over = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={journal_mode(module)}")
            connection.execute("PRAGMA journal_size_limit=67108864")
        except module.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > over:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_immediate(connection: Connection) -> None:
    # Taking the write lock at once: a read that becomes a write later can fail for good under load.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_url(url: str, *, read_only: bool = False) -> Database:
    """The database at a URL: `postgresql+psycopg://user@host/name`, or `sqlite:////absolute/path`.

    Raises:
        AskError: the URL is no database URL, or of a kind that is not supported.
        MissingExtraError: the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise AskError(
            "The ledger URL (SARTOR_LEDGER_URL) is no database URL. Give postgresql+psycopg://user@host/database, or "
            "nothing for SQLite in the store's folder.",
            param="ledger_url",
            code="bad_setting",
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return open_sqlite(Path(parsed.database), read_only=read_only)
    if parsed.drivername != "postgresql+psycopg":
        raise AskError(
            f"A ledger cannot be kept at '{parsed.drivername}'. Use postgresql+psycopg://user@host/database, "
            "or no URL for SQLite in the store's folder.",
            param="ledger_url",
        )
    options = f"-c synchronous_commit=on -c lock_timeout={BUSY_SECONDS:.0f}s"
    to_write = f"{options} -c idle_in_transaction_session_timeout={FROZEN_SECONDS:.0f}s"

    def make(options: str, **more: Any) -> Engine:
        return create_engine(
            parsed,
            pool_pre_ping=True,  # a server that was restarted costs nobody an error
            pool_timeout=60,
            connect_args={"options": options, "connect_timeout": 10, "application_name": "sartor"},
            **more,
        )

    try:
        reader, writer = make(options, isolation_level="AUTOCOMMIT"), make(to_write)
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "psycopg", "a ledger on PostgreSQL") from error
    return Database(reader, writer, parsed.render_as_string(hide_password=True), read_only, nullcontext())


@contextmanager
def speaking(trying: str) -> Iterator[None]:
    """Turn a database's failure into a StoreError that says what to do."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise explain(error, trying) from error
    except PoolTimeout as error:
        raise StoreError(
            f"Tried {trying}, but all connections are in use. Try again, or run fewer threads; and do not write from "
            "inside another write.",
            code="store_busy",
        ) from error


REMEDIES = (
    ("is full", "store_full", "The disk is full. Free space and repeat; nothing stored before is lost."),
    ("no space left", "store_full", "The disk is full. Free space and repeat; nothing stored before is lost."),
    ("readonly", "store_read_only", "The store may not be written. Check the folder's permissions and mount."),
    ("read-only", "store_read_only", "The store may not be written. Check permissions, or whether it is a replica."),
    ("locked", "store_locked", "Another process holds the ledger. Wait until it is done, then repeat."),
    ("lock timeout", "store_locked", "Another process holds the ledger. Wait until it is done, then repeat."),
    ("malformed", "store_damaged", "The ledger is damaged. Keep the file, and restore the last backup elsewhere."),
    ("not a database", "store_damaged", "The file is no ledger. Restore the last backup, or name another folder."),
    ("disk i/o error", "store_failed", "The disk failed or is full. Nothing was committed: check it and repeat."),
    ("unable to open", "store_unreachable", "The file cannot be opened. Check that the folder exists and permits it."),
    ("connection", "store_unreachable", "The database server cannot be reached. Check that it runs, and the URL."),
)
"""What a driver says -> our code, what to do."""


def explain(error: Exception, trying: str) -> StoreError:
    """The StoreError for a driver's error."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    first = said[0] if said else type(error).__name__
    low = first.lower()
    for sign, code, remedy in REMEDIES:
        if sign in low:
            return StoreError(f"Tried {trying}: {first}. {remedy}", code=code)
    return StoreError(f"Tried {trying}: {first}. Run 'sartor doctor' to see what is wrong.", code="store_failed")


def file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that holds a folder (`ext4`, `nfs4`); '' where that is not known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    here = folder.absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    here = here.resolve()
    found, depth = "", -1
    for line in lines:
        _, where, system, *_ = line.split(" ")
        point = Path(where.replace("\\040", " "))
        if here.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = system, len(point.parts)
    return found

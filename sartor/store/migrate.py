"""Brings a ledger's tables to the newest form. The only place that loads alembic, and only when there is work."""

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from sartor.core.errors import StoreError
from sartor.store.disk import sync
from sartor.store.engine import Database, speaking
from sartor.store.schema import REVISION

if TYPE_CHECKING:
    from alembic.config import Config

ALEMBIC = threading.Lock()
"""Alembic keeps what it is doing in globals: two threads of a process, each with its own new ledger, take turns."""


def revision(database: Database) -> str | None:
    """Revision of the tables; None where there are none yet."""
    with speaking(f"reading the ledger at {database.where}"), database.reader.connect() as connection:
        try:
            return _revision(connection)
        except (OperationalError, ProgrammingError) as error:
            if "no such table" in str(error.orig) or isinstance(error.orig, _undefined_table()):
                return None
            raise


def _undefined_table() -> tuple[type[Exception], ...]:
    try:
        from psycopg.errors import UndefinedTable
    except ModuleNotFoundError:
        return ()
    return (UndefinedTable,)


def _revision(connection: Connection) -> str | None:
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def bring_up(database: Database) -> None:
    """Migrate if the tables are behind the code.

    The migration runs in one transaction under the database's own write lock: of many processes that open an old
    ledger at once one migrates, the others wait; killed half-way, it leaves the old tables.

    Raises:
        StoreError: the ledger was written by a newer Sartor, or is behind and may not be written.
    """
    stands = revision(database)
    if stands == REVISION:
        return
    _refuse_newer(database, stands)
    if database.read_only:
        state = "holds no ledger" if stands is None else f"is at schema {stands}, behind this Sartor's {REVISION}"
        raise StoreError(
            f"The store at {database.where} {state}, and was opened read-only. Open it once for writing.",
            code="store_behind",
        )
    if stands is not None:
        _keep_copy(database, stands)
    _upgrade(database)


def _refuse_newer(database: Database, stands: str | None) -> None:
    if stands is not None and stands > REVISION:  # revisions are four digits, counted up
        raise StoreError(
            f"The ledger at {database.where} has schema {stands}, which this Sartor (schema {REVISION}) does not "
            "know: a newer Sartor wrote it. Upgrade Sartor, or restore a backup made before the upgrade.",
            code="store_newer",
        )


def scripts() -> "Config":
    """Where the migrations lie, in alembic's terms."""
    from alembic.config import Config

    found = Config()
    found.set_main_option("script_location", "sartor.store:migrations")
    return found


def _upgrade(database: Database) -> None:
    from alembic import command

    config = scripts()
    with ALEMBIC, database.write() as connection:
        database.alone(connection)
        if inspect(connection).has_table("alembic_version"):
            _refuse_newer(database, _revision(connection))  # somebody may have been here since we looked
        attributes: dict[str, Any] = config.attributes
        attributes["connection"] = connection
        command.upgrade(config, "head")


def _keep_copy(database: Database, stands: str) -> None:
    """Copy the old ledger to `ledger.db.STANDS` beside it, so that an upgrade can be taken back. SQLite only."""
    if database.dialect != "sqlite":
        return
    copy = Path(f"{database.where}.{stands}")
    with tempfile.TemporaryDirectory(prefix="copy-", dir=copy.parent) as work:
        part = Path(work) / copy.name
        with speaking(f"copying the ledger to {copy}"), database.reader.connect() as connection:
            connection.execute(text("VACUUM INTO :part"), {"part": str(part)})
        if not copy.exists():
            sync(part)
            part.replace(copy)

"""Brings a ledger's tables to the newest form. The only place that loads alembic, and only when there is work."""

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from sartor.core.errors import StoreError
from sartor.store.engine import Database, speaking
from sartor.store.schema import REVISION


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
    if database.read_only:
        state = "holds no ledger" if stands is None else f"is at schema {stands}, behind this Sartor's {REVISION}"
        raise StoreError(
            f"The store at {database.where} {state}, and was opened read-only. Open it once for writing.",
            code="store_behind",
        )
    _upgrade(database)


def _upgrade(database: Database) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "sartor.store:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with database.write() as connection:
        database.alone(connection)
        stands = _revision(connection) if _has_version(connection) else None
        if stands is not None and stands not in known:
            raise StoreError(
                f"The ledger at {database.where} has schema {stands}, which this Sartor (schema {REVISION}) does not "
                "know: a newer Sartor wrote it. Upgrade Sartor, or restore a backup made before the upgrade.",
                code="store_newer",
            )
        attributes: dict[str, Any] = config.attributes
        attributes["connection"] = connection
        command.upgrade(config, "head")


def _has_version(connection: Connection) -> bool:
    from sqlalchemy import inspect

    return inspect(connection).has_table("alembic_version")

"""Where the steps of jobs are remembered: beside a ledger in a file, a file of its own; on a server, the same database.

Knows how it is opened; its tables are DBOS's own. What is in it can be made again: a job whose steps were forgotten
does them once more, and steps are idempotent by content.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event

from sartor.store.engine import BUSY_SECONDS, journal_mode, sqlite_module
from sartor.store.opening import Store

FILE = "jobs.db"


def step_database(store: Store) -> dict[str, Any]:
    """The settings of DBOS that name the database.

    SQLite is opened as the ledger is, so that a step that was acknowledged is not forgotten when the power fails.
    """
    database = store.ledger.database
    if database.dialect == "postgresql":
        return {"system_database_url": database.writer.url.render_as_string(hide_password=False)}
    path = Path(database.where).with_name(FILE)
    module = sqlite_module()
    arguments = {"timeout": BUSY_SECONDS, "isolation_level": "IMMEDIATE", "check_same_thread": False}
    engine = create_engine(f"sqlite:///{path}", module=module, connect_args=arguments)

    def settle(connection: Any, record: object) -> None:
        del record
        for pragma in (f"journal_mode={journal_mode(module)}", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", settle)
    return {"system_database_engine": engine}

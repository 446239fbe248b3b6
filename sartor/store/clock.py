"""The one clock by which leases are held: the database's, because workers on several machines may differ."""

import time

from sqlalchemy import Connection, text


def now_at(connection: Connection) -> float:
    """Seconds since 1970 by the database's clock; SQLite has this machine's."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()

"""Tables of the traffic index. It can be made of the log again at any time, so other tables than these are thrown away.

Knows nothing of how they are filled or asked.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    select,
    text,
)

from sartor.store.engine import Database

VERSION = 2
"""Of these tables; an index with another one is made anew."""
LOCK = 7_205_759_404
"""Key of the lock under which PostgreSQL lets one process at a time fill the index."""

metadata = MetaData()
_text = Text().with_variant(Text(collation="C"), "postgresql")
_number = BigInteger().with_variant(Integer(), "sqlite")  # so is the number of the row itself

sort = Table(
    "traffic_sort",
    metadata,
    Column("number", _number, primary_key=True, autoincrement=False),
    *(
        Column(name, _text, nullable=False)
        for name in ("tenant", "key", "route", "model", "endpoint", "task", "version", "variant", "decision")
    ),
    Column("status", BigInteger, nullable=False),
    *(Column(name, _text, nullable=False) for name in ("error", "arm")),
    Column("stream", Boolean, nullable=False),
)
"""What many exchanges have alike, once. The number is a digest of the rest, so nobody has to look it up."""

exchange = Table(
    "traffic_exchange",
    metadata,
    Column("seq", _number, primary_key=True, autoincrement=False),
    Column("sort", BigInteger, nullable=False),
    Column("id", _text, nullable=False),
    Column("at", Double, nullable=False),
    Column("label", _text),
    *(Column(name, Double) for name in ("confidence", "propensity")),
    *(Column(name, BigInteger, nullable=False) for name in ("input_tokens", "output_tokens", "cost")),
    *(Column(name, Double, nullable=False) for name in ("seconds", "first_seconds")),
    *(Column(name, _text, nullable=False) for name in ("subject", "business", "shadow_of", "request_id")),
    Column("day", _text, nullable=False),
    Column("file", _text, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("form", BigInteger, nullable=False),
    Column("expires", Double, nullable=False),
    Index("traffic_exchange_id", "id", unique=True),
    Index("traffic_exchange_sort", "sort", "at"),
    Index("traffic_exchange_at", "at"),
)
"""Numbered as they come, so that rows and hops are appended and not put in here and there."""
Index(
    "traffic_exchange_expires",
    exchange.c.expires,
    sqlite_where=exchange.c.expires > 0,
    postgresql_where=exchange.c.expires > 0,
)

whole = (
    select(*exchange.c, *(column for column in sort.c if column.name != "number"))
    .join(sort, sort.c.number == exchange.c.sort)
    .subquery("traffic_whole")
)
"""Exchanges with everything that they have, but for their hops."""

hop = Table(
    "traffic_hop",
    metadata,
    Column("exchange", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, _text, nullable=False) for name in ("served_by", "kind")),
    *(Column(name, BigInteger, nullable=False) for name in ("cost", "input_tokens", "output_tokens")),
    *(Column(name, Double, nullable=False) for name in ("cpu_seconds", "seconds")),
    Column("confidence", Double),
    Column("label", _text),
    Column("why", _text, nullable=False),
    sqlite_with_rowid=False,
)

feedback = Table(
    "traffic_feedback",
    metadata,
    Column("id", _text, primary_key=True),
    Column("tenant", _text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("metric", _text, nullable=False),
    Column("value", _text, nullable=False),
    *(
        Column(name, _text, nullable=False)
        for name in ("exchange", "business", "source", "source_id", "rationale", "tags", "key")
    ),
    Index("traffic_feedback_exchange", "exchange"),
    Index("traffic_feedback_business", "tenant", "business"),
    sqlite_with_rowid=False,
)

link = Table(
    "traffic_link",
    metadata,
    Column("tenant", _text, primary_key=True),
    Column("business", _text, primary_key=True),
    Column("exchange", _text, primary_key=True),
    Index("traffic_link_exchange", "exchange"),
    sqlite_with_rowid=False,
)
"""Which exchanges have which business key, given with the request or later."""

erased = Table(
    "traffic_erased",
    metadata,
    Column("tenant", _text, primary_key=True),
    Column("subject", _text, primary_key=True),
    Column("at", Double, nullable=False),
)

progress = Table(
    "traffic_progress",
    metadata,
    Column("file", _text, primary_key=True),
    Column("place", BigInteger, nullable=False),
    Column("damaged", BigInteger, nullable=False),
)
"""How far each file of the log is indexed."""

form = Table("traffic_form", metadata, Column("version", BigInteger, primary_key=True, autoincrement=False))


def make(database: Database) -> None:
    """Have the tables of this version, empty where they were of another."""
    with database.read() as connection:
        if _version(connection) == VERSION:
            return
    with database.write() as connection:
        alone(connection)
        if _version(connection) != VERSION:
            empty(connection)


def empty(connection: Connection) -> None:
    """Throw the index away and make an empty one."""
    metadata.drop_all(connection)
    metadata.create_all(connection)
    connection.execute(form.insert(), {"version": VERSION})


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(form.name):
        return None
    found: int | None = connection.execute(select(form.c.version)).scalar()
    return found


def alone(connection: Connection) -> None:
    """Let nobody else fill the index until the transaction is over; on SQLite nobody can."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def _inserting(table: Table, place: str, update: tuple[str, ...], keys: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in update)
    action = f"UPDATE SET {sets}" if update else "NOTHING"
    values = ", ".join([place] * len(table.columns))
    same = ", ".join(f'"{name}"' for name in keys or table.primary_key.columns.keys())
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({values}) ON CONFLICT ({same}) DO {action}'  # noqa: S608


def insert(
    connection: Connection,
    table: Table,
    rows: list[tuple[Any, ...]],
    update: tuple[str, ...] = (),
    keys: tuple[str, ...] = (),
) -> None:
    """Put rows in, in the driver's own words: they are many, and nothing has to be looked up.

    Args:
        rows: values in the order of the table's columns.
        update: columns that are set where the row is there already; else it stays as it is.
        keys: columns by which a row is the same; () for the primary key.
    """
    if rows:
        place = "?" if connection.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(_inserting(table, place, update, keys), rows)

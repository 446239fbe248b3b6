"""SQL over all traffic, with DuckDB: old records from their Parquet files, younger ones from the index. Only reads.

Tables: `exchanges`, `hops` (with their exchange's id), `feedback`. Content is none of them. The statement can reach no
file and no network, and change no setting.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.store.traffic import old
from sartor.store.traffic.frames import EXCHANGE
from sartor.store.traffic.index import TrafficIndex

MEMORY = "1GB"
CHUNK = 5000
_HOPS = "SELECT id AS exchange, unnest(hops, recursive := true) FROM exchanges"
_SETTINGS = (
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    f"SET memory_limit = '{MEMORY}'",
    "SET lock_configuration = true",
)


@dataclass(frozen=True)
class Answer:
    """What a statement gave."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool
    """Whether there were more rows than asked for."""


def ask(index: TrafficIndex, folder: Path, tenant: str | None, sql: str, *, limit: int = 1000) -> Answer:
    """Run one SELECT over a tenant's traffic; None, for admins, over all.

    Raises:
        AskError: it is no SELECT, or DuckDB refuses it; the message is DuckDB's.
        MissingExtraError: DuckDB is not installed.
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        for name, data in _tables(index, folder, tenant).items():
            connection.register(name, data)
        connection.execute(
            "CREATE VIEW exchanges AS SELECT * FROM old_exchanges UNION ALL BY NAME SELECT * FROM young_exchanges"
        )
        connection.execute(f"CREATE VIEW hops AS {_HOPS}")  # no input in it
        for setting in _SETTINGS:
            connection.execute(setting)
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise AskError("Give one SELECT statement; nothing else is run.", param="sql", code="not_a_select")
            result = connection.execute(statements[0])
            columns = [column[0] for column in result.description or ()]
            rows = result.fetchmany(limit + 1)
        except duckdb.Error as error:
            raise AskError(f"DuckDB refuses the statement: {error}", param="sql", code="bad_sql") from error
    return Answer(columns, rows[:limit], len(rows) > limit)


def _tables(index: TrafficIndex, folder: Path, tenant: str | None) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    schema = pa.schema([f for f in old.schema_of(EXCHANGE) if f.name not in ("form", "days", "asked", "answered")])
    paths = [path for path in old.files(folder / "old") if old.read_name(path)[0] == EXCHANGE]
    # The index says which records count, so that none is seen twice while files are moved.
    known = index.files()
    dataset = ds.dataset([str(path) for path in paths if path.name in known], schema=schema, format="parquet")
    if tenant is not None:
        dataset = dataset.filter(ds.field("tenant") == tenant)
    young = pa.Table.from_batches(
        (pa.RecordBatch.from_pylist(chunk, schema=schema) for chunk in _young(index, tenant)), schema=schema
    )
    feedback = pa.Table.from_pylist(
        [asdict(f) | {"value": _plain(f.value), "tags": _plain(f.tags)} for f in index.all_feedback(tenant)],
        schema=old.schema_of(2),
    )
    return {"old_exchanges": dataset, "young_exchanges": young, "feedback": feedback}


def _young(index: TrafficIndex, tenant: str | None) -> Iterator[list[dict[str, Any]]]:
    rows = index.young(tenant)
    while chunk := list(islice(rows, CHUNK)):
        yield [asdict(row) for row in chunk]


def _plain(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()

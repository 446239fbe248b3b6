"""Rows of a query against any database that SQLAlchemy reaches; nothing is written there.

The connection is set to read-only where the database can be (SQLite, PostgreSQL) and always rolled back.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sartor.core.errors import AskError, UpstreamError
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.files import existing

if TYPE_CHECKING:
    from sqlalchemy import URL

READS = ("select", "with", "values", "table")


class Params(Settings):
    """Where, and which rows. Give the query an ORDER BY: without one the database may change the order."""

    url: str
    """SQLAlchemy URL. A relative SQLite file starts at the folder of the task file. Prefer a password file or the
    database's own sign-in to a password here: the task is recorded."""
    query: str
    """One statement that gives rows; their columns are the row's."""
    folder: Path = Path()
    """Where a relative SQLite file is looked for."""


@plugin
def sql(params: Params) -> Iterator[dict[str, Any]]:
    """Yield one dict a row of the result.

    Raises:
        AskError: the URL or the query is wrong, or the query would do more than read.
        UpstreamError: the database does not answer.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import DBAPIError, OperationalError

    if _first_word(params.query) not in READS:
        raise AskError(
            f"The query of a source must only read: start it with SELECT or WITH, not {params.query[:40]!r}.",
            code="bad_query",
            param="query",
        )
    url = _located(params)
    shown = url.render_as_string(hide_password=True)
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
            options = {"postgresql_readonly": True} if url.get_backend_name() == "postgresql" else {}
            reading = connection.execution_options(stream_results=True, yield_per=5000, **options)
            # Colons are escaped: the query has no parameters, and '10:30' is none.
            for row in reading.execute(text(params.query.replace(":", r"\:"))).mappings():
                yield dict(row)
    except OperationalError as error:
        if url.get_backend_name() == "sqlite":
            raise _refused(shown, error) from error
        raise UpstreamError(
            f"Reading rows from {shown} failed: {error.orig}. Check the server, the name and the rights.",
            retryable=True,
        ) from error
    except DBAPIError as error:
        raise _refused(shown, error) from error
    finally:
        engine.dispose()


def _first_word(query: str) -> str:
    return next(iter(query.lstrip(" \n\t(").split(None, 1)), "").lower()


def _refused(shown: str, error: Exception) -> AskError:
    return AskError(
        f"The query was refused by {shown}: {getattr(error, 'orig', error)}. Try it in the database's own shell first.",
        code="bad_query",
        param="query",
    )


def _located(params: Params) -> "URL":
    """The URL with the SQLite file found; an absent file would otherwise be made anew, and empty."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(params.url)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise AskError(
            "The URL of the database cannot be read. It must be like sqlite:///rows.db or "
            "postgresql+psycopg://user@host/database.",
            code="bad_url",
            param="url",
        ) from error
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return url
    return url.set(database=str(existing(params.folder / url.database)))

"""Files that people sent: a row each, the bytes in the vault. Every read takes the tenant that asks.

What has expired is as if it were gone; its row goes with the next sweep (`gc`). Knows nothing of what is in a file.
"""

from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Literal

from sqlalchemy import Connection, and_, delete, or_, select, true

from sartor.core.errors import unknown
from sartor.store.clock import now_at
from sartor.store.credentials import EVERY_TENANT
from sartor.store.engine import Database
from sartor.store.schema import upload

MOST_LISTED = 10_000


@dataclass(frozen=True)
class Upload:
    """A file that was sent, or made for whoever sent one."""

    id: str
    """`file-…`."""
    tenant: str
    purpose: str
    name: str
    """As its sender calls it."""
    size: int
    """Bytes."""
    content: str
    """Digest of the bytes in the vault."""
    created: float
    """Seconds since 1970."""
    expires: float | None = None
    """Seconds since 1970; None: never."""


_FIELDS = tuple(column for column in upload.c if column.name != "seq")


class Uploads:
    """The table of files that were sent."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = import_module(f"sqlalchemy.dialects.{database.dialect}").insert
        self._insert: Any = insert(upload).on_conflict_do_nothing()

    def add(self, item: Upload) -> Upload:
        """Keep it, durably; where its id is known already, what is known stays."""
        with self._database.write() as connection:
            connection.execute(self._insert, asdict(item))
            found = connection.execute(select(*_FIELDS).where(upload.c.id == item.id)).mappings().one()
        return Upload(**found)

    def get(self, ident: str, asker: str) -> Upload:
        """One file.

        Raises:
            NotFoundError: the asker's tenant has none of this id, or it has expired.
        """
        with self._database.read() as connection:
            statement = select(*_FIELDS).where(upload.c.id == ident, _seen(asker), _alive(connection))
            found = connection.execute(statement).mappings().first()
        if found is None:
            raise unknown("file", ident[:80], [item.id for item in self.all(asker, limit=20)], code="file_not_found")
        return Upload(**found)

    def all(
        self,
        asker: str,
        *,
        purpose: str = "",
        after: str = "",
        limit: int = MOST_LISTED,
        order: Literal["asc", "desc"] = "desc",
    ) -> list[Upload]:
        """Files of the asker's tenant, in the order in which they came.

        Args:
            after: id of a file; only those behind it.
        """
        with self._database.read() as connection:
            statement = select(*_FIELDS).where(_seen(asker), _alive(connection)).limit(limit)
            statement = statement.order_by(upload.c.seq.desc() if order == "desc" else upload.c.seq)
            if purpose:
                statement = statement.where(upload.c.purpose == purpose)
            if after:
                seq = select(upload.c.seq).where(upload.c.id == after).scalar_subquery()
                statement = statement.where(upload.c.seq < seq if order == "desc" else upload.c.seq > seq)
            return [Upload(**row) for row in connection.execute(statement).mappings()]

    def remove(self, ident: str, asker: str) -> None:
        """Forget a file; its bytes go with a later sweep, unless something else names them.

        Raises:
            NotFoundError: the asker's tenant has none of this id.
        """
        self.get(ident, asker)
        with self._database.write() as connection:
            connection.execute(delete(upload).where(upload.c.id == ident))

    def sweep(self) -> int:
        """Forget what has expired; how many that were."""
        with self._database.write() as connection:
            gone = and_(upload.c.expires.is_not(None), upload.c.expires <= now_at(connection))
            return connection.execute(delete(upload).where(gone)).rowcount


def kept_contents(connection: Connection) -> dict[str, str]:
    """Digest of the bytes of every file that has not expired -> its id."""
    rows = connection.execute(select(upload.c.content, upload.c.id).where(_alive(connection)).order_by(upload.c.seq))
    return {str(content): str(ident) for content, ident in rows}


def _seen(asker: str) -> Any:
    return true() if asker == EVERY_TENANT else upload.c.tenant == asker


def _alive(connection: Connection) -> Any:
    return or_(upload.c.expires.is_(None), upload.c.expires > now_at(connection))

"""The log of what administrators did: only ever added to, each line sealed with the one before it.

The database refuses to change or delete a line. Whoever can change the database can still cut off its end: keep the
newest hash somewhere else to notice that.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, select, text, true

from sartor.core.canonical import digest
from sartor.store.credentials import EVERY_TENANT
from sartor.store.engine import Database
from sartor.store.schema import audit

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did, or tried to do."""

    at: float
    """Seconds since 1970."""
    who: str
    tenant: str
    action: str
    """`key.create`, `registry.rollback`."""
    target: str
    outcome: str
    """`begun`, then `done`, or the code of the error."""


@dataclass(frozen=True, slots=True)
class Line:
    """A deed as it stands in the log."""

    seq: int
    deed: Deed
    before: str
    """Hash of the line before; '' for the first."""
    hash: str

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"seq": self.seq, **asdict(self.deed), "before": self.before, "hash": self.hash}


class Audit:
    """The table of the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, deed: Deed) -> None:
        """Write a deed down, durably."""
        with self._database.write() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))  # one end to add to
            before = connection.execute(select(audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).scalar() or ""
            connection.execute(audit.insert(), asdict(deed) | {"before": before, "hash": _seal(deed, before)})

    def lines(self, asker: str, *, below: int | None = None, limit: int = 100) -> list[Line]:
        """What was done in the asker's tenant, newest first, below a serial number."""
        statement = (
            select(audit)
            .where(true() if asker == EVERY_TENANT else audit.c.tenant == asker)
            .where(true() if below is None else audit.c.seq < below)
            .order_by(audit.c.seq.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_line(row) for row in connection.execute(statement).all()]

    def verify(self) -> Line | None:
        """The first line that is not as it was written; None where all are."""
        before, last = "", 0
        with self._database.snapshot() as connection:
            while page := _page(connection, last):
                for line in page:
                    if line.before != before or line.hash != _seal(line.deed, before):
                        return line
                    before, last = line.hash, line.seq
        return None


def _page(connection: Connection, after: int) -> Sequence[Line]:
    statement = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(PAGE)
    return [_line(row) for row in connection.execute(statement).all()]


def _line(row: Any) -> Line:
    deed = Deed(row.at, row.who, row.tenant, row.action, row.target, row.outcome)
    return Line(row.seq, deed, row.before, row.hash)


def _seal(deed: Deed, before: str) -> str:
    return digest([before, asdict(deed)])

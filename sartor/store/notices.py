"""News on its way out, in the store: kept before it is sent, tried again until it arrives or is given up."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from sartor.store.engine import Database
from sartor.store.schema import notice

LATER = (10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds until the next try, after the first, the second, …; after the last it is given up."""


@dataclass(frozen=True)
class Notice:
    """One piece of news for one place."""

    id: str
    task: str
    target: Mapping[str, Any]
    """`core.wheel.Notify` as JSON: names where its secret is found, never the secret."""
    body: Mapping[str, Any]
    created: float
    due: float | None = None
    """None once it has arrived or was given up."""
    attempts: int = 0
    error: str = ""
    """Why the last try failed."""

    @property
    def state(self) -> str:
        """`waiting`, `sent` or `given up`."""
        return "waiting" if self.due is not None else "given up" if self.error else "sent"


class Notices:
    """The table of news."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, found: Notice) -> None:
        """Keep a piece of news to be sent at once; one of the same id is kept once."""
        with self._database.write() as connection:
            known = connection.execute(select(notice.c.id).where(notice.c.id == found.id)).first()
            if known is None:
                connection.execute(notice.insert(), _row(found))

    def due(self, now: float, limit: int = 20) -> list[Notice]:
        """What should be sent by now, the longest due first."""
        wanted = select(notice).where(notice.c.due <= now).order_by(notice.c.due).limit(limit)
        with self._database.read() as connection:
            return [_notice(row) for row in connection.execute(wanted).mappings()]

    def all(self, *, task: str = "", limit: int = 100) -> list[Notice]:
        """All news, newest first."""
        wanted = select(notice).order_by(notice.c.seq.desc()).limit(limit)
        if task:
            wanted = wanted.where(notice.c.task == task)
        with self._database.read() as connection:
            return [_notice(row) for row in connection.execute(wanted).mappings()]

    def arrived(self, ident: str) -> None:
        """It need not be sent any more."""
        self._set(ident, due=None, error="", attempts=notice.c.attempts + 1)

    def failed(self, found: Notice, why: str, *, for_good: bool = False, now: float | None = None) -> None:
        """Try it again later, or give it up after so many tries."""
        now = time.time() if now is None else now
        over = for_good or found.attempts >= len(LATER)
        due = None if over else now + LATER[found.attempts]
        self._set(found.id, due=due, error=why[:1000], attempts=found.attempts + 1)

    def _set(self, ident: str, **values: Any) -> None:
        with self._database.write() as connection:
            connection.execute(update(notice).where(notice.c.id == ident).values(**values))


def _row(found: Notice) -> dict[str, Any]:
    return {
        "id": found.id,
        "task": found.task,
        "target": json.dumps(dict(found.target)),
        "body": json.dumps(dict(found.body), ensure_ascii=False),
        "created": found.created,
        "due": found.created if found.due is None else found.due,
        "attempts": found.attempts,
        "error": found.error,
    }


def _notice(row: Any) -> Notice:
    return Notice(
        row["id"],
        row["task"],
        json.loads(row["target"]),
        json.loads(row["body"]),
        row["created"],
        row["due"],
        row["attempts"],
        row["error"],
    )

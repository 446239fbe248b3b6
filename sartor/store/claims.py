"""Rows that people have before them for labelling, each for a while: what nobody renews is free again by itself.

Knows nothing of rows, labels or why somebody wants one.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Delete, and_, delete, select

from sartor.store.engine import Database
from sartor.store.schema import claim


class Claims:
    """The table of claims. Times are seconds since 1970."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self, task: str, items: Sequence[str], who: str, *, until: float, now: float, size: int, most: int = 1
    ) -> list[str]:
        """Take items, in their order, that fewer than `most` others have; what one has already is renewed.

        Returns:
            The items that are now `who`'s, at most `size`.
        """
        with self._database.write() as connection:
            self._database.alone(connection)
            connection.execute(delete(claim).where(claim.c.task == task, claim.c.until <= now))
            held = _held(connection, task)
            taken = [item for item in items if who in held.get(item, ()) or len(held.get(item, ())) < most][:size]
            if taken:
                connection.execute(_of(task, who, taken))
                connection.execute(
                    claim.insert(), [{"task": task, "item": item, "who": who, "until": until} for item in taken]
                )
        return taken

    def release(self, task: str, who: str, items: Sequence[str] | None = None) -> None:
        """Let items go; all of them where none are named."""
        with self._database.write() as connection:
            if items is None:
                connection.execute(delete(claim).where(claim.c.task == task, claim.c.who == who))
            elif items:
                connection.execute(_of(task, who, items))

    def held(self, task: str, *, now: float) -> Mapping[str, set[str]]:
        """Item -> who has it now."""
        with self._database.read() as connection:
            return _held(connection, task, now)


def _held(connection: Connection, task: str, now: float = 0.0) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item, who in connection.execute(
        select(claim.c.item, claim.c.who).where(claim.c.task == task, claim.c.until > now)
    ):
        found.setdefault(item, set()).add(who)
    return found


def _of(task: str, who: str, items: Sequence[str]) -> Delete:
    return delete(claim).where(and_(claim.c.task == task, claim.c.who == who, claim.c.item.in_(items)))

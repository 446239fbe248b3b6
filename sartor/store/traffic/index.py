"""Keeps the index beside the log: what is new in it is put in, once, whoever asks, however often, after any crash.

Only whole records are seen. Where a record stands twice, since it had to be written anew, the later place counts.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from sartor.store.engine import Database
from sartor.store.traffic import old, tables
from sartor.store.traffic.frames import ERASED, EXCHANGE, FEEDBACK, Damage, Frame, Record
from sartor.store.traffic.queries import Queries
from sartor.store.traffic.segment import Reader, segments

BATCH = 1000
"""Records indexed in one transaction."""
DAY = 86_400.0
PLACED = ("file", "place", "form", "expires")

_EXCHANGE = tuple(c.name for c in tables.exchange.columns if c.name not in ("day", *PLACED))
_HOP = tuple(c.name for c in tables.hop.columns if c.name not in ("exchange", "number"))
_FEEDBACK = tuple(c.name for c in tables.feedback.columns)


class TrafficIndex(Queries):
    """The index of one store's log. Safe between threads, and between processes that share it."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Have its tables.

        Args:
            folder: of the store's traffic: `log` and `old` in it.
        """
        super().__init__(database)
        self.folder = folder
        tables.make(database)

    def catch_up(self) -> int:
        """Index what is new in the log; returns how many records that was.

        Raises:
            StoreError: the database is full, locked, or out of reach.
        """
        with self.database.read() as connection:
            known = {row.file: row.place for row in connection.execute(select(tables.progress))}
        added = 0
        for path in segments(self.folder / "log"):
            with suppress(FileNotFoundError):  # it may move into a file of its days while we look
                added += self._follow_to_end(path, known.get(path.name, 0))
        new = [path for path in old.files(self.folder / "old") if path.name not in known]
        return added + (self.moved(new, ()) if new else 0)

    def _follow_to_end(self, path: Path, at: int) -> int:
        added, size = 0, path.stat().st_size
        while at < size:
            count, reached = self._follow(path, at)
            if reached == at:
                break
            added, at = added + count, reached
        return added

    def reindex(self) -> int:
        """Make the index of the log anew; returns how many records it has."""
        with self.database.write() as connection:
            tables.alone(connection)
            tables.empty(connection)
        return self.catch_up()

    def files(self) -> set[str]:
        """Names of the files that are indexed."""
        with self.database.read() as connection:
            return set(connection.execute(select(tables.progress.c.file)).scalars())

    def damage(self) -> int:
        """Bytes of the log that are damaged, as far as it is indexed."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.coalesce(func.sum(tables.progress.c.damaged), 0))).scalar_one())

    def _follow(self, path: Path, at: int) -> tuple[int, int]:
        """Index the next batch of a segment; how many records that was, and how far it now is."""
        reader = Reader(path, at)
        items = list(islice(reader.items(), BATCH))
        header = reader.header
        if not items or header is None:
            return 0, at
        found = [item for item in items if isinstance(item, Frame)]
        damaged = sum(item.end - item.start for item in items if isinstance(item, Damage))
        with self.database.write() as connection:
            tables.alone(connection)
            stands, before = _stands(connection, path.name)
            if stands != at:  # somebody else was first
                return 0, stands
            _put(connection, path.name, ((f.kind, header.named(f), f.start, f.form, f.days) for f in found))
            _reach(connection, path.name, items[-1].end, before + damaged)
        return len(found), items[-1].end

    def moved(self, files: Iterable[Path], gone: Iterable[str]) -> int:
        """Index files of old records, whole, instead of the files that they were made of, all together."""
        total = 0
        with self.database.write() as connection:
            tables.alone(connection)
            for path in files:
                rows, count = old.records(path), 0
                while batch := list(islice(rows, BATCH)):
                    _put(connection, path.name, batch)
                    count += len(batch)
                _reach(connection, path.name, max(count, 1), 0)
                total += count
            for name in gone:
                connection.execute(tables.progress.delete().where(tables.progress.c.file == name))
        return total

    def sealed_gone(self, tenant: str, subject: str, at: float) -> None:
        """Note that a subject's key was destroyed."""
        with self.database.write() as connection:
            tables.insert(connection, tables.erased, [(tenant, subject, at)])


def _stands(connection: Connection, name: str) -> tuple[int, int]:
    row = connection.execute(select(tables.progress).where(tables.progress.c.file == name)).first()
    return (row.place, row.damaged) if row else (0, 0)


def _reach(connection: Connection, name: str, place: int, damaged: int) -> None:
    tables.insert(connection, tables.progress, [(name, place, damaged)], ("place", "damaged"))


def _put(connection: Connection, name: str, records: Iterable[Record]) -> None:
    exchanges, hops, feedback, links, gone = [], [], [], [], []
    for kind, row, place, form, days in records:
        if kind == EXCHANGE:
            get = row.get
            expires = row["at"] + days * DAY if form else 0.0
            exchanges.append((*map(get, _EXCHANGE), day_of(row["at"]), name, place, form, expires))
            for number, step in enumerate(row["hops"]):
                hops.append((row["id"], number, *map(step.get, _HOP)))
            if row["business"]:
                links.append((row["tenant"], row["business"], row["id"]))
        elif kind == FEEDBACK:
            told = dict(row) | {"value": _json(row["value"]), "tags": _json(row["tags"])}
            feedback.append(tuple(map(told.get, _FEEDBACK)))
            if row["business"] and row["exchange"]:
                links.append((row["tenant"], row["business"], row["exchange"]))
        elif kind == ERASED:
            gone.append((row["tenant"], row["subject"], row["at"]))
    tables.insert(connection, tables.exchange, exchanges, PLACED)
    tables.insert(connection, tables.hop, hops)
    tables.insert(connection, tables.feedback, feedback)
    tables.insert(connection, tables.link, links)
    tables.insert(connection, tables.erased, gone)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def day_of(at: float) -> str:
    """The day in UTC, ISO 8601, of a time in seconds since 1970."""
    return _day(int(at // DAY))


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, UTC).date().isoformat()

"""Keeps the index beside the log: what is new in it is put in, once, whoever asks, however often, after any crash.

Only whole records are seen. Where a record stands twice, since it had to be written anew, the later place counts.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from sartor.store.engine import Database
from sartor.store.traffic import old, tables
from sartor.store.traffic.frames import ERASED, EXCHANGE, FEEDBACK
from sartor.store.traffic.picks import (
    EXCHANGE_FIELDS,
    FEEDBACK_FIELDS,
    PLACED,
    SORT_FIELDS,
    Picks,
    of_names,
    of_segment,
)
from sartor.store.traffic.queries import Queries
from sartor.store.traffic.rows import Row, Rows
from sartor.store.traffic.segment import segments

BATCH = 4000
"""Records indexed in one transaction."""
DAY = 86_400.0

_ID, _AT, _BUSINESS = (EXCHANGE_FIELDS.index(name) for name in ("id", "at", "business"))
_TENANT = SORT_FIELDS.index("tenant")


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
        if at >= path.stat().st_size:
            return 0
        rows, added, damaged = Rows(path, at), 0, 0
        items = iter(rows)
        while (first := next(items, None)) is not None:
            assert rows.header is not None
            with self.database.write() as connection:
                tables.alone(connection)
                stands, before = _stands(connection, path.name)
                if stands != at:  # somebody else was first
                    break
                batch = chain((first,), islice(items, BATCH - 1))
                added += _put(connection, path.name, batch, of_segment(rows.header))
                _reach(connection, path.name, rows.end, before + rows.damaged - damaged)
            at, damaged = rows.end, rows.damaged
        else:
            return added
        return added + (self._follow_to_end(path, stands) if stands > at else 0)

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

    def moved(self, files: Iterable[Path], gone: Iterable[str]) -> int:
        """Index files of old records, whole, instead of the files that they were made of, all together."""
        total = 0
        with self.database.write() as connection:
            tables.alone(connection)
            for path in files:
                rows, count = old.records(path), 0
                while added := _put(connection, path.name, islice(rows, BATCH), of_names()):
                    count += added
                _reach(connection, path.name, max(count, 1), 0)
                total += count
            for name in gone:
                connection.execute(tables.progress.delete().where(tables.progress.c.file == name))
        return total


def _stands(connection: Connection, name: str) -> tuple[int, int]:
    row = connection.execute(select(tables.progress).where(tables.progress.c.file == name)).first()
    return (row.place, row.damaged) if row else (0, 0)


def _reach(connection: Connection, name: str, place: int, damaged: int) -> None:
    tables.insert(connection, tables.progress, [(name, place, damaged)], ("place", "damaged"))


def _put(connection: Connection, name: str, rows: Iterable[Row], picks: Picks) -> int:
    """Put records in; returns how many these were."""
    exchanges, hops, feedback, links, gone = [], [], [], [], []
    sorts: dict[tuple[Any, ...], int] = {}
    before = seq = connection.execute(select(func.coalesce(func.max(tables.exchange.c.seq), 0))).scalar_one()
    pick, pick_sort, pick_hop, hops_of = picks.exchange, picks.sort, picks.hop, picks.hops
    for kind, row, place, form, days in rows:
        if kind == EXCHANGE:
            seq, picked, alike = seq + 1, pick(row), pick_sort(row)
            if (sort := sorts.get(alike)) is None:
                sort = sorts[alike] = _number(alike)
            at = picked[_AT]
            exchanges.append((seq, sort, *picked, day_of(at), name, place, form, at + days * DAY if form else 0.0))
            for number, hop in enumerate(hops_of(row)):
                hops.append((seq, number, *pick_hop(hop)))
            if business := picked[_BUSINESS]:
                links.append((alike[_TENANT], business, picked[_ID]))
        elif kind == FEEDBACK:
            told = dict(zip(FEEDBACK_FIELDS, picks.feedback(row), strict=True))
            told |= {"value": _json(told["value"]), "tags": _json(told["tags"])}
            feedback.append(tuple(told.values()))
            if told["business"] and told["exchange"]:
                links.append((told["tenant"], told["business"], told["exchange"]))
        elif kind == ERASED:
            gone.append(picks.erased(row))
    tables.insert(connection, tables.sort, [(number, *alike) for alike, number in sorts.items()])
    tables.insert(connection, tables.exchange, exchanges, PLACED, keys=("id",))
    tables.insert(connection, tables.hop, _of_new(connection, before, len(exchanges), hops))
    tables.insert(connection, tables.feedback, feedback)
    tables.insert(connection, tables.link, links)
    tables.insert(connection, tables.erased, gone)
    return len(exchanges) + len(feedback) + len(gone)


def _of_new(connection: Connection, before: int, count: int, hops: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The hops of those of the last exchanges that were not there yet; others have theirs."""
    new = tables.exchange.c.seq > before
    if connection.execute(select(func.count()).where(new)).scalar_one() == count:
        return hops
    numbers = set(connection.execute(select(tables.exchange.c.seq).where(new)).scalars())
    return [hop for hop in hops if hop[0] in numbers]


def _number(alike: tuple[Any, ...]) -> int:
    return int.from_bytes(blake2b(orjson.dumps(alike), digest_size=8).digest()) >> 1


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def day_of(at: float) -> str:
    """The day in UTC, ISO 8601, of a time in seconds since 1970."""
    return _day(int(at // DAY))


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, UTC).date().isoformat()

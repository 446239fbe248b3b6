"""Moves old segments into one Parquet file a day, and deletes content that is past its days. Loses no record.

New files are whole before the index points to them, and only then the old ones go: a crash between leaves both, which
count once, and the next time finishes it.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.store.disk import sync, writing
from sartor.store.traffic import old
from sartor.store.traffic.frames import EMPTY, EXCHANGE, FEEDBACK, Frame
from sartor.store.traffic.index import DAY, TrafficIndex, day_of
from sartor.store.traffic.segment import Reader, finished, segments

Key = tuple[int, str]
"""Kind and day."""


@dataclass(frozen=True)
class Compacted:
    """What was done."""

    segments: int
    records: int
    files: int
    dropped: int
    """Contents that were past their days."""


def compact(folder: Path, index: TrafficIndex, *, before: float, now: float | None = None) -> Compacted:
    """Move the segments last written before a time, if nobody writes them any more; delete content past its days.

    Content past its days in younger segments goes as well, once nobody writes them.

    Args:
        before: seconds since 1970.

    Raises:
        StoreError: the disk is full; everything is still where it was.
    """
    now = time.time() if now is None else now
    index.catch_up()
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with writing(folder), holding(folder), ExitStack() as locks:
        (folder / "old").mkdir(mode=0o700, exist_ok=True)
        for part in (folder / "old").glob("*.part"):
            part.unlink()  # of a time that was killed
        expired = set(index.expired(now))
        chosen = [
            path
            for path in segments(folder / "log")
            if (path.stat().st_mtime < before or path.name in expired) and locks.enter_context(finished(path))
        ]
        index.catch_up()  # to the end of those that nobody writes any more
        chosen, days = _days(chosen)
        for path in old.files(folder / "old"):
            if path.name in expired:
                days.setdefault(old.read_name(path), {})
        work = _Work(folder, chosen, now)
        made = [old.write(folder / "old", *key, work.rows(key, places)) for key, places in sorted(days.items())]
        stale = [path for path in made for path in old.of_day(folder / "old", *old.read_name(path))[:-1]]
        index.moved(made, [path.name for path in (*chosen, *stale)])
        for path in (*chosen, *stale):
            path.unlink()
        for each in ("log", "old"):
            if (folder / each).is_dir():
                sync(folder / each)
    return Compacted(len(chosen), work.moved, len(made), work.dropped)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Let nobody else move records about."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


Places = dict[Key, dict[str, tuple[str, int]]]
"""Kind and day -> id -> the segment in which its last record stands, and where."""


def _days(chosen: Iterable[Path]) -> tuple[list[Path], Places]:
    """The segments that are sound (others stay where they are), and where their records stand."""
    sound: list[Path] = []
    found: Places = {}
    for path in chosen:
        places = _places(path)
        if places is None:
            continue
        sound.append(path)
        for key, more in places.items():
            found.setdefault(key, {}).update(more)
    return sound, found


def _places(path: Path) -> Places | None:
    """Where a segment's records stand; None where it is damaged."""
    found: Places = {}
    for item, row in _read(path):
        if row is None:
            return None
        found.setdefault((item.kind, day_of(row["at"])), {})[_id(item.kind, row)] = (path.name, item.start)
    return found


def _read(path: Path) -> Iterator[tuple[Any, dict[str, Any] | None]]:
    """Records with their fields by name; None for what is damaged."""
    reader = Reader(path)
    for item in reader.items():
        if not isinstance(item, Frame):
            yield item, None
            continue
        assert reader.header is not None
        yield item, reader.header.named(item)


def _id(kind: int, row: Mapping[str, Any]) -> str:
    if kind == EXCHANGE:
        return str(row["id"])
    return f"{row['tenant']}\0{row['id'] if kind == FEEDBACK else row['subject']}"


class _Work:
    """One time of moving records; counts what it does."""

    def __init__(self, folder: Path, chosen: list[Path], now: float) -> None:
        self.folder, self.chosen, self.now = folder, {path.name: path for path in chosen}, now
        self.moved = self.dropped = 0

    def rows(self, key: Key, places: dict[str, tuple[str, int]]) -> Iterator[old.Full]:
        """The records of a day: those of its file, and those of the segments, which count where both have one."""
        kind, day = key
        before = old.of_day(self.folder / "old", kind, day)
        for kept in old.rows(before[-1]) if before else ():
            if _id(kind, kept[0]) not in places:
                yield self._kept(*kept)
        wanted = set(places.values())
        for name in sorted({name for name, _ in wanted}):
            for item, row in _read(self.chosen[name]):
                if row is not None and (name, item.start) in wanted:
                    self.moved += 1
                    yield self._kept(row, item.form, item.days, item.asked, item.answered)

    def _kept(self, row: Mapping[str, Any], form: int, days: int, asked: bytes, answered: bytes) -> old.Full:
        if form != EMPTY and row["at"] + days * DAY <= self.now:
            self.dropped += 1
            return row, EMPTY, days, b"", b""
        return row, form, days, asked, answered

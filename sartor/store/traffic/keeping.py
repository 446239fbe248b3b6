"""The traffic of one store: the log, its index, the keys of subjects, and what each exchange's content now is."""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import event

from sartor.core.errors import NotFoundError, StoreError
from sartor.core.traffic import Content
from sartor.store.engine import Database, open_sqlite
from sartor.store.traffic import frames, old
from sartor.store.traffic.bounds import Limits
from sartor.store.traffic.compact import Compacted, compact
from sartor.store.traffic.index import DAY, TrafficIndex
from sartor.store.traffic.log import TrafficLog
from sartor.store.traffic.secret import Marks, read_secret
from sartor.store.traffic.segment import Reader, read_one, segments
from sartor.store.traffic.subjects import Subjects
from sartor.store.traffic.treatment import opened

State = Literal["kept", "hashed", "none", "erased"]
INDEX_KIB = 8_000
"""Memory in which a connection to the index keeps pages of its file."""
COMPACT_DAYS = 7.0
"""Age at which a segment moves into the file of its day."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of an exchange's content is here."""

    state: State
    """`none`: it was not kept, was dropped, or is past its days. `erased`: its subject's key was destroyed, or is not
    here. `hashed`: only keyed digests."""
    content: Content | None = None


class Traffic:
    """Everything that is kept of traffic. Each part is opened when it is first used."""

    def __init__(self, root: Path, caches: Path, ledger: Database) -> None:
        """The traffic of a store.

        Args:
            caches: where an index in a file lies; the root unless that may not be written.
            ledger: holds index and keys where it is PostgreSQL; where it is read-only, nothing is logged.
        """
        self.root, self.folder, self._caches, self._ledger = root, root / "traffic", caches, ledger
        self._read_only = ledger.read_only
        self._opened: list[Database] = []

    @cached_property
    def index(self) -> TrafficIndex:
        """The index; a cache, so it is kept up to date in a read-only store too."""
        if self._ledger.dialect == "postgresql" and not self._ledger.read_only:
            return TrafficIndex(self._ledger, self.folder)
        database = open_sqlite(self._caches / "traffic.db")
        _set(database, "synchronous=NORMAL")  # what a power cut takes is read from the log again
        _set(database, f"cache_size=-{INDEX_KIB}")
        self._opened.append(database)
        return TrafficIndex(database, self.folder)

    @cached_property
    def subjects(self) -> Subjects | None:
        """The keys of subjects; None where there are none and none may be made."""
        if self._ledger.dialect == "postgresql":
            return Subjects(self._ledger)
        path = self.root / "subjects.db"
        if self._read_only and not path.exists():
            return None
        database = open_sqlite(path, read_only=self._read_only)
        _set(database, "secure_delete=ON")
        self._opened.append(database)
        subjects = Subjects(database)
        if not self._read_only:
            path.chmod(0o600)
        return subjects

    @cached_property
    def _marks(self) -> Marks:
        return Marks(read_secret(self.folder / "secret", make=not self._read_only))

    @property
    def mark(self) -> Callable[[str], str]:
        """The keyed digest that stands for a user or a business key."""
        return self._marks.text

    @cached_property
    def pen(self) -> TrafficLog:
        """A log of this opening's own, for what is said now and then; closed with the rest.

        Raises:
            StoreError: as `log`.
        """
        return self.log(f"p{secrets.token_hex(4)}")

    def log(self, writer: str, limits: Limits = Limits()) -> TrafficLog:
        """The log, to write to; closed by whoever asked for it.

        Args:
            writer: names the process, e.g. `w0`.

        Raises:
            StoreError: the store is read-only, or its disk can't be written.
        """
        if self._read_only:
            raise StoreError(
                f"The store {self.root} was opened read-only, so no traffic can be written. Open it for writing.",
                code="store_read_only",
            )
        return TrafficLog(self.folder / "log", writer, sealer=self.subjects, digest=self._marks.data, limits=limits)

    def read(self, tenant: str | None, exchange: str) -> Kept:
        """What is kept of an exchange's content.

        Raises:
            NotFoundError: the tenant has no such exchange.
            StoreError: it is damaged.
        """
        for last in (False, True):
            place = self.index.place(tenant, exchange)
            if place is None:
                raise NotFoundError(f"There is no exchange '{exchange}'.", code="exchange_not_found", param="exchange")
            if place.form == frames.EMPTY:
                return Kept("none")
            with suppress(FileNotFoundError):  # it moved since we asked where it is
                return self._kept(exchange, *self._bytes(place.file, place.place, exchange))
            if not last:
                self.index.catch_up()
        raise StoreError(
            f"The content of {exchange} is not in {self.folder}, where the index says. Is it another machine's? If "
            "not, run 'sartor traffic reindex', or restore a backup.",
            code="content_missing",
        )

    def _bytes(self, file: str, place: int, exchange: str) -> tuple[int, bytes, bytes]:
        if not file.endswith(".log"):
            row = old.content_at(self.folder / "old" / file, place)
            if row is None or row[0] != exchange:
                raise FileNotFoundError(file)
            return row[1:]
        found = read_one(self.folder / "log" / file, place)
        if found is None:
            raise StoreError(
                f"The record of {exchange} in {self.folder / 'log' / file} is damaged. Restore it from a backup.",
                code="content_damaged",
            )
        return found.form, found.asked, found.answered

    def _kept(self, exchange: str, form: int, asked: bytes, answered: bytes) -> Kept:
        if form == frames.EMPTY:
            return Kept("none")
        if form == frames.SEALED:
            plain = self.subjects.open(exchange, asked) if self.subjects else None
            return Kept("erased") if plain is None else Kept("kept", Content(*opened(plain)))
        state: State = "hashed" if form == frames.HASHED else "kept"
        return Kept(state, Content(asked, answered))

    def erase(self, tenant: str, subject: str) -> int:
        """Erase a person: destroy the keys of their content, and write the tombstone. The log stays whole.

        Args:
            subject: as the application named them.

        Returns:
            How many keys were destroyed.

        Raises:
            StoreError: the keys can't be changed or the tombstone can't be written; repeat it then.
        """
        digest = self.mark(subject)
        log = self.log("erase")
        try:
            count = self.subjects.erase(tenant, digest) if self.subjects else 0
            log.append_erasure({"tenant": tenant, "subject": digest, "at": time.time()})
        finally:
            log.close()
        self.index.catch_up()
        return count

    def compact(self, *, days: float = COMPACT_DAYS, now: float | None = None) -> Compacted:
        """Move segments older than some days into one Parquet file a day, and delete content past its own days."""
        now = time.time() if now is None else now
        return compact(self.folder, self.index, before=now - days * DAY, now=now)

    def faults(self) -> list[tuple[str, str]]:
        """(file, what is wrong with it), of every file of the log; reads all of it."""
        found = []
        for path in segments(self.folder / "log"):
            try:
                lost = sum(item.end - item.start for item in Reader(path).items() if isinstance(item, frames.Damage))
            except StoreError as error:
                found.append((path.name, error.message))
                continue
            if lost:
                found.append((path.name, f"{lost:,} bytes in its midst are damaged; the records around them are read."))
        for path in old.files(self.folder / "old"):
            try:
                for _ in old.rows(path):
                    pass
            except (OSError, ValueError) as error:
                found.append((path.name, f"It can't be read: {error}"))
        return found

    def close(self) -> None:
        """Close what was opened."""
        if "pen" in self.__dict__:
            self.pen.close()
        for database in self._opened:
            database.close()


def _set(database: Database, pragma: str) -> None:
    """Have each connection of a SQLite database set something."""

    def ask(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA {pragma}")

    for engine in (database.reader, database.writer):
        event.listen(engine, "connect", ask)

"""One key per subject, under which the content of their exchanges is encrypted. Destroying it erases them.

The keys lie apart from the log: `subjects.db` in the store (deleted keys are overwritten there), or a table of the
ledger's database on PostgreSQL. What a disk keeps of overwritten blocks, and what backups hold, is beyond this: back
keys up apart and briefly.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    Column,
    Double,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from sartor.core.errors import StoreError
from sartor.store.engine import Database

KEY_BYTES, NONCE_BYTES, ID_BYTES = 32, 12, 8
MOST_KEYS = 8192
"""Keys of subjects remembered; the longest unused go first."""
STALE = 2.0
"""Seconds after which a process that encrypts looks whether somebody was erased."""

BLIND = 60.0
"""Seconds for which known keys are used while the database can't be asked."""
RETRY = 5.0
"""Seconds between two tries to reach it, since a try can take long and others wait."""

metadata = MetaData()
subject_key = Table(
    "subject_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("key", LargeBinary),
    Column("created", Double, nullable=False),
    Column("erased", Double),
    Index("subject_key_of", "tenant", "subject"),
    Index("subject_key_erased", "erased"),
)
"""A row whose key is NULL is the tombstone of an erased one."""


class Subjects:
    """The keys of one store. Used by the log's thread and by whoever reads; safe between threads and processes."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """Have the table."""
        self.database, self._clock = database, clock
        if not database.read_only:
            metadata.create_all(database.writer)
        self._known: dict[tuple[str, str], tuple[bytes, Any]] = {}
        self._looked, self._erasures, self._retry_at = time.monotonic() - STALE, -1, 0.0

    def prepare(self, subjects: set[tuple[str, str]]) -> None:
        """Have a durable key at hand for each (tenant, subject): made, all in one transaction, where there is none.

        Raises:
            StoreError: the keys can't be read or kept.
        """
        if time.monotonic() < self._retry_at:
            raise StoreError("The keys of subjects could not be reached a moment ago.", code="store_unreachable")
        try:
            self._forget_erased()
            self._learn(subjects)
        except StoreError:
            now = time.monotonic()
            self._retry_at = now + RETRY
            if now - self._looked > BLIND:
                self._known.clear()  # somebody may have been erased since
            raise

    def _learn(self, subjects: set[tuple[str, str]]) -> None:
        while len(self._known) > MOST_KEYS:
            self._known.pop(next(iter(self._known)))
        missing = [pair for pair in subjects if pair not in self._known]
        if not missing:
            return
        found = self._living(missing)
        new = [pair for pair in missing if pair not in found]
        if new:
            now = self._clock()
            made = {pair: (secrets.token_hex(ID_BYTES), os.urandom(KEY_BYTES)) for pair in new}
            rows = [
                {"id": id_, "tenant": tenant, "subject": subject, "key": key, "created": now}
                for (tenant, subject), (id_, key) in made.items()
            ]
            with self.database.write() as connection:
                connection.execute(insert(subject_key), rows)
            found |= made
        for pair, (id_, key) in found.items():
            self._known[pair] = (bytes.fromhex(id_), _cipher(key))

    def _living(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, bytes]]:
        """The keys that are there: id and key."""
        found = {}
        columns = subject_key.c
        with self.database.read() as connection:
            for start in range(0, len(pairs), 300):
                named = tuple_(columns.tenant, columns.subject).in_(pairs[start : start + 300])
                for row in connection.execute(select(subject_key).where(named, columns.key.is_not(None))):
                    found[row.tenant, row.subject] = (row.id, row.key)
        return found

    def _forget_erased(self) -> None:
        now = time.monotonic()
        if now - self._looked < STALE:
            return
        with self.database.read() as connection:
            newest = connection.execute(select(func.count(subject_key.c.erased))).scalar_one()
        if newest != self._erasures:
            self._known.clear()
        self._looked, self._erasures = now, newest

    def seal(self, tenant: str, subject: str, exchange: str, plain: bytes) -> bytes:
        """The bytes, encrypted (AES-256-GCM) and bound to their exchange: key's id, nonce, text and tag."""
        id_, cipher = self._known[tenant, subject]
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = cipher.encrypt(nonce, plain, exchange.encode())
        return id_ + nonce + sealed

    def open(self, exchange: str, sealed: bytes) -> bytes | None:
        """The bytes that were sealed for an exchange; None where their key was destroyed, or is not here.

        Raises:
            StoreError: they were changed, or are those of another exchange.
        """
        from cryptography.exceptions import InvalidTag

        with self.database.read() as connection:
            key = connection.execute(
                select(subject_key.c.key).where(subject_key.c.id == sealed[:ID_BYTES].hex())
            ).scalar()
        if key is None:
            return None
        rest = sealed[ID_BYTES:]
        try:
            plain: bytes = _cipher(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], exchange.encode())
        except InvalidTag as error:
            raise StoreError(
                f"The content of {exchange} was changed since it was encrypted. Restore the log from a backup.",
                code="content_damaged",
            ) from error
        return plain

    def erase(self, tenant: str, subject: str) -> int:
        """Destroy a subject's keys; returns how many there were. What was sealed with them can't be read any more.

        Raises:
            StoreError: they can't be changed.
        """
        where = (subject_key.c.tenant == tenant, subject_key.c.subject == subject, subject_key.c.key.is_not(None))
        with self.database.write() as connection:
            count = connection.execute(update(subject_key).where(*where).values(key=None, erased=self._clock()))
        self._known.pop((tenant, subject), None)
        with self.database.reader.connect() as connection:
            if self.database.dialect == "sqlite":
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # else old pages stay beside the file
            else:
                connection.execute(text("VACUUM subject_key"))
        return int(count.rowcount)

    def rows(self) -> list[dict[str, Any]]:
        """All keys as plain values, for a backup of their own."""
        with self.database.read() as connection:
            rows = [dict(row) for row in connection.execute(select(subject_key)).mappings()]
        return [row | {"key": row["key"].hex() if row["key"] else None} for row in rows]

    def load(self, rows: Iterable[dict[str, Any]]) -> int:
        """Take keys from a backup; those that are here already stay as they are."""
        with self.database.read() as connection:
            known = set(connection.execute(select(subject_key.c.id)).scalars())
        new = [
            row | {"key": bytes.fromhex(row["key"]) if row["key"] else None} for row in rows if row["id"] not in known
        ]
        if new:
            with self.database.write() as connection:
                connection.execute(insert(subject_key), new)
        return len(new)


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)

"""All that a store holds, read at one instant: for backup, sweep and verification. Changes nothing."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from sartor.store.schema import (
    access_key,
    allowance,
    audit,
    edge,
    job,
    job_event,
    move,
    notice,
    pointer,
    record,
    tenant,
    upload,
)
from sartor.store.uploads import kept_contents

PAGE = 1000
ERASED = ".erased@"
"""Beginning of the pointers that say that a record's files were destroyed on purpose."""
ROOTS = frozenset({"Variant", "Decision", "Report"})
"""Kinds of record that always count."""
_page = (
    select(record.c.seq, record.c.digest, record.c.kind, record.c.seal, record.c.body)
    .where(record.c.seq > bindparam("after"))
    .order_by(record.c.seq)
    .limit(PAGE)
)


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it lies in the ledger."""

    seq: int
    digest: str
    kind: str
    seal: str
    body: str

    @property
    def files(self) -> dict[str, str]:
        """Name -> digest of the files in the vault that the record names."""
        named: dict[str, str] = json.loads(self.body).get("files") or {}
        return named


def rows(connection: Connection) -> Iterator[Row]:
    """All records, oldest first, a page at a time."""
    after = -1
    while page := connection.execute(_page, {"after": after}).all():
        yield from (Row(*found) for found in page)
        after = page[-1].seq


TABLES: Mapping[str, Table] = {
    "pointers": pointer,
    "moves": move,
    "tenants": tenant,
    "keys": access_key,
    "allowances": allowance,
    "audit": audit,
    "uploads": upload,
    "jobs": job,
    "job_events": job_event,
    "notices": notice,
}
"""What is kept beside the records, by the name that it has in a backup.

Not workers: a job that was running is found without one, and goes on wherever the backup is restored. Nor who has which
row before them for labelling: that ends within minutes.
"""


def beside(connection: Connection, name: str) -> list[dict[str, Any]]:
    """The rows of one of `TABLES`, in the order of their keys, without numbers that the database gives."""
    table = TABLES[name]
    found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
    given = {column.name for column in table.columns if column.identity is not None}
    return [{name: value for name, value in row.items() if name not in given} for row in found]


@dataclass(frozen=True)
class Counting:
    """Records whose files must stay, and those files."""

    records: frozenset[str]
    files: Mapping[str, str]
    """Digest of a file -> digest of a record that counts and names it, or id of an upload."""


def counting(connection: Connection) -> Counting:
    """The records that count: every variant, decision and report, whatever a pointer stands at or ever stood at, and
    everything that these came from. Any other record is a fact too, but its files may be swept. What was uploaded stays
    until it is deleted or expires.
    """
    named: dict[str, list[str]] = {}
    waiting: list[str] = []
    for row in rows(connection):
        named[row.digest] = list(row.files.values())
        if row.kind in ROOTS:
            waiting.append(row.digest)
    waiting += [digest for (digest,) in connection.execute(select(move.c.digest).distinct()) if digest]
    above: dict[str, list[str]] = {}
    for child, parent in connection.execute(
        select(record.c.digest, edge.c.parent).join(edge, edge.c.child == record.c.seq)
    ):
        above.setdefault(child, []).append(parent)
    counts: set[str] = set()
    while waiting:
        digest = waiting.pop()
        if digest not in counts:
            counts.add(digest)
            waiting.extend(above.get(digest, ()))
    erased = set(connection.execute(select(pointer.c.name).where(pointer.c.name.startswith(ERASED))).scalars())
    whole = [digest for digest in sorted(counts) if ERASED + digest not in erased]
    files = {file: digest for digest in whole for file in named.get(digest, ())}
    return Counting(frozenset(counts), kept_contents(connection) | files)

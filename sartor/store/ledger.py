"""The ledger: immutable records found by digest, field and edge, and the named pointers that alone may move.

Knows nothing of files, nor of what records mean beyond their `index` fields and `edges()`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, insert, select

from sartor.core.errors import AskError, ConflictError, NotFoundError, unknown
from sartor.core.records import Record, now
from sartor.store.engine import Database
from sartor.store.rows import as_row, build, edges_of, fields_of, read
from sartor.store.schema import access_key, edge, field, move, pointer, record
from sartor.store.statements import (
    BODIES_OF,
    BUMP,
    BY_DIGEST,
    BY_PREFIX,
    CHILDREN,
    CHILDREN_OF,
    KNOWN,
    KNOWN_OF,
    MOVE,
    MOVES,
    NAMED,
    PARENTS,
    POINTERS,
    RESOLVE,
    REVISION,
    search,
    sizes,
    tally,
)

R = TypeVar("R", bound=Record)
T = TypeVar("T")

BATCH = 1000
BATCH_MOVES = 8
"""Changes of pointers beyond which setting new names in bulk is worth its two statements more."""
ENOUGH = (200, 5_000)
"""Rows counted at most when the field with the fewest is sought: counting never costs more than the search saves."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` came from `parent` in this role."""

    role: str
    child: str
    parent: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """A name, the record it stands at, and the decision that moved it there."""

    name: str
    digest: str
    decision: str
    moved: str


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a pointer, never edited. `digest` or `before` is None where the name stood nowhere."""

    name: str
    seq: int
    digest: str | None
    before: str | None
    decision: str
    moved: str


@dataclass(frozen=True, slots=True)
class Change:
    """A move to be made: to `digest` (None: the name then stands nowhere), if the pointer stands at `expected`."""

    name: str
    digest: str | None
    expected: str | None
    decision: str = ""
    """Of this move alone; '' is that of all that are made together."""


class Ledger:
    """Records and pointers in one database. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._insert = _inserter(database.dialect)

    # Records

    def put(self, item: Record) -> str:
        """Store a record with its index fields and edges, durably, and return its digest.

        Storing a record with a known digest changes nothing: the first one stays.

        Raises:
            StoreError: the store is read-only, full, locked or damaged.
            AskError: an index field is longer than 512 characters.
        """
        with self.database.write() as connection:
            self._put_batch(connection, [item])
        return item.digest

    def put_many(self, items: Iterable[Record]) -> list[str]:
        """Store records in their order, all of them or none; the digests in the same order."""
        with self.database.write() as connection:
            return self._put_all(connection, items)

    def load(self, items: Iterable[Record], beside: Mapping[Table, Sequence[Any]]) -> int:
        """Fill an empty ledger with the rows of another, all of them or none; returns how many records.

        Args:
            beside: rows of the tables beside the records, as mappings.

        Raises:
            ConflictError: the ledger is not empty.
        """
        with self.database.write() as connection:
            self.database.alone(connection)
            if any(connection.execute(select(kept).limit(1)).first() for kept in (record.c.seq, access_key.c.id)):
                raise ConflictError(
                    f"The ledger at {self.database.where} is not empty. Restore into a new folder or database.",
                    code="store_not_empty",
                )
            total = len(self._put_all(connection, items))
            for table, rows in beside.items():
                if rows:
                    connection.execute(insert(table), list(rows))
            connection.execute(BUMP)
        return total

    def _put_all(self, connection: Connection, items: Iterable[Record]) -> list[str]:
        digests: list[str] = []
        for batch in _batches(items, BATCH):
            if not digests and len(batch) > 1:
                self.database.alone(connection)
            self._put_batch(connection, batch)
            digests.extend(item.digest for item in batch)
        return digests

    def _put_batch(self, connection: Connection, batch: Sequence[Record]) -> None:
        firsts: dict[str, Record] = {}
        for item in batch:
            firsts.setdefault(item.digest, item)
        statement = self._insert(record).on_conflict_do_nothing().returning(record.c.digest, record.c.seq)
        new = connection.execute(statement, [as_row(item) for item in firsts.values()]).all()
        fields = [row for digest, seq in new for row in fields_of(firsts[digest], seq)]
        edges = [row for digest, seq in new for row in edges_of(firsts[digest], seq)]
        if fields:
            connection.execute(field.insert(), fields)
        if edges:
            connection.execute(edge.insert(), edges)

    def get(self, digest: str) -> Record:
        """The record with this digest, or with the one digest that begins so (8 hex digits at least).

        Raises:
            NotFoundError: there is none.
            AskError: several begin so.
        """
        with self.database.read() as connection:
            if len(digest) == 64:
                found = connection.execute(BY_DIGEST, {"digest": digest}).all()
            else:
                found = connection.execute(BY_PREFIX, _range(_prefix(digest))).all()
        if not found:
            raise NotFoundError(f"There is no record {digest} in the ledger.", code="record_not_found")
        if len(found) > 1:
            raise AskError(f"Several records begin with '{digest}': give more of the digest.", code="ambiguous_digest")
        return build(found[0].kind, found[0].body)

    def get_many(self, digests: Iterable[str]) -> dict[str, Record]:
        """The records with these digests, in no order; those that are not there are left out."""
        found: dict[str, Record] = {}
        with self.database.read() as connection:
            for batch in _batches(digests, BATCH):
                rows = connection.execute(BODIES_OF, {"digests": batch}).all()
                found.update((row.digest, build(row.kind, row.body)) for row in rows)
        return found

    def find(self, kind: type[R], *, limit: int = 100, **fields: str) -> list[R]:
        """Records of a kind whose index fields all have these values, newest first.

        The search walks the field with the fewest rows and looks the others up, so it costs no more than that.

        Raises:
            AskError: a field that the kind does not index.
        """
        asked = _checked(kind, fields)
        with self.database.read() as connection:
            names = self._by_selectivity(connection, kind, asked)
            values = _values(kind.kind, names, asked) | {"limit": limit}
            found = connection.execute(search(len(names)), values).scalars().all()
        return [read(kind, body) for body in found]

    def count(self, kind: type[Record], **fields: str) -> int:
        """How many records `find` would have without a limit."""
        asked = _checked(kind, fields)
        with self.database.read() as connection:
            names = self._by_selectivity(connection, kind, asked)
            return int(connection.execute(tally(len(names)), _values(kind.kind, names, asked)).scalar_one())

    def _by_selectivity(self, connection: Connection, kind: type[Record], asked: Mapping[str, str]) -> list[str]:
        """The asked fields, one with few rows first; all are counted only where the first declared one has many."""
        names = [name for name in kind.index if name in asked]
        if len(names) < 2:
            return names
        for several, enough in ((names[:1], ENOUGH[0]), (names, ENOUGH[0]), (names, ENOUGH[1])):
            values = _values(kind.kind, several, asked) | {"limit": enough}
            rows = dict(zip(several, connection.execute(sizes(len(several)), values).one(), strict=True))
            names.sort(key=lambda name: rows.get(name, enough))
            if rows[names[0]] < enough:
                break
        return names

    # Lineage

    def parents(self, digest: str) -> list[Edge]:
        """What the record came from, by role."""
        with self.database.read() as connection:
            return [Edge(*row) for row in connection.execute(PARENTS, {"digest": digest})]

    def children(self, digest: str) -> list[Edge]:
        """What came from the record, oldest first."""
        with self.database.read() as connection:
            return [Edge(*row) for row in connection.execute(CHILDREN, {"digest": digest})]

    def children_of(self, digests: Iterable[str]) -> list[Edge]:
        """What came from any of these records."""
        found: list[Edge] = []
        with self.database.read() as connection:
            for batch in _batches(digests, BATCH):
                found += [Edge(*row) for row in connection.execute(CHILDREN_OF, {"digests": batch})]
        return found

    # Pointers

    def point(self, name: str, digest: str, *, expected: str | None, decision: str) -> None:
        """Move a pointer to a record if it still stands where the caller saw it (`expected`; None: nowhere).

        Args:
            decision: digest of the decision, or the words, that say why.

        Raises:
            ConflictError: it stands elsewhere; the message says where.
            NotFoundError: there is no such record.
        """
        self.move_many([Change(name, digest, expected)], decision=decision)

    def move_many(self, changes: Sequence[Change], *, decision: str, items: Sequence[Record] = ()) -> None:
        """Move several pointers together: all of them, or none if one stands elsewhere than expected.

        Args:
            items: records that are stored if, and only if, the pointers move: new variants, the decision itself.
        """
        moved = now()
        ordered = sorted(changes, key=lambda change: change.name)  # one order, so that no two can deadlock
        with self.database.write() as connection:
            self._put_all(connection, items)
            fresh = [change for change in ordered if change.digest and change.expected is None]
            if len(fresh) > BATCH_MOVES:
                done = set(fresh).difference(self._set_new(connection, fresh, decision, moved))
                ordered = [change for change in ordered if change not in done]
            for change in ordered:
                self._move(connection, change, decision, moved)
            connection.execute(BUMP)  # last: on PostgreSQL whoever moves anything waits for this one row

    def _set_new(self, connection: Connection, changes: list[Change], decision: str, moved: str) -> list[Change]:
        """Set many names that were never set, a few statements for all; returns the changes that are left."""
        known = set[str]()
        for batch in _batches((change.digest for change in changes), BATCH):
            known.update(connection.execute(KNOWN_OF, {"digests": batch}).scalars())
        values = [
            {"name": change.name, "digest": change.digest, "moved": moved, "seq": 1}
            | {"decision": change.decision or decision}
            for change in changes
            if change.digest in known
        ]
        if not values:
            return changes
        statement = self._insert(pointer).on_conflict_do_nothing().returning(pointer.c.name)
        new = set(connection.execute(statement, values).scalars())
        logged = [row | {"before": None} for row in values if row["name"] in new]
        if logged:
            connection.execute(move.insert(), logged)
        return [change for change in changes if change.name not in new]

    def _move(self, connection: Connection, change: Change, decision: str, moved: str) -> None:
        if change.digest is not None and not connection.execute(KNOWN, {"digest": change.digest}).first():
            raise NotFoundError(
                f"'{change.name}' cannot point to {change.digest}: there is no such record in the ledger.",
                code="record_not_found",
            )
        why = change.decision or decision
        values = {"name": change.name, "digest": change.digest, "decision": why, "moved": moved}
        row = connection.execute(MOVE, values | {"at": change.name, "expected": change.expected}).first()
        if row is None and change.expected is None:
            fresh = self._insert(pointer).on_conflict_do_nothing().returning(pointer.c.seq)
            row = connection.execute(fresh, values | {"seq": 1}).first()
        if row is None:
            stands = connection.execute(RESOLVE, {"name": change.name}).first()
            raise _conflict(change, stands.digest if stands else None)
        connection.execute(move.insert(), values | {"seq": row.seq, "before": change.expected})

    def resolve(self, name: str) -> Pointer | None:
        """Where a name stands; None where it stands nowhere."""
        with self.database.read() as connection:
            row = connection.execute(RESOLVE, {"name": name}).first()
        return Pointer(*row) if row else None

    def named(self, *digests: str) -> list[Pointer]:
        """Pointers that stand at these records."""
        with self.database.read() as connection:
            found = [connection.execute(NAMED, {"digests": batch}).all() for batch in _batches(digests, BATCH)]
        return [Pointer(*row) for rows in found for row in rows]

    def pointers(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[Pointer]:
        """Pointers whose names begin so, by name; only those behind the name `after`."""
        asked = _range(prefix) | {"after": after, "limit": limit}
        with self.database.read() as connection:
            return [Pointer(*row) for row in connection.execute(POINTERS, asked)]

    def moves(self, name: str) -> list[Move]:
        """All moves of a name, oldest first."""
        with self.database.read() as connection:
            return [Move(*row) for row in connection.execute(MOVES, {"name": name})]

    def revision(self) -> int:
        """A number that grows whenever a pointer or an access key changes: one cheap read tells that none did."""
        with self.database.read() as connection:
            return int(connection.execute(REVISION).scalar_one())

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()


def _values(kind: str, names: Sequence[str], asked: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {"kind": kind}
    for i, name in enumerate(names):
        values |= {f"n{i}": name, f"v{i}": asked[name]}
    return values


def _checked(kind: type[Record], fields: Mapping[str, str]) -> dict[str, str]:
    for name in fields:
        if name not in kind.index:
            raise unknown(f"index field of {kind.kind}", name, kind.index, param=name, code="unknown_field")
    return dict(fields)


def _prefix(digest: str) -> str:
    low = digest.lower()
    if not 8 <= len(low) <= 64 or set(low) - set("0123456789abcdef"):
        raise NotFoundError(
            f"'{digest}' is no digest: give 64 hex digits, or at least the first 8.", code="record_not_found"
        )
    return low


def _range(prefix: str) -> dict[str, str]:
    return {"low": prefix, "high": prefix + "\U0010ffff"}


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def _conflict(change: Change, stands: str | None) -> ConflictError:
    expected = change.expected or "nowhere"
    return ConflictError(
        f"'{change.name}' was to move from {expected} to {change.digest or 'nowhere'}, but it stands at "
        f"{stands or 'nowhere'} now: somebody moved it. Look again, then repeat.",
        code="pointer_moved",
    )


def _inserter(dialect: str) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect}").insert

"""What the ledger asks its tables, as statements built once: their compiled form is cached by their structure.

Knows tables; knows no records.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, func, literal_column, or_, select, update

from sartor.store.schema import edge, field, move, pointer, record, revision

_digest: Any = bindparam("digest")
BY_DIGEST = select(record.c.kind, record.c.body).where(record.c.digest == _digest)
BY_PREFIX = (
    select(record.c.kind, record.c.body)
    .where(record.c.digest >= bindparam("low"), record.c.digest < bindparam("high"))
    .limit(2)
)
KNOWN: Select[Any] = select(literal_column("1")).where(record.c.digest == _digest)
KNOWN_OF = select(record.c.digest).where(record.c.digest.in_(bindparam("digests", expanding=True)))
_edge = select(edge.c.role, record.c.digest, edge.c.parent).where(edge.c.child == record.c.seq)
PARENTS = _edge.where(record.c.digest == _digest).order_by(edge.c.role)
CHILDREN = _edge.where(edge.c.parent == _digest).order_by(edge.c.child, edge.c.role)
_digests: Any = bindparam("digests", expanding=True)
CHILDREN_OF = _edge.where(edge.c.parent.in_(_digests)).order_by(edge.c.child, edge.c.role)
BODIES_OF = select(record.c.digest, record.c.kind, record.c.body).where(record.c.digest.in_(_digests))
_pointer = select(pointer.c.name, pointer.c.digest, pointer.c.decision, pointer.c.moved).where(
    pointer.c.digest.is_not(None)
)
RESOLVE = _pointer.where(pointer.c.name == bindparam("name"))
NAMED = _pointer.where(pointer.c.digest.in_(bindparam("digests", expanding=True))).order_by(pointer.c.name)
POINTERS = (
    _pointer.where(
        pointer.c.name >= bindparam("low"), pointer.c.name < bindparam("high"), pointer.c.name > bindparam("after")
    )
    .order_by(pointer.c.name)
    .limit(bindparam("limit"))
)
MOVES = (
    select(move.c.name, move.c.seq, move.c.digest, move.c.before, move.c.decision, move.c.moved)
    .where(move.c.name == bindparam("name"))
    .order_by(move.c.seq)
)
REVISION: Select[Any] = select(revision.c.seq).where(revision.c.name == "store")
BUMP = update(revision).where(revision.c.name == "store").values(seq=revision.c.seq + 1)
_expected = bindparam("expected", type_=pointer.c.digest.type)
MOVE = (
    update(pointer)
    .where(
        pointer.c.name == bindparam("at"),
        or_(pointer.c.digest == _expected, and_(pointer.c.digest.is_(None), _expected.is_(None))),
    )
    .values(
        digest=bindparam("digest"),
        decision=bindparam("decision"),
        moved=bindparam("moved"),
        seq=pointer.c.seq + 1,
    )
    .returning(pointer.c.seq)
)


@lru_cache
def sizes(size: int) -> Select[Any]:
    """How many records have each of `size` values (parameters n0, v0, n1, …), counted up to `limit`: one row."""
    return select(*(_counted(i).label(f"c{i}") for i in range(size)))


def _counted(i: int) -> Any:
    rows = select(literal_column("1")).where(_has(field, i)).limit(bindparam("limit")).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


def _has(table: Any, i: int) -> Any:
    return and_(
        table.c.kind == bindparam("kind"), table.c.name == bindparam(f"n{i}"), table.c.value == bindparam(f"v{i}")
    )


@lru_cache
def _matching(size: int) -> tuple[Any, Any]:
    """The column of serial numbers, and the condition that `size` fields have their values."""
    if size == 0:
        return record.c.seq, record.c.kind == bindparam("kind")
    tables = [field.alias(f"f{i}") for i in range(size)]
    first, *others = tables

    looked_up = [
        exists().where(_has(table, i), table.c.seq == first.c.seq).correlate(first)
        for i, table in enumerate(others, start=1)
    ]
    return first.c.seq, and_(_has(first, 0), *looked_up)


@lru_cache
def search(size: int) -> Select[Any]:
    """Bodies of the records that have `size` values (parameters n0, v0, n1, …), newest first.

    The first field is walked in the order of its index, the others are looked up; so give the rarest first.
    """
    serial, condition = _matching(size)
    statement = select(record.c.body).where(condition)
    if size:
        statement = statement.where(record.c.seq == serial)
    return statement.order_by(serial.desc()).limit(bindparam("limit"))


@lru_cache
def tally(size: int) -> Select[Any]:
    """How many records have `size` values."""
    serial, condition = _matching(size)
    return select(func.count(serial)).where(condition)

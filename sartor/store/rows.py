"""Records as rows of the ledger's tables, and back. Knows no connection."""

from collections.abc import Iterator
from typing import Any, TypeVar

from sartor.core.errors import AskError, StoreError
from sartor.core.records import KINDS, Record

R = TypeVar("R", bound=Record)

LONGEST_FIELD = 512


def as_row(item: Record) -> dict[str, str]:
    """The row of a record, but for its serial number."""
    return {
        "digest": item.digest,
        "kind": item.kind,
        "created": item.created,
        "seal": item.seal,
        "body": item.model_dump_json(),
    }


def fields_of(item: Record, seq: int) -> Iterator[dict[str, Any]]:
    """Rows by which the record is found.

    Raises:
        AskError: a field is longer than 512 characters.
    """
    for name in item.index:
        value = str(getattr(item, name))
        if len(value) > LONGEST_FIELD:
            raise AskError(
                f"{item.kind}.{name} is {len(value)} characters long; a field to search by may have {LONGEST_FIELD}.",
                param=name,
                code="field_too_long",
            )
        yield {"kind": item.kind, "name": name, "value": value, "seq": seq}


def edges_of(item: Record, seq: int) -> Iterator[dict[str, Any]]:
    """Rows of what the record came from."""
    for role, parent in item.edges().items():
        yield {"child": seq, "role": role, "parent": parent}


def build(kind: str, body: str) -> Record:
    """The record of a row.

    Raises:
        StoreError: its kind is not known, or it cannot be read.
    """
    known = KINDS.get(kind)
    if known is None:
        raise StoreError(f"The ledger holds a record of kind '{kind}': a newer Sartor wrote it.", code="store_newer")
    return read(known, body)


def read(kind: type[R], body: str) -> R:
    """The record of a row whose kind is known.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return kind.model_validate_json(body)
    except ValueError as error:
        raise StoreError(
            f"A record of kind '{kind.kind}' in the ledger cannot be read: {error}. A newer Sartor wrote it, or it "
            "was changed by hand: run 'sartor doctor'.",
            code="record_unreadable",
        ) from error

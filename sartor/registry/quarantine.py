"""What was taken back: a pointer beside the record says so, and nothing that has one is released or served.

The pointer stands at the decision that took the record back. Its name begins with a dot, so no task can have it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sartor.core.errors import RefusedError
from sartor.core.records import Artifact, Decision
from sartor.store.ledger import Change, Ledger

QUARANTINE, IN_FORCE, ERASED = ".recall@", ".recalled@", ".erased@"
"""Beginnings of names: a record that was taken back; a recall that stands; a record whose files were destroyed."""


def name_of(digest: str) -> str:
    """The pointer that says that a record was taken back."""
    return QUARANTINE + digest


def is_quarantined(ledger: Ledger, digest: str) -> bool:
    """Whether the record was taken back."""
    return ledger.resolve(name_of(digest)) is not None


def quarantined(ledger: Ledger) -> frozenset[str]:
    """Digests of everything that was taken back."""
    found: set[str] = set()
    after = ""
    while page := ledger.pointers(QUARANTINE, after=after):
        found.update(pointer.name.removeprefix(QUARANTINE) for pointer in page)
        after = page[-1].name
    return frozenset(found)


def changes_to(ledger: Ledger, digests: Iterable[str], decision: str) -> list[Change]:
    """Moves that put records under quarantine; those that are there already stay under their own decision."""
    before = quarantined(ledger)
    return [Change(name_of(digest), decision, None) for digest in sorted(set(digests) - before)]


def refuse_quarantined(ledger: Ledger, digest: str, what: str) -> None:
    """Stop whoever wants to release or serve what was taken back.

    Args:
        what: how it was asked for.

    Raises:
        RefusedError: it was; says by which recall.
    """
    pointer = ledger.resolve(name_of(digest)) if digest else None
    if pointer is None:
        return
    decision = ledger.get(pointer.digest)
    why = "; ".join(decision.reasons) if isinstance(decision, Decision) else ""
    raise recalled(what, why, pointer.digest)


def refuse_descendants(ledger: Ledger, digest: str, what: str) -> None:
    """Stop a release of what was taken back, or was made from it since.

    Raises:
        RefusedError: it was; says by which recall.
    """
    seen: set[str] = set()
    rim = {digest}
    while rim:
        for found in sorted(rim):
            refuse_quarantined(ledger, found, what)
        seen |= rim
        made = (record for record in ledger.get_many(sorted(rim)).values() if isinstance(record, Artifact))
        rim = {parent for record in made for parent in record.edges().values()} - seen


def recalled(what: str, why: str, decision: str) -> RefusedError:
    """The refusal of something that was taken back."""
    says = f" ({why})" if why else ""
    return RefusedError(
        f"'{what}' was recalled{says}. It is neither released nor served. See: sartor recall show {decision[:12]}",
        code="recalled",
    )


def in_force(ledger: Ledger) -> Mapping[str, Decision]:
    """Recalls that stand, by their digest, oldest first."""
    found: dict[str, Any] = {}
    after = ""
    while page := ledger.pointers(IN_FORCE, after=after):
        found |= ledger.get_many(pointer.digest for pointer in page)
        after = page[-1].name
    decisions = [record for record in found.values() if isinstance(record, Decision)]
    return {decision.digest: decision for decision in sorted(decisions, key=lambda decision: decision.created)}

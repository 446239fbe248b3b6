"""People's word on a release: a candidate that passed the gate waits behind `TASK@waiting` until enough have approved.

Every word is a signed decision of its own that cites the one it is about, so that who said what is never edited. Who
speaks is known by an access key over HTTP; on the command line by the name that the environment gives, which whoever
can open the store may set.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sartor.core.errors import ConflictError, RefusedError, unknown
from sartor.core.records import Decision
from sartor.core.task import Task
from sartor.pipeline.decide import signing_key
from sartor.pipeline.declared import all_pointers
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.releases import release
from sartor.registry.signing import sign
from sartor.registry.variants import LIVE
from sartor.store.ledger import Change, Pointer

WAITING = "@waiting"
"""Ending of the pointer to a candidate that people have to speak about."""


@dataclass(frozen=True)
class Waiting:
    """A release that waits."""

    task: str
    candidate: str
    """Digest of the variant."""
    decision: str
    """Digest of the gate's decision."""
    asked_by: str
    since: str
    needed: int
    approved_by: tuple[str, ...]
    reasons: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "task": self.task,
            "candidate": self.candidate,
            "decision": self.decision,
            "asked_by": self.asked_by,
            "since": self.since,
            "needed": self.needed,
            "approved_by": list(self.approved_by),
            "reasons": list(self.reasons),
        }


def may_release(shop: Workshop, task: Task, decision: Decision) -> bool:
    """Whether what passed the gate may go live now: nobody has to be asked, or enough have approved."""
    if decision.verdict != "ship":
        return False
    return task.wheel.ship == "auto" or len(_approvers(shop, task, decision)) >= task.wheel.approvals


def request(shop: Workshop, task: Task, decision: Decision) -> None:
    """Let a candidate wait for people, in the place of one that waited before."""
    ledger = shop.store.ledger
    stands = ledger.resolve(task.name + WAITING)
    if stands is not None and stands.decision == decision.digest:
        return
    change = Change(task.name + WAITING, decision.candidate, stands.digest if stands else None)
    ledger.move_many([change], decision=decision.digest, items=[decision])


def let_live(shop: Workshop, task: Task, decision: Decision, *, asked_by_approver: bool = False) -> bool:
    """Make what passed the gate live if the policy lets it, else let it wait for people; whether it is live.

    Args:
        asked_by_approver: whoever asked for this may approve: where one approval is enough, asking was giving it.
    """
    enough = asked_by_approver and task.wheel.approvals == 1
    if not enough and not may_release(shop, task, decision):
        request(shop, task, decision)
        return False
    release(shop.store.ledger, decision)
    return True


def list_waiting(shop: Workshop) -> list[dict[str, Any]]:
    """What waits for people, by task."""
    return [found.body() for found in _all_waiting(shop)]


def approve(shop: Workshop, task: str, *, why: str = "", decision: str = "") -> dict[str, Any]:
    """Say yes; the word that makes them enough releases.

    Args:
        decision: digest of what is approved, or its beginning; default whatever waits. Named, it can't be another one
            that has taken its place since.

    Raises:
        NotFoundError: nothing of this task waits; what does is listed.
        RefusedError: somebody else has to speak: you asked for it, or have approved already.
        ConflictError: another candidate waits now, or something else went live since; decide again.
    """
    pointer, judged = _standing(shop, task, decision)
    contract = Task.model_validate(contract_of(shop, task, judged.digest).contract)
    if contract.wheel.approvals > 1 and shop.who == judged.who:
        raise RefusedError(
            f"{shop.who} asked for this release of '{task}', and {contract.wheel.approvals} others have to approve it.",
            code="own_release",
        )
    if shop.who in _approvers(shop, contract, judged):
        raise RefusedError(
            f"{shop.who} has approved this release of '{task}' already. "
            f"{contract.wheel.approvals} different people have to.",
            code="approved_before",
        )
    shop.store.ledger.put(_word(shop, judged, "ship", why or "approved"))
    by = _approvers(shop, contract, judged)
    if len(by) < contract.wheel.approvals:
        return {"task": task, "decision": judged.digest, "approved_by": sorted(by), "released": False}
    release(shop.store.ledger, judged)
    _clear(shop, pointer, judged.digest)
    return {"task": task, "decision": judged.digest, "approved_by": sorted(by), "released": True}


def reject(shop: Workshop, task: str, *, why: str = "", decision: str = "") -> dict[str, Any]:
    """Say no; nothing goes live, and the word stays on record.

    Raises:
        NotFoundError, ConflictError: as `approve`.
    """
    pointer, judged = _standing(shop, task, decision)
    word = _word(shop, judged, "hold", why or "rejected")
    shop.store.ledger.put(word)
    _clear(shop, pointer, word.digest)
    return {"task": task, "decision": judged.digest, "rejected_by": shop.who, "released": False}


def _standing(shop: Workshop, task: str, named: str) -> tuple[Pointer, Decision]:
    pointer = shop.store.ledger.resolve(task + WAITING)
    if pointer is None or not pointer.digest:
        raise unknown("release that waits", task, [w.task for w in _all_waiting(shop)], param="task")
    judged = shop.store.ledger.get(pointer.decision)
    assert isinstance(judged, Decision)
    if _is_live(shop, pointer):  # released, and killed before this name was cleared
        _clear(shop, pointer, judged.digest)
        raise unknown("release that waits", task, [w.task for w in _all_waiting(shop)], param="task")
    if not judged.digest.startswith(named):
        raise ConflictError(
            f"What waits on '{task}' is decision {judged.digest[:12]}, not {named[:12]}. Look at it first: "
            f"sartor report {judged.digest[:12]}",
            code="other_release_waits",
        )
    return pointer, judged


def _word(shop: Workshop, judged: Decision, verdict: Literal["ship", "hold"], why: str) -> Decision:
    word = Decision(
        verb="approval",
        task=judged.task,
        contract=judged.contract,
        candidate=judged.candidate,
        incumbent=judged.incumbent,
        verdict=verdict,
        # Who said it is part of what it is: two people's yes are two words.
        reasons=(why,),
        cites=tuple(sorted((judged.digest, f"by {shop.who}"))),
        policy="by hand",
        who=shop.who,
    )
    return sign(word, signing_key(shop))


def _approvers(shop: Workshop, task: Task, judged: Decision) -> set[str]:
    """Who has approved this very decision, and counts."""
    words = shop.store.ledger.find(Decision, task=judged.task, candidate=judged.candidate, verb="approval")
    said = {word.who for word in words if word.verdict == "ship" and judged.digest in word.cites}
    return said - ({judged.who} if task.wheel.approvals > 1 else set())


def _clear(shop: Workshop, pointer: Pointer, decision: str) -> None:
    with suppress(ConflictError):  # another candidate waits already: that one stays
        shop.store.ledger.move_many([Change(pointer.name, None, pointer.digest)], decision=decision)


def _all_waiting(shop: Workshop) -> Iterator[Waiting]:
    for pointer in all_pointers(shop):
        if not pointer.name.endswith(WAITING) or not pointer.digest or _is_live(shop, pointer):
            continue
        judged = shop.store.ledger.get(pointer.decision)
        if isinstance(judged, Decision):
            task = Task.model_validate(contract_of(shop, judged.task, judged.digest).contract)
            by = tuple(sorted(_approvers(shop, task, judged)))
            yield Waiting(
                judged.task, judged.candidate, judged.digest, judged.who, pointer.moved, task.wheel.approvals, by,
                judged.reasons,
            )  # fmt: skip


def _is_live(shop: Workshop, waiting: Pointer) -> bool:
    live = shop.store.ledger.resolve(waiting.name.removesuffix(WAITING) + LIVE)
    return live is not None and live.digest == waiting.digest

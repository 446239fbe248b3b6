"""Moves what is live, each time by a recorded decision: release, rollback, retire, restore.

Every move is one transaction that compares and sets all names of the task, so that `live` and `previous` never
disagree and of two who decide at once one is told. Needs no training stack. Does not judge: it only refuses what
was not judged good, and what was judged against something that is no longer live.
"""

from dataclasses import dataclass

from sartor.core.errors import AskError, ConflictError, NotFoundError, RefusedError
from sartor.core.records import Decision
from sartor.registry.quarantine import is_quarantined, refuse_descendants
from sartor.registry.variants import LIVE, PREVIOUS, RETIRED, check_task, is_registered
from sartor.store.ledger import Change, Ledger


@dataclass(frozen=True, slots=True)
class Standing:
    """Digests that a task's names stand at."""

    task: str
    live: str | None
    previous: str | None
    retired: str | None
    """What was live when the task was retired."""


def standing(ledger: Ledger, task: str) -> Standing:
    """What is live, what was before, and whether the task is retired."""
    found = [ledger.resolve(check_task(task) + end) for end in (LIVE, PREVIOUS, RETIRED)]
    return Standing(task, *(pointer.digest if pointer else None for pointer in found))


def release(ledger: Ledger, decision: Decision) -> Standing:
    """Make the decision's candidate live, and what was live the previous one. Repeating it changes nothing.

    Raises:
        RefusedError: the verdict is not `ship`, the task is retired, or the candidate was recalled.
        NotFoundError: the candidate is no registered variant of the task.
        ConflictError: it was held against a variant that is not live any more.
    """
    if decision.verdict != "ship":
        reasons = "; ".join(decision.reasons) or "no reason given"
        raise RefusedError(
            f"'{decision.task}' is not released: the verdict is {decision.verdict} ({reasons}).", code="not_shipped"
        )
    stands = _begin(ledger, decision, "release")
    if stands.live == decision.candidate:
        return _confirm(ledger, decision, stands)
    _check_registered(ledger, decision)
    if len(decision.incumbent) == 64 and decision.incumbent != stands.live:
        raise ConflictError(
            f"The decision held the candidate against {decision.incumbent[:12]}, but {(stands.live or 'nothing')[:12]} "
            f"is live on '{decision.task}' now. Decide again.",
            code="stale_decision",
        )
    return _move(ledger, decision, stands, live=decision.candidate, previous=stands.live or stands.previous)


def _confirm(ledger: Ledger, decision: Decision, stands: Standing) -> Standing:
    """Keep what is live under a newer decision, whose contract then counts; an equal one changes nothing."""
    pointer = ledger.resolve(decision.task + LIVE)
    if pointer is not None and pointer.decision != decision.digest:
        digest = ledger.put(decision)
        ledger.move_many([Change(pointer.name, pointer.digest, pointer.digest)], decision=digest)
    return stands


def rollback(ledger: Ledger, decision: Decision) -> Standing:
    """Make the decision's candidate, an earlier variant, live again: one operation, one transaction.

    Raises:
        RefusedError: the task is retired, or the candidate was recalled.
        NotFoundError: nothing is live, or the candidate is no registered variant of the task.
    """
    stands = _begin(ledger, decision, "rollback")
    if stands.live is None:
        raise _nothing_live(decision.task)
    if stands.live == decision.candidate:
        return stands
    _check_registered(ledger, decision)
    return _move(ledger, decision, stands, live=decision.candidate, previous=stands.live)


def retire(ledger: Ledger, decision: Decision) -> Standing:
    """Stop answering under the task's name. Records, versions and the history of its names stay.

    Raises:
        NotFoundError: nothing is live.
    """
    stands = _begin(ledger, decision, "retire")
    if stands.retired:
        return stands
    if stands.live is None:
        raise _nothing_live(decision.task)
    return _move(ledger, decision, stands, live=None, previous=stands.previous, retired=stands.live)


def restore(ledger: Ledger, decision: Decision) -> Standing:
    """Bring a retired task back as it was.

    Raises:
        AskError: it is not retired.
        RefusedError: what was live was recalled.
    """
    stands = _begin(ledger, decision, "restore")
    if stands.retired is None:
        raise AskError(f"'{decision.task}' is not retired: there is nothing to restore.", code="not_retired")
    refuse_descendants(ledger, stands.retired, decision.task)
    return _move(ledger, decision, stands, live=stands.retired, previous=stands.previous)


def _begin(ledger: Ledger, decision: Decision, verb: str) -> Standing:
    if decision.verb != verb:
        raise AskError(f"A decision to {decision.verb} was given where one to {verb} is needed.", code="wrong_verb")
    stands = standing(ledger, decision.task)
    # What was retired because it was recalled is not restored, but followed by what was made without it.
    if stands.retired and verb in ("release", "rollback") and not is_quarantined(ledger, stands.retired):
        raise RefusedError(f"'{decision.task}' is retired. Restore it first.", code="retired")
    return stands


def _check_registered(ledger: Ledger, decision: Decision) -> None:
    refuse_descendants(ledger, decision.candidate, decision.task)
    if not is_registered(ledger, decision.task, decision.candidate):
        raise NotFoundError(
            f"{decision.candidate[:12]} is no registered variant of '{decision.task}'. Register it first.",
            code="not_registered",
        )


def _nothing_live(task: str) -> NotFoundError:
    return NotFoundError(f"Nothing is live on '{task}'.", param="task", code="nothing_live")


def _move(
    ledger: Ledger,
    decision: Decision,
    stands: Standing,
    *,
    live: str | None,
    previous: str | None,
    retired: str | None = None,
) -> Standing:
    """Record the decision and move the names that change from where the caller saw them, in one transaction."""
    wanted = {LIVE: (stands.live, live), PREVIOUS: (stands.previous, previous), RETIRED: (stands.retired, retired)}
    changes = [Change(decision.task + end, to, at) for end, (at, to) in wanted.items() if at != to]
    ledger.move_many(changes, decision=decision.digest, items=[decision])
    return Standing(decision.task, live, previous, retired)

"""Today's shares of a task's labels, stated by a signed decision: what is live reweighs its probabilities by them.

Where the shares alone explain a change of the answers, nothing has to be trained anew. `TASK@prior` points to the
report of the shares; it counts for the variant that it was worked out for and no other, so a release ends it.
"""

from typing import Any

from sartor.core.errors import NotFoundError, RefusedError
from sartor.core.records import Decision, Evidence, Report
from sartor.core.task import Task
from sartor.data.kind import kind_of
from sartor.pipeline.decide import signing_key
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.signing import sign
from sartor.registry.variants import PRIOR
from sartor.store.ledger import Change


def state_prior(shop: Workshop, task: str, *, why: str = "") -> dict[str, Any]:
    """Reweigh the live variant's probabilities by the shares that its answers speak for, until they are taken back.

    Raises:
        NotFoundError: no such task, or nothing of it is live.
        RefusedError: answers are written; or they have not changed, or the shares of labels alone do not explain how.
    """
    from sartor.pipeline.drift import board

    if kind_of(Task.model_validate(contract_of(shop, task).contract)).written:
        raise RefusedError(
            f"'{task}' writes its answers: there are no shares of labels by which they could be reweighed. Learn anew: "
            f"sartor learn {task}",
            code="no_shares",
        )
    found = board(shop, task)
    if found.prior is None:
        raise RefusedError(f"The answers of '{task}' have not changed: there is nothing to correct.", code="no_shift")
    if not found.prior["explains"]:
        raise RefusedError(f"{found.prior['says']} Learn anew: sartor learn {task}", code="not_explained")
    report = Report(
        purpose="drift",
        subject=found.variant,
        title="prior",
        task=task,
        facts={**found.prior, "variant": found.variant},
    )
    return _move(shop, task, report, why or str(found.prior["says"]))


def drop_prior(shop: Workshop, task: str, *, why: str = "") -> dict[str, Any]:
    """Answer by the probabilities as they were calibrated.

    Raises:
        NotFoundError: no shares are stated.
    """
    stands = shop.store.ledger.resolve(task + PRIOR)
    if stands is None or not stands.digest:
        raise NotFoundError(f"No shares of labels are stated for '{task}'.", param="task", code="no_prior")
    return _move(shop, task, None, why or "taken back by hand")


def _move(shop: Workshop, task: str, report: Report | None, why: str) -> dict[str, Any]:
    ledger = shop.store.ledger
    stands = ledger.resolve(task + PRIOR)
    before = stands.digest if stands else None
    decision = Decision(
        verb="prior",
        task=task,
        contract=contract_of(shop, task).digest,
        candidate=report.digest if report else "",
        incumbent=before or "nothing",
        verdict="ship",
        reasons=(why,),
        evidence={"report": Evidence(digest=report.digest, seal=report.seal)} if report else {},
        # The decision before it is part of what it is: the same move twice is two decisions.
        cites=tuple(sorted({stands.decision} if stands else set()) + ([report.digest] if report else [])),
        policy="by hand",
        who=shop.who,
    )
    signed = sign(decision, signing_key(shop))
    items = [*([report] if report else []), signed]
    ledger.move_many(
        [Change(task + PRIOR, report.digest if report else None, before)], decision=signed.digest, items=items
    )
    return {
        "task": task,
        "prior": report.digest if report else "",
        "shares": report.facts["shares"] if report else {},
        "decision": signed.digest,
    }

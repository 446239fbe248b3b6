"""Recalls that were made: found by id, listed, shown with their rebuilds and proofs. Changes nothing."""

from typing import Any

from sartor.core.errors import unknown
from sartor.core.jobs import Job
from sartor.core.records import Decision, Report
from sartor.pipeline.origins import What
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import in_force

POLICY, PROOF = "recall", "recall proof"
"""Policies of the decisions: that take back, and that prove."""
SHORTEST = 6
"""Digits of a recall's digest that are asked for at least."""


def recalls(shop: Workshop) -> list[What]:
    """What is recalled and not lifted, oldest first."""
    return [what_of(shop, decision) for decision in in_force(shop.store.ledger).values()]


def what_of(shop: Workshop, decision: Decision) -> What:
    """What a recall took back."""
    facts = report_of(shop, decision).facts
    return What(facts["kind"], facts["value"], facts["says"].partition(" ")[2])


def report_of(shop: Workshop, decision: Decision) -> Report:
    """What a recall found."""
    found = shop.store.ledger.get(decision.evidence["report"].digest)
    assert isinstance(found, Report)
    return found


def recall_named(shop: Workshop, ident: str) -> Decision:
    """The recall with this digest, or the beginning of it.

    Raises:
        NotFoundError: there is none; those there are get listed.
    """
    known = _all_recalls(shop)
    chosen = [decision for decision in known if decision.digest.startswith(ident)]
    if len(chosen) != 1 or len(ident) < SHORTEST:
        raise unknown("recall", ident, [d.digest[:12] for d in known], param="id", code="recall_not_found")
    return chosen[0]


def _all_recalls(shop: Workshop) -> list[Decision]:
    """Newest first; a lift and a proof are about one, and name it as their candidate."""
    found = shop.store.ledger.find(Decision, verb="recall", task="", candidate="", limit=10_000)
    return [decision for decision in found if decision.policy == POLICY]


def list_recalls(shop: Workshop) -> list[dict[str, Any]]:
    """Every recall, newest first: what, who, whether it stands, and how far its rebuilds are."""
    standing = in_force(shop.store.ledger)
    return [show(shop, d.digest) | {"in_force": d.digest in standing} for d in _all_recalls(shop)]


def show(shop: Workshop, ident: str) -> dict[str, Any]:
    """One recall: what it took back, where names went, how its rebuilds are, and its latest proof.

    Raises:
        NotFoundError: there is none of this id.
    """
    decision = recall_named(shop, ident)
    facts = report_of(shop, decision).facts
    jobs = shop.store.jobs.find(part_of=decision.digest, limit=10_000)
    said = shop.store.ledger.find(Decision, verb="recall", candidate=decision.digest, limit=100)
    proofs = [word for word in said if word.policy == PROOF]
    return {
        "recall": decision.digest,
        "when": decision.created,
        "who": decision.who,
        "says": facts["says"],
        "reasons": list(decision.reasons),
        "counts": facts["counts"],
        "moves": facts["moves"],
        "jobs": [_told(job) for job in reversed(jobs)],
        "proof": {"decision": proofs[0].digest, "verdict": proofs[0].verdict} if proofs else None,
    }


def _told(job: Job) -> dict[str, Any]:
    came = {name: job.result.get(name, "") for name in ("state", "version", "says")}
    return {"task": job.task, "job": job.id, "job_state": job.state, "error": job.error} | came

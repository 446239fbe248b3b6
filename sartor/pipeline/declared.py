"""What operators declare: records behind the pointers `NAME@route` and `NAME@upstream`, moved by signed decisions."""

from dataclasses import dataclass
from typing import Any, Literal

from sartor.core.errors import unknown
from sartor.core.records import Check, Decision, Evidence, Record, Report, RouteRecord, UpstreamRecord
from sartor.pipeline.decide import signing_key
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import QUARANTINE
from sartor.registry.signing import sign
from sartor.registry.variants import LIVE
from sartor.store.ledger import Change, Pointer

ROUTE, UPSTREAM = "@route", "@upstream"
"""Endings of the pointers to what was declared."""

Verb = Literal["route", "shadow", "canary", "rollback", "retire"]


@dataclass(frozen=True)
class Judged:
    """What a policy said about a route's traffic, and the report of what it saw."""

    policy: str
    version: int
    checks: tuple[Check, ...]
    report: Report

    def fields(self) -> dict[str, Any]:
        """What a decision keeps of it."""
        evidence = {"report": Evidence(digest=self.report.digest, seal=self.report.seal)}
        return {
            "policy": self.policy,
            "policy_version": self.version,
            "checks": self.checks,
            "evidence": evidence,
            "rows": self.report.files.get("outcomes.parquet", ""),
        }


def all_pointers(shop: Workshop) -> list[Pointer]:
    """Every pointer of the ledger, by name."""
    found: list[Pointer] = []
    while page := shop.store.ledger.pointers(after=found[-1].name if found else ""):
        found += page
    return found


def names(shop: Workshop, end: str) -> list[str]:
    """What is declared under this ending."""
    return [p.name.removesuffix(end) for p in all_pointers(shop) if p.name.endswith(end) and p.digest]


def targets(shop: Workshop) -> list[str]:
    """Every name that a policy can ask: upstreams, live tasks, versions."""
    pointers = [p for p in all_pointers(shop) if p.digest]
    back = {p.name.removeprefix(QUARANTINE) for p in pointers if p.name.startswith(QUARANTINE)}
    standing = [p.name for p in pointers if p.digest not in back and not p.name.startswith(".")]
    standing = [name for name in standing if not name.endswith(ROUTE)]
    plain = [name.removesuffix(end) for name in standing for end in (LIVE, UPSTREAM) if name.endswith(end)]
    return plain + [name for name in standing if not name.endswith(UPSTREAM)]


def standing(shop: Workshop, name: str, end: str) -> tuple[Record, Pointer]:
    """The record that counts, and the pointer to it.

    Raises:
        NotFoundError: nothing of this name is declared; what is gets listed.
    """
    pointer = shop.store.ledger.resolve(name + end)
    if pointer is None or not pointer.digest:
        raise unknown(end.removeprefix("@"), name, names(shop, end), param="name")
    return shop.store.ledger.get(pointer.digest), pointer


def move(
    shop: Workshop,
    verb: Verb,
    name: str,
    end: str,
    record: RouteRecord | UpstreamRecord | None,
    *,
    reasons: tuple[str, ...],
    verdict: Literal["ship", "hold"] = "ship",
    judged: Judged | None = None,
) -> Decision:
    """Sign the decision and move the pointer from where it stands, in one transaction.

    Args:
        judged: what statistics said, where they took the decision.
    """
    ledger = shop.store.ledger
    stands = ledger.resolve(name + end)
    before = stands.digest if stands else None
    task = record.task if isinstance(record, RouteRecord) else ""
    decision = Decision(
        verb=verb,
        task=name,
        contract=contract_of(shop, task).digest if task else "",
        candidate=record.digest if record else "",
        incumbent=before or "nothing",
        verdict=verdict,
        reasons=reasons,
        who=shop.who,
        # The decision before it is part of what it is: the same move twice is two decisions, and they form a chain.
        cites=tuple(sorted({stands.decision} if stands else set()) + ([judged.report.digest] if judged else [])),
        **(judged.fields() if judged else {}),
    )
    signed = sign(decision, signing_key(shop))
    change = Change(name + end, record.digest if record else None, before)
    ledger.move_many([change], decision=signed.digest, items=[*([record] if record else []), signed])
    return signed


def record_verdict(shop: Workshop, name: str, why: str, judged: Judged) -> Decision:
    """Record a verdict to ship what stands on a route that moves nothing: somebody else will.

    Raises:
        NotFoundError: there is no such route.
    """
    record, pointer = standing(shop, name, ROUTE)
    decision = Decision(
        verb="canary",
        task=name,
        contract=contract_of(shop, record.task).digest if isinstance(record, RouteRecord) and record.task else "",
        candidate=pointer.digest,
        incumbent=pointer.digest,
        verdict="ship",
        reasons=(why,),
        who=shop.who,
        cites=(judged.report.digest,),
        **judged.fields(),
    )
    signed = sign(decision, signing_key(shop))
    shop.store.ledger.put(signed)
    return signed

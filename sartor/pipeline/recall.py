"""Take back what descends from a source, a base, a data set, a row, a person, a licence or a variant.

In this order: what descends is found; in one transaction names and routes move away from it and it is put under
quarantine; caches are destroyed; jobs make the tasks again without it; and a proof is signed once nothing that is live
descends from it. `recall_moves` says where names go, `rebuild` makes again, `recall_proof` proves.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sartor.core.errors import AskError, ConflictError
from sartor.core.jobs import Job, JobRequest
from sartor.core.records import Decision, Evidence, Record, Report
from sartor.pipeline.access import audited
from sartor.pipeline.alteration import Alteration
from sartor.pipeline.bases import base_named
from sartor.pipeline.decide import signing_key
from sartor.pipeline.declared import ROUTE, all_pointers
from sartor.pipeline.recall_caches import purge
from sartor.pipeline.recall_erase import destroy_rows, made_clean
from sartor.pipeline.recall_kept import POLICY, recall_named, report_of
from sartor.pipeline.recall_moves import TaskMove
from sartor.pipeline.recall_plan import Plan, plan
from sartor.pipeline.serve import contract_of
from sartor.pipeline.work import run_here
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import IN_FORCE, changes_to, in_force
from sartor.registry.signing import sign
from sartor.registry.variants import LIVE
from sartor.store.ledger import Change

TRIES = 5
"""Times that a recall looks again because somebody moved a name meanwhile."""


def recall(
    shop: Workshop,
    kind: str,
    value: str,
    *,
    why: str = "",
    instead: str = "",
    tenant: str = "",
    rebuild: bool = True,
) -> dict[str, Any]:
    """Take back; what was done, and the jobs that make the tasks again.

    Args:
        instead: base that takes the place of a recalled one; default its candidates are left out.
        tenant: whose user a person is: their captured content is erased too; '' keeps it.

    Raises:
        NotFoundError: nothing is known by this name; what is gets listed.
        ConflictError: names were moved again and again meanwhile. Try again.
    """
    if instead:
        base_named(shop, instead)
    with audited(shop, "recall", f"{kind} {shop.store.traffic.mark(value) if kind == 'subject' else value}"):
        found, decision, seconds = _taken_back(shop, kind, value, why)
        moved_at = time.time()
        data: dict[str, str] = {}
        erased = 0
        if found.what.kind == "subject":
            data = made_clean(shop, found)
            destroy_rows(shop, found, decision.digest)
            erased = shop.store.traffic.erase(tenant, value) if tenant else 0
        purged = purge(shop, found.caches, pages=found.what.kind in ("subject", "row"))
        jobs = _rebuilds(shop, found, decision, instead, data) if rebuild else []
    return {
        "recall": decision.digest,
        "says": found.what.says,
        "counts": found.counts(),
        "moves": found.moves.body(),
        "moved_in_seconds": seconds,
        "moved_at": moved_at,
        "purged": purged,
        "keys_destroyed": erased,
        "jobs": [{"task": job.task, "job": job.id} for job in jobs],
    }


def _taken_back(shop: Workshop, kind: str, value: str, why: str) -> tuple[Plan, Decision, float]:
    """Move names and routes, and put under quarantine, in one transaction; how long that took."""
    for attempt in range(TRIES):
        found = plan(shop, kind, value)
        decision, items, changes = _deed(shop, found, why)
        begun = time.monotonic()
        try:
            shop.store.ledger.move_many(changes, decision=decision.digest, items=items)
        except ConflictError:
            if attempt == TRIES - 1:
                raise
        else:
            return found, decision, time.monotonic() - begun
    raise AssertionError


def _deed(shop: Workshop, found: Plan, why: str) -> tuple[Decision, list[Record], list[Change]]:
    """The decision, everything that is stored with it, and the moves."""
    report = Report(
        purpose="recall",
        subject=f"{found.what.kind} {found.what.value}"[:500],
        title=found.what.says,
        facts=found.body(),
    )
    reasons = (f"{found.what.says} was recalled", *([why] if why else []))
    decision = _signed(shop, report, verdict="ship", reasons=reasons)
    items: list[Record] = [report, decision]
    changes = [
        *changes_to(shop.store.ledger, found.found.goods, decision.digest),
        Change(IN_FORCE + decision.digest, decision.digest, None),
    ]
    by_task = {move.task: _for_task(shop, report, move) for move in found.moves.tasks}
    items += by_task.values()
    for change in found.moves.changes:
        own = by_task.get(change.name.partition("@")[0])
        changes.append(Change(change.name, change.digest, change.expected, own.digest if own else ""))
    for moved in found.moves.routes:
        own = _signed(
            shop,
            report,
            task=moved.name,
            contract=contract_of(shop, moved.record.task).digest if moved.record.task else "",
            candidate=moved.record.digest,
            incumbent=moved.before or "nothing",
            verdict="ship",
            reasons=(f"{found.what.says} was recalled", moved.why),
        )
        items += [moved.record, own]
        changes.append(Change(moved.name + ROUTE, moved.record.digest, moved.before, own.digest))
    return decision, items, changes


def _for_task(shop: Workshop, report: Report, move: TaskMove) -> Decision:
    """The decision under which a task's names move; a clean version answers under the contract that it was live by."""
    before = shop.store.ledger.get(move.decision) if move.decision else None
    kept = before.contract if isinstance(before, Decision) else ""
    says = {"clean": "the last clean version answers", "giant": f"{move.to} answers", "retired": "nothing can answer"}
    return _signed(
        shop,
        report,
        task=move.task,
        contract=kept or contract_of(shop, move.task).digest,
        candidate=move.to if move.how == "clean" else "",
        incumbent=move.from_,
        verdict="hold" if move.how == "retired" else "ship",
        reasons=(f"{report.title} was recalled", says[move.how]),
    )


def _signed(
    shop: Workshop, report: Report, *, verdict: Literal["ship", "hold"], reasons: tuple[str, ...], **fields: Any
) -> Decision:
    decision = Decision(
        verb="recall",
        verdict=verdict,
        reasons=reasons,
        evidence={"report": Evidence(digest=report.digest, seal=report.seal)},
        cites=(report.digest,),
        policy=POLICY,
        who=shop.who,
        **{"task": "", "contract": "", "candidate": "", "incumbent": "", **fields},
    )
    return sign(decision, signing_key(shop))


def _rebuilds(shop: Workshop, found: Plan, decision: Decision, instead: str, data: Mapping[str, str]) -> Sequence[Job]:
    """A job for each task whose live variant was taken back; in another order they would do the same."""
    bases = {found.what.value: instead} if found.what.kind == "base" else {}
    if found.what.kind == "licence":
        bases = {base.name: instead for base in found.found.bases.values()}
    change = Alteration(without=found.what, bases=bases)
    requests = []
    for move in found.moves.tasks:
        if move.task not in found.rebuilds:
            continue
        live = next(m.decision for m in reversed(shop.store.ledger.moves(move.task + LIVE)) if m.digest == move.from_)
        args = {
            "change": change.body(),
            "recall": decision.digest,
            "start": move.from_,
            "contract": contract_of(shop, move.task, live).digest,
            "data": data.get(move.task, ""),
        }
        requests.append(
            JobRequest(
                "rebuild",
                args,
                task=move.task,
                priority=1,
                once=f"rebuild {move.task} {decision.digest[:12]}",
                who=shop.who,
                waits_for=decision.digest,
            )
        )
    return shop.store.jobs.submit_many(requests)


def wait_for(shop: Workshop, ident: str) -> list[Job]:
    """Do the jobs of a recall in this process, or wait for whoever does them."""
    waiting = shop.store.jobs.find(part_of=recall_named(shop, ident).digest, limit=10_000)
    return [run_here(shop, as_request(job)) if not job.has_ended else job for job in reversed(waiting)]


def as_request(job: Job) -> JobRequest:
    """A job as it was asked for."""
    return JobRequest(**{field: getattr(job, field) for field in JobRequest.__dataclass_fields__})


def lift(shop: Workshop, ident: str, why: str) -> dict[str, Any]:
    """Take a recall back: what it put under quarantine may be released again. Names stay where they are.

    Raises:
        NotFoundError: there is none of this id.
        AskError: it was lifted before.
    """
    decision = recall_named(shop, ident)
    if decision.digest not in in_force(shop.store.ledger):
        raise AskError(f"Recall {decision.digest[:12]} was lifted before.", param="id", code="lifted_before")
    with audited(shop, "recall.lift", decision.digest[:12]):
        report = report_of(shop, decision)
        word = _signed(shop, report, verdict="hold", reasons=(why or "lifted by hand",), candidate=decision.digest)
        pointers = [p for p in all_pointers(shop) if p.digest == decision.digest and p.name.startswith(".recall")]
        changes = [Change(pointer.name, None, pointer.digest) for pointer in pointers]
        shop.store.ledger.move_many(changes, decision=word.digest, items=[word])
    return {"recall": decision.digest, "freed": len(changes) - 1, "decision": word.digest}

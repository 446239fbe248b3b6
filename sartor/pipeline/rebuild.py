"""Make a task again under a change, hold it against what is live, and release it if the gate and the policy let.

Rows come from the data set in the vault, so that a worker needs no source files. Every step is found if it was done
before, so a killed rebuild goes on, and nothing is made twice.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sartor.core.errors import AskError, RefusedError
from sartor.core.jobs import Context, Later, Stopped
from sartor.core.records import Dataset, Decision, Report, TaskRecord, Variant
from sartor.core.task import Task
from sartor.data.check import check_task
from sartor.evaluation.compare import Comparison, compare
from sartor.pipeline.alteration import Alteration, altered, altered_rows
from sartor.pipeline.approvals import let_live
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.inspect import Hall, answers_behind, hall, overhead_of
from sartor.pipeline.make import made_for
from sartor.pipeline.outcome import Inspected, Outcome, Verdict
from sartor.pipeline.report import write_report
from sartor.pipeline.run import decide_on, inspect_all, make_all
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, register_many

State = Literal["better", "same", "worse", "needs data", "failed"]
STATES: tuple[State, ...] = ("better", "same", "worse", "needs data", "failed")


@dataclass(frozen=True)
class Rebuilt:
    """How a task came out."""

    task: str
    state: State
    """The candidate beside what is live: its saving is surely above, around or below nothing; or why there is none."""
    says: str
    variant: str = ""
    """Digest of the candidate."""
    data: str = ""
    decision: str = ""
    verdict: str = ""
    version: str = ""
    """Its handle, where it was released."""
    waits: bool = False
    """Whether it waits for people."""
    money_now: float = 0.0
    """Money lost per 1,000 requests by what is live, serving included."""
    money_then: float = 0.0
    saved: float = 0.0
    """Per 1,000 requests, serving included; below nothing where it costs more."""
    saved_low: float = 0.0
    """Bounds of what its answers save, at the task's confidence."""
    saved_high: float = 0.0
    saved_a_month: float = 0.0
    """At the task's declared volume; 0 where it declares none, or nothing was released."""
    spent: float = 0.0
    """Money that making it took."""
    cpu_seconds: float = 0.0

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def rebuild(
    shop: Workshop, name: str, change: Alteration, *, start: str = "", contract: str = "", data: str = ""
) -> Rebuilt:
    """Make a task again under a change.

    Args:
        start: digest of the variant whose rows are used; default the live one's.
        contract: digest of the contract that is changed; default the one under which it is live.
        data: digest of the data set under the change, where it is made already.

    Raises:
        NotFoundError: nothing of this task was ever live.
        SartorError: a step failed; what was finished is kept.
    """
    ledger = shop.store.ledger
    if not start:
        live = ledger.resolve(name + LIVE)
        if live is None:
            raise AskError(f"Nothing is live on '{name}', so it can't be made again.", code="nothing_live")
        start = live.digest
    stated = ledger.get(contract) if contract else contract_of(shop, name)
    dataset = ledger.get(data or variant_named(shop, start).data)
    assert isinstance(stated, TaskRecord)
    assert isinstance(dataset, Dataset)
    try:
        task = altered(Task.model_validate(stated.contract), change)
        place = _hall(shop, task, dataset if data else altered_rows(shop, task, dataset, change))
    except RefusedError as error:
        if error.code != "nothing_left":
            raise
        return Rebuilt(name, "needs data", error.message)
    variants = make_all(place, task.candidates)
    found = inspect_all(place, variants)
    verdict = decide_on(place, variants, found)
    return _settled(place, variants, found, verdict)


def _hall(shop: Workshop, task: Task, dataset: Dataset) -> Hall:
    contract = shop.store.ledger.put(TaskRecord(name=task.name, contract=task.body()))
    snapshot = open_dataset(shop, dataset)
    errors = [found.says for found in check_task(task, snapshot) if found.level == "error"]
    if errors:
        raise AskError(f"Task '{task.name}' does not fit its rows.\n  " + "\n  ".join(errors), code="task_does_not_fit")
    return hall(shop, EmbeddingCache(shop), task, contract, dataset, snapshot)


def _settled(place: Hall, variants: dict[str, Variant], found: Inspected, verdict: Verdict) -> Rebuilt:
    shop, task, decision = place.shop, place.task, verdict.decision
    versions = register_many(shop.store.ledger, list(variants.values()))
    version = next(v.name for v in versions if v.digest == decision.candidate)
    is_free = decision.verdict == "ship" and let_live(shop, task, decision)
    write_report(Outcome(place, variants, found, verdict, version if is_free else ""))
    held = _against_live(place, found, verdict)
    making = [made_for(shop, variant) for variant in variants.values()]
    now, then = _money(place, verdict.incumbent), _money(place, found.test[verdict.title])
    month = (now - then) / 1000.0 if is_free else 0.0
    return Rebuilt(
        task=task.name,
        state=_state(decision, held),
        says="; ".join(decision.reasons)[:1000],
        variant=decision.candidate,
        data=place.dataset.digest,
        decision=decision.digest,
        verdict=decision.verdict,
        version=version if is_free else "",
        waits=decision.verdict == "ship" and not is_free,
        money_now=now,
        money_then=then,
        saved=now - then,
        saved_low=1000.0 * (held.saved.low or 0.0),
        saved_high=1000.0 * (held.saved.high or 0.0),
        saved_a_month=month * (task.value.volume or 0.0),
        spent=sum(made.cost for made in making),
        cpu_seconds=sum(made.cpu_seconds for made in making),
    )


def _against_live(place: Hall, found: Inspected, verdict: Verdict) -> Comparison:
    mine, other = found.test[verdict.title], verdict.incumbent
    answers = answers_behind(place, mine), answers_behind(place, other)
    return compare(*answers, place.terms, gate=place.task.gate)


def _money(place: Hall, report: Report) -> float:
    """Money lost per 1,000 requests, serving included."""
    return (report.metrics["money_per_1000"].value or 0.0) + 1000.0 * overhead_of(place.task, report.measured)


def _state(decision: Decision, held: Comparison) -> State:
    """What the interval of the saving by answers says: serving costs so little that it would make a difference of
    nothing. A verdict that asks for rows counts first, unless the candidate surely costs more."""
    low, high = held.saved.low or 0.0, held.saved.high or 0.0
    if high < 0.0:
        return "worse"
    if decision.verdict == "need_data":
        return "needs data"
    return "better" if low > 0.0 else "same"


def rebuild_job(shop: Workshop, context: Context) -> dict[str, Any]:
    """A rebuild as a durable job."""
    args = context.job.args

    def work() -> Mapping[str, Any]:
        change = Alteration.of(args["change"])
        given = {name: str(args.get(name, "")) for name in ("start", "contract", "data")}
        return rebuild(shop, context.job.task, change, **given).body()

    try:
        done = context.step("rebuild", work)
        context.say(f"{context.job.task}: {done['state']}", version=done["version"])
    finally:
        # Whoever is last has the proof signed, also where it came to nothing itself.
        if args.get("recall") and not isinstance(sys.exception(), Stopped | Later):
            from sartor.pipeline.recall_proof import finish

            context.step("finish", lambda: finish(shop, str(args["recall"]), context.job))
    return done

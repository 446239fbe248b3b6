"""Judge a canary on what its randomised traffic showed: look at it, and act on the verdict by a recorded decision."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from sartor.core.records import Decision
from sartor.core.route import Route
from sartor.core.rows import SPLITS, Snapshot
from sartor.core.task import FeedbackMetric, Task
from sartor.core.traffic import NANO
from sartor.data.kind import kind_of
from sartor.evaluation.exposed import ARMS, Outcomes
from sartor.evaluation.gates.canary import NAME, Settings, Verdict, judge_canary
from sartor.evaluation.terms import Terms
from sartor.pipeline.canary_evidence import evidence
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.declared import ROUTE, record_verdict, standing
from sartor.pipeline.routes import route_named
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.stages import no_canary, promote_canary, stop_stage
from sartor.pipeline.terms import terms_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE
from sartor.store.traffic.queries import Outcome

BINS = 4
"""Of the confidence, within which outcomes are weighed."""
COUNTED = ("human", "outcome", "code")
"""Sources of feedback that count; a judge does only when its errors are measured."""


@dataclass(frozen=True)
class Seen:
    """A canary's traffic, how it is judged, and what that says."""

    outcomes: Outcomes
    settings: Settings
    verdict: Verdict


def look(shop: Workshop, name: str) -> dict[str, Any]:
    """How the canary of a route stands; may be asked at any time, and moves nothing.

    Raises:
        NotFoundError: no such route.
        AskError: it has no canary.
    """
    return see(shop, name).verdict.body()


def act(shop: Workshop, name: str) -> Verdict:
    """Judge the canary, and stop or promote it if the verdict says so: a recorded decision with its evidence.

    A verdict to promote on a canary that is promoted by hand is recorded once, and moves nothing.
    """
    route, seen = route_named(shop, name), see(shop, name)
    verdict = seen.verdict
    if verdict.verdict not in ("stop", "promote"):
        return verdict
    why = "; ".join(verdict.reasons)[:2000]
    if verdict.verdict == "stop":
        stop_stage(shop, name, why=why, judged=evidence(shop, route, seen.outcomes, seen.settings, verdict))
    elif route.canary is not None and route.canary.promote:
        promote_canary(shop, name, why=why, judged=evidence(shop, route, seen.outcomes, seen.settings, verdict))
    elif not _on_record(shop, name):
        record_verdict(shop, name, why, evidence(shop, route, seen.outcomes, seen.settings, verdict))
    return verdict


def _on_record(shop: Workshop, name: str) -> bool:
    """Whether a verdict on what stands now was recorded already."""
    _, pointer = standing(shop, name, ROUTE)
    found = shop.store.ledger.find(Decision, task=name, candidate=pointer.digest, verb="canary")
    return any(decision.policy == NAME for decision in found)


def trip(shop: Workshop, name: str, why: str) -> None:
    """Stop a canary that the guards in the servers have stopped already."""
    if route_named(shop, name).canary is not None:
        stop_stage(shop, name, why=why)


def see(shop: Workshop, name: str) -> Seen:
    """What a canary's traffic shows by now.

    Raises:
        NotFoundError: no such route.
        AskError: it has no canary.
    """
    route = route_named(shop, name)
    if route.canary is None:
        raise no_canary(name)
    _, pointer = standing(shop, name, ROUTE)
    since = datetime.fromisoformat(pointer.moved).timestamp()
    found = shop.store.traffic.index.outcomes(None, name, since=since, arms=ARMS)
    task, terms = terms_for(shop, route)
    columns = columns_of(found, task, terms, time.time())
    settings = _settings(route, task, terms)
    return Seen(columns, settings, judge_canary(columns, settings))


def columns_of(found: list[Outcome], task: Task | None, terms: Terms | None, now: float) -> Outcomes:
    """Exchanges as columns: what each cost where that is known, serving included."""
    costs = [cost_of(item, task, terms) for item in found]
    money = [np.nan if cost is None else cost + item.cost / NANO for cost, item in zip(costs, found, strict=True)]
    return Outcomes(
        arm=np.array([item.arm for item in found], dtype=np.str_),
        propensity=np.array([np.nan if item.propensity is None else item.propensity for item in found], dtype=float),
        observed=np.array([cost is not None for cost in costs], dtype=bool),
        cost=np.array(money, dtype=float),
        seconds=np.array([item.seconds for item in found], dtype=float),
        failed=np.array([item.status >= 500 or item.stumbled for item in found], dtype=bool),
        stratum=np.array([_stratum(item) for item in found], dtype=np.str_),
        age=np.array([max(0.0, now - item.at) for item in found], dtype=float),
        delay=np.array([_delay(item) for item in found], dtype=float),
        unit=np.array([item.subject for item in found], dtype=np.str_),
    )


def cost_of(item: Outcome, task: Task | None, terms: Terms | None) -> float | None:
    """Money that an answer lost, without serving; None where nobody has told yet.

    A correction or a judgement of the answer prices it by the value function; metrics with a price add theirs.
    """
    told = {metric: value for (metric, source), value in item.feedback.items() if source in COUNTED}
    lost = _by_value(item, told, task, terms)
    priced = [_priced(metric, told[name]) for name, metric in _metrics(task).items() if name in told]
    known = [cost for cost in (lost, *priced) if cost is not None]
    return sum(known) if known else None


def _by_value(item: Outcome, told: Mapping[str, Any], task: Task | None, terms: Terms | None) -> float | None:
    right, wrong = (task.value.right, task.value.wrong) if task else (0.0, 1.0)
    if "demonstration" in told:
        truth = told["demonstration"]
        lost = None if terms is None or item.label is None else terms.judging.lost_by(truth, item.label)
        if lost is not None:
            return lost
        return right if truth == item.label else wrong
    if "correct" in told:
        return right if told["correct"] else wrong
    return None


def _priced(metric: FeedbackMetric, value: Any) -> float | None:
    """What a metric says was lost: its price for each unit, for each `false` of a boolean that should be true."""
    if metric.money is None or metric.type == "label":
        return None
    amount = float(value)
    if metric.type == "boolean" and metric.better == "higher":
        amount = 1.0 - amount
    return metric.money * amount


def _metrics(task: Task | None) -> Mapping[str, FeedbackMetric]:
    return task.feedback if task else {}


def _stratum(item: Outcome) -> str:
    bin_ = "" if item.confidence is None else str(min(BINS - 1, int(item.confidence * BINS)))
    return f"{item.decision} {bin_}".strip()


def _delay(item: Outcome) -> float:
    told = [at for (_, source), at in item.told.items() if source in COUNTED]
    return max(0.0, min(told) - item.at) if told else np.nan


def terms_for(shop: Workshop, route: Route) -> tuple[Task | None, Terms | None]:
    """The value function of the route's task on the rows of its live variant; of none where its labels are open."""
    return terms_now(shop, route.task) if route.task else (None, None)


def terms_now(shop: Workshop, name: str) -> tuple[Task, Terms | None]:
    """A task's contract and value function as they stand; see `terms_for`."""
    task = Task.model_validate(contract_of(shop, name).contract)
    live = shop.store.ledger.resolve(name + LIVE)
    if live is not None:
        dataset: Any = shop.store.ledger.get(variant_named(shop, live.digest).data)
        return task, terms_of(task, open_dataset(shop, dataset))
    if not (task.labels or kind_of(task).written):
        return task, None
    return task, terms_of(_without_rows(task), Snapshot(dict.fromkeys(SPLITS, ()), task.labels))


def _without_rows(task: Task) -> Task:
    """The contract where nobody's recorded answers can be looked up."""
    escalate = task.value.escalate
    if escalate is None or escalate.column is None:
        return task
    value = task.value.model_copy(update={"escalate": escalate.model_copy(update={"column": None})})
    return task.model_copy(update={"value": value})


def _settings(route: Route, task: Task | None, terms: Terms | None) -> Settings:
    """As the task's gate and value function imply, and the stage changes. Nothing in it depends on what was seen."""
    assert route.canary is not None
    if task is not None and terms is not None:
        base = Settings.of(task.gate, terms, serving=task.gate.max_unit_cost or 0.0)
    else:
        base = Settings(limits=(0.0, 1.0))
    return replace(base, **route.canary.judge)

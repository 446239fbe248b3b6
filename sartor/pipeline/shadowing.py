"""What a shadow would have been worth: its answers beside the live ones, from captured traffic."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from sartor.core.errors import NotFoundError
from sartor.core.records import Report
from sartor.core.task import Task
from sartor.core.traffic import NANO
from sartor.evaluation.shadow import Shadowed, Worth, worth
from sartor.evaluation.terms import Terms
from sartor.pipeline.canary import COUNTED, terms_for
from sartor.pipeline.declared import ROUTE, standing
from sartor.pipeline.routes import route_named
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Outcome


def shadow_worth(shop: Workshop, name: str) -> dict[str, Any]:
    """The value of what stands in a route's shadow, before any user meets it; kept as a report.

    Raises:
        NotFoundError: no such route, nothing in its shadow, or it has seen nothing yet.
    """
    route = route_named(shop, name)
    if route.shadow is None:
        raise NotFoundError(
            f"Nothing stands in the shadow of '{name}'. Put something there: sartor route shadow {name} TARGET"
        )
    _, pointer = standing(shop, name, ROUTE)
    since = datetime.fromisoformat(pointer.moved).timestamp()
    index = shop.store.traffic.index
    index.catch_up()
    live = {item.id: item for item in index.outcomes(None, name, since=since)}
    beside = [item for item in index.outcomes(None, name, since=since, shadow=True) if item.shadow_of in live]
    if not beside:
        raise NotFoundError(f"The shadow of '{name}' has seen nothing yet. Send requests to '{name}' first.")
    task, terms = terms_for(shop, route)
    pairs = pairs_of([(live[item.shadow_of], item) for item in beside], task, terms)
    limits = _limits(task, terms)
    found = worth(pairs, limits)
    report = Report(
        purpose="shadow",
        subject=str(route.shadow.beside),
        title=name,
        task=route.task,
        facts=found.body() | {"since": pointer.moved},
    )
    return found.body() | {"report": shop.store.ledger.put(report), "saved_per_1000": _per_1000(found)}


def pairs_of(rows: list[tuple[Outcome, Outcome]], task: Task | None, terms: Terms | None) -> Shadowed:
    """Live and shadow answers as columns, with what each lost where that is known."""
    costs = [_costs(live, beside, task, terms) for live, beside in rows]
    serving = np.array([[live.cost / NANO, beside.cost / NANO] for live, beside in rows])
    lost = np.array(costs, dtype=float)
    return Shadowed(
        live=np.array([live.label or "" for live, _ in rows], dtype=np.str_),
        shadow=np.array([beside.label or "" for _, beside in rows], dtype=np.str_),
        live_cost=lost[:, 0] + serving[:, 0],
        shadow_cost=lost[:, 1] + serving[:, 1],
        live_serving=serving[:, 0],
        shadow_serving=serving[:, 1],
        unit=np.array([live.subject for live, _ in rows], dtype=np.str_),
    )


def _costs(live: Outcome, beside: Outcome, task: Task | None, terms: Terms | None) -> tuple[float, float]:
    """Money that both answers lost, without serving; NaN where nobody has told.

    A live answer that was right is the truth. One that was wrong, without its correction, says nothing of another.
    """
    told = {metric: value for (metric, source), value in live.feedback.items() if source in COUNTED}
    truth = told.get("demonstration", live.label if told.get("correct") is True else None)
    if truth is not None:
        return _cost(truth, live.label, task, terms), _cost(truth, beside.label, task, terms)
    if told.get("correct") is False:
        wrong = task.value.wrong if task else 1.0
        return wrong, wrong if live.label == beside.label else np.nan
    return np.nan, np.nan


def _cost(truth: str, said: str | None, task: Task | None, terms: Terms | None) -> float:
    right, wrong = (task.value.right, task.value.wrong) if task else (0.0, 1.0)
    lost = None if terms is None or said is None else terms.judging.lost_by(truth, said)
    if lost is not None:
        return lost
    return right if truth == said else wrong


def _limits(task: Task | None, terms: Terms | None) -> tuple[float, float]:
    if terms is not None:
        return terms.judging.limits()
    return (task.value.right, task.value.wrong) if task else (0.0, 1.0)


def _per_1000(found: Worth) -> Mapping[str, float | None]:
    sides = {"value": found.saved, "low": found.saved_low, "high": found.saved_high}
    return {name: None if value is None else 1000.0 * value for name, value in sides.items()}

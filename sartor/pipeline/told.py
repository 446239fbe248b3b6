"""What was told of a variant's answers, in the order in which it was told: right or wrong, and the money lost."""

from dataclasses import dataclass
from typing import Any

from sartor.core.task import Task
from sartor.core.traffic import NANO
from sartor.evaluation.terms import Terms
from sartor.pipeline.canary import COUNTED, cost_of
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Outcome


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one answer, once somebody had said so."""

    id: str
    at: float
    """When it was told first, in seconds since 1970."""
    right: float | None
    """1, 0, or None where only something else was told."""
    lost: float | None
    """Money, serving included."""


def told_since(shop: Workshop, task: Task, terms: Terms, variant: str, since: float) -> list[Told]:
    """What sources that count said of a variant's answers since a time, the first told first."""
    routes = {
        str(row["route"])
        for row in shop.store.traffic.index.totals(None, ["task", "route"])
        if row["task"] == task.name
    }
    found = [
        _told(item, task, terms)
        for route in sorted(routes)
        for item in shop.store.traffic.index.outcomes(None, route, since=since)
        if item.task == task.name and item.variant == variant
    ]
    return sorted((one for one in found if one is not None), key=lambda one: (one.at, one.id))


def right_of(item: Outcome, terms: Terms) -> bool | None:
    """Whether an answer was right, as far as somebody who counts has said."""
    told: dict[str, Any] = {metric: value for (metric, source), value in item.feedback.items() if source in COUNTED}
    if "demonstration" in told:
        return item.label is not None and terms.judging.same(str(told["demonstration"]), item.label)
    return bool(told["correct"]) if "correct" in told else None


def _told(item: Outcome, task: Task, terms: Terms) -> Told | None:
    when = [at for (_, source), at in item.told.items() if source in COUNTED]
    lost, right = cost_of(item, task, terms), right_of(item, terms)
    if not when or (lost is None and right is None):
        return None
    return Told(
        item.id, min(when), None if right is None else float(right), None if lost is None else lost + item.cost / NANO
    )

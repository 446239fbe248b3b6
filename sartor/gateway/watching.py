"""What the predictors behind the routes tell of themselves: breakers that are not closed, and what shadows did."""

from collections.abc import Iterable, Iterator
from typing import Any

from sartor.gateway.policies.shadow import Shadow
from sartor.gateway.routes import Served
from sartor.gateway.upstream import UpstreamPredictor


def asked(served: Iterable[Served]) -> Iterator[Any]:
    """Every predictor that answers or is asked on the way to an answer, each once."""
    waiting: list[Any] = [model for item in served for model in (item.predictor, item.unmatched) if model is not None]
    seen: set[int] = set()
    while waiting:
        model = waiting.pop()
        if id(model) not in seen:
            seen.add(id(model))
            yield model
            waiting += getattr(model, "asks", ())


def open_breakers(served: Iterable[Served]) -> dict[str, float]:
    """Name of each upstream -> 1.0 where its breaker is not closed."""
    found = (model for model in asked(served) if isinstance(model, UpstreamPredictor))
    return {model.spec.name: float(model.breaker.state != "closed") for model in found}


def shadows(served: Iterable[Served]) -> dict[str, float]:
    """What became of the requests that shadows should see: sent + dropped = wanted."""
    total = dict.fromkeys(("sent", "dropped", "received", "failed"), 0.0)
    for model in asked(served):
        if isinstance(model, Shadow):
            for outcome in total:
                total[outcome] += getattr(model.counts, outcome)
    return total

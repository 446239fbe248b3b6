"""Declare what the gateway answers to. Running servers follow within a second."""

from collections.abc import Coroutine
from dataclasses import dataclass, fields
from typing import Any

from sartor.core.errors import AskError, unknown
from sartor.core.predict import Prediction, Predictor, Request, one_chunk
from sartor.core.records import RouteRecord
from sartor.core.route import Route, Target
from sartor.core.task import Task
from sartor.evaluation.gates.canary import Settings as CanarySettings
from sartor.gateway.policy import Tools, build
from sartor.pipeline.declared import ROUTE, UPSTREAM, move, names, standing, targets
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE


def declare_route(shop: Workshop, spec: Route, why: str = "declared") -> dict[str, Any]:
    """Keep a route, or a new form of one that is there already; running servers follow within a second.

    Raises:
        AskError: a policy's settings don't fit.
        NotFoundError: the task, a policy or a target is not there; those there are get listed.
    """
    check_route(shop, spec)
    record = RouteRecord(name=spec.name, task=spec.task, spec=spec.model_dump(mode="json"))
    move(shop, "route", spec.name, ROUTE, record, reasons=(why,))
    return show_route(shop, spec.name)


def check_route(shop: Workshop, spec: Route) -> None:
    """Whether everything that a route names is there and fits.

    Raises:
        AskError, NotFoundError: it does not; says what.
    """
    task = Task.model_validate(contract_of(shop, spec.task).contract) if spec.task else None
    known = targets(shop)
    for target in (spec.whole(), *([spec.unmatched] if spec.unmatched else [])):
        build(target, _checking(spec.name, task, known))
    known_settings = {field.name for field in fields(CanarySettings)} - {"limits"}
    for name in spec.canary.judge if spec.canary else ():
        if name not in known_settings:
            raise unknown("setting of a canary's judge", name, known_settings, param="canary.judge")


def list_routes(shop: Workshop) -> list[dict[str, Any]]:
    """Every declared route with its stage."""
    return [show_route(shop, name) for name in names(shop, ROUTE)]


def show_route(shop: Workshop, name: str) -> dict[str, Any]:
    """One route as it is declared, and since when.

    Raises:
        NotFoundError: there is none of this name; those there are get listed.
    """
    record, pointer = standing(shop, name, ROUTE)
    assert isinstance(record, RouteRecord)
    stage = "canary" if record.spec.get("canary") else "shadow" if record.spec.get("shadow") else "live"
    facts = {"digest": record.digest, "since": pointer.moved, "decision": pointer.decision, "stage": stage}
    return record.spec | facts


def remove_route(shop: Workshop, name: str, why: str) -> None:
    """Answer to this name no more, but for a task of the same name.

    Raises:
        NotFoundError: there is no such route.
    """
    standing(shop, name, ROUTE)
    move(shop, "retire", name, ROUTE, None, reasons=(why,))


def remove_upstream(shop: Workshop, name: str, why: str) -> None:
    """Ask it no more.

    Raises:
        NotFoundError: there is none of this name.
        AskError: a route still names it.
    """
    standing(shop, name, UPSTREAM)
    users = [route.name for route in declared_routes(shop) if name in targets_of(route)]
    if users:
        raise AskError(
            f"Upstream '{name}' is asked by {', '.join(users)}. Change these routes first.", code="upstream_in_use"
        )
    move(shop, "retire", name, UPSTREAM, None, reasons=(why,))


def route_named(shop: Workshop, name: str) -> Route:
    """The route as declared; for a task without one, the one that it has by itself.

    Raises:
        NotFoundError: neither is there.
    """
    pointer = shop.store.ledger.resolve(name + ROUTE)
    if pointer is None and shop.store.ledger.resolve(name + LIVE) is not None:
        return Route(name=name, task=name, policy=name + LIVE)
    record, _ = standing(shop, name, ROUTE)
    assert isinstance(record, RouteRecord)
    return Route.model_validate(record.spec)


def declared_routes(shop: Workshop) -> list[Route]:
    """Every declared route."""
    return [route_named(shop, name) for name in names(shop, ROUTE)]


def targets_of(route: Route) -> set[str]:
    """Every name that the route's policies ask, however deep."""
    found: set[str] = {route.unmatched} - {""}

    def walk(value: Any) -> None:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)

    walk(route.whole())
    return found


@dataclass(frozen=True)
class _Named:
    """Stands for a target while a route is only checked; is never asked."""

    name: str

    async def predict(self, requests: Any) -> list[Prediction]:
        raise NotImplementedError(self.name, len(requests))

    def stream(self, request: Request) -> Any:
        return one_chunk(self, request)


class _NoPurse:
    """Nothing is spent while a route is only checked."""

    async def take(self, holder: str, period: str, limit: float, money: float) -> bool:
        raise NotImplementedError(holder, period, limit, money)

    def settle(self, holder: str, period: str, taken: float, spent: float) -> None:
        raise NotImplementedError(holder, period, taken, spent)


def _checking(name: str, task: Task | None, known: list[str]) -> Tools:
    def target(wanted: Target) -> Predictor:
        if not isinstance(wanted, str):
            return build(wanted, tools)
        if wanted not in known:
            raise unknown("target", wanted, known, param="policy")
        return _Named(wanted)

    def background(work: Coroutine[Any, Any, None]) -> bool:
        work.close()
        return False

    tools = Tools(
        route=name,
        target=target,
        background=background,
        shadowed=lambda *_: None,
        purse=_NoPurse(),
        task=task,
        labels=task.labels if task else (),
    )
    return tools

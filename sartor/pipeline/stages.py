"""Move a variant towards live on a route: shadow, canary, live, and back, each by a recorded, signed decision."""

from typing import Any, Literal

from sartor.core.errors import AskError, NotFoundError, RefusedError
from sartor.core.records import Decision, RouteRecord
from sartor.core.route import CanaryStage, Route, ShadowStage, Target
from sartor.pipeline.declared import ROUTE, Judged, Verb, move, standing
from sartor.pipeline.routes import check_route, route_named, show_route
from sartor.pipeline.workshop import Workshop

JUDGE = "canary"
"""Policy of the decisions that statistics took; those taken by hand have none."""


def stage_shadow(shop: Workshop, name: str, target: Target, *, share: float = 1.0, why: str = "") -> dict[str, Any]:
    """Let a target see the route's real traffic and answer nobody."""
    route = route_named(shop, name)
    return _stage(shop, "shadow", route.model_copy(update={"shadow": ShadowStage(beside=target, share=share)}), why)


def stage_canary(
    shop: Workshop,
    name: str,
    target: Target | None = None,
    *,
    share: float = 0.1,
    promote: bool = True,
    guards: dict[str, Any] | None = None,
    judge: dict[str, Any] | None = None,
    why: str = "",
) -> dict[str, Any]:
    """Let a target answer a share of the route's traffic; without one, the target that is in its shadow.

    Args:
        promote: whether a verdict to promote moves the route by itself.
        guards: settings of the guards in the servers, which act within seconds.
        judge: settings of the statistics, beyond what the task's gate says.

    Raises:
        AskError: no target was named and none is in the shadow.
    """
    route = route_named(shop, name)
    wanted = target if target is not None else (route.shadow.beside if route.shadow else None)
    if wanted is None:
        raise AskError(f"Name what '{name}' should try: nothing stands in its shadow.", param="target")
    settings = {"guards": guards} if guards else {}
    stage = CanaryStage(to=wanted, share=share, promote=promote, settings=settings, judge=judge or {})
    return _stage(shop, "canary", route.model_copy(update={"canary": stage, "shadow": None}), why)


def stage_live(shop: Workshop, name: str, target: Target | None = None, *, why: str = "") -> dict[str, Any]:
    """Let a target answer everything; without one, the target of the canary.

    Raises:
        AskError: no target was named and there is no canary.
        RefusedError: the canary's last verdict is not to promote, and no reason to do it all the same was given.
    """
    route = route_named(shop, name)
    wanted = target if target is not None else (route.canary.to if route.canary else None)
    if wanted is None:
        raise AskError(f"Name what should answer '{name}': there is no canary.", param="target")
    if route.canary is not None and wanted == route.canary.to and not why and not promoted(shop, name):
        raise RefusedError(
            f"The canary of '{name}' has no verdict to promote yet. See: sartor route canary {name} --verdict. To go "
            "live all the same, say why: --why '…'",
            code="not_promoted",
        )
    return _stage(shop, "route", route.model_copy(update={"policy": wanted, "canary": None, "shadow": None}), why)


def change_policy(shop: Workshop, route: Route, policy: Target, *, why: str) -> dict[str, Any]:
    """Let the route answer by another policy, its stages kept."""
    return _stage(shop, "route", route.model_copy(update={"policy": policy}), why)


def stop_stage(shop: Workshop, name: str, *, why: str, judged: Judged | None = None) -> dict[str, Any]:
    """Take shadow and canary away; what answered before answers everything."""
    route = route_named(shop, name).model_copy(update={"canary": None, "shadow": None})
    return _stage(shop, "canary", route, why, verdict="hold", judged=judged)


def promote_canary(shop: Workshop, name: str, *, why: str, judged: Judged) -> dict[str, Any]:
    """Let the canary's target answer everything, because statistics say so.

    Raises:
        AskError: there is no canary.
    """
    route = route_named(shop, name)
    if route.canary is None:
        raise no_canary(name)
    changed = route.model_copy(update={"policy": route.canary.to, "canary": None, "shadow": None})
    return _stage(shop, "canary", changed, why, judged=judged)


def no_canary(name: str) -> AskError:
    """The error where a route has no canary."""
    return AskError(f"Route '{name}' has no canary. Start one: sartor route canary {name} TARGET", param="name")


def rollback_route(shop: Workshop, name: str, *, why: str = "rollback") -> dict[str, Any]:
    """Go back to what the route was before its last change.

    Raises:
        NotFoundError: there is no such route, or it was never anything else.
    """
    pointer = shop.store.ledger.resolve(name + ROUTE)
    moves = [move for move in shop.store.ledger.moves(name + ROUTE) if move.before and move.before != move.digest]
    if pointer is None or not moves:
        standing(shop, name, ROUTE)
        raise NotFoundError(f"Route '{name}' was never anything else: there is nothing to go back to.", param="name")
    assert moves[-1].before is not None
    record = shop.store.ledger.get(moves[-1].before)
    assert isinstance(record, RouteRecord)
    check_route(shop, Route.model_validate(record.spec))
    move(shop, "rollback", name, ROUTE, record, reasons=(why,))
    return show_route(shop, name)


def promoted(shop: Workshop, name: str) -> bool:
    """Whether the last verdict of the statistics on the canary that stands now was to promote it."""
    pointer = shop.store.ledger.resolve(name + ROUTE)
    verdicts = [d for d in shop.store.ledger.find(Decision, task=name, verb="canary") if d.policy == JUDGE]
    return bool(verdicts and pointer and verdicts[0].candidate == pointer.digest and verdicts[0].verdict == "ship")


def _stage(
    shop: Workshop,
    verb: Verb,
    route: Route,
    why: str,
    *,
    verdict: Literal["ship", "hold"] = "ship",
    judged: Judged | None = None,
) -> dict[str, Any]:
    check_route(shop, route)
    record = RouteRecord(name=route.name, task=route.task, spec=route.model_dump(mode="json"))
    move(shop, verb, route.name, ROUTE, record, reasons=(why or f"{verb} by hand",), verdict=verdict, judged=judged)
    return show_route(shop, route.name)

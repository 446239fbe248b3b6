"""Where live names and routes go when what they stand at is taken back: to the last clean version, else to the giant,
else they are retired. Plans the moves; moves nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sartor.core.records import RouteRecord, TaskRecord, Variant
from sartor.core.route import Route, Target
from sartor.pipeline.declared import ROUTE, UPSTREAM, all_pointers
from sartor.pipeline.routes import targets_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.impact import Impact
from sartor.registry.quarantine import quarantined
from sartor.registry.variants import LIVE, PREVIOUS, RETIRED
from sartor.store.ledger import Change, Pointer

WAITING = "@waiting"
OTHERS = (PREVIOUS, WAITING, "@test")
"""Endings of names beside `@live` that move. Whatever else stands at what was recalled stays, and is refused."""


@dataclass(frozen=True)
class TaskMove:
    """What becomes of a task whose live variant is taken back."""

    task: str
    from_: str
    """Digest of what was live."""
    how: Literal["clean", "giant", "retired"]
    to: str
    """Digest of the clean variant, name of the giant, or ''."""
    decision: str = ""
    """Decision under which the clean variant was live, whose contract counts again."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RouteMove:
    """A route that is declared anew."""

    name: str
    before: str | None
    """Digest of the record that stands now; None for a task's name that had no route of its own."""
    record: RouteRecord
    why: str

    def body(self) -> dict[str, Any]:
        """As JSON."""
        after, policy = self.record.digest, self.record.spec["policy"]
        return {"route": self.name, "before": self.before, "after": after, "policy": policy, "why": self.why}


@dataclass(frozen=True)
class Moves:
    """Everything that moves, together."""

    tasks: tuple[TaskMove, ...] = ()
    routes: tuple[RouteMove, ...] = ()
    changes: tuple[Change, ...] = ()
    """Of task names other than what tells of decisions: `@live`, `@previous`, `@retired`, and others that can move."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        names = [change.name for change in self.changes]
        return {"tasks": [m.body() for m in self.tasks], "routes": [m.body() for m in self.routes], "names": names}


@dataclass
class _Planner:
    """What is known of the ledger while moves are planned."""

    shop: Workshop
    found: Impact
    pointers: Mapping[str, Pointer]
    bad: frozenset[str]
    routes: Mapping[str, Route]
    tasks: dict[str, TaskMove] = field(default_factory=dict)

    def clean_before(self, name: str, *, besides: str = "") -> tuple[str, str] | None:
        """(digest, decision) of the last clean record at which a name stood."""
        for move in reversed(self.shop.store.ledger.moves(name)):
            digest = move.digest or ""
            if digest and digest not in self.bad and digest != besides:
                return digest, move.decision
        return None

    def task(self, name: str, stands: str) -> TaskMove:
        clean = self.clean_before(name + LIVE)
        if clean is not None and isinstance(self.shop.store.ledger.get(clean[0]), Variant):
            return TaskMove(name, stands, "clean", *clean)
        giant = self.giant(name)
        return TaskMove(name, stands, "giant" if giant else "retired", giant)

    def giant(self, task: str) -> str:
        """The upstream that may answer in a task's stead: one that its own routes ask, or whom it escalates to."""
        own = [route for route in self.routes.values() if task in (route.task, route.name)]
        asked = [target for route in own for target in sorted(targets_of(route)) if target + UPSTREAM in self.pointers]
        if asked:
            return asked[0]
        newest = self.shop.store.ledger.find(TaskRecord, name=task, limit=1)
        escalate = (newest[0].contract["value"].get("escalate") or {}) if newest else {}
        to = str(escalate.get("to", ""))
        return to if to + UPSTREAM in self.pointers else ""

    def instead(self, target: str) -> str | None:
        """What is asked in the stead of a target: itself where it is clean or moves by itself; None: nothing can be."""
        handle = target if "@" in target else target + LIVE
        pointer = self.pointers.get(handle)
        if pointer is None or target + UPSTREAM in self.pointers or pointer.digest not in self.bad:
            return target
        task, _, place = handle.partition("@")
        moved = self.tasks.get(task)
        if moved is None:  # its live variant is clean; only this version is not
            return task + LIVE if task + LIVE in self.pointers else None
        if moved.how == "clean":
            return target if f"@{place}" == LIVE else task + LIVE
        return moved.to or None

    def route(self, route: Route) -> Route | None:
        """The route without what is taken back; None where nothing of it has to change, or nothing can."""
        changed: dict[str, Any] = {}
        if route.canary is not None and self.is_bad(route.canary.to):
            changed["canary"] = None
        if route.shadow is not None and self.is_bad(route.shadow.beside):
            changed["shadow"] = None
        now = {target: self.instead(target) for target in _names(route.policy)}
        if any(to is None or (to != target and to + UPSTREAM in self.pointers) for target, to in now.items()):
            # With nothing to ask first, whoever is asked second answers everything.
            moved = self.tasks.get(route.task)
            policy: Target | None = moved.to if moved is not None else self.giant(route.task or route.name)
        else:
            policy = replaced(route.policy, self.instead)
        if policy and policy != route.policy:
            changed["policy"] = policy
        return route.model_copy(update=changed) if changed else None

    def is_bad(self, target: Target) -> bool:
        return any(self.instead(name) != name or self._moves(name) for name in _names(target))

    def _moves(self, name: str) -> bool:
        """Whether the target is the live name of a task that moves: a trial of it tries something else then."""
        return name.removesuffix(LIVE) in self.tasks


def plan_moves(shop: Workshop, found: Impact) -> Moves:
    """What has to move so that nothing that answers descends from what is taken back."""
    pointers = {pointer.name: pointer for pointer in all_pointers(shop) if pointer.digest}
    bad = frozenset(found.goods) | quarantined(shop.store.ledger)
    declared = [pointer for name, pointer in pointers.items() if name.endswith(ROUTE)]
    records = shop.store.ledger.get_many(pointer.digest for pointer in declared)
    routes = {r.name: Route.model_validate(r.spec) for r in records.values() if isinstance(r, RouteRecord)}
    planner = _Planner(shop, found, pointers, bad, routes)
    goods = set(found.goods)
    for pointer in pointers.values():
        if pointer.name.endswith(LIVE) and pointer.digest in goods:
            task = pointer.name.removesuffix(LIVE)
            planner.tasks[task] = planner.task(task, pointer.digest)
    changes = [change for move in planner.tasks.values() for change in _live(move, pointers)]
    changes += [_other(planner, pointer) for pointer in found.live if pointer.name.endswith(OTHERS)]
    return Moves(tuple(planner.tasks.values()), tuple(_routes(planner)), tuple(changes))


def _live(move: TaskMove, pointers: Mapping[str, Pointer]) -> list[Change]:
    changes = [Change(move.task + LIVE, move.to if move.how == "clean" else None, move.from_)]
    if move.how == "retired" and move.task + RETIRED not in pointers:
        changes.append(Change(move.task + RETIRED, move.from_, None))
    return changes


def _other(planner: _Planner, pointer: Pointer) -> Change:
    """`@previous`, `@waiting`, a standing test: back to the last clean one; what waited for people waits no more."""
    task = pointer.name.partition("@")[0]
    if pointer.name.endswith(WAITING):
        return Change(pointer.name, None, pointer.digest)
    live = planner.tasks.get(task)
    name = task + LIVE if pointer.name.endswith(PREVIOUS) else pointer.name
    now = live.to if live else getattr(planner.pointers.get(task + LIVE), "digest", "")
    clean = planner.clean_before(name, besides=now if pointer.name.endswith(PREVIOUS) else "")
    return Change(pointer.name, clean[0] if clean else None, pointer.digest)


def _routes(planner: _Planner) -> list[RouteMove]:
    found = []
    for name, route in planner.routes.items():
        if (changed := planner.route(route)) is not None:
            found.append(_route_move(changed, planner.pointers[name + ROUTE].digest, "what it asked was recalled"))
    for move in planner.tasks.values():
        if move.how == "giant" and move.task not in planner.routes:
            own = Route(name=move.task, task=move.task, policy=move.to)
            found.append(_route_move(own, None, "no clean version: the giant answers"))
    return found


def _route_move(route: Route, before: str | None, why: str) -> RouteMove:
    record = RouteRecord(name=route.name, task=route.task, spec=route.model_dump(mode="json"))
    return RouteMove(route.name, before, record, why)


def _names(target: Target) -> set[str]:
    return targets_of(Route(name="x", policy=target))


def replaced(target: Any, instead: Any) -> Any:
    """A policy with its targets replaced; None where one of them can't be."""
    if isinstance(target, str):
        return instead(target)
    if isinstance(target, dict):
        pairs = {key: value if key == "use" else replaced(value, instead) for key, value in target.items()}
        return None if any(v is None and target[k] is not None for k, v in pairs.items()) else pairs
    if isinstance(target, list | tuple):
        items = [replaced(item, instead) for item in target]
        return None if any(v is None and t is not None for v, t in zip(items, target, strict=True)) else items
    return target

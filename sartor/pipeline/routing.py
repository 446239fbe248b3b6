"""The names that the gateway answers to, kept in memory and brought up with the ledger while requests go on.

A thread looks at the ledger's revision a few times a second. When it moved, names are read again and what changed is
built anew, loaded and proven before it takes over; what did not change keeps its connections, caches and breakers.
"""

import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sartor.core.access import Caller
from sartor.core.errors import RefusedError, SartorError, unknown
from sartor.core.predict import Floats, Prediction, Predictor, Request
from sartor.core.records import RouteRecord, UpstreamRecord
from sartor.core.route import Route, Target, Upstream
from sartor.core.task import Task
from sartor.gateway.policy import Purse, Tools, build
from sartor.gateway.routes import Served
from sartor.pipeline.declared import ROUTE, UPSTREAM, all_pointers
from sartor.pipeline.serve import Bound, Handles, contract_of
from sartor.pipeline.upstreams import open_declared
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, PREVIOUS, RETIRED
from sartor.store.ledger import Pointer

LOOK_SECONDS = 0.25

log = logging.getLogger("sartor.routing")


@dataclass(frozen=True)
class Aids:
    """What a running server lends to policies."""

    background: Callable[[Coroutine[Any, Any, None]], bool]
    shadowed: Callable[[str, Request, Prediction | Exception], None]
    """(route, request, what the shadow said or how it failed)."""
    purse: Purse
    clock: Callable[[], float]
    embed: Callable[[str, Sequence[str]], Awaitable[Floats]] | None = None


@dataclass(frozen=True)
class _Built:
    """A name that answers, and what it was built from: as long as that stands, it is kept."""

    served: Served
    record: str
    """Digest of the declared route; '' where none is declared."""
    used: Mapping[str, tuple[str, str]]
    """Target -> (digest, decision) that it stood at."""


@dataclass(frozen=True)
class _View:
    """Everything as of one revision of the ledger."""

    revision: int = -1
    pointers: Mapping[str, Pointer] = field(default_factory=dict)
    built: Mapping[str, _Built] = field(default_factory=dict)
    upstreams: Mapping[str, tuple[str, Predictor, Upstream]] = field(default_factory=dict)
    broken: Mapping[str, SartorError] = field(default_factory=dict)


class RoutingTable:
    """`gateway.routes.Routes` over the ledger. Safe to read from any thread."""

    def __init__(self, shop: Workshop, handles: Handles, aids: Aids) -> None:
        self._shop = shop
        self._handles = handles
        self._aids = aids
        self._view = _View()
        self._late: dict[tuple[str, str, str], Served] = {}
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="routing", daemon=True)

    def start(self) -> None:
        """Read everything once, then go on looking."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what stands goes on answering."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.refresh()
            except SartorError as error:
                # Without the ledger, what stands goes on answering.
                log.warning("routes were not refreshed: %s", error.message)
            except Exception:
                log.exception("routes were not refreshed")

    def refresh(self) -> bool:
        """Bring the names up with the ledger; whether anything was to be done."""
        with self._turn:
            revision = self._shop.store.ledger.revision()
            if revision == self._view.revision:
                return False
            pointers = {pointer.name: pointer for pointer in all_pointers(self._shop)}
            self._view = self._read(revision, pointers)
            return True

    def _read(self, revision: int, pointers: Mapping[str, Pointer]) -> _View:
        before = self._view
        upstreams, broken = self._upstreams(pointers, before)
        view = _View(revision, pointers, {}, upstreams, broken)
        built: dict[str, _Built] = {}
        view = replace(view, built=built)
        for name in _names_in(pointers):
            try:
                built[name] = self._built(name, view, before.built.get(name))
            except SartorError as error:
                log.warning("'%s' is not answered as declared: %s", name, error.message)
                if name in before.built:
                    built[name] = before.built[name]
                else:
                    broken[name] = error
        return view

    def _upstreams(
        self, pointers: Mapping[str, Pointer], before: _View
    ) -> tuple[dict[str, tuple[str, Predictor, Upstream]], dict[str, SartorError]]:
        found: dict[str, tuple[str, Predictor, Upstream]] = {}
        broken: dict[str, SartorError] = {}
        for pointer in pointers.values():
            if not pointer.name.endswith(UPSTREAM) or not pointer.digest:
                continue
            name = pointer.name.removesuffix(UPSTREAM)
            if name in before.upstreams and before.upstreams[name][0] == pointer.digest:
                found[name] = before.upstreams[name]
                continue
            record = self._shop.store.ledger.get(pointer.digest)
            assert isinstance(record, UpstreamRecord)
            try:
                spec = Upstream.model_validate(record.spec)
                found[name] = (pointer.digest, open_declared(self._shop, spec, clock=self._aids.clock), spec)
            except SartorError as error:
                broken[name] = error
        return found, broken

    # Building

    def _built(self, name: str, view: _View, before: _Built | None) -> _Built:
        declared = view.pointers.get(name + ROUTE)
        record = declared.digest if declared and declared.digest else ""
        if before and before.record == record and all(_stands(view, t) == at for t, at in before.used.items()):
            return before
        route = self._route(name, record, view)
        used: dict[str, tuple[str, str]] = {}
        bound: list[Bound] = []

        def target(wanted: Target) -> Predictor:
            assert isinstance(wanted, str)
            used[wanted] = _stands(view, wanted)
            if wanted in view.upstreams:
                return view.upstreams[wanted][1]
            bound.append(self._handles.bind(self._pointer(view, wanted)))
            return bound[-1].predictor

        task, labels = self._task(route)
        aids = self._aids
        tools = Tools(
            route=name,
            target=lambda wanted: target(wanted) if isinstance(wanted, str) else build(wanted, tools),
            background=aids.background,
            shadowed=lambda request, said: aids.shadowed(name, request, said),
            purse=aids.purse,
            task=task,
            labels=labels,
            embed=aids.embed,
            clock=aids.clock,
        )
        predictor = build(route.whole(), tools)
        if route.task:
            used[route.task + LIVE] = _stands(view, route.task + LIVE)
        first = bound[0] if bound else None
        served = Served(
            name=name,
            version=first.version if first else next(iter(used), name),
            variant=first.variant if first else next(iter(used), name),
            task=task,
            predictor=predictor,
            route=route,
            labels=labels,
            unmatched=target(route.unmatched) if route.unmatched else None,
            created=_seconds((declared or view.pointers.get(name + LIVE) or view.pointers[name + UPSTREAM]).moved),
            fields={"version": first.version} if first else {},
        )
        return _Built(served, record, used)

    def _route(self, name: str, record: str, view: _View) -> Route:
        if record:
            found = self._shop.store.ledger.get(record)
            assert isinstance(found, RouteRecord)
            return Route.model_validate(found.spec)
        if name + LIVE in view.pointers:
            return Route(name=name, task=name, policy=name + LIVE)
        return Route(name=name, policy=name)

    def _task(self, route: Route) -> tuple[Task | None, tuple[str, ...]]:
        if not route.task:
            return None, ()
        task = Task.model_validate(contract_of(self._shop, route.task).contract)
        live = self._shop.store.ledger.resolve(route.task + LIVE)
        return task, self._handles.bind(live).labels if live and live.digest else task.labels

    def _pointer(self, view: _View, wanted: str) -> Pointer:
        handle = wanted if "@" in wanted else wanted + LIVE
        task = wanted.partition("@")[0]
        if _retired(view, task):
            raise RefusedError(
                f"Task '{task}' is retired. Bring it back: sartor registry rollback {task}", code="retired"
            )
        found = view.pointers.get(handle)
        if found is None or not found.digest or handle.endswith((ROUTE, UPSTREAM)):
            raise unknown("target", wanted, [*view.upstreams, *_handles_in(view)], param="policy")
        return found

    # Reading

    def names(self, caller: Caller) -> list[Served]:
        """Everything that the caller can ask for: routes, tasks with their versions, exposed upstreams."""
        view = self._view
        found = [built.served for name, built in view.built.items() if self._open(view, name, caller)]
        listed = [self._listed(handle, view) for handle in _handles_in(view) if self._open(view, handle, caller)]
        return found + [item for item in listed if item is not None]

    def resolve(self, name: str, caller: Caller) -> Served:
        """What answers under a name.

        Raises:
            NotFoundError: nothing does that the caller may see; the message lists what it may.
            RefusedError: the task is retired, or the name's shutdown date is over.
        """
        view = self._view
        if not self._open(view, name, caller):
            raise self._not_there(view, name, caller)
        built = view.built.get(name)
        served = built.served if built else self._bind_late(name, view)
        if served is None:
            raise self._not_there(view, name, caller)
        if served.route.shutdown_date and _today() > served.route.shutdown_date:
            raise RefusedError(
                f"'{name}' was shut down after {served.route.shutdown_date}. GET /v1/models lists what answers.",
                code="shut_down",
            )
        return served

    def _open(self, view: _View, name: str, caller: Caller) -> bool:
        """Whether the caller may see the name."""
        if not caller.sees(name):
            return False
        built = view.built.get(name) or view.built.get(name.partition("@")[0])
        if built is None:
            return True
        tenants = built.served.route.tenants
        if name in view.upstreams and not built.record and not view.upstreams[name][2].exposed:
            return False
        return not tenants or caller.tenant in tenants

    def _not_there(self, view: _View, name: str, caller: Caller) -> SartorError:
        if caller.sees(name) and name in view.broken:
            return view.broken[name]
        task = name.partition("@")[0]
        if caller.sees(name) and _retired(view, task):
            return RefusedError(
                f"Task '{task}' is retired. Bring it back: sartor registry rollback {task}", code="retired"
            )
        known = [known for known in view.built if self._open(view, known, caller)]
        return unknown("model", name, known, param="model", code="model_not_found")

    def _bind_late(self, handle: str, view: _View) -> Served | None:
        """A version that nobody has asked for yet: looked up now, loaded by its first answer."""
        pointer = view.pointers.get(handle)
        if pointer is None or not pointer.digest or not _is_handle(handle) or _retired(view, handle.partition("@")[0]):
            return None
        key = (handle, pointer.digest, pointer.decision)
        if key not in self._late:
            bound = self._handles.bind(pointer)
            task = handle.partition("@")[0]
            self._late[key] = Served(
                name=handle,
                version=bound.version,
                variant=bound.variant,
                task=bound.task,
                predictor=bound.predictor,
                route=self._declared(view, task).model_copy(update={"policy": handle, "shadow": None, "canary": None}),
                labels=bound.labels,
                created=_seconds(pointer.moved),
                fields={"version": bound.version},
            )
        return self._late[key]

    def _listed(self, handle: str, view: _View) -> Served | None:
        """A version as /v1/models tells it, without loading it."""
        pointer, built = view.pointers[handle], view.built.get(handle.partition("@")[0])
        if built is None:
            return None
        return replace(built.served, name=handle, variant=pointer.digest, created=_seconds(pointer.moved), fields={})

    def _declared(self, view: _View, name: str) -> Route:
        built = view.built.get(name)
        return built.served.route if built else Route(name=name, task=name, policy=name + LIVE)


def _names_in(pointers: Mapping[str, Pointer]) -> list[str]:
    """Names without handle that answer: declared routes, live tasks, upstreams."""
    names = {
        name.removesuffix(end)
        for name, pointer in pointers.items()
        for end in (ROUTE, LIVE, UPSTREAM)
        if name.endswith(end) and pointer.digest
    }
    return sorted(names)


def _handles_in(view: _View) -> list[str]:
    """`triage@live`, `triage@v7`: what stands in stock and is not retired."""
    return [
        name
        for name, pointer in view.pointers.items()
        if pointer.digest and _is_handle(name) and not _retired(view, name.partition("@")[0])
    ]


def _is_handle(name: str) -> bool:
    return not name.endswith((ROUTE, UPSTREAM, RETIRED)) and (name.endswith((LIVE, PREVIOUS)) or "@v" in name)


def _retired(view: _View, task: str) -> bool:
    pointer = view.pointers.get(task + RETIRED)
    return pointer is not None and bool(pointer.digest)


def _stands(view: _View, target: str) -> tuple[str, str]:
    """What a target stands at: it is built anew when this changes."""
    if target in view.upstreams:
        return view.upstreams[target][0], ""
    pointer = view.pointers.get(target if "@" in target else target + LIVE)
    return (pointer.digest or "", pointer.decision) if pointer else ("", "")


def _seconds(moved: str) -> int:
    return int(datetime.fromisoformat(moved).timestamp())


def _today() -> str:
    return datetime.now(UTC).date().isoformat()

"""Build what answers under a name: a declared route, a live task, an upstream or a base's embeddings.

Knows no server and no threads; `routing` decides when something is built anew.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sartor.core.errors import BusyError, RefusedError, SartorError, unknown
from sartor.core.predict import Chunk, Floats, Prediction, Predictor, Request, Usage
from sartor.core.records import Base, RouteRecord
from sartor.core.route import Route, Upstream
from sartor.core.task import Task
from sartor.data.kind import kind_of
from sartor.gateway.policy import Purse, Tools, build
from sartor.gateway.routes import Served
from sartor.pipeline.answerable import answerable, reads_of
from sartor.pipeline.declared import ROUTE, UPSTREAM
from sartor.pipeline.serve import Bound, Handles, contract_of, is_handle, variant_named
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import name_of, recalled
from sartor.registry.variants import LIVE, RETIRED, versions
from sartor.serving.embedding import EmbeddingPredictor
from sartor.store.ledger import Pointer

EMBEDDING_ENGINES = ("static", "encoder")
"""Engines of bases whose embeddings can be asked for by the base's name."""


@dataclass(frozen=True)
class Aids:
    """What a running server lends to policies."""

    background: Callable[[Coroutine[Any, Any, None]], bool]
    shadowed: Callable[[Route, Sequence[str], Request, Prediction | Exception], None]
    """(route, what can be an answer to its task, request, what the shadow said or how it failed)."""
    purse: Purse
    clock: Callable[[], float]


@dataclass(frozen=True)
class Built:
    """A name that answers, and what it was built from: as long as that stands, it is kept."""

    served: Served
    record: str
    """Digest of the declared route; '' where none is declared."""
    used: Mapping[str, tuple[str, str]]
    """Target -> (digest, decision) that it stood at."""


@dataclass(frozen=True)
class OpenUpstream:
    """An upstream with its connections."""

    digest: str
    spec: Upstream
    predictor: Predictor
    price: Callable[[Usage], float]


@dataclass(frozen=True)
class View:
    """Everything as of one revision of the ledger."""

    revision: int = -1
    pointers: Mapping[str, Pointer] = field(default_factory=dict)
    upstreams: Mapping[str, OpenUpstream] = field(default_factory=dict)
    bases: Mapping[str, Base] = field(default_factory=dict)
    built: dict[str, Built] = field(default_factory=dict)
    broken: dict[str, SartorError] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Names without handle that should answer: declared routes, live tasks, upstreams, bases."""
        ends = (ROUTE, LIVE, UPSTREAM)
        found = {name.removesuffix(end) for name in self.pointers for end in ends if name.endswith(end)}
        return sorted(found | set(self.bases))

    def handles(self) -> list[str]:
        """`triage@live`, `triage@v7`: what stands in stock, is not retired, and was not recalled."""
        return [
            name
            for name, pointer in self.pointers.items()
            if is_handle(name) and not self.retired(name.partition("@")[0]) and not self.recalled(pointer.digest)
        ]

    def recalled(self, digest: str) -> bool:
        """Whether what has this digest was taken back, so that it answers no more."""
        return name_of(digest) in self.pointers

    def retired(self, task: str) -> bool:
        """Whether a task answers no more."""
        return task + RETIRED in self.pointers

    def stands(self, target: str) -> tuple[str, str]:
        """What a target stands at; what asks it is built anew when this changes."""
        if target in self.upstreams:
            return self.upstreams[target].digest, ""
        pointer = self.pointers.get(target if "@" in target else target + LIVE)
        return (pointer.digest, pointer.decision) if pointer else ("", "")


class LoadingError(BusyError):
    """A name needs a variant that is not loaded yet."""

    def __init__(self, pointer: Pointer) -> None:
        super().__init__(
            f"'{pointer.name}' is being loaded. Ask again in a moment.", retry_after=1.0, code="model_loading"
        )
        self.pointer = pointer


@dataclass(frozen=True)
class Late:
    """A version that is loaded by its first question, beside the answers to others."""

    handles: Handles
    pointer: Pointer

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order."""
        return await (await self._bound()).predictor.predict(requests)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer as it comes."""
        async with aclosing((await self._bound()).predictor.stream(request)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    async def _bound(self) -> Bound:
        if self.handles.holds(self.pointer):
            return self.handles.bind(self.pointer)
        return await asyncio.to_thread(self.handles.bind, self.pointer)


class Builder:
    """Builds names of a view. Loads nothing: what is not loaded yet is told."""

    def __init__(self, shop: Workshop, handles: Handles, aids: Aids) -> None:
        self._shop = shop
        self._handles = handles
        self._aids = aids

    def name(self, name: str, view: View, before: Built | None) -> Built:
        """What answers under a name; what stood before, where nothing that it uses has moved.

        Raises:
            LoadingError: it needs a variant that is not loaded yet.
            SartorError: it can't be built as it is declared.
        """
        declared = view.pointers.get(name + ROUTE)
        record = declared.digest if declared else ""
        if before and before.record == record and all(view.stands(t) == at for t, at in before.used.items()):
            return before
        if not record and name in view.bases and name + LIVE not in view.pointers and name not in view.upstreams:
            return self._base(name, view.bases[name], view)
        return self._route(name, record, view)

    def handle(self, handle: str, view: View) -> Served | None:
        """A version of a task; None where there is no such version."""
        pointer, task = view.pointers.get(handle), handle.partition("@")[0]
        if pointer is None or not is_handle(handle) or view.retired(task):
            return None
        variant = variant_named(self._shop, pointer.digest)
        numbered = next(v.name for v in versions(self._shop.store.ledger, task) if v.digest == pointer.digest)
        stages = {"policy": handle, "shadow": None, "canary": None}
        return Served(
            name=handle,
            version=numbered,
            variant=pointer.digest,
            task=Task.model_validate(contract_of(self._shop, task, pointer.decision).contract),
            predictor=Late(self._handles, pointer),
            route=declared_for(view, task).model_copy(update=stages),
            labels=variant.labels,
            writes=not variant.labels,
            created=seconds_of(pointer.moved),
            fields={"version": numbered},
        )

    def tuned(self, pointer: Pointer, view: View) -> Served | None:
        """A fine-tuned model, loaded by its first question; None where its task is retired."""
        contract = contract_of(self._shop, pointer.name, pointer.decision)
        if view.retired(contract.name):
            return None
        stages = {"policy": pointer.name, "shadow": None, "canary": None, "tenants": ()}
        return Served(
            name=pointer.name,
            version=pointer.name,
            variant=pointer.digest,
            task=Task.model_validate(contract.contract),
            predictor=Late(self._handles, pointer),
            route=declared_for(view, contract.name).model_copy(update=stages),
            labels=(labels := variant_named(self._shop, pointer.digest).labels),
            writes=not labels,
            created=seconds_of(pointer.moved),
        )

    def unbuilt(self, pointer: Pointer, name: str) -> Served:
        """A version or fine-tuned model as /v1/models tells it: by name, without a look at what stands there."""
        route = Route(name=name, policy=pointer.name)
        late, at = Late(self._handles, pointer), seconds_of(pointer.moved)
        return Served(pointer.name, pointer.name, pointer.digest, None, late, route, created=at)

    def _route(self, name: str, record: str, view: View) -> Built:
        route = self._declared(name, record, view)
        task, labels = self._task(route)
        known = answerable(task, labels) if task is not None and kind_of(task).written else labels
        asked = _Asked(self._handles, view)
        aids = self._aids
        tools = Tools(
            route=name,
            target=lambda wanted: asked.target(wanted) if isinstance(wanted, str) else build(wanted, tools),
            background=aids.background,
            shadowed=lambda request, said: aids.shadowed(route, known, request, said),
            purse=aids.purse,
            task=task,
            labels=labels,
            reads=reads_of(task) if task is not None and task.answer.json_schema else None,
            embed=lambda base, texts: self._embed(view, base, texts),
            clock=aids.clock,
        )
        predictor = build(route.whole(), tools)
        unmatched = asked.target(route.unmatched) if route.unmatched else None
        if route.task:
            asked.used[route.task + LIVE] = view.stands(route.task + LIVE)
        first = asked.bound[0] if asked.bound else None
        origin = next(pointer for end in (ROUTE, LIVE, UPSTREAM) if (pointer := view.pointers.get(name + end)))
        served = Served(
            name=name,
            version=first.version if first else next(iter(asked.used), name),
            variant=first.variant if first else next(iter(asked.used), name),
            task=task,
            predictor=predictor,
            route=route,
            labels=labels,
            writes=task is not None and kind_of(task).written,
            readable=known,
            unmatched=unmatched,
            price=_dearest([view.upstreams[name].price for name in asked.used if name in view.upstreams]),
            created=seconds_of(origin.moved),
            fields={"version": first.version} if first else {},
        )
        return Built(served, record, asked.used)

    def _declared(self, name: str, record: str, view: View) -> Route:
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
        return task, variant_named(self._shop, live.digest).labels if live and live.digest else task.labels

    def _base(self, name: str, base: Base, view: View) -> Built:
        if view.recalled(base.digest):
            raise recalled(name, "", view.pointers[name_of(base.digest)].digest)

        async def embed(texts: Sequence[str]) -> Floats:
            return await self._handles.models.embed(base.engine, base.digest, texts)

        predictor = EmbeddingPredictor(name, embed, self._shop.second_price)
        route = Route(name=name, policy=name)
        served = Served(name, name, base.digest, None, predictor, route, created=seconds_of(base.created))
        return Built(served, "", {})

    def _embed(self, view: View, base: str, texts: Sequence[str]) -> Awaitable[Floats]:
        if base not in view.bases:
            raise unknown("base", base, view.bases)
        found = view.bases[base]
        return self._handles.models.embed(found.engine, found.digest, texts)


@dataclass
class _Asked:
    """Targets of one route, as its policies ask for them."""

    handles: Handles
    view: View
    used: dict[str, tuple[str, str]] = field(default_factory=dict)
    bound: list[Bound] = field(default_factory=list)

    def target(self, wanted: str) -> Predictor:
        self.used[wanted] = self.view.stands(wanted)
        if wanted in self.view.upstreams:
            return self.view.upstreams[wanted].predictor
        if self.view.retired(wanted.partition("@")[0]):
            raise retired(wanted.partition("@")[0], self.view)
        pointer = self.view.pointers.get(wanted if "@" in wanted else wanted + LIVE)
        if pointer is not None and self.view.recalled(pointer.digest):
            raise recalled(wanted, "", self.view.pointers[name_of(pointer.digest)].digest)
        if pointer is None or not is_handle(pointer.name):
            raise unknown("target", wanted, [*self.view.upstreams, *self.view.handles()], param="policy")
        if not self.handles.holds(pointer):
            raise LoadingError(pointer)
        self.bound.append(self.handles.bind(pointer))
        return self.bound[-1].predictor


def _dearest(prices: Sequence[Callable[[Usage], float]]) -> Callable[[Usage], float] | None:
    """What the dearest of them charges; None where nothing is charged by usage."""
    if len(prices) < 2:
        return prices[0] if prices else None
    return lambda usage: max(price(usage) for price in prices)


def declared_for(view: View, task: str) -> Route:
    """What is declared about a task's own name."""
    built = view.built.get(task)
    return built.served.route if built else Route(name=task, task=task, policy=task + LIVE)


def retired(task: str, view: View) -> RefusedError:
    """The refusal of a task that answers no more."""
    pointer = view.pointers.get(task + RETIRED)
    if pointer is not None and view.recalled(pointer.digest):
        return recalled(task, "", view.pointers[name_of(pointer.digest)].digest)
    return RefusedError(f"Task '{task}' is retired. Bring it back: sartor registry rollback {task}", code="retired")


def seconds_of(moved: str) -> int:
    """Seconds since 1970 of an ISO 8601 time."""
    return int(datetime.fromisoformat(moved).timestamp())

"""The names that the gateway answers to, kept in memory and brought up with the ledger while requests go on.

A thread looks at the ledger's revision a few times a second. When it moved, names are read again and what changed is
built anew, loaded and proven before it takes over; what did not change keeps its connections, caches and breakers.
What could not be built is tried again after some seconds: a secret, a disk or a model's server may be there by then.
"""

import logging
import math
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from sartor.core.access import Caller
from sartor.core.errors import RefusedError, SartorError, StoreError, unknown
from sartor.core.predict import Predictor
from sartor.core.records import Base, UpstreamRecord
from sartor.core.route import Upstream
from sartor.feedback.reading import Reads
from sartor.gateway.routes import Served
from sartor.pipeline.answerable import reads_of
from sartor.pipeline.building import (
    EMBEDDING_ENGINES,
    Aids,
    Builder,
    Built,
    LoadingError,
    OpenUpstream,
    View,
    retired,
    seconds_of,
)
from sartor.pipeline.declared import UPSTREAM, all_pointers
from sartor.pipeline.serve import Handles
from sartor.pipeline.upstreams import open_declared, price_for
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import name_of, recalled
from sartor.registry.tuned import is_tuned, owns
from sartor.store.credentials import EVERY_TENANT
from sartor.store.ledger import Pointer

LOOK_SECONDS = 0.25
AGAIN_SECONDS = 5.0
"""After which what could not be built is tried again."""

Variant = tuple[str, str]
"""Digest of a variant, and of the decision under whose contract it answers."""

log = logging.getLogger("sartor.routing")


class RoutingTable:
    """`gateway.routes.Routes` over the ledger. Safe to read from any thread."""

    def __init__(self, shop: Workshop, handles: Handles, aids: Aids) -> None:
        self._shop = shop
        self._aids = aids
        self._builder = Builder(shop, handles, aids)
        self._view = View()
        self._again = math.inf
        self._told: dict[str, str] = {}
        self._late: dict[tuple[str, str, str], Served] = {}
        self._handles = handles
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._loading: dict[Variant, Future[None]] = {}
        self._failed: dict[Variant, SartorError] = {}
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="routing", daemon=True)

    def start(self) -> None:
        """Read everything and load what it needs, then go on looking."""
        self.settle()
        self._thread.start()

    def settle(self) -> bool:
        """Bring the names up with the ledger, all that they need loaded; whether anything was to be done."""
        done = self.refresh()
        while self._loading:
            wait(list(self._loading.values()))
            self.refresh()
        return done

    def stop(self) -> None:
        """Look no more; what stands goes on answering."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._loader.shutdown(wait=False, cancel_futures=True)

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
        """Bring the names up with the ledger; whether anything was to be done.

        Raises:
            StoreError: the ledger is out of reach.
        """
        with self._turn:
            revision = self._shop.store.ledger.revision()
            loaded = [variant for variant, done in self._loading.items() if done.done()]
            for variant in loaded:
                del self._loading[variant]
            again = self._aids.clock() >= self._again
            if revision == self._view.revision and not loaded and not again:
                return False
            if again and not loaded:
                self._failed.clear()
            # Without a digest a name stands nowhere: a route or task that was taken away.
            pointers = {pointer.name: pointer for pointer in all_pointers(self._shop) if pointer.digest}
            self._view = self._read(revision, pointers)
            return True

    def _read(self, revision: int, pointers: Mapping[str, Pointer]) -> View:
        view = View(revision, pointers, {}, self._bases())
        view = replace(view, upstreams=self._upstreams(view))
        told, self._told, self._again = self._told, {}, math.inf
        for name in view.names():
            try:
                view.built[name] = self._build(name, view)
            except SartorError as error:
                if not isinstance(error, LoadingError):
                    self._told[name] = error.message
                    if told.get(name) != error.message:
                        log.warning("'%s' is not answered as declared: %s", name, error.message)
                # What was taken away on purpose is refused; what only can't be built anew goes on as it was.
                if not isinstance(error, RefusedError):
                    self._again = self._aids.clock() + AGAIN_SECONDS
                if name in self._view.built and not isinstance(error, RefusedError):
                    view.built[name] = self._view.built[name]
                else:
                    view.broken.setdefault(name, error)
        return view

    def _load(self, pointer: Pointer) -> None:
        """Have another thread load what stands there, unless it does so already."""
        variant = (pointer.digest, pointer.decision)
        if variant not in self._loading:
            self._loading[variant] = self._loader.submit(self._loaded, variant, pointer)

    def _loaded(self, variant: Variant, pointer: Pointer) -> None:
        try:
            self._handles.bind(pointer)
            self._failed.pop(variant, None)
        except SartorError as error:
            self._failed[variant] = error
        except Exception as error:
            log.exception("'%s' could not be loaded", pointer.name)
            said = f"'{pointer.name}' could not be loaded ({type(error).__name__}). The server's log says why."
            self._failed[variant] = SartorError(said, code="model_not_loaded")

    def _build(self, name: str, view: View) -> Built:
        try:
            return self._builder.name(name, view, self._view.built.get(name))
        except LoadingError as error:
            failed = self._failed.get((error.pointer.digest, error.pointer.decision))
            if failed is not None:
                raise failed from error
            self._load(error.pointer)
            raise
        except ValidationError as error:
            raise _unreadable(name, error) from error

    def _bases(self) -> dict[str, Base]:
        found = self._shop.store.ledger.find(Base, limit=1000)
        return {base.name: base for base in reversed(found) if base.engine in EMBEDDING_ENGINES}

    def _upstreams(self, view: View) -> dict[str, OpenUpstream]:
        found: dict[str, OpenUpstream] = {}
        for pointer in view.pointers.values():
            if not pointer.name.endswith(UPSTREAM):
                continue
            name = pointer.name.removesuffix(UPSTREAM)
            before = self._view.upstreams.get(name)
            if before is not None and before.digest == pointer.digest:
                found[name] = before
                continue
            record = self._shop.store.ledger.get(pointer.digest)
            assert isinstance(record, UpstreamRecord)
            try:
                spec = Upstream.model_validate(record.spec)
                opened = open_declared(self._shop, spec, clock=self._aids.clock)
            except ValidationError as error:
                view.broken[name] = _unreadable(name, error)
            except SartorError as error:
                view.broken[name] = error
            else:
                found[name] = OpenUpstream(pointer.digest, spec, opened, price_for(self._shop, spec))
        return found

    # Reading

    def standing(self) -> list[Served]:
        """Everything that answers now, whoever may ask for it."""
        return [built.served for built in self._view.built.values()]

    def labels_of(self, task: str) -> tuple[str, ...]:
        """The labels that a task has now; empty where nothing of it answers."""
        standing = [built.served for built in self._view.built.values()] + list(self._late.values())
        return next((served.labels for served in standing if served.route.task == task), ())

    def reads_of(self, task: str) -> Reads | None:
        """What brings an answer to a task to its one form; None where nothing of it answers."""
        standing = [built.served for built in self._view.built.values()] + list(self._late.values())
        found = next((served.task for served in standing if served.task and served.route.task == task), None)
        return reads_of(found) if found is not None else None

    def predictors(self) -> Iterator[tuple[str, Predictor]]:
        """Every policy, upstream and variant that stands behind a name, with the name; each once for each name."""
        view = self._view
        for name, built in view.built.items():
            waiting, seen = [built.served.predictor], set[int]()
            while waiting:
                found = waiting.pop()
                if id(found) not in seen:
                    seen.add(id(found))
                    yield name, found
                    waiting.extend(getattr(found, "asks", ()))

    def names(self, caller: Caller) -> list[Served]:
        """Everything that the caller can ask for: routes, tasks with their versions, exposed upstreams, bases."""
        view = self._view
        plain = [built.served for name, built in view.built.items() if _open(view, name, caller)]
        versions = [self._listed(view, handle) for handle in view.handles() if _open(view, handle, caller)]
        tuned = [name for name in view.pointers if is_tuned(name) and _open(view, name, caller)]
        return plain + versions + [self._builder.unbuilt(view.pointers[name], "tuned") for name in tuned]

    def resolve(self, name: str, caller: Caller) -> Served:
        """What answers under a name.

        Raises:
            NotFoundError: nothing does that the caller may see; the message lists what it may.
            RefusedError: the task is retired, or the name's shutdown date is over.
        """
        view = self._view
        served = None
        if _open(view, name, caller):
            built = view.built.get(name)
            served = built.served if built else self._bind_late(name, view)
        if served is None:
            raise _not_there(view, name, caller)
        if served.route.shutdown_date and _today() > served.route.shutdown_date:
            raise RefusedError(
                f"'{name}' was shut down after {served.route.shutdown_date}. GET /v1/models lists what answers.",
                code="shut_down",
            )
        return served

    def _bind_late(self, handle: str, view: View) -> Served | None:
        """A version that nobody has asked for yet: loaded at its first question, then kept."""
        pointer = view.pointers.get(handle)
        if pointer is None and is_tuned(handle):
            # Its job has just told its name, and its owner asks at once.
            pointer = self._shop.store.ledger.resolve(handle)
        if pointer is None or not pointer.digest:
            return None
        if view.recalled(pointer.digest):
            raise recalled(handle, "", view.pointers[name_of(pointer.digest)].digest)
        key = (handle, pointer.digest, pointer.decision)
        if key not in self._late:
            tuned = is_tuned(handle)
            bound = self._builder.tuned(pointer, view) if tuned else self._builder.handle(handle, view)
            if bound is None:
                return None
            self._late[key] = bound
        return None if view.retired(handle.partition("@")[0]) else self._late[key]

    def _listed(self, view: View, handle: str) -> Served:
        """A version as /v1/models tells it, without loading it."""
        pointer, task = view.pointers[handle], handle.partition("@")[0]
        built = view.built.get(task)
        if built is None:  # its task has versions and none is live: told by name alone
            return self._builder.unbuilt(pointer, task)
        return replace(built.served, name=handle, variant=pointer.digest, created=seconds_of(pointer.moved), fields={})


def _unreadable(name: str, error: ValidationError) -> StoreError:
    return StoreError(
        f"'{name}' is stored in a form that no longer fits: {error}. Declare it again.", code="spec_unreadable"
    )


def _open(view: View, name: str, caller: Caller) -> bool:
    """Whether the caller may see the name."""
    if not caller.sees(name):
        return False
    built = view.built.get(name) or view.built.get(name.partition("@")[0])
    if built is None:
        return not is_tuned(name) or owns(caller.tenant, name, EVERY_TENANT)
    upstream = view.upstreams.get(name)
    if upstream is not None and not built.record and not upstream.spec.exposed:
        return False
    tenants = built.served.route.tenants
    return not tenants or caller.tenant in (*tenants, EVERY_TENANT)


def _not_there(view: View, name: str, caller: Caller) -> SartorError:
    task = name.partition("@")[0]
    if caller.sees(name) and name in view.broken:
        return view.broken[name]
    if caller.sees(name) and view.retired(task):
        return retired(task, view)
    versions = [handle for handle in view.handles() if handle.partition("@")[0] == task]
    tuned = [known for known in view.pointers if is_tuned(known)] if is_tuned(name) else []
    known = [known for known in (*view.built, *versions, *tuned) if _open(view, known, caller)]
    return unknown("model", name, known, param="model", code="model_not_found")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()

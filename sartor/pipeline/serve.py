"""From ledger to answers: fleets over the store, and variants bound to the contract under which they answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from sartor.core.errors import RefusedError, StoreError, unknown
from sartor.core.predict import Floats, Wish
from sartor.core.records import Artifact, Dataset, Decision, Report, TaskRecord, Variant
from sartor.core.task import Task
from sartor.data.snapshot import labels_of
from sartor.evaluation.terms import Terms
from sartor.pipeline.asking_others import DeclaredUpstreams, KeptUpstreams
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.terms import terms_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import refuse_quarantined
from sartor.registry.variants import LIVE, PREVIOUS, PRIOR, RETIRED, is_retired, task_names, versions
from sartor.serving.batcher import Batcher
from sartor.serving.engine import Work
from sartor.serving.fleet import Answered, Fleet
from sartor.serving.pen import Pen
from sartor.serving.predictor import Answering, Deciding, Models, Stating, VariantPredictor
from sartor.store.ledger import Ledger, Pointer


class Asker(Models, Protocol):
    """Models, in this process or in another one."""

    async def ask(self, variant: str, text: str) -> Answered:
        """The answer to one question, batched with those of others."""
        ...

    def write(self, variant: str, text: str, wish: Wish | None = None) -> AsyncIterator[str | Answered]:
        """The answer to one question as it is written: pieces of text, then the whole."""
        ...

    async def embed(self, engine: str, base: str, texts: Sequence[str]) -> Floats:
        """(texts, d) embeddings of a base, by its digest."""
        ...


class LocalModels:
    """A fleet in this process, single questions gathered into batches."""

    def __init__(self, shop: Workshop) -> None:
        self._fleet = fleet_of(shop, None)
        self._batcher = Batcher(self._fleet.probabilities, load=self._fleet.load)
        self._pen = Pen(self._fleet.pieces)
        self._flows: dict[str, bool] = {}

    def probabilities(self, work: Work) -> list[Answered]:
        """One answer per (variant digest, text), in order; blocks."""
        return self._fleet.probabilities(work)

    async def ask(self, variant: str, text: str) -> Answered:
        """The answer to one question, batched with those of others."""
        return await self._batcher.ask(variant, text)

    async def write(self, variant: str, text: str, wish: Wish | None = None) -> AsyncIterator[str | Answered]:
        """The answer to one question as it is written; from engines that take whole batches it comes whole."""
        if variant not in self._flows:
            self._flows[variant] = await asyncio.to_thread(self._fleet.flows, variant)
        if wish is None and not self._flows[variant]:
            yield await self._batcher.ask(variant, text)
            return
        async with aclosing(self._pen.write(variant, text, wish)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    async def embed(self, engine: str, base: str, texts: Sequence[str]) -> Floats:
        """(texts, d) embeddings of a base, by its digest."""
        return await asyncio.to_thread(self._fleet.embed, engine, base, texts)


def fleet_of(shop: Workshop, cache: EmbeddingCache | None) -> Fleet:
    """A fleet over the store; with a cache, embeddings and upstreams' answers are looked up before they are made."""

    def folder_of(digest: str) -> Path:
        found = shop.store.ledger.get(digest)
        assert isinstance(found, Artifact)
        return shop.store.folder(found)

    return Fleet(
        lambda digest: variant_named(shop, digest),
        folder_of,
        threads=shop.threads,
        embed_cache=cache.embed if cache else None,
        upstreams=KeptUpstreams(shop) if cache else DeclaredUpstreams(shop),
    )


def variant_named(shop: Workshop, digest: str) -> Variant:
    """The variant with this digest.

    Raises:
        NotFoundError: there is no such record.
        StoreError: the record is something else.
    """
    found = shop.store.ledger.get(digest)
    if not isinstance(found, Variant):
        raise StoreError(f"'{digest[:12]}' is a {found.kind}, not a variant. Name a variant.", code="not_a_variant")
    return found


@dataclass(frozen=True)
class Bound:
    """A variant under a contract, ready to answer."""

    task: Task
    version: str
    """Its fixed handle, `task@v7`."""
    variant: str
    """Its digest."""
    labels: tuple[str, ...]
    predictor: VariantPredictor


class Handles:
    """Variants by handle: `task`, `task@live`, `task@previous`, `task@v7`. What is bound once is kept."""

    def __init__(self, shop: Workshop, models: Asker | None = None) -> None:
        self._shop = shop
        self.models = models or LocalModels(shop)
        self._bound: dict[tuple[str, str, str], Bound] = {}

    def resolve(self, name: str) -> Bound:
        """The variant behind a handle, loaded and proven to answer.

        Raises:
            NotFoundError: no such model; the known ones are listed.
            RefusedError: the task is retired.
        """
        ledger = self._shop.store.ledger
        task = name.partition("@")[0]
        if is_retired(ledger, task):
            stood = ledger.resolve(task + RETIRED)
            refuse_quarantined(ledger, stood.digest if stood else "", task)
            raise RefusedError(
                f"Task '{task}' is retired. Bring it back: sartor registry rollback {task}", code="retired"
            )
        pointer = ledger.resolve(name if "@" in name else f"{name}@live")
        if pointer is None:
            handles = [pointer.name for pointer in ledger.pointers(f"{task}@") if is_handle(pointer.name)]
            raise unknown("model", name, self.live() + handles, param="model", code="model_not_found")
        return self.bind(pointer)

    def bind(self, pointer: Pointer) -> Bound:
        """What stands at a pointer of a task, or of a fine-tuned model, under the contract of its decision."""
        contract = contract_of(self._shop, pointer.name.partition("@")[0], pointer.decision)
        key = self._key(pointer, contract)
        refuse_quarantined(self._shop.store.ledger, pointer.digest, pointer.name)
        if key not in self._bound:
            self._bound[key] = self._bind(pointer, Task.model_validate(contract.contract))
        return self._bound[key]

    def holds(self, pointer: Pointer) -> bool:
        """Whether binding it would load nothing."""
        contract = contract_of(self._shop, pointer.name.partition("@")[0], pointer.decision)
        return self._key(pointer, contract) in self._bound

    def _key(self, pointer: Pointer, contract: TaskRecord) -> tuple[str, str, str]:
        """What bears on how a variant answers: itself, the contract, and today's shares of labels."""
        prior = prior_of(self._shop.store.ledger, contract.name, pointer.digest)
        return pointer.digest, contract.digest, prior.digest if prior else ""

    def live(self) -> list[str]:
        """Tasks that answer now."""
        ledger = self._shop.store.ledger
        return [name for name in task_names(ledger) if ledger.resolve(name + LIVE)]

    def _bind(self, pointer: Pointer, task: Task) -> Bound:
        digest = pointer.digest
        variant = variant_named(self._shop, digest)
        # One answer before the first request: it loads everything, and what can't answer is not served.
        self.models.probabilities([(digest, "")])
        answering = answering_of(self._shop, task, variant)
        write = self.models.write if isinstance(answering, Stating) else None
        predictor = VariantPredictor(self.models, digest, answering, ask=self.models.ask, write=write)
        # A fine-tuned model need not stand in the stock of its task: then its own name is the fixed one.
        stock = versions(self._shop.store.ledger, task.name)
        numbered = next((v.name for v in stock if v.digest == digest), pointer.name)
        return Bound(task, numbered, digest, variant.labels, predictor)


def is_handle(name: str) -> bool:
    """Whether a pointer's name is a variant's: `triage@live`, `triage@previous`, `triage@v7`."""
    _, _, place = name.partition("@")
    return f"@{place}" in (LIVE, PREVIOUS) or (place.startswith("v") and place[1:].isdigit())


def contract_of(shop: Workshop, task: str, decision: str = "") -> TaskRecord:
    """The contract that a decision was taken under; for a mere version that of what is live, else the task's newest.

    Raises:
        NotFoundError: no such task was ever run.
    """
    ledger = shop.store.ledger
    live = ledger.resolve(task + LIVE)
    for digest in (decision, live.decision if live else ""):
        found = ledger.get(digest) if digest else None
        if isinstance(found, Decision) and found.contract:
            contract = ledger.get(found.contract)
            assert isinstance(contract, TaskRecord)
            return contract
    newest = ledger.find(TaskRecord, name=task, limit=1)
    if not newest:
        raise unknown("task", task, task_names(ledger), param="task", code="task_not_found")
    return newest[0]


def answering_of(shop: Workshop, task: Task, variant: Variant) -> Deciding:
    """What turns what a variant says into decisions under a contract."""
    dataset = shop.store.ledger.get(variant.data)
    assert isinstance(dataset, Dataset)
    escalate = task.value.escalate
    if escalate is not None and escalate.column is not None:
        rows = open_dataset(shop, dataset)
    else:  # no row bears on the terms, and a server that starts or follows a recall reads hundreds of data sets
        rows = labels_of(json.loads(shop.store.vault.read(dataset.files["labels.json"])))
    terms: Terms = terms_of(task, rows)
    if terms.written is not None:
        # Pieces can't be taken back: not by leaving out a value, and not by a fallback.
        streams = not task.answer.json_schema and task.fallback is None
        return Stating(terms.written.pricing, shop.second_price, streams)
    prior = prior_of(shop.store.ledger, task.name, variant.digest)
    odds = None
    if prior is not None:
        odds = np.array([float(prior.facts["odds"].get(label, 1.0)) for label in variant.labels])
    return Answering(variant.labels, terms.matrix, terms.target, shop.second_price, odds)


def prior_of(ledger: Ledger, task: str, variant: str) -> Report | None:
    """The stated shares of labels by which a variant's probabilities are reweighed (`pipeline.prior`)."""
    stands = ledger.resolve(task + PRIOR)
    found = ledger.get(stands.digest) if stands is not None and stands.digest else None
    return found if isinstance(found, Report) and found.subject == variant else None

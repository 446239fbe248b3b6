"""From ledger to answers: fleets over the store, and the routes that the gateway resolves."""

from dataclasses import dataclass
from pathlib import Path

from sartor.core.errors import RefusedError, StoreError, unknown
from sartor.core.records import Artifact, Dataset, Decision, TaskRecord, Variant
from sartor.core.task import Task
from sartor.evaluation.terms import Terms
from sartor.gateway.routes import Served
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.terms import terms_of
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, RETIRED, is_retired, versions
from sartor.serving.batcher import Batcher
from sartor.serving.fleet import Fleet
from sartor.serving.predictor import Answering, VariantPredictor


def fleet_of(shop: Workshop, cache: EmbeddingCache | None) -> Fleet:
    """A fleet over the store; with a cache, embeddings of frozen bases are looked up before they are computed."""

    def folder_of(digest: str) -> Path:
        found = shop.store.ledger.get(digest)
        assert isinstance(found, Artifact)
        return shop.store.folder(found)

    return Fleet(
        lambda digest: variant_named(shop, digest),
        folder_of,
        threads=shop.threads,
        embed_cache=cache.embed if cache else None,
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
    predictor: VariantPredictor


class LedgerRoutes:
    """Model names of the ledger's pointers. A moved pointer counts from the next request on."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._fleet = fleet_of(shop, None)
        self._batcher = Batcher(self._fleet.probabilities)
        self._bound: dict[tuple[str, str], Bound] = {}

    def names(self) -> list[Served]:
        """Everything that can be asked for: each task's live variant and its versions."""
        pointers = self._shop.store.ledger.pointers()
        standing = [p.name for p in pointers if not p.name.endswith(RETIRED) and self._answers(p.name)]
        live = [name.removesuffix(LIVE) for name in standing if name.endswith(LIVE)]
        return [self.resolve(name) for name in live + standing]

    def resolve(self, name: str) -> Served:
        """The variant behind `task`, `task@live`, `task@previous` or `task@v7`.

        Raises:
            NotFoundError: no such model; the known ones are listed.
            RefusedError: the task is retired.
        """
        ledger = self._shop.store.ledger
        task_name = name.partition("@")[0]
        handle = name if "@" in name else f"{name}@live"
        if is_retired(ledger, task_name):
            raise RefusedError(
                f"Task '{task_name}' is retired. Bring it back: sartor registry rollback {task_name}", code="retired"
            )
        pointer = ledger.resolve(handle)
        if pointer is None:
            known = [p.name.removesuffix(LIVE) for p in ledger.pointers() if self._answers(p.name)]
            raise unknown("model", name, known, param="model", code="model_not_found")
        contract = self._contract(task_name, pointer.decision)
        bound = self._bind(task_name, pointer.digest, contract)
        return Served(
            name=name, version=bound.version, variant=pointer.digest, task=bound.task, predictor=bound.predictor
        )

    def _answers(self, pointer: str) -> bool:
        return not is_retired(self._shop.store.ledger, pointer.partition("@")[0])

    def _contract(self, task: str, decision: str) -> str:
        """The contract that the pointer's decision was taken under; for a mere version the task's newest."""
        ledger = self._shop.store.ledger
        found = ledger.get(decision) if decision else None
        if isinstance(found, Decision):
            return found.contract
        live = ledger.resolve(f"{task}@live")
        if live is not None and isinstance(record := ledger.get(live.decision), Decision):
            return record.contract
        return ledger.find(TaskRecord, name=task, limit=1)[0].digest

    def _bind(self, task_name: str, digest: str, contract: str) -> Bound:
        if (digest, contract) not in self._bound:
            record = self._shop.store.ledger.get(contract)
            assert isinstance(record, TaskRecord)
            task = Task.model_validate(record.contract)
            variant = variant_named(self._shop, digest)
            # One answer before the first request: it loads everything, and what can't answer is not served.
            self._fleet.probabilities([(digest, "")])
            answering = answering_of(self._shop, task, variant)
            predictor = VariantPredictor(self._fleet, digest, answering, ask=self._batcher.ask)
            numbered = next(v.name for v in versions(self._shop.store.ledger, task_name) if v.digest == digest)
            self._bound[digest, contract] = Bound(task, numbered, predictor)
        return self._bound[digest, contract]


def answering_of(shop: Workshop, task: Task, variant: Variant) -> Answering:
    """What turns a variant's probabilities into decisions under a contract."""
    dataset = shop.store.ledger.get(variant.data)
    assert isinstance(dataset, Dataset)
    terms: Terms = terms_of(task, open_dataset(shop, dataset))
    return Answering(variant.labels, terms.matrix, terms.target, shop.second_price)

"""A person's rows leave the vault: clean data sets are made first, then the files that hold theirs are destroyed.

Records stay, so that the ledger, the audit and every signature stay whole: a record without its files says what was,
and the pointer beside it says why the files are gone.
"""

from collections.abc import Iterator

from sartor.core.errors import RefusedError
from sartor.core.records import Artifact, Base, Dataset, Variant
from sartor.core.task import Task
from sartor.pipeline.alteration import Alteration, altered, altered_rows
from sartor.pipeline.origins import MOST
from sartor.pipeline.recall_caches import destroy
from sartor.pipeline.recall_plan import Plan
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.workshop import Workshop
from sartor.registry.quarantine import ERASED
from sartor.registry.variants import LIVE
from sartor.store.ledger import Change


def made_clean(shop: Workshop, found: Plan) -> dict[str, str]:
    """Task -> digest of its data set without the person, for those that are made again; '' where nothing is left."""
    made: dict[str, str] = {}
    change = Alteration(without=found.what)
    for move in found.moves.tasks:
        taken = next(m.decision for m in reversed(shop.store.ledger.moves(move.task + LIVE)) if m.digest == move.from_)
        task = Task.model_validate(contract_of(shop, move.task, taken).contract)
        dataset = shop.store.ledger.get(variant_named(shop, move.from_).data)
        assert isinstance(dataset, Dataset)
        try:
            made[move.task] = altered_rows(shop, altered(task, change), dataset, change).digest
        except RefusedError:
            made[move.task] = ""
    return made


def destroy_rows(shop: Workshop, found: Plan, decision: str) -> int:
    """Destroy the files of everything that was made of the person's rows, but those that something clean has too."""
    goods = found.found.goods
    shared = set(_clean_files(shop, set(goods)))
    files = {file for artifact in goods.values() for file in artifact.files.values()} - shared
    ledger = shop.store.ledger
    # First the word that they are gone on purpose: whoever checks the store meanwhile finds nothing missing.
    fresh = [digest for digest in goods if ledger.resolve(ERASED + digest) is None]
    ledger.move_many([Change(ERASED + digest, decision, None) for digest in fresh], decision=decision)
    return destroy(shop, files)


def _clean_files(shop: Workshop, goods: set[str]) -> Iterator[str]:
    for kind in (Artifact, Base, Dataset, Variant):
        for found in shop.store.ledger.find(kind, limit=MOST):
            if found.digest not in goods:
                yield from found.files.values()

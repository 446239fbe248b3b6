"""Records as the chain would make them, small; shared by the registry's tests."""

from sartor.core.licence import Licence
from sartor.core.records import Base, Dataset, Decision, Metric, Report, TaskRecord, Variant
from sartor.store.opening import Store

LABELS = ("card", "money")


def base() -> Base:
    return Base(name="tiny", tier="small", engine="encoder", licence=Licence.of("Apache-2.0"), facts={"dimension": 8})


def dataset(task: str = "support") -> Dataset:
    return Dataset(name=f"{task}/data", task=task, labels=LABELS, counts={"train": 4}, licence=Licence.of("owned"))


def variant(seed: int = 0, task: str = "support", **changes: object) -> Variant:
    parents = {"base": base().digest, "data": dataset(task).digest}
    values: dict[str, object] = {
        "name": f"{task}/head",
        "task": task,
        "recipe": "head",
        "base": "tiny",
        "title": "head:tiny",
        "data": parents["data"],
        "engine": "encoder",
        "labels": LABELS,
        "params": {"size": "small"},
        "seed": seed,
        "parents": parents,
        "made_by": "training.recipes/head",
        "licence": Licence.of("Apache-2.0", "owned"),
    }
    return Variant.model_validate(values | changes)


def contract(task: str = "support") -> TaskRecord:
    return TaskRecord(name=task, contract={"name": task})


def report(subject: Variant, accuracy: float) -> Report:
    metric = Metric(value=accuracy, low=accuracy - 0.1, high=accuracy + 0.1, n=40)
    return Report(
        subject=subject.digest, task=subject.task, data=subject.data, split="test", metrics={"accuracy": metric}
    )


def decision(candidate: Variant, verb: str = "release", **changes: object) -> Decision:
    values: dict[str, object] = {
        "verb": verb,
        "task": candidate.task,
        "contract": contract(candidate.task).digest,
        "candidate": candidate.digest,
        "incumbent": "person",
        "verdict": "ship",
        "reasons": ("it saves money",),
    }
    return Decision.model_validate(values | changes)


def stocked(store: Store) -> Store:
    """The store with what all variants come from."""
    store.ledger.put_many([base(), dataset(), contract()])
    return store

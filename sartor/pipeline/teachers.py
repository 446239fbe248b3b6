"""Models that labelled rows: under which terms their answers stand, and whether a task may learn from them.

The terms of an upstream stand in its declaration (`licence`), those of a hosted model in the catalogue, those of a
variant are what it carries from all its parents. They become part of the data set's licence and of everything that is
made of it. Not legal advice: what a provider's terms say, a person has to read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.errors import AskError, NotFoundError, RefusedError, unknown
from sartor.core.licence import KNOWN, NO_TRAINING
from sartor.core.records import Dataset, UpstreamRecord, Variant
from sartor.core.task import Task
from sartor.data.reading import TERMS
from sartor.hub.catalogue_reading import entries
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import resolve

DIGEST = 64
"""Characters of a record's name."""


def terms_of(shop: Workshop, task: Task, teacher: str) -> tuple[str, ...]:
    """Licences of a teacher's answers.

    A teacher that only the rows name, and that is not declared here, counts as a hosted model.

    Raises:
        NotFoundError: the task file names a teacher that is not known; those that are get listed.
    """
    try:
        return known_terms(shop, teacher)
    except NotFoundError:
        if teacher in {pick.labelled_by for pick in task.data.sources}:
            raise
        return (TERMS,)


def known_terms(shop: Workshop, teacher: str) -> tuple[str, ...]:
    """Licences of the answers of an upstream, a hosted model of the catalogue, or a variant.

    Raises:
        NotFoundError: it is none of these.
    """
    from sartor.pipeline.declared import UPSTREAM, names

    pointer = shop.store.ledger.resolve(teacher + UPSTREAM)
    declared = shop.store.ledger.get(pointer.digest) if pointer and pointer.digest else None
    if isinstance(declared, UpstreamRecord):
        return (str(declared.spec.get("licence") or TERMS),)
    hosted = {entry.name: entry.licence for entry in entries() if entry.engine == "hosted"}
    if teacher in hosted:
        return (hosted[teacher],)
    variant = _variant(shop, teacher)
    if variant is None:
        raise unknown("teacher", teacher, [*names(shop, UPSTREAM), *hosted], param="labelled_by")
    return variant.licence.names


def teachers_of(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fact of a data set that says who taught, and under which terms; empty where nobody did."""
    taught = {name: list(terms) for source in sources for name, terms in source.get("terms", {}).items()}
    return {"teachers": dict(sorted(taught.items()))} if taught else {}


def refuse_forbidden(task: Task, dataset: Dataset) -> None:
    """Stop before anything is trained on answers whose terms forbid it.

    Raises:
        RefusedError: they do, and the task's policy does not name it.
    """
    if NO_TRAINING in task.gate.allow_licences:
        return
    for teacher, terms in dataset.facts.get("teachers", {}).items():
        for name in terms:
            if NO_TRAINING in KNOWN.get(name, frozenset()):
                raise RefusedError(
                    f"Training '{task.name}' was refused: '{teacher}' labelled rows of it, and the terms of its "
                    f"answers ({name}) forbid training on them. Leave these rows out; or, if your contract with the "
                    f"provider allows it, say so: gate: {{allow_licences: [{NO_TRAINING}]}}, or for an upstream of "
                    "your own, state its 'licence'.",
                    code="teacher_forbids",
                    param="gate.allow_licences",
                )


def _variant(shop: Workshop, name: str) -> Variant | None:
    """The variant with this digest or handle (`task@v7`), if it is one."""
    ledger = shop.store.ledger
    try:
        found = ledger.get(name if len(name) == DIGEST else resolve(ledger, name).digest)
    except AskError:
        return None
    return found if isinstance(found, Variant) else None

"""Inspect subjects on the rows of a split: variants and incumbents alike, every one a set of answers."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.errors import AskError
from sartor.core.licence import Licence
from sartor.core.predict import Predictor, Usage
from sartor.core.records import Dataset, Record, Report, Variant
from sartor.core.relabel import transfer
from sartor.core.rows import Snapshot
from sartor.core.task import Incumbent, Task
from sartor.data.kind import kind_of
from sartor.economics.prices import estimate_tokens, price_of
from sartor.evaluation.answers import Answers, collect
from sartor.evaluation.carry import carry
from sartor.evaluation.inspect import inspect
from sartor.evaluation.measure import METRICS
from sartor.evaluation.terms import Terms
from sartor.pipeline.answer import answer, read_answers, requests_of
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.memo import Step, once
from sartor.pipeline.terms import judged_by, terms_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.incumbents import Person, Recorded, Rule


@dataclass(frozen=True)
class Hall:
    """Where subjects of one task are inspected: the contract, the rows, the terms."""

    shop: Workshop
    cache: EmbeddingCache
    task: Task
    contract: str
    """Digest of the TaskRecord."""
    dataset: Dataset
    snapshot: Snapshot
    terms: Terms


@dataclass(frozen=True)
class Subject:
    """A subject with its answers on one split."""

    title: str
    name: str
    """Digest of the variant, or the name of an incumbent."""
    answers: Answers
    """As they were given; `redecide` puts them under the terms."""
    measured: Mapping[str, Any]
    """latency_ms, latency_p95_ms, unit_cost: empty for what was not run here."""


def hall(
    shop: Workshop, cache: EmbeddingCache, task: Task, contract: str, dataset: Dataset, snapshot: Snapshot
) -> Hall:
    """The place to inspect a task's subjects."""
    return Hall(shop, cache, task, contract, dataset, snapshot, terms_of(task, snapshot))


def variant_subject(place: Hall, variant: Variant, split: str) -> Subject:
    """A variant's answers on a split, asked once and kept."""
    kept = answer(place.shop, place.cache, variant, place.dataset, place.snapshot, split, place.task.data.slices)
    return Subject(variant.title, variant.digest, read_answers(place.shop, kept), kept.measured)


def incumbent_subject(place: Hall, split: str, *, besides: str = "") -> Subject:
    """What answers today, on a split: recorded answers, the live variant, a rule, or a person at the declared price.

    Args:
        besides: digest of a variant that can't be its own incumbent.
    """
    wanted = place.task.incumbent
    live = live_variant(place) if wanted.kind == "live" else None
    if live is not None and live.digest != besides:
        subject = live_subject(place, live, split)
        return replace(subject, title=f"live: {live.title}")
    name, predictor = _standing_in(place, wanted)
    rows = place.snapshot.splits[split]
    predictions = asyncio.run(predictor.predict(requests_of(rows)))
    answers = collect(rows, place.snapshot.labels, predictions, place.task.data.slices)
    return Subject(name, name, answers, {})


def live_subject(place: Hall, variant: Variant, split: str) -> Subject:
    """A variant's answers on a split, held to what became of the labels that it was made for."""
    subject = variant_subject(place, variant, split)
    return replace(subject, answers=_in_todays_labels(place, variant, subject.answers, split))


def live_variant(place: Hall) -> Variant | None:
    """The live variant."""
    pointer = place.shop.store.ledger.resolve(f"{place.task.name}@live")
    if pointer is None:
        return None
    variant = place.shop.store.ledger.get(pointer.digest)
    assert isinstance(variant, Variant)
    return variant


def check_incumbent(place: Hall) -> None:
    """Say before anything is made what would stop the inspection of recorded answers: no column, no price.

    Raises:
        AskError: as `incumbent_subject`.
    """
    if place.task.incumbent.kind == "recorded":
        _standing_in(place, place.task.incumbent)


def _in_todays_labels(place: Hall, variant: Variant, answers: Answers, split: str) -> Answers:
    """A variant that was made for other labels is held to what became of them."""
    if variant.labels == place.snapshot.labels:
        return answers
    moves = transfer(variant.labels, place.snapshot.labels, place.task.relabel)
    return carry(answers, np.array(place.snapshot.targets(split), dtype=np.int32), moves)


def _standing_in(place: Hall, wanted: Incumbent) -> tuple[str, Predictor]:
    value, labels = place.task.value, place.snapshot.labels
    if wanted.kind == "recorded":
        if wanted.column is None:
            raise AskError(
                "A recorded incumbent needs the column of its answers: add 'incumbent.column'.", param="incumbent"
            )
        kind = kind_of(place.task)
        read = None if labels else partial(kind.truth, place.task)
        recorded = Recorded(wanted.column, labels, wanted.model or "", _price(place, wanted), read)
        return wanted.model or wanted.column, recorded
    if wanted.kind == "person" or (wanted.kind == "live" and value.escalate is not None):
        person = Person(value)
        assert value.escalate is not None
        return f"{value.escalate.to} answers everything", person
    counts = Counter(row.label for row in place.snapshot.splits["train"])
    label = wanted.label or max(counts, key=lambda name: (counts[name], str(name))) or (labels or ("",))[0]
    return f"always '{label[:40]}'", Rule(label)


def _price(place: Hall, wanted: Incumbent) -> float:
    """Money per recorded answer: as the task states it, else the model's list price for a text of mean length.

    Raises:
        AskError: only a list price in another currency is known; its figure is named.
    """
    if wanted.price is not None or wanted.model is None:
        return wanted.price or 0.0
    texts = [row.text for row in place.snapshot.splits["test"]]
    mean = sum(estimate_tokens(text) for text in texts) / max(len(texts), 1)
    price = price_of(wanted.model)
    answers = place.snapshot.labels or [row.label or "" for row in place.snapshot.splits["test"]] or [""]
    length = sum(estimate_tokens(answer) for answer in answers) / len(answers)
    each = price.cost(Usage(round(mean) + wanted.prompt_tokens, round(length)))
    if price.currency != place.task.value.currency:
        raise AskError(
            f"{wanted.model} costs about {each:.6f} {price.currency} an answer by its list price ({price.source}), and "
            f"the task counts in {place.task.value.currency}. State the price in that currency: incumbent.price.",
            param="incumbent.price",
            code="other_currency",
        )
    return each


def _licence(shop: Workshop, subject: Subject) -> Licence:
    """What bears on the subject: a variant's own, none for an incumbent that is not released here."""
    if len(subject.name) != 64:
        return Licence.of("owned")
    found = shop.store.ledger.get(subject.name)
    assert isinstance(found, Variant)
    return found.licence


def answers_behind(place: Hall, report: Report) -> Answers:
    """The answers that a report was made from, decided under the terms."""
    kept = Answers.from_parquet(place.shop.store.vault.read(report.files["answers.parquet"]))
    return place.terms.judging.redecide(kept)


def overhead_of(task: Task, measured: Mapping[str, Any]) -> float:
    """Money per request beside errors: serving at its measured cost, waiting at its declared price."""
    waiting = float(measured.get("latency_ms", 0.0)) / 1000.0 * task.value.latency
    return float(measured.get("unit_cost", 0.0)) + waiting


def inspect_subject(place: Hall, subject: Subject, split: str) -> Report:
    """The report of a subject on a split; found if the same answers were inspected under the same terms before."""
    shop, task, rows = place.shop, place.task, place.dataset.files[f"{split}.parquet"]
    kept = shop.store.vault.put_bytes(subject.answers.to_parquet())
    modules = ("sartor.evaluation.inspect", *judged_by(task), *(METRICS.take(name).module for name in METRICS))
    terms = {"value": task.value.model_dump(mode="json"), "confidence": task.gate.confidence, "title": subject.title}
    step = Step(
        "inspect",
        task.name,
        "evaluation",
        modules,
        {"answers": kept, "data": place.dataset.digest, "subject": subject.name},
        terms | {"split": split},
        task.seed,
    )

    def work(_: Path) -> dict[str, Record]:
        shop.progress(f"inspect {subject.title}: {split}", 0, 0)
        flagged = {name: place.dataset.facts.get(name, ()) for name in ("near_leaks", "label_in_text")}
        decided = place.terms.judging.redecide(subject.answers)
        found = inspect(decided, place.terms, flagged=flagged if split == "test" else None)
        return {
            "report": Report(
                subject=subject.name,
                title=subject.title,
                task=task.name,
                data=place.dataset.digest,
                split=split,
                rows=rows,
                metrics=found.metrics,
                slices=found.slices,
                files={"answers.parquet": kept},
                facts=found.facts | {"licence": _licence(shop, subject).model_dump(mode="json")},
                measured=dict(subject.measured),
            )
        }

    made = once(shop, step, work)["report"]
    assert isinstance(made, Report)
    return made

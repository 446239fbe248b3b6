"""The answers that a judge may look at: exchanges with what people and judges said of them, and validation rows."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.records import Dataset, Variant
from sartor.core.task import Task
from sartor.core.traffic import WITHDRAWS, Exchange, Feedback
from sartor.data.kind import kind_of
from sartor.feedback.judging import Case
from sartor.feedback.said import SAMPLE, SETTLES
from sartor.pipeline.answer import answer, read_answers
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.drift_views import input_of
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.terms import terms_of
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Filters

PAGE = 1000
MOST = 100_000
"""Exchanges that are looked at, the newest."""


@dataclass(slots=True)
class Known:
    """An answer that went out, and what was said of it."""

    id: str
    at: float
    tenant: str
    answer: str
    variant: str
    truth: bool | None = None
    """Whether people say that it was right."""
    told: float = 0.0
    """When they said so."""
    random: bool = False
    """They looked at it because it was drawn at random."""
    opinions: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """Judge -> when it gave its verdict, and which."""


def known_of(shop: Workshop, task: str, since: float = 0.0) -> list[Known]:
    """All answers of a task since a time, the oldest first."""
    index = shop.store.traffic.index
    index.catch_up()
    said: dict[tuple[str, str], list[Feedback]] = defaultdict(list)
    back: set[tuple[str, str]] = set()
    for item in index.all_feedback(None):
        if WITHDRAWS in item.tags:
            back.add((item.tenant, item.tags[WITHDRAWS]))
        for name in filter(None, (item.exchange, item.business and f"={item.business}")):
            said[item.tenant, name].append(item)
    found = []
    for row in _exchanges(shop, task, since):
        if row.label is None or row.endpoint not in ("chat", "completions"):
            continue
        told = said[row.tenant, row.id] + (said[row.tenant, f"={row.business}"] if row.business else [])
        found.append(_known(row, [item for item in told if (item.tenant, item.id) not in back]))
    return found[::-1]


def _exchanges(shop: Workshop, task: str, since: float) -> Iterator[Exchange]:
    after, count = "", 0
    while count < MOST:
        page = shop.store.traffic.index.exchanges(None, Filters(task=task, since=since), after=after, limit=PAGE)
        yield from page.rows
        after, count = page.after, count + len(page.rows)
        if not after:
            return


def _known(row: Exchange, told: Sequence[Feedback]) -> Known:
    known = Known(row.id, row.at, row.tenant, str(row.label), row.variant)
    settled = False
    for item in sorted(told, key=lambda f: (f.at, f.id)):
        if item.source == "judge" and item.metric == "correct" and item.source_id:
            known.opinions[item.source_id] = item.at, bool(item.value)
        elif item.source == "human" and item.metric in ("correct", "demonstration"):
            known.random |= item.tags.get(SAMPLE) == "random"
            if not settled:
                known.truth, known.told = (
                    item.value == (known.answer if item.metric == "demonstration" else True),
                    item.at,
                )
            settled |= bool(item.tags.get(SETTLES))
    return known


def case_of(shop: Workshop, task: Task, known: Known, labels: tuple[str, ...]) -> Case | None:
    """The answer as a judge sees it; None where its content was not kept."""
    request = input_of(shop, task, known.id)
    if request is None:
        return None
    return Case(known.id, request.text, known.answer, _offered(task, labels, known.answer), dict(request.inputs))


def row_cases(shop: Workshop, task: Task, variant: Variant) -> list[tuple[Case, bool]]:
    """The variant's answers on its validation rows, and whether each is right by the row's label."""
    dataset: Any = shop.store.ledger.get(variant.data)
    assert isinstance(dataset, Dataset)
    snapshot = open_dataset(shop, dataset)
    kept = answer(shop, EmbeddingCache(shop), variant, dataset, snapshot, "validation", task.data.slices)
    terms = terms_of(task, snapshot)
    answers = terms.judging.redecide(read_answers(shop, kept))
    rows = {row.id: row for row in snapshot.splits["validation"]}
    found = []
    for id_, said in zip(answers.ids.tolist(), terms.judging.texts(answers)[1].tolist(), strict=True):
        row, offered = rows[id_], _offered(task, variant.labels, said)
        case = Case(f"row:{id_}", row.text, said, offered, dict(row.inputs), dict(row.extra))
        found.append((case, terms.judging.same(row.label or "", said)))
    return found


def _offered(task: Task, labels: tuple[str, ...], said: str) -> tuple[str, ...]:
    """The labels, and the answer among them; none where answers are written."""
    if kind_of(task).written:
        return ()
    return labels if said in labels else (*labels, said)

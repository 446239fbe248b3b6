"""What the label of each entry of a pool is worth to a task, by its model, its costs and what it has learned.

The arithmetic is `evaluation.next_label`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.core.records import Base, Decision, Variant
from sartor.core.relabel import transfer
from sartor.core.rows import Hierarchy
from sartor.core.value import cost_matrix, target_costs
from sartor.evaluation.next_label import Picked, Short, Surroundings, doubted, pick, regret, short_of, surroundings
from sartor.pipeline.bases import embedder
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.label_pool import Desk, Entry
from sartor.pipeline.serve import answering_of, fleet_of
from sartor.pipeline.terms import terms_of
from sartor.serving.fleet import Answered

MOST_LEARNED = 3000
"""Rows that the model has learned from, of which account is taken; a sample where there are more."""
TFIDF_WORDS = 20_000
BATCH = 256
GUESSES = 9
"""Answers of the model's that are offered to choose from."""


@dataclass(frozen=True, eq=False)
class Worth:
    """A pool, weighed."""

    entries: Sequence[Entry]
    shares: Floats
    """(entries, labels) probabilities, in the order of the desk's labels; (entries, 0) where answers are written."""
    guesses: Sequence[Sequence[tuple[str, float]]]
    """(entries,) the model's likeliest answers, each with its chance; none where nothing was made yet."""
    lost: Floats
    """(entries,) money expected to be lost for not knowing, over the requests that each stands for."""
    around: Surroundings
    """Of the entries, then of rows that were learned from."""

    @property
    def requests(self) -> int:
        """How many requests the entries stand for."""
        return sum(entry.requests for entry in self.entries)

    def best(self, size: int, allowed: Sequence[bool]) -> Picked:
        """The entries whose labels are worth most together; money summed over all requests."""
        extra = len(self.around) - len(self.entries)
        labelled = np.array([not e.is_open() for e in self.entries] + [True] * extra)
        free = np.array([*allowed, *([False] * extra)], dtype=bool)
        return pick(self.around, np.append(self.lost, np.zeros(extra)), labelled, size, free)


def weigh(desk: Desk, entries: Sequence[Entry]) -> Worth:
    """What not knowing each entry costs, and what lies near what. There must be at least one."""
    shares, guesses, lost = _of_labels(desk, entries) if desk.labels else _of_written(desk, entries)
    counts = np.array([entry.requests for entry in entries], dtype=np.float64)
    learned = [row.text for row in desk.learned()]
    if len(learned) > MOST_LEARNED:
        drawn = np.random.default_rng(desk.task.seed).choice(len(learned), MOST_LEARNED, replace=False)
        learned = [learned[i] for i in np.sort(drawn)]
    around = surroundings(_vectors(desk, [*(entry.text for entry in entries), *learned]))
    return Worth(entries, shares, guesses, lost * counts, around)


_Guesses = list[list[tuple[str, float]]]


def _of_labels(desk: Desk, entries: Sequence[Entry]) -> tuple[Floats, _Guesses, Floats]:
    """Probabilities, the likeliest labels, and (entries,) money expected to be lost."""
    index = {label: i for i, label in enumerate(desk.labels)}
    shares = _shares(desk, [entry.text for entry in entries])
    barred = np.array([index.get(entry.barred, -1) for entry in entries])
    shares = doubted(shares, barred, np.array([entry.doubt for entry in entries]))
    matrix, target = _costs(desk)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :GUESSES] if desk.variant else np.zeros((len(shares), 0), int)
    guesses = [
        [(desk.labels[i], round(float(row[i]), 4)) for i in places]
        for row, places in zip(shares, best.tolist(), strict=True)
    ]
    return shares, guesses, regret(shares, matrix, target)


def _of_written(desk: Desk, entries: Sequence[Entry]) -> tuple[Floats, _Guesses, Floats]:
    """The same of answers that are written: a record's worth is what its decision is expected to lose.

    Where somebody has said that an answer is wrong, that is what it loses if it is not right in all.
    """
    none = np.zeros((len(entries), 0))
    if desk.variant is None or desk.dataset is None:
        return none, [[] for _ in entries], np.ones(len(entries))
    deciding = answering_of(desk.shop, desk.task, desk.variant)
    decided = deciding.decide(desk.variant.digest, _asked(desk, desk.variant, [entry.text for entry in entries]))
    sure = np.array([one.confidence or 0.0 for one in decided])
    lost = np.maximum(np.array([one.expected_cost or 0.0 for one in decided]), 0.0)
    most = terms_of(desk.task, open_dataset(desk.shop, desk.dataset)).judging.limits()[1]
    doubt = np.array([entry.doubt for entry in entries])
    wrong = np.minimum(lost / np.maximum(1.0 - sure, 1e-3), most)
    guesses = [[(one.output, round(one.confidence or 0.0, 4))] if one.output else [] for one in decided]
    return none, guesses, (1.0 - doubt) * lost + doubt * np.maximum(wrong, lost)


@dataclass(frozen=True)
class Wanted:
    """What the gate is waiting for."""

    rows: int
    """Labels that would settle its last verdict; 0 where it waits for none."""
    labels: tuple[Short, ...]
    """The labels that they should be of."""

    @property
    def says(self) -> str:
        """In words; '' where nothing is wanted."""
        if not self.rows:
            return ""
        named = ", ".join(f"{short.label} ({short.want}; there are {short.have})" for short in self.labels)
        return f"The gate needs {self.rows:,} more labels" + (f", above all of {named}." if named else ".")


def wanted(desk: Desk, worth: Worth | None) -> Wanted:
    """How many labels the last verdict on the task asked for, and of which labels.

    Args:
        worth: of the pool; None where it is empty, and no labels can be named.
    """
    newest = next(iter(desk.shop.store.ledger.find(Decision, task=desk.task.name, verb="release", limit=1)), None)
    rows = int(newest.measured.get("rows_needed") or 0) if newest and newest.verdict == "need_data" else 0
    if not rows or worth is None or not desk.labels:
        return Wanted(rows, ())
    index = {label: i for i, label in enumerate(desk.labels)}
    known = [index[row.label] for row in desk.learned() if row.label in index]
    counts = np.bincount(known, minlength=len(desk.labels)) if known else np.zeros(len(desk.labels), dtype=np.int64)
    return Wanted(rows, short_of(desk.labels, counts, worth.shares.argmax(axis=1), worth.lost, rows))


def _shares(desk: Desk, texts: Sequence[str]) -> Floats:
    """Probabilities under what answers now, carried to today's labels; even where nothing was made yet."""
    size = len(desk.labels)
    if desk.variant is None:
        return np.full((len(texts), size), 1.0 / size)
    found = [answered.probabilities for answered in _asked(desk, desk.variant, texts)]
    carried = np.stack(found) @ transfer(desk.variant.labels, desk.labels, desk.task.relabel)
    total = carried.sum(axis=1, keepdims=True)
    spread: Floats = np.where(total > 1e-12, carried / np.maximum(total, 1e-12), 1.0 / size)
    return spread


def _asked(desk: Desk, variant: Variant, texts: Sequence[str]) -> list[Answered]:
    """What answers now says of texts."""
    fleet = fleet_of(desk.shop, EmbeddingCache(desk.shop))
    found: list[Answered] = []
    for start in range(0, len(texts), BATCH):
        desk.shop.progress("weighing", start, len(texts))
        found += fleet.probabilities([(variant.digest, text) for text in texts[start : start + BATCH]])
    desk.shop.progress("weighing", len(texts), len(texts))
    return found


def _costs(desk: Desk) -> tuple[Floats, Floats | None]:
    """What mistakes cost under today's labels; what the contract says of labels that are gone is left out."""
    hierarchy = open_dataset(desk.shop, desk.dataset).hierarchy if desk.dataset else Hierarchy()
    known = {*desk.labels, "*"}
    value = desk.task.value.model_copy(
        update={"confusions": tuple(c for c in desk.task.value.confusions if {c.true, c.answer} <= known)}
    )
    if not set(desk.labels) <= set(hierarchy.parents):
        value, hierarchy = value.model_copy(update={"levels": {}}), Hierarchy()
    matrix = cost_matrix(value, desk.labels, hierarchy)
    return matrix, target_costs(value, matrix) if value.escalate else None


def _vectors(desk: Desk, texts: list[str]) -> Any:
    """Unit vectors: embeddings of the base under the model, through the cache; else words."""
    base = _base_of(desk, desk.variant) if desk.variant else None
    if base is not None:
        compute = embedder(desk.shop, base)
        return EmbeddingCache(desk.shop).embed(base.digest, texts, lambda missing: np.asarray(compute(missing)))
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=TFIDF_WORDS)
    try:
        return words.fit_transform(texts)
    except ValueError:  # not a word in any of them
        return np.eye(len(texts))


def _base_of(desk: Desk, variant: Variant) -> Base | None:
    """The base under a variant, or under a part of it."""
    for role in ("base", "first", "second"):
        if role not in variant.parents:
            continue
        found = desk.shop.store.ledger.get(variant.parents[role])
        if isinstance(found, Base):
            return found if found.engine in ("static", "encoder") else None
        if isinstance(found, Variant) and (below := _base_of(desk, found)):
            return below
    return None

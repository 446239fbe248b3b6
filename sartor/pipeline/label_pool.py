"""What people may be asked to label for a task: exchanges of its traffic, rows of its data set that wait for a word.

Requests with the same text are one entry that stands for all of them. Says what is known of each entry and who said
so; ranks nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sartor.core.canonical import sha256
from sartor.core.records import Artifact, Dataset, TaskRecord, Variant
from sartor.core.relabel import added, gone
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.core.traffic import Feedback
from sartor.data.relabel import SPLIT
from sartor.data.snapshot import read_json, read_quarantine
from sartor.feedback.said import SETTLES, Word
from sartor.pipeline.answerable import answerable
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest_reading import ROW, Spoken, read_content, said_of_rows, spoken
from sartor.pipeline.serve import contract_of, variant_named
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import LIVE, versions

MOST_ENTRIES, MOST_READ = 3000, 20_000
"""Texts that a sitting is chosen from, and exchanges that are read for them, the newest first."""
HOUSE = "default"
"""Whose traffic the labels of a data set's rows are kept in."""
POISON = "suspected poison"
"""Why a harvest leaves a row out whose label does not fit what others teach."""
WAITING = ("no label", "same text, different labels", "probable label error", SPLIT)
"""Why a row was taken out that a person's word can bring back."""
UNSURE = "unsure"
"""Tag of a word by which a person said that they can't tell."""
DOUBT: Mapping[str, float] = {"human": 1.0, "outcome": 0.9, "code": 0.9, "judge": 0.7}
"""How far each kind of source is believed when it says that an answer was wrong."""


@dataclass
class Entry:
    """A text that may be asked about, with all that was said of it."""

    item: str
    """Id of an exchange, or `row:ID`."""
    text: str
    tenant: str
    draw: float
    """A number in 0..1 that is its own for good: those below any bound are a random sample of all requests."""
    why: str = ""
    """Why somebody should look at it, where there is a reason beside its worth."""
    requests: int = 1
    """How many it stands for."""
    answered: str = ""
    """The label that was answered."""
    said: dict[str, str] = field(default_factory=dict)
    """Person -> label; not of whoever decided between others."""
    unsure: set[str] = field(default_factory=set)
    """People who could not tell."""
    settled: str = ""
    """The label on which a third has decided."""
    barred: str = ""
    """An answer that is said to be wrong."""
    doubt: float = 0.0
    """How far that is believed."""
    suspect: bool = False
    """Whether the newest harvest took its label for poison."""

    @property
    def label(self) -> str:
        """The label that people gave; '' where nobody did, or they disagree."""
        return self.settled or (next(iter(self.said.values())) if len(set(self.said.values())) == 1 else "")

    @property
    def disputed(self) -> bool:
        """Whether people disagree, and nobody has decided."""
        return not self.settled and len(set(self.said.values())) > 1

    def is_open(self) -> bool:
        """Whether nobody has given it a label."""
        return not self.said and not self.settled


@dataclass(frozen=True)
class Desk:
    """A task as those see it who label: contract, labels, the model that answers now."""

    shop: Workshop
    task: Task
    tenant: str | None
    """Whose traffic is seen; None: everybody's."""
    variant: Variant | None
    """What is live, else the newest version; None where nothing was made yet."""
    dataset: Dataset | None
    """What it learned from, else the task's newest."""

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels that may be given, sorted."""
        own = self.variant.labels if self.variant else self.dataset.labels if self.dataset else ()
        return tuple(sorted(({*self.task.labels, *own} | added(self.task.relabel)) - gone(self.task.relabel)))

    @cached_property
    def may(self) -> Sequence[str]:
        """The answers that may be given."""
        return answerable(self.task, self.labels)

    @cached_property
    def waiting(self) -> Mapping[str, dict[str, str]]:
        """Rows of the data set that wait for a person's word, by id: text, label, reason, detail."""
        if self.dataset is None or self.tenant not in (None, HOUSE):
            return {}
        rows = read_quarantine(self.shop.store.folder(self.dataset))
        return {row["id"]: row for row in rows if row["reason"] in WAITING and (row["split"] or "train") != "test"}

    @cached_property
    def suspects(self) -> frozenset[str]:
        """Exchanges whose label the newest harvest took for poison."""
        newest = next(iter(self.shop.store.ledger.find(Artifact, name=f"{self.task.name}/harvest", limit=1)), None)
        if newest is None or "to_label.json" not in newest.files:
            return frozenset()
        listed = read_json(self.shop.store.folder(newest) / "to_label.json")["to_label"]
        return frozenset(str(one["exchange"]) for one in listed if one["why"] == POISON)

    def learned(self) -> Sequence[Row]:
        """The rows that the model has learned from."""
        return open_dataset(self.shop, self.dataset).splits["train"] if self.dataset else ()

    def entries(self) -> list[Entry]:
        """Everything that may be asked about, or was: the newest first, one for each text."""
        found: dict[tuple[str, str], Entry] = {}
        for entry in self._all():
            key = (entry.tenant, entry.text)
            if key in found:
                _join(found[key], entry)
            elif len(found) < MOST_ENTRIES:
                found[key] = entry
        return list(found.values())

    def _all(self) -> Iterator[Entry]:
        yield from self._rows()
        known = spoken(self.shop, self.task, self.may, tenant=self.tenant, until=None)
        said = _unsure_of(self.shop, self.tenant)
        for one in known[: -MOST_READ - 1 : -1]:
            read = read_content(self.shop, self.task, one.exchange)
            if read.state == "kept" and read.text.strip():
                entry = _of_exchange(self.task.name, one, read.text, said.get(one.exchange.id, set()))
                if entry.item in self.suspects:
                    entry.suspect, entry.why = True, POISON
                yield entry

    def _rows(self) -> Iterator[Entry]:
        if not self.waiting:
            return
        told = said_of_rows(self.shop, tenant=HOUSE, until=None)
        for ident, row in self.waiting.items():
            item = ROW + ident
            why = row["reason"] if not row["detail"] else f"{row['reason']} ({row['detail']})"
            entry = Entry(item, row["text"], HOUSE, draw_of(self.task.name, item), why)
            if row["label"]:
                entry.answered = row["label"] if row["label"] in self.may else ""
                entry.barred, entry.doubt = entry.answered, 0.5 if entry.answered else 0.0
            for word in told.get(ident, ()):
                if word.tags.get("task", self.task.name) == self.task.name:
                    self._hear(entry, word)
            yield entry

    def _hear(self, entry: Entry, word: Feedback) -> None:
        who = word.source_id or "somebody"
        if UNSURE in word.tags:
            entry.unsure.add(who)
        elif word.metric == "demonstration" and word.source == "human" and word.value in self.may:
            _say(entry, who, str(word.value), settles=bool(word.tags.get(SETTLES)))


def open_desk(shop: Workshop, task: str, tenant: str | None = None) -> Desk:
    """A task, ready to be labelled.

    Raises:
        NotFoundError: no such task was ever run.
    """
    record: TaskRecord = contract_of(shop, task)
    ledger = shop.store.ledger
    live = ledger.resolve(task + LIVE)
    made = versions(ledger, task)
    variant = variant_named(shop, live.digest if live else made[-1].digest) if live or made else None
    found = ledger.get(variant.data) if variant else next(iter(ledger.find(Dataset, task=task, limit=1)), None)
    dataset = found if isinstance(found, Dataset) else None
    return Desk(shop, Task.model_validate(record.contract), tenant, variant, dataset)


def draw_of(task: str, item: str) -> float:
    """The number by which an item is drawn (permanent random numbers, Ohlsson 1995)."""
    return int(sha256(f"{task}\n{item}".encode())[:13], 16) / 16**13


def _of_exchange(task: str, one: Spoken, text: str, unsure: set[str]) -> Entry:
    exchange = one.exchange
    entry = Entry(exchange.id, text, exchange.tenant, draw_of(task, exchange.id), answered=exchange.label or "")
    entry.unsure |= unsure
    for word in one.heard.words:
        if word.by == "human" and word.label and not word.weak:
            who = word.who.removeprefix("human:") or "somebody"
            _say(entry, who, word.label, settles=word.settles)
        elif (doubt := _doubt(word, entry.answered)) > entry.doubt:
            entry.barred, entry.doubt = entry.answered, doubt
            entry.why = f"{word.by} says that '{entry.answered}' is wrong"
    return entry


def _say(entry: Entry, who: str, label: str, *, settles: bool) -> None:
    if settles:
        entry.settled = label
    else:
        entry.said[who] = label


def _doubt(word: Word, answered: str) -> float:
    """How far a word bars the answer that was given."""
    if not answered or word.by not in DOUBT or word.weak:
        return 0.0
    against = word.bars == answered or (word.by != "human" and word.label not in ("", answered))
    return DOUBT[word.by] if against else 0.0


def _join(entry: Entry, other: Entry) -> None:
    """Let an entry stand for another request with the same text."""
    entry.requests += other.requests
    entry.said = other.said | entry.said
    entry.unsure |= other.unsure
    entry.suspect, entry.why = entry.suspect or other.suspect, entry.why or other.why
    entry.settled = entry.settled or other.settled
    if other.doubt > entry.doubt:
        entry.barred, entry.doubt, entry.why = other.barred, other.doubt, other.why
    if other.draw < entry.draw and other.item.startswith(ROW) == entry.item.startswith(ROW):
        entry.item, entry.draw = other.item, other.draw


def _unsure_of(shop: Workshop, tenant: str | None) -> Mapping[str, set[str]]:
    """Exchange -> people who could not tell."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for said in shop.store.traffic.index.all_feedback(tenant):
        if UNSURE in said.tags:
            found[said.exchange].add(said.source_id or "somebody")
    return found

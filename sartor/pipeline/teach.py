"""A teacher labels rows: an upstream, a variant made here, or answers that stand in a column. Every answer is kept.

What comes out is a file that the task names as one more source. Its rows say who labelled them, so that the teacher's
terms bear on the data set (see `pipeline.teachers`). Trains nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.canonical import canonical, digest
from sartor.core.errors import AskError, NotFoundError
from sartor.core.licence import KNOWN, NO_TRAINING
from sartor.core.rows import SPLITS, UNLABELLED, Row
from sartor.core.task import SourcePick, Task
from sartor.data.draft import USES
from sartor.data.kind import kind_of
from sartor.data.reading import read_sources
from sartor.data.split import split_rows
from sartor.data.text import key
from sartor.pipeline.asking_others import DeclaredUpstreams, declared
from sartor.pipeline.bookings import Booking, book
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.lessons import teacher as answers_of
from sartor.pipeline.serve import variant_named
from sartor.pipeline.teach_file import ASKED, NO_ANSWER, TaughtFile
from sartor.pipeline.teach_words import LONGEST, Lesson, Taught
from sartor.pipeline.teachers import known_terms
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import resolve

BATCH = 16
"""Texts that are asked about before their answers are kept and the budget is looked at."""
RECORDED = "recorded:"
LEAST_SHARE = 0.001
"""Probabilities below this are left out of a row's scores."""


@dataclass(frozen=True)
class Ask:
    """Who is asked, for what, and how far it may go."""

    by: str
    """An upstream, a variant (`task@v3`), or `recorded:COLUMN@MODEL`."""
    reasons: bool = False
    scores: bool = False
    limit: int = 1_000_000
    """Most texts that are asked about."""
    budget: float | None = None
    """Money at which it stops; what was asked by then is kept."""


@dataclass
class Told:
    """What a teacher was asked, and what it took."""

    task: str
    by: str
    terms: tuple[str, ...]
    """Licences of its answers."""
    forbidden: bool
    """They forbid to train on them."""
    out: str
    asked: int = 0
    answered: int = 0
    before: int = 0
    """Answers that were there already."""
    no_answer: dict[str, int] = field(default_factory=dict)
    """Why -> how often."""
    with_scores: int = 0
    with_reasons: int = 0
    cost: float = 0.0
    """Money, in the currency of the books; booked as labelling."""
    stopped: str = ""
    """Why it did not go on: `limit`, `budget`."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"terms": list(self.terms)}

    def count(self, taught: Taught) -> None:
        """One more reply."""
        self.asked += 1
        self.answered += taught.answer is not None
        self.with_scores += taught.sure is not None
        self.with_reasons += bool(taught.reason)
        if taught.answer is None:
            self.no_answer[taught.why] = self.no_answer.get(taught.why, 0) + 1


@dataclass(frozen=True)
class Reply:
    """What a teacher said of one text."""

    taught: Taught
    cost: float = 0.0
    scores: str = ""
    """JSON object of label and probability."""


@dataclass(frozen=True)
class Teacher:
    """Who answers."""

    name: str
    said_by: str
    """`giant`, or `own` for a variant made here."""
    identity: str
    """Changes when it becomes another one."""
    terms: tuple[str, ...]
    replies: Callable[[Lesson, Sequence[Row]], list[Reply]]
    column: str = ""
    """In which its answers stand, where they are on record."""

    def need(self, rows: Sequence[Row]) -> None:
        """Raise AskError where its answers should stand in a column that no row has."""
        if self.column and not any(self.column in row.extra for row in rows):
            there = sorted({name for row in rows for name in row.extra})
            raise AskError(
                f"No row has the column '{self.column}'. They have: {', '.join(there) or 'none'}.",
                code="missing_column",
                param="by",
            )


def teach(shop: Workshop, task: Task, base_dir: Path, rows: Path | None, out: Path, ask: Ask) -> Told:
    """Let a teacher label texts, into a file of rows.

    Args:
        rows: a file of texts; None: the task's sources with `split: unlabelled`.
        out: what is there is gone on with.

    Raises:
        NotFoundError: no such teacher, or no such file.
        AskError: there is nothing to label, or the labels are not known.
        UpstreamError: the teacher did not answer; what it answered before is kept.
    """
    texts = _texts(shop, task, base_dir, rows)
    teacher = open_teacher(shop, ask.by)
    teacher.need(texts)
    lesson = Lesson(task, labels_of(shop, task, base_dir), ask.reasons, ask.scores)
    file = TaughtFile(out)
    told = Told(task.name, teacher.name, teacher.terms, forbids(teacher.terms), str(out))
    waiting = [(name, row) for name, row in _named(lesson, teacher, texts) if name not in file.asked]
    told.before = len(texts) - len(waiting)
    try:
        for start in range(0, len(waiting), BATCH):
            left = ask.limit - told.asked
            over = ask.budget is not None and told.cost >= ask.budget
            if left <= 0 or over:
                told.stopped = "budget" if over else "limit"
                break
            batch = waiting[start : start + BATCH][:left]
            shop.progress(f"asking {teacher.name}", told.asked, min(len(waiting), ask.limit))
            replies = teacher.replies(lesson, [row for _, row in batch])
            file.add(_line(task, teacher, name, row, reply) for (name, row), reply in zip(batch, replies, strict=True))
            told.cost += sum(reply.cost for reply in replies)
            for reply in replies:
                told.count(reply.taught)
    finally:
        pay(shop, told)
    return told


def open_teacher(shop: Workshop, name: str) -> Teacher:
    """The teacher behind a name.

    Raises:
        NotFoundError: it is no upstream, variant, or model of the catalogue.
    """
    if name.startswith(RECORDED):
        column, _, model = name.removeprefix(RECORDED).partition("@")
        if not column or not model:
            raise AskError(
                f"'{name}' does not say whose answers these are: write 'recorded:COLUMN@MODEL', for example "
                "recorded:gpt4@gpt-4.",
                code="bad_teacher",
                param="by",
            )
        terms = known_terms(shop, model)
        return Teacher(model, "giant", name, terms, lambda lesson, rows: _read(lesson, rows, column), column)
    terms = known_terms(shop, name)
    try:
        upstream = declared(shop, name)
    except NotFoundError as missing:
        try:
            variant = variant_named(shop, resolve(shop.store.ledger, name).digest)
        except NotFoundError:
            raise missing from None  # a hosted model that is not declared can't be asked
        return _variant(shop, variant.digest, terms)
    others = DeclaredUpstreams(shop)

    def replies(lesson: Lesson, rows: Sequence[Row]) -> list[Reply]:
        sent = [row for row in rows if len(row.text) <= LONGEST]
        said = iter(others.ask(name, [lesson.ask(row.text) for row in sent]))
        found = []
        for row in rows:
            if len(row.text) > LONGEST:
                found.append(Reply(Taught(None, why="too long")))
                continue
            one = next(said)
            found.append(Reply(lesson.read(one.text, one.logprobs), one.cost))
        return found

    return Teacher(name, "giant", upstream.digest, terms, replies)


def labels_of(shop: Workshop, task: Task, base_dir: Path) -> tuple[str, ...]:
    """The labels of a task that has any: as it names them, else as its labelled rows have them.

    Raises:
        AskError: it names none, and no row is labelled.
    """
    kind = kind_of(task)
    if kind.written:
        return ()
    if task.labels:
        return task.labels
    train = labelled_rows(shop, task, base_dir)
    if not train:
        raise AskError(
            f"The labels of '{task.name}' are not known: no row has one yet. List them: labels: [a, b].",
            code="no_labels",
            param="labels",
        )
    return kind.labels(task, train)


def labelled_rows(shop: Workshop, task: Task, base_dir: Path) -> list[Row]:
    """The labelled rows that are to be learned from, as the next data set will divide them."""
    return divided(shop, task, base_dir)["train"]


def divided(shop: Workshop, task: Task, base_dir: Path) -> dict[str, list[Row]]:
    """All rows of the task's sources by split, the unlabelled ones too, before they are curated."""
    reading = read_sources(task, base_dir, shop.progress)
    free = [row for row in reading.rows if reading.given.get(row.id) == UNLABELLED]
    usable = [row for row in reading.rows if row.label is not None and row.text.strip()]
    split_of = split_rows(usable, reading.given, task.data.split, task.seed)
    return {split: [row for row in usable if split_of[row.id] == split] for split in SPLITS} | {UNLABELLED: free}


def pay(shop: Workshop, told: Told) -> None:
    """Book what it cost."""
    if told.cost > 0:
        note = f"{told.by}: {told.asked} rows taught"
        book(shop, Booking("labelling", task=told.task, money=told.cost, note=note))


def forbids(terms: Sequence[str]) -> bool:
    """Whether these terms forbid to train on what stands under them."""
    return any(NO_TRAINING in KNOWN.get(name, frozenset()) for name in terms)


def _texts(shop: Workshop, task: Task, base_dir: Path, rows: Path | None) -> list[Row]:
    """The texts to be labelled, each once."""
    if rows is None:
        picks = tuple(pick for pick in task.data.sources if pick.split == UNLABELLED)
        if not picks:
            raise AskError(
                f"There is nothing to label: '{task.name}' has no source with 'split: unlabelled'. Add one, or name a "
                "file of texts with --rows.",
                code="nothing_to_label",
                param="rows",
            )
    else:
        use = USES.get(rows.suffix.lower())
        if use is None:
            raise AskError(f"'{rows}' is none of {', '.join(sorted(USES))}.", code="unknown_format", param="rows")
        base_dir, picks = (
            Path(),
            (SourcePick.model_validate({"use": use, "path": str(rows.resolve()), "split": UNLABELLED}),),
        )
    found: dict[str, Row] = {}
    data = task.data.model_copy(update={"sources": picks})
    for row in read_sources(task.model_copy(update={"data": data}), base_dir, shop.progress).rows:
        if row.text.strip():
            found.setdefault(key(row.text), row)
    return list(found.values())


def _named(lesson: Lesson, teacher: Teacher, rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """Each row with the name of what is asked about it."""
    for row in rows:
        yield digest([teacher.identity, lesson.ask(row.text)])[:24], row


def _line(task: Task, teacher: Teacher, name: str, row: Row, reply: Reply) -> dict[str, Any]:
    """A row as it stands in the file."""
    taught = reply.taught
    line: dict[str, Any] = {**row.extra, **row.inputs}
    line |= {column: value for column, value in ((task.data.group, row.group), (task.data.time, row.time)) if column}
    line |= {task.data.label: taught.answer, "said_by": teacher.said_by, "by": teacher.name, ASKED: name}
    line |= {"sure": f"{taught.sure:.4f}"} if taught.sure is not None else {}
    line |= {task.data.scores or "scores": reply.scores} if reply.scores else {}
    line |= {task.data.rationale or "rationale": taught.reason} if taught.reason else {}
    return line | ({NO_ANSWER: taught.why} if taught.answer is None else {})


def _read(lesson: Lesson, rows: Sequence[Row], column: str) -> list[Reply]:
    """Recorded answers."""
    plain = Lesson(lesson.task, lesson.labels)
    return [Reply(plain.read(row.extra.get(column, ""))) for row in rows]


def _variant(shop: Workshop, variant: str, terms: tuple[str, ...]) -> Teacher:
    """A variant made here, with all its probabilities where it has them."""
    made = variant_named(shop, variant)
    answer, write = answers_of(shop, EmbeddingCache(shop), made)

    def replies(lesson: Lesson, rows: Sequence[Row]) -> list[Reply]:
        texts = [row.text for row in rows]
        if answer is None:
            assert write is not None
            return [Reply(lesson.read(said)) for said in write(texts)]
        return [_scored(made.labels, np.asarray(shares)) for shares in answer(texts)]

    return Teacher(variant, "own", variant, terms, replies)


def _scored(labels: Sequence[str], shares: Any) -> Reply:
    best = int(shares.argmax())
    scores = {label: round(float(p), 4) for label, p in zip(labels, shares, strict=True) if p >= LEAST_SHARE}
    return Reply(Taught(labels[best], sure=float(shares[best])), scores=canonical(scores).decode())

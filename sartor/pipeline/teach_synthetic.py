"""A teacher makes rows up: texts and all. What repeats a row, or comes near any standing test, is thrown away.

Of the rows that are learned from, made-up ones may be a share at most: models that learn from what models wrote drift
off the real thing (Shumailov et al. 2024, "AI models collapse when trained on recursively generated data"). They are
marked (`synthetic`), so that nothing is chosen or tested by them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sartor.core.canonical import digest, sha256
from sartor.core.errors import AskError
from sartor.core.records import Artifact
from sartor.core.rows import UNLABELLED, Row
from sartor.core.task import Task
from sartor.data.leaks import NEAR, SHINGLE
from sartor.data.near import NearIndex
from sartor.data.split import SYNTHETIC
from sartor.data.text import key
from sartor.pipeline.asking_others import DeclaredUpstreams, declared
from sartor.pipeline.standing import TEST, Marks, ever_marks, standing_rows
from sartor.pipeline.teach import Told, divided, forbids, labelled_rows, labels_of, pay
from sartor.pipeline.teach_file import ASKED, TaughtFile
from sartor.pipeline.teach_words import Lesson, ask_for_inputs, read_inputs
from sartor.pipeline.teachers import known_terms
from sartor.pipeline.workshop import Workshop

EACH = 10
"""Rows that are asked for at once."""
SHOWN = 5
"""Examples that the teacher is shown."""
FRUITLESS = 3
"""Requests for one answer in a row that gave nothing new: then the teacher has no more ideas."""


@dataclass
class MadeUp:
    """What a teacher made up, and what was thrown away."""

    told: Told
    wanted: int
    """Rows that were asked for, after the cap."""
    capped: bool
    """More were asked for than the share allows."""
    kept: int = 0
    thrown_away: dict[str, int] = field(default_factory=dict)
    """Why -> how many."""
    tests: list[str] = field(default_factory=list)
    """Tasks whose standing tests were looked at, beside the test rows of this one."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"told": self.told.body()}


@dataclass(frozen=True)
class Wish:
    """What is to be made up."""

    by: str
    """An upstream."""
    count: int
    share: float = 0.3
    """Of the rows that are learned from that may be made up."""
    budget: float | None = None
    seed: int = 0


def make_up(shop: Workshop, task: Task, base_dir: Path, out: Path, wish: Wish) -> MadeUp:
    """Let a teacher write rows, into a file; what is there is gone on with.

    Raises:
        NotFoundError: no such upstream.
        AskError: there are no rows beside which made-up ones could stand.
        UpstreamError: it did not answer; what it wrote before is kept.
    """
    declared(shop, wish.by)
    given = [row for row in labelled_rows(shop, task, base_dir) if not row.extra.get(SYNTHETIC)]
    if not given:
        raise AskError(
            f"'{task.name}' has no row that a person gave, beside which made-up ones could stand: at most "
            f"{wish.share:.0%} of what is learned from may be made up. Add rows first.",
            code="no_rows",
        )
    file = TaughtFile(out)
    most = int(wish.share / (1.0 - wish.share) * len(given))
    terms = known_terms(shop, wish.by)
    told = Told(task.name, wish.by, terms, forbids(terms), str(out), before=sum(SYNTHETIC in row for row in file.rows))
    made = MadeUp(told, min(wish.count, most), capped=wish.count > most)
    sieve = _Sieve.of(shop, task, base_dir, list(_texts(task, file)), made)
    lesson = Lesson(task, labels_of(shop, task, base_dir))
    try:
        _ask_on(shop, lesson, file, sieve, made, wish, given)
    finally:
        pay(shop, told)
    made.kept = sum(SYNTHETIC in row for row in file.rows)
    return made


def _ask_on(
    shop: Workshop, lesson: Lesson, file: TaughtFile, sieve: "_Sieve", made: MadeUp, wish: Wish, given: Sequence[Row]
) -> None:
    """Ask for each answer in turn, the ones with fewest rows first, until there is enough."""
    others, told = DeclaredUpstreams(shop), made.told
    have = Counter(row.label or "" for row in given) + Counter(str(row[lesson.task.data.label]) for row in file.rows)
    answers = list(lesson.labels) or [""]
    fruitless: Counter[str] = Counter()
    turn = len(file.rows)
    while (kept := sum(SYNTHETIC in row for row in file.rows)) < made.wanted:
        if wish.budget is not None and told.cost >= wish.budget:
            told.stopped = "budget"
            return
        open_ones = [answer for answer in answers if fruitless[answer] < FRUITLESS]
        if not open_ones:
            told.stopped = "nothing new"
            return
        answer = min(open_ones, key=lambda name: (have[name] if name else 0, fruitless[name], name))
        chat = _chat(lesson, given, answer, turn, wish)
        shop.progress(f"{told.by} makes rows up", kept, made.wanted)
        (reply,) = others.ask(told.by, [chat])
        turn += 1
        told.asked += 1
        told.cost += reply.cost
        written = read_inputs(lesson, reply.text, answer)
        may = sieve.passing([lesson.task.input.render(inputs) for inputs, _ in written])
        fresh = [
            _line(lesson.task, told.by, inputs, label, digest([told.by, chat, place])[:24])
            for place, ((inputs, label), stays) in enumerate(zip(written, may, strict=True))
            if stays
        ][: made.wanted - kept]
        file.add(fresh)
        told.answered += len(fresh)
        have[answer] += len(fresh)
        fruitless[answer] = 0 if fresh else fruitless[answer] + 1


def _chat(lesson: Lesson, given: Sequence[Row], answer: str, turn: int, wish: Wish) -> dict[str, Any]:
    alike = [row for row in given if not answer or row.label == answer] or list(given)
    drawn = sorted(alike, key=lambda row: sha256(f"{wish.seed}:{turn}:{row.id}".encode()))[:SHOWN]
    return ask_for_inputs(lesson, answer, drawn, EACH, turn)


def _line(task: Task, by: str, inputs: dict[str, str], answer: str, name: str) -> dict[str, Any]:
    return {**inputs, task.data.label: answer, "said_by": "giant", "by": by, SYNTHETIC: "1", ASKED: name}


def _texts(task: Task, file: TaughtFile) -> Iterator[str]:
    for row in file.rows:
        yield task.input.render({c: str(row.get(c, "")) for c in task.input.columns})


class _Sieve:
    """Lets only texts pass that are new, and not near what stands in a test."""

    def __init__(self, known: Sequence[str], tests: Sequence[str], ever: Marks, made: MadeUp) -> None:
        self._tests, self._known = list(tests), list(known)
        self._keys = {key(text) for text in known}
        self._ever, self._made = ever, made

    @classmethod
    def of(cls, shop: Workshop, task: Task, base_dir: Path, written: Sequence[str], made: MadeUp) -> "_Sieve":
        """The sieve of a task: all its own rows, what was made up before, and every standing test there is."""
        rows = divided(shop, task, base_dir)
        known = [*written, *(row.text for split in ("train", "validation", UNLABELLED) for row in rows[split])]
        tests = [row.text for row in rows["test"]]
        ever = Marks(frozenset(), frozenset(), frozenset())
        for pointer in shop.store.ledger.pointers():
            version = shop.store.ledger.get(pointer.digest) if pointer.name.endswith(TEST) and pointer.digest else None
            if isinstance(version, Artifact):
                tests += [row.text for row in standing_rows(shop, version)]
                ever |= ever_marks(shop, version)
                made.tests.append(pointer.name.removesuffix(TEST))
        return cls(known, tests, ever, made)

    def passing(self, texts: Sequence[str]) -> list[bool]:
        """Which texts may stay; those that do are known from then on."""
        before = [*self._tests, *self._known]
        index = NearIndex([*before, *texts], threshold=NEAR, shingle=SHINGLE)
        for at in range(len(before)):
            index.add(at)
        found = []
        for at, text in enumerate(texts, start=len(before)):
            why = self._against(text, index.closest(at))
            if why:
                self._made.thrown_away[why] = self._made.thrown_away.get(why, 0) + 1
            else:
                index.add(at)
                self._known.append(text)
                self._keys.add(key(text))
            found.append(not why)
        return found

    def _against(self, text: str, near: tuple[float, int] | None) -> str:
        """Why a text may not stay; '' where it may."""
        if not text.strip():
            return "empty"
        if self._ever.know(Row("", text)):
            return "stands or stood in a standing test"
        if key(text) in self._keys:
            return "repeats a row"
        if near is None:
            return ""
        return "nearly a row of a test" if near[1] < len(self._tests) else "nearly repeats a row"

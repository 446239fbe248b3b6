"""What everybody said of one exchange, and whose word counts. Knows neither store nor texts: it reads words only.

A *word* either names the right label or bars one (`correct: false` bars the label that was answered). The most
trusted kind of source that names a label decides. Where words of the same kind contradict each other nobody decides:
that is a conflict until a person settles it (feedback with the tag `settles`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sartor.core.relabel import carried
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Exchange, Feedback
from sartor.core.wheel import Relabel, Said

SETTLES = "settles"
"""Tag of the feedback by which a person ends a conflict: any value but ''."""
SAMPLE = "sample"
"""Tag that says how a row came to be looked at; `random` marks a random audit, from which estimates are unbiased."""


@dataclass(frozen=True, slots=True)
class Word:
    """One statement about the right answer."""

    by: Said
    who: str
    """`human:alice`, `giant:gpt-4`, `outcome:refunds`; `human:` where the sender named nobody."""
    metric: str
    label: str = ""
    """The label that it names; '' where it bars one."""
    bars: str = ""
    at: float = 0.0
    weak: bool = False
    """An implicit outcome: something that tends to go with a right answer."""
    settles: bool = False
    random: bool = False
    """From a random audit."""
    sender: str = ""
    """Access key under which it came; '' where there was none."""

    @property
    def source(self) -> str:
        """Whom the shares count: the person or program, else the access key."""
        return self.who if not self.who.endswith(":") or not self.sender else f"{self.who}key-{self.sender}"


@dataclass(frozen=True)
class Heard:
    """All words of one exchange, and those that name no label of the task."""

    words: tuple[Word, ...]
    unknown: tuple[str, ...] = ()
    """Values that are no label of the task, as they were sent."""


@dataclass(frozen=True)
class Verdict:
    """What an exchange's right answer is taken to be."""

    label: str = ""
    """'' where nobody's word decides."""
    word: Word | None = None
    """The word that decided."""
    barred: tuple[str, ...] = ()
    """Labels that it is not."""
    conflict: tuple[Word, ...] = ()
    """Words that contradict each other; nothing is decided then."""


def hear(
    exchange: Exchange,
    feedback: Iterable[Feedback],
    labels: Collection[str],
    metrics: Mapping[str, FeedbackMetric],
    edits: Sequence[Relabel] = (),
) -> Heard:
    """Everything that was said of an exchange, the answers of those who were asked included.

    Args:
        labels: of the task; a value that is none of them is told, never learned.
        metrics: what the task declares.
        edits: of the labels; a word that names an old label counts for its one successor.
    """
    words: list[Word] = []
    unknown: list[str] = []
    for item in sorted(feedback, key=lambda f: (f.at, f.id)):
        for word in _said(exchange, item, metrics):
            now = _now(word, labels, edits)
            if now is not None:
                words.append(now)
            elif word.label:
                unknown.append(word.label)
    answers = (_now(word, labels, edits) for word in _answers(exchange))
    return Heard((*words, *(word for word in answers if word is not None)), tuple(unknown))


def _now(word: Word, labels: Collection[str], edits: Sequence[Relabel]) -> Word | None:
    """The word under today's labels; None where it names none of them."""
    named = word.label or word.bars
    if named in labels:
        return word
    if len(now := carried(named, edits)) == 1 and now[0] in labels:
        return replace(word, label=now[0]) if word.label else replace(word, bars=now[0])
    return None


def _said(exchange: Exchange, item: Feedback, metrics: Mapping[str, FeedbackMetric]) -> list[Word]:
    kind = metrics.get(item.metric)
    if item.metric == "demonstration" or (kind is not None and kind.type == "label"):
        return [_word(item, label=str(item.value))]
    answered = exchange.label or ""
    if not answered or not isinstance(item.value, bool):
        return []
    if item.metric == "correct":
        return [_word(item, label=answered) if item.value else _word(item, bars=answered)]
    if kind is not None and kind.type == "boolean" and item.value is (kind.better == "higher"):
        return [_word(item, label=answered, weak=True)]
    return []


def _word(item: Feedback, *, label: str = "", bars: str = "", weak: bool = False) -> Word:
    name = item.metric if weak else item.source_id
    return Word(
        by=item.source,
        who=f"{item.source}:{name}",
        metric=item.metric,
        label=label,
        bars=bars,
        at=item.at,
        weak=weak,
        settles=bool(item.tags.get(SETTLES)),
        random=item.tags.get(SAMPLE) == "random",
        sender=item.key,
    )


def _answers(exchange: Exchange) -> list[Word]:
    """The last answer of a giant, and the last of our own."""
    last: dict[Said, Word] = {}
    for hop in exchange.hops:
        if hop.label:
            by = _kind_of(hop.served_by, hop.kind)
            last[by] = Word(by, f"{by}:{hop.served_by}", "answer", label=hop.label, at=exchange.at)
    if not exchange.hops and exchange.label and exchange.variant:
        by = _kind_of(exchange.variant, "")
        last[by] = Word(by, f"{by}:{exchange.variant}", "answer", label=exchange.label, at=exchange.at)
    return [last[by] for by in sorted(last)]


def _kind_of(served_by: str, kind: str) -> Said:
    """A digest is one of our variants; a cached answer belongs to whoever gave it first."""
    ours = kind == "local" or (len(served_by) == 64 and all(c in "0123456789abcdef" for c in served_by))
    return "own" if ours else "giant"


def judge(words: Sequence[Word], trust: Sequence[Said]) -> Verdict:
    """Whose word counts: the most trusted kind that names a label which nobody more trusted has barred."""
    barred: set[str] = set()
    for by in trust:
        said = _standing([word for word in words if word.by == by])
        firm = [word for word in said if not word.weak]
        named = {word.label for word in firm if word.label}
        bars = {word.bars for word in firm if word.bars}
        if len(named) > 1 or named & bars:
            return Verdict(barred=tuple(sorted(barred)), conflict=tuple(firm))
        barred |= bars
        offered = [word for word in (firm if named else said) if word.label and word.label not in barred]
        if offered:
            return Verdict(offered[-1].label, offered[-1], tuple(sorted(barred)))
    return Verdict(barred=tuple(sorted(barred)))


def _standing(words: Sequence[Word]) -> list[Word]:
    """The words that still stand: one that settles ends all others; whoever has a name may change their mind."""
    settled = [word for word in words if word.settles and word.label]
    if settled:
        return settled[-1:]
    kept: list[Word] = []
    for word in reversed(words):
        later = [w for w in kept if w.who == word.who] if not word.who.endswith(":") else []
        if all(w.metric != word.metric and _agree(word, w) for w in later):
            kept.append(word)
    return kept[::-1]


def _agree(one: Word, other: Word) -> bool:
    if one.label and other.label:
        return one.label == other.label
    if one.bars and other.bars:
        return True
    return (one.label or other.label) != (one.bars or other.bars)

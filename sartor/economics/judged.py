"""How many answers were right and what the wrong ones cost, for each line of a view, and how that is known.

Known answers count as they were judged. The others are taken to be right as often as the known ones of the same
variant, if there are enough of them (sampled), else as often as the variant's report says (assumed). Feedback that
people give when they please is no random sample, and a variant behind a cascade gets the easier questions; both are
said, not corrected.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Exchange, Feedback
from sartor.core.value import ANY, Value
from sartor.economics.figure import Figure, How, figure, nothing_known, share, summed, z_of

ENOUGH = 30
"""Known answers of a variant from which on they speak for the others."""
SOURCES = ("judge", "code", "human", "outcome")
"""Where two disagree about one answer the later in this list wins; of the same source, the newer."""


@dataclass(frozen=True)
class Stake:
    """What a task's answers are worth."""

    value: Value
    metrics: Mapping[str, FeedbackMetric] = field(default_factory=dict)
    rate: float = 1.0
    """What one of the value function's currency is in the books' currency."""


@dataclass(frozen=True)
class Claim:
    """What a report says of a variant's share of right answers."""

    share: float
    low: float
    high: float
    note: str


@dataclass(slots=True)
class _Seen:
    """What is known of the answers that one variant gave to one task."""

    answers: int = 0
    known: int = 0
    right: int = 0
    lost: float = 0.0
    """Money, over the known ones."""
    squares: float = 0.0
    asked: int = 0
    """Requests that were handed to whoever the value function names."""


class Verdicts:
    """Feedback, found by the exchange that it is about."""

    def __init__(self, feedback: Iterable[Feedback]) -> None:
        self._by_exchange: dict[tuple[str, str], dict[str, Feedback]] = defaultdict(dict)
        self._by_business: dict[tuple[str, str], dict[str, Feedback]] = defaultdict(dict)
        for item in feedback:
            if item.exchange:
                _keep(self._by_exchange[item.tenant, item.exchange], item)
            elif item.business:
                _keep(self._by_business[item.tenant, item.business], item)

    def of(self, done: Exchange) -> Mapping[str, Feedback]:
        """Metric -> the feedback that counts."""
        found = dict(self._by_business.get((done.tenant, done.business), {})) if done.business else {}
        for item in self._by_exchange.get((done.tenant, done.id), {}).values():
            _keep(found, item)
        return found


class Judged:
    """Adds up what became of answers, by line."""

    def __init__(
        self,
        verdicts: Verdicts,
        stakes: Mapping[str, Stake],
        claims: Mapping[tuple[str, str], Claim],
        confidence: float = 0.9,
    ) -> None:
        """Args:
        stakes: task -> what its answers are worth.
        claims: (task, variant) -> what a report says of it.
        """
        self._verdicts, self._stakes, self._claims, self._confidence = verdicts, stakes, claims, confidence
        self._seen: dict[tuple[str, ...], dict[tuple[str, str], _Seen]] = defaultdict(lambda: defaultdict(_Seen))

    def exchange(self, key: tuple[str, ...], done: Exchange) -> None:
        """Take note of an answer that went into the line with this key."""
        if done.endpoint == "shadow" or done.status >= 400 or done.decision in ("refused", "failed"):
            return
        seen = self._seen[key][done.task, done.variant]
        if done.decision == "escalate":
            seen.asked += 1
            return
        seen.answers += 1
        found = self._verdicts.of(done)
        right = _right(found, done)
        if right is None:
            return
        stake = self._stakes.get(done.task)
        lost = _lost(found, done, stake, right=right) if stake else 0.0
        seen.known, seen.right = seen.known + 1, seen.right + right
        seen.lost, seen.squares = seen.lost + lost, seen.squares + lost * lost

    def correct(self, key: tuple[str, ...]) -> Figure:
        """How many answers of a line are right."""
        parts = [self._correct(*where, seen) for where, seen in self._seen[key].items() if seen.answers]
        return summed(parts) if parts else nothing_known("no answers")

    def lost(self, key: tuple[str, ...]) -> Figure:
        """Money that the answers of a line lost by the value function of their tasks (negative: earned)."""
        parts = [self._lost(*where, seen) for where, seen in self._seen[key].items()]
        return summed(parts) if parts else nothing_known("no answers")

    def _correct(self, task: str, variant: str, seen: _Seen) -> Figure:
        rest = seen.answers - seen.known
        if not rest:
            return Figure(seen.right, seen.right, seen.right, "measured", seen.known)
        if seen.known >= ENOUGH:
            low, high = share(seen.right, seen.known, self._confidence)
            middle, note = seen.right / seen.known, f"feedback on {seen.known:,} of {seen.answers:,} answers"
            ends = [seen.right + part * rest for part in (middle, low, high)]
            return figure(ends, "sampled", seen.known, note)
        claim = self._claims.get((task, variant))
        if claim is None:
            return nothing_known(_missing(task, variant, seen))
        ends = [seen.right + part * rest for part in (claim.share, claim.low, claim.high)]
        return figure(ends, "assumed", seen.known, claim.note)

    def _lost(self, task: str, variant: str, seen: _Seen) -> Figure:
        stake = self._stakes.get(task)
        if stake is None:
            return nothing_known(f"no value function for {task or 'requests without a task'}")
        value, rest = stake.value, seen.answers - seen.known
        asked = seen.asked * (value.escalate.price + value.escalate.error_rate * value.wrong if value.escalate else 0.0)
        fixed = seen.lost + asked
        if not rest:
            return _money(fixed, (0.0, 0.0, 0.0), stake, "measured", seen.known, "")
        if seen.known >= ENOUGH:
            mean = seen.lost / seen.known
            spread = max(seen.squares / seen.known - mean * mean, 0.0)
            half = z_of(self._confidence) * (spread / seen.known) ** 0.5
            note = f"feedback on {seen.known:,} of {seen.answers:,} answers"
            means = (mean * rest, (mean - half) * rest, (mean + half) * rest)
            return _money(fixed, means, stake, "sampled", seen.known, note)
        claim = self._claims.get((task, variant))
        if claim is None:
            return nothing_known(_missing(task, variant, seen))
        ends = [value.wrong + part * (value.right - value.wrong) for part in (claim.share, claim.high, claim.low)]
        means = (ends[0] * rest, min(ends) * rest, max(ends) * rest)
        return _money(fixed, means, stake, "assumed", seen.known, claim.note)


def per_1000_correct(total: int, correct: Figure, unit: int) -> Figure:
    """Money for 1,000 right answers, from a total in whole `unit`-ths."""
    if not correct.value or correct.low is None or correct.high is None:
        return nothing_known(correct.note or "no right answer")
    ends = [total * 1000 / unit / part if part else None for part in (correct.value, correct.high, correct.low)]
    if ends[2] is None:
        return nothing_known("it may be that no answer is right")
    low, high = sorted((ends[1] or 0.0, ends[2]))
    return Figure(ends[0], low, high, correct.how, correct.n, correct.note)


def _keep(kept: dict[str, Feedback], item: Feedback) -> None:
    before = kept.get(item.metric)
    if before is None or _rank(item) >= _rank(before):
        kept[item.metric] = item


def _rank(item: Feedback) -> tuple[int, float]:
    return SOURCES.index(item.source), item.at


def _right(found: Mapping[str, Feedback], done: Exchange) -> bool | None:
    if (said := found.get("demonstration")) is not None and done.label is not None:
        return bool(said.value == done.label)
    if (said := found.get("correct")) is not None:
        return bool(said.value)
    return None


def _lost(found: Mapping[str, Feedback], done: Exchange, stake: Stake, *, right: bool) -> float:
    value = stake.value
    lost = value.right if right else _mistake(found, done, value)
    for name, metric in stake.metrics.items():
        said = found.get(name)
        if said is None or metric.money is None or metric.type == "label":
            continue
        if metric.type == "boolean":
            lost += metric.money * (bool(said.value) != (metric.better == "higher"))
        else:
            lost += metric.money * float(said.value)
    return lost


def _mistake(found: Mapping[str, Feedback], done: Exchange, value: Value) -> float:
    """What a wrong answer cost: as its confusion is declared, where the right one is known."""
    said = found.get("demonstration")
    truth = str(said.value) if said is not None else None
    best, cost = -1, value.wrong
    for item in value.confusions:
        fits = (item.true in (truth, ANY), item.answer in (done.label, ANY))
        exact = (item.true == truth) + (item.answer == done.label)
        if truth is not None and all(fits) and exact > best:
            best, cost = exact, item.cost
    return cost


def _money(fixed: float, means: tuple[float, float, float], stake: Stake, how: How, n: int, note: str) -> Figure:
    ends = [(fixed + part) * stake.rate for part in means]
    return figure(ends, how, n, note)


def _missing(task: str, variant: str, seen: _Seen) -> str:
    who = variant[:12] or "what answered"
    about = f"'{task}'" if task else "requests without a task"
    return f"{seen.known} answers of {who} to {about} are judged, and no report says how often it is right"

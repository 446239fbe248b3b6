"""How often each source is right: measured where a more trusted word on the same exchange exists, shrunk where few do.

The estimate is the posterior mean of a beta prior (mean by kind of source, worth `STRENGTH` rows), its interval the
central one of the posterior; by label it is shrunk to the source's own share (empirical Bayes; Casella 1985). Where
enough rows come from a random audit, those alone are used: people look at what they doubt, so that other rows make
every source look worse than it is. Knows words only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from sartor.core.wheel import Said
from sartor.feedback.said import Verdict, Word

PRIOR: Mapping[Said, float] = {
    "human": 0.97, "outcome": 0.95, "code": 0.9, "judge": 0.8, "giant": 0.8, "own": 0.7,
}  # fmt: skip
"""How often a kind of source is taken to be right before anything is known of it."""
WEAK_PRIOR = 0.7
"""The same for implicit outcomes."""
STRENGTH = 10.0
"""Rows that a prior is worth."""
ENOUGH_RANDOM = 50
"""Rows of a random audit from which on they alone are used."""
REFERENCE: tuple[Said, ...] = ("human", "outcome")
"""Whose word others are measured on."""


@dataclass(frozen=True)
class Noise:
    """What one source is worth."""

    who: str
    accuracy: float
    """Chance that a label which it names is right, after shrinking."""
    low: float
    high: float
    """Central 95 % of the posterior."""
    n: int
    """Rows on which it could be compared."""
    right: float
    basis: str
    """`random`: rows of a random audit; `all`: all compared rows; `prior`: there were none."""
    heard: int = 0
    """Words that could be compared, those that only bar a label included."""
    informedness: float | None = None
    """Of verdicts (right or wrong): share of right answers called right plus of wrong called wrong, minus one."""
    by_label: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Label that it named -> how often compared, how often right."""
    confusions: tuple[tuple[str, str, int], ...] = ()
    """(named, right one, how often), the most frequent first, at most ten."""

    def sure(self, label: str) -> float:
        """Chance that this label, named by this source, is right."""
        n, right = self.by_label.get(label, (0, 0))
        return (right + STRENGTH * self.accuracy) / (n + STRENGTH)

    def body(self) -> dict[str, Any]:
        """As JSON, without the table by label."""
        shown = {name: getattr(self, name) for name in ("n", "heard", "basis", "informedness")}
        figures = {name: round(getattr(self, name), 6) for name in ("accuracy", "low", "high", "right")}
        return shown | figures | {"confusions": [list(item) for item in self.confusions]}


@dataclass(slots=True)
class _Tally:
    pairs: list[tuple[str, str, bool]] = field(default_factory=list)
    """(named, right one, from a random audit)."""
    verdicts: list[tuple[bool, bool]] = field(default_factory=list)
    """(called right, is right)."""
    heard: int = 0


def estimate(heard: Iterable[tuple[Sequence[Word], Verdict]]) -> dict[str, Noise]:
    """What every source is worth, by its name.

    Args:
        heard: of each exchange all words, and the verdict on it.
    """
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    kinds: dict[str, tuple[Said, bool]] = {}
    for words, verdict in heard:
        for word in words:
            kinds.setdefault(word.who, (word.by, word.weak))
        judge = verdict.word
        if judge is None or judge.by not in REFERENCE or judge.weak:
            continue
        for word in words:
            if word.who != judge.who and (word.by != "outcome" or word.weak or judge.by == "human"):
                _count(tallies[word.who], word, verdict.label, random=judge.random)
    return {who: _noise(who, kinds[who][0], tallies[who], weak=kinds[who][1]) for who in sorted(kinds)}


def _count(tally: _Tally, word: Word, truth: str, *, random: bool) -> None:
    tally.heard += 1
    if word.label:
        tally.pairs.append((word.label, truth, random))
    if word.metric == "correct":
        tally.verdicts.append((bool(word.label), (word.label or word.bars) == truth))


def _noise(who: str, by: Said, tally: _Tally, *, weak: bool) -> Noise:
    from scipy.stats import beta

    drawn = [pair for pair in tally.pairs if pair[2]]
    used = drawn if len(drawn) >= ENOUGH_RANDOM else tally.pairs
    n, right = len(used), float(sum(named == truth for named, truth, _ in used))
    if by == "human" and n:
        # Two people agree where both are right: the chance of one is the root of that of two (errors seldom coincide).
        right = n * sqrt(right / n)
    prior = WEAK_PRIOR if weak else PRIOR[by]
    a, b = right + STRENGTH * prior, n - right + STRENGTH * (1 - prior)
    low, high = (float(bound) for bound in beta.ppf((0.025, 0.975), a, b))
    wrong = Counter((named, truth) for named, truth, _ in used if named != truth)
    named_as = Counter(named for named, _, _ in used)
    hits = Counter(named for named, truth, _ in used if named == truth)
    return Noise(
        who=who,
        accuracy=a / (a + b),
        low=low,
        high=high,
        n=n,
        right=right,
        basis="prior" if not n else "random" if used is drawn else "all",
        heard=tally.heard,
        informedness=_informedness(tally.verdicts),
        by_label={label: (count, hits[label]) for label, count in sorted(named_as.items())},
        confusions=tuple(
            (named, truth, count) for (named, truth), count in sorted(wrong.items(), key=lambda i: (-i[1], i[0]))[:10]
        ),
    )


def _informedness(verdicts: Sequence[tuple[bool, bool]]) -> float | None:
    """Youden's J (1950); None where right or wrong answers are lacking."""
    on_right = [called for called, right in verdicts if right]
    on_wrong = [not called for called, right in verdicts if not right]
    if not on_right or not on_wrong:
        return None
    return sum(on_right) / len(on_right) + sum(on_wrong) / len(on_wrong) - 1

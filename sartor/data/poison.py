"""Signs that somebody poisons the rows: a phrase that turns any text into one label, or labels against all others'.

Every row is read by a model that has seen no row of its own voice (whoever gave its label): what one voice wants to
teach can't hide itself then. After Gao et al. (2019), "STRIP", the rows of a trigger are those whose text without it
reads like many other labels; single wrong labels are found by their chance under the calibrated model, with the share
of honest rows among those that are found estimated from the model's own chances (Efron 2008, local false discovery).
What looks the same as honest new knowledge can't be told from it here: that is for a person. Knows no store.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sartor.core.canonical import sha256
from sartor.core.progress import Progress, silent
from sartor.core.rows import Row
from sartor.data.text import key

if TYPE_CHECKING:
    from sartor.core.predict import Floats
    from sartor.core.value import Ints

FOLDS = 5
KNOWN = 5
"""Rows of a label that others must have given before it is judged: what nobody else knows can't be contradicted."""
DOUBT = 0.5
"""A row is read otherwise where its label has less than this much of the chance of the likeliest one."""
LEAST_ROWS = 5
"""Of a phrase with one label."""
OTHERWISE = 0.6
"""Share of them that must read otherwise."""
LIKE_MANY = 3.0
"""Labels (exponent of the entropy) that they must read like, fewer where there are few. A phrase of one label that is
now called another is what an honest correction looks like."""
SAME = 0.3
"""Share of the rows with the phrase that must have the label: a word that mostly goes with others turns nothing."""
LEVEL = 0.01
"""Chance of a false alarm over all phrases, or all sources, of one look."""
MOST_PHRASES = 20
WRONG = (0.01, 0.03, 0.1, 0.2)
"""Shares of wrong labels that are tried when chances are calibrated."""
TOKENS = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True, eq=False)
class Readings:
    """How rows read to a model that has seen no row of their voice. One entry a row; rows not judged have NaN."""

    chance: "Floats"
    """Of the given label, calibrated."""
    top: "Floats"
    """Of the likeliest label."""
    like: "Ints"
    """Index of the likeliest label."""
    spread: "Floats"
    """Chances of all labels of the judged rows, sorted, and summed up: what right labels would have."""

    @property
    def judged(self) -> "Ints":
        """Places of the rows that were judged."""
        return np.flatnonzero(~np.isnan(self.chance))

    @property
    def otherwise(self) -> "Floats":
        """1 where a row reads like another label, 0 where it does not or was not judged."""
        return np.nan_to_num(self.chance < DOUBT * self.top).astype(np.float64)

    def honest_share(self) -> "Floats":
        """For each row: of all rows with no more chance than it, the share that the model takes for right.

        A right label has the chance p in a share p of the cases: all chances below a bound, summed up, are the right
        rows to be expected there.
        """
        found = np.full(len(self.chance), 1.0)
        order = self.judged[np.argsort(self.chance[self.judged], kind="stable")]
        levels = np.sort(self.spread)
        sums = np.concatenate([[0.0], np.cumsum(levels)])
        expected = sums[np.searchsorted(levels, self.chance[order], side="right")]
        share = expected / np.arange(1, len(order) + 1)
        found[order] = np.minimum.accumulate(share[::-1])[::-1]
        return found


@dataclass(frozen=True)
class Trigger:
    """A phrase that makes rows of many kinds one label."""

    phrase: str
    label: str
    rows: tuple[int, ...]
    """Places."""
    otherwise: float
    """Share of them that reads like another label."""
    like: int
    """Labels that they read like."""


@dataclass(frozen=True)
class Contrary:
    """A voice whose labels contradict the others' far more often than theirs do."""

    voice: str
    rows: tuple[int, ...]
    """Places of the rows in doubt, or of all its rows where most are."""
    share: float
    expected: float
    """Share of rows in doubt, and what the others have on comparable rows."""


def read_apart(rows: Sequence[Row], voices: Sequence[str], progress: Progress = silent) -> Readings:
    """Read every row by a model of the other voices' rows; rows of the voice '' teach every model and aren't judged."""
    fold = _folds(voices)
    scores = _Scores(rows)
    parts = sorted({int(k) for k in fold if k >= 0})
    for done, k in enumerate(parts):
        progress("poison: voices", done, len(parts))
        scores.read(fold != k, fold == k)
    return scores.readings()


def read_by(rows: Sequence[Row], known: "Ints") -> Readings:
    """Read all other rows by a model of the known ones alone.

    Args:
        known: places of the rows that are taken for clean.
    """
    mask = np.zeros(len(rows), dtype=bool)
    mask[known] = True
    scores = _Scores(rows)
    scores.read(mask, ~mask)
    return scores.readings()


class _Scores:
    """Scores of rows by models that have not seen them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.labels = sorted({row.label or "" for row in rows})
        index = {label: i for i, label in enumerate(self.labels)}
        self.targets = np.array([index[row.label or ""] for row in rows], dtype=np.int64)
        self.scores: dict[int, Floats] = {}
        words = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(rows) > 200 else 1, dtype=np.float32,
            tokenizer=tokens, token_pattern=None, lowercase=False,
        )  # fmt: skip
        self.features = words.fit_transform([row.text for row in rows])  # counts of words alone: no label is looked at

    def read(self, teach: "Ints", judge: "Ints") -> None:
        """Score the rows under one mask by a model of those under another; labels that it hardly knows are left out."""
        from sklearn.linear_model import SGDClassifier

        counts = np.bincount(self.targets[teach], minlength=len(self.labels))
        known = counts >= KNOWN
        asked = np.flatnonzero(judge & known[self.targets])
        if known.sum() < 2 or not len(asked):
            return
        model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=15, tol=None, random_state=0)
        model.fit(self.features[teach], self.targets[teach])
        found = model.decision_function(self.features[asked])
        wide = np.full((len(asked), len(self.labels)), -30.0)
        wide[:, model.classes_] = np.stack([-found, found], axis=1) if found.ndim == 1 else found
        for place, row in enumerate(asked):
            self.scores[int(row)] = wide[place]

    def readings(self) -> Readings:
        """Everything that was read, calibrated together."""
        n = len(self.targets)
        chance, top, like = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, dtype=np.int64)
        at = np.array(sorted(self.scores), dtype=np.int64)
        if not len(at):
            return Readings(chance, top, like, np.zeros(0))
        chances = _calibrated(np.stack([self.scores[int(i)] for i in at]), self.targets[at])
        chance[at], top[at], like[at] = chances[np.arange(len(at)), self.targets[at]], chances.max(1), chances.argmax(1)
        return Readings(chance, top, like, chances.ravel())


def _calibrated(scores: "Floats", targets: "Ints") -> "Floats":
    """Softmax at the temperature under which the given labels are likeliest; the share of wrong ones is fitted too."""
    from scipy.optimize import minimize_scalar
    from scipy.special import softmax

    at = np.arange(len(targets))

    def loss(log_temperature: float, wrong: float) -> float:
        chances = softmax(scores / np.exp(log_temperature), axis=1)[at, targets]
        return -float(np.mean(np.log((1 - wrong) * chances + wrong / scores.shape[1])))

    fitted = [minimize_scalar(loss, bounds=(-4.0, 3.0), method="bounded", args=(wrong,)) for wrong in WRONG]
    best = min(fitted, key=lambda one: one.fun)
    found: Floats = softmax(scores / np.exp(best.x), axis=1)
    return found


def _folds(voices: Sequence[str]) -> "Ints":
    """Fold of each row, a voice never cut: the largest first, each to the fold with the fewest rows; -1 for ''."""
    counts = Counter(voice for voice in voices if voice)
    sizes = [0] * min(FOLDS, max(1, len(counts)))
    fold_of = {"": -1}
    for voice in sorted(counts, key=lambda name: (-counts[name], sha256(name.encode()))):
        k = sizes.index(min(sizes))
        fold_of[voice] = k
        sizes[k] += counts[voice]
    return np.array([fold_of[voice] for voice in voices], dtype=np.int64)


def tokens(text: str) -> list[str]:
    """Words, and runs of other signs, of the comparable form of a text."""
    return TOKENS.findall(key(text))


def phrases(text: str) -> set[tuple[str, ...]]:
    """Runs of one to three tokens."""
    found = tokens(text)
    return {tuple(found[i : i + n]) for n in (1, 2, 3) for i in range(len(found) - n + 1)}


def find_triggers(
    rows: Sequence[Row], readings: Readings, mine: Sequence[int], others: Sequence[int]
) -> Iterator[Trigger]:
    """Phrases of some rows that turn what reads like many labels into one, the clearest first.

    Args:
        mine: places of the rows that are looked at.
        others: places of the rows that they are held against.
    """
    judged = {int(at) for at in readings.judged}
    left = [at for at in mine if at in judged]
    having = _having(rows, left)
    usually = _doubted_by_label(rows, readings)
    texts = [f" {' '.join(tokens(rows[at].text))} " for at in others] if having else []
    labels = [rows[at].label or "" for at in others]

    def usual(pair: Pair, count: int) -> bool:
        """Whether the others say it as often: then it is no secret of these rows."""
        phrase = f" {' '.join(pair[0])} "
        return 2 * sum(label == pair[1] and phrase in text for text, label in zip(texts, labels, strict=True)) > count

    for _ in range(MOST_PHRASES):
        found = _clearest(readings, left, having, usually, usual)
        if found is None:
            return
        yield found
        gone = set(found.rows)
        left = [at for at in left if at not in gone]
        having = {pair: [at for at in places if at not in gone] for pair, places in having.items()}
        having = {pair: places for pair, places in having.items() if len(places) >= LEAST_ROWS}


Pair = tuple[tuple[str, ...], str]
"""Phrase and label."""


def _having(rows: Sequence[Row], places: Sequence[int]) -> dict[Pair, list[int]]:
    """Phrase and label -> the rows that have both, where they are enough to look at."""
    found: defaultdict[Pair, list[int]] = defaultdict(list)
    for at in places:
        for phrase in phrases(rows[at].text):
            found[phrase, rows[at].label or ""].append(at)
    spoken = Counter[tuple[str, ...]]()
    for (phrase, _), having in found.items():
        spoken[phrase] += len(having)
    return {p: having for p, having in found.items() if len(having) >= max(LEAST_ROWS, SAME * spoken[p[0]])}


def _doubted_by_label(rows: Sequence[Row], readings: Readings) -> dict[str, tuple[int, float]]:
    """Label -> how many judged rows have it, and how many of them read otherwise: some labels are hard to tell."""
    found: dict[str, tuple[int, float]] = {}
    otherwise = readings.otherwise
    for at in readings.judged:
        n, doubts = found.get(rows[at].label or "", (0, 0.0))
        found[rows[at].label or ""] = (n + 1, doubts + float(otherwise[at]))
    return found


def _clearest(
    readings: Readings,
    left: Sequence[int],
    having: Mapping[Pair, Sequence[int]],
    usually: Mapping[str, tuple[int, float]],
    usual: Callable[[Pair, int], bool],
) -> Trigger | None:
    from scipy.stats import binom

    otherwise = readings.otherwise
    many = max(1.9, min(LIKE_MANY, 0.65 * (len({label for _, label in having}) - 1)))
    total, doubted = len(left), float(otherwise[list(left)].sum())
    ranked: list[tuple[float, int, Pair]] = []
    for pair, places in having.items():
        doubts = float(otherwise[places].sum())
        if doubts < OTHERWISE * len(places):
            continue
        n, known = usually[pair[1]]
        of_label = (known - doubts + 0.5) / (n - len(places) + 1)
        base = max(0.02, of_label, (doubted - doubts) / max(1, total - len(places)))
        by_chance = float(binom.sf(doubts - 1, len(places), min(base, 1.0)))
        if by_chance * len(having) < LEVEL and _likes(readings, places, otherwise) >= many:
            ranked.append((by_chance, -len(pair[0]), pair))
    for _, _, pair in sorted(ranked):
        places = having[pair]
        if not usual(pair, len(places)):
            likes = len({int(readings.like[at]) for at in places if otherwise[at]})
            return Trigger(" ".join(pair[0]), pair[1], tuple(places), float(otherwise[places].mean()), likes)
    return None


def _likes(readings: Readings, places: Sequence[int], otherwise: "Floats") -> float:
    """How many labels the doubted of some rows read like: the exponent of the entropy."""
    counts = np.array(list(Counter(int(readings.like[at]) for at in places if otherwise[at]).values()), dtype=float)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def find_contrary(
    voices: Sequence[str], kinds: Sequence[str], readings: Readings, honest: float, without: Collection[int] = ()
) -> Iterator[Contrary]:
    """Voices whose rows are in doubt far more often than others' rows of the same kind.

    Args:
        kinds: what a row is compared with: only rows of its kind, such as other corrections. Whoever mends mistakes
            contradicts every model.
        honest: share of right rows that may be among those in doubt.
        without: places of rows that are out already.
    """
    from scipy.stats import binom

    doubt = readings.honest_share() <= honest
    judged = [int(at) for at in readings.judged if int(at) not in without]
    cells: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for at in judged:
        cells[voices[at], kinds[at]].append(at)
    totals = {kind: [at for at in judged if kinds[at] == kind] for kind in {kinds[at] for at in judged}}
    names = sorted({voice for voice, _ in cells if voice})
    for name in names:
        places: list[int] = []
        expected = 0.0
        for (voice, kind), mine in cells.items():
            rest = len(totals[kind]) - len(mine)
            if voice == name and rest >= 4 * LEAST_ROWS:
                others = float(doubt[totals[kind]].sum() - doubt[mine].sum())
                places += mine
                expected += len(mine) * (others + 0.5) / (rest + 1)
        count = int(doubt[places].sum()) if places else 0
        if count < LEAST_ROWS or count < 2 * expected:
            continue
        if binom.sf(count - 1, len(places), expected / len(places)) * len(names) < LEVEL:
            most = count * 2 > len(places)
            taken = [at for at in places if most or doubt[at]]
            yield Contrary(name, tuple(taken), count / len(places), expected / len(places))

"""What is watched of a text: how rare its letters are, how far it is from what was learnt, its length, where it lies.

Hashed words and letters (Weinberger et al. 2009, "Feature hashing for large scale multitask learning") weighed by
rarity; distances to the middle of each label; the main directions of the rows that were learnt from, which together
see what a maximum mean discrepancy with a linear kernel would (Gretton et al. 2012, "A kernel two-sample test"). All
is fitted on rows that were learnt from, never on what is compared. Knows no models; needs no base.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sartor.core.predict import Floats

FEATURES = 2**13
"""Of each kind: words, and runs of three letters."""
DIRECTIONS = 6
DISTANCE = 2
"""Column of the distance."""
MOST = 5000
"""Rows that are fitted on."""


@dataclass(frozen=True, eq=False)
class TextViews:
    """What the rows that were learnt from look like."""

    rarity: Floats
    """(features,) minus the logarithm of the share of rows that have each feature."""
    middles: Floats
    """(labels, features) unit vectors."""
    directions: Floats
    """(DIRECTIONS or fewer, features)."""
    usual: tuple[float, float] = (0.0, 1.0)
    """Mean and standard deviation of the distance of those rows themselves."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns that `of` gives."""
        return ("rare words", "rare letters", "distance", "length", *(f"direction {i + 1}" for i in range(self._kept)))

    @property
    def _kept(self) -> int:
        return len(self.directions)

    @classmethod
    def fit(cls, texts: Sequence[str], labels: Sequence[str], *, seed: int = 0) -> "TextViews":
        """Learn how ordinary rows look.

        Args:
            texts: at least one; of more than `MOST` some are drawn.
            labels: one a text.
        """
        from scipy.sparse import csr_matrix
        from scipy.sparse.linalg import svds

        random = np.random.default_rng(seed)
        chosen = np.sort(random.permutation(len(texts))[:MOST])
        counts = _features([texts[i] for i in chosen])
        present = np.asarray((counts > 0).mean(axis=0)).ravel()
        rarity = -np.log((present * len(chosen) + 0.5) / (len(chosen) + 1.0))
        unit = _unit(counts, rarity)
        kinds, number = np.unique([labels[i] for i in chosen], return_inverse=True)
        member = csr_matrix((np.ones(len(chosen)), (number, np.arange(len(chosen)))), (len(kinds), len(chosen)))
        middles = np.asarray((member @ unit).todense())
        middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-12)
        kept = max(0, min(DIRECTIONS, min(unit.shape) - 1, len(chosen) // 50))
        begin = random.standard_normal(min(unit.shape))
        directions = svds(unit, k=kept, v0=begin)[2][::-1] if kept else np.zeros((0, unit.shape[1]))
        found = cls(rarity, middles, directions)
        distance = found.of([texts[i] for i in chosen])[:, DISTANCE]
        return replace(found, usual=(float(distance.mean()), float(max(distance.std(), 1e-6))))

    def strangeness(self, views: Floats, out_of_scope: Floats, confidence: Floats) -> Floats:
        """(texts,) how unlike what was learnt each is, by all that tells it, in one number: it finds more than each.

        Args:
            views: (texts, names) from `of`.
            out_of_scope: (texts,) the variant's own score, standardised as variants have it.
            confidence: (texts,) of the variant's answers.
        """
        mean, spread = self.usual
        sure = np.clip(confidence, 1e-4, 1.0 - 1e-4)
        unsure = np.log1p(-sure) - np.log(sure)
        found: Floats = out_of_scope + (views[:, DISTANCE] - mean) / spread + unsure / 2.0
        return found

    def of(self, texts: Sequence[str]) -> Floats:
        """(texts, names) what is watched of each."""
        counts = _features(texts)
        unit = _unit(counts, self.rarity)
        rare = [_mean_rarity(counts[:, part], self.rarity[part]) for part in (slice(FEATURES), slice(FEATURES, None))]
        nearest = np.asarray((unit @ self.middles.T).max(axis=1)).ravel()
        length = np.log1p(np.array([len(text) for text in texts], dtype=np.float64))
        along = np.asarray(unit @ self.directions.T).reshape(len(texts), self._kept)
        return np.column_stack([*rare, 1.0 - nearest, length, along])


def _features(texts: Sequence[str]) -> Any:
    """(texts, 2 * FEATURES) sparse counts of words, then of runs of three letters."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    how: dict[str, Any] = {"n_features": FEATURES, "norm": None, "alternate_sign": False}
    words = HashingVectorizer(analyzer="word", **how | {"token_pattern": r"(?u)\b\w+\b"})
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), **how)
    return hstack([words.transform(texts), letters.transform(texts)]).tocsr()


def _unit(counts: Any, rarity: Floats) -> Any:
    weighted = counts.sign().multiply(rarity[None, :]).tocsr()
    size = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return weighted.multiply(1.0 / np.maximum(size, 1e-12)[:, None]).tocsr()


def _mean_rarity(counts: Any, rarity: Floats) -> Floats:
    present = counts.sign()
    found: Floats = (present @ rarity) / np.maximum(np.asarray(present.sum(axis=1)).ravel(), 1.0)
    return found

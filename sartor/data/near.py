"""Texts that are nearly the same: MinHash sketches find candidates, the exact Jaccard similarity decides.

Broder (1997), "On the resemblance and containment of documents"; bands as in Leskovec, Rajaraman and Ullman,
"Mining of massive datasets", chapter 3. Sketches and bands are rensa's. Knows nothing of rows.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sartor.data.text import key

PERMUTATIONS = 128
SKETCH_SEED = 42
"""Fixed, not the task's: whether two texts are near does not depend on a seed."""
CHUNK = 10_000
VERIFIED = 16
"""Candidates whose exact similarity is computed, the most similar sketches first."""
SLACK = 0.15
"""A sketch errs by at most 0.045 (standard error): a candidate that falls short by this is not looked at."""


@lru_cache(maxsize=65536)
def shingles(text: str, size: int) -> frozenset[str]:
    """The runs of `size` characters in the comparable form of a text; a shorter text is one shingle."""
    plain = key(text)
    return frozenset(plain[i : i + size] for i in range(max(1, len(plain) - size + 1)))


def jaccard(one: str, other: str, size: int) -> float:
    """Share of the shingles of two texts that both have, 0 to 1."""
    a, b = shingles(one, size), shingles(other, size)
    return len(a & b) / len(a | b)


def bands_for(threshold: float) -> int:
    """Number of bands with which a pair at the threshold is met with a chance of at least 99 %.

    With r rows in each of b bands, a pair of similarity s becomes a candidate with chance 1 - (1 - s^r)^b; fewer,
    longer bands give fewer false candidates.
    """
    for bands in (8, 16, 32):
        if 1 - (1 - threshold ** (PERMUTATIONS // bands)) ** bands >= 0.99:
            return bands
    return 64


class NearIndex:
    """Find, for one of many texts, the most similar among those added so far."""

    def __init__(self, texts: Sequence[str], *, threshold: float, shingle: int = 3) -> None:
        """Sketch all texts; none is added yet.

        Args:
            threshold: least Jaccard similarity, above 0 and at most 1.
            shingle: characters in a shingle.
        """
        from rensa import RMinHash, RMinHashLSH

        self.texts = texts
        self.threshold = threshold
        self.shingle = shingle
        self._sketches: list[RMinHash] = []
        for start in range(0, len(texts), CHUNK):
            # Sorted: the order of a set of strings differs from process to process.
            tokens = [sorted(shingles(text, shingle)) for text in texts[start : start + CHUNK]]
            self._sketches += RMinHash.from_token_sets(tokens, PERMUTATIONS, SKETCH_SEED)
        self._digests = np.array([s.digest() for s in self._sketches], dtype=np.uint32).reshape(-1, PERMUTATIONS)
        self._index = RMinHashLSH(threshold, PERMUTATIONS, bands_for(threshold))

    def add(self, at: int) -> None:
        """Make a text findable."""
        self._index.insert(at, self._sketches[at])

    def closest(self, at: int) -> tuple[float, int] | None:
        """Similarity and position of the added text most like this one; None if none reaches the threshold.

        Of equally similar ones the earliest.
        """
        found = np.array(self._index.query(self._sketches[at]), dtype=np.int64)
        agree = (self._digests[found] == self._digests[at]).mean(axis=1)
        close = (agree >= self.threshold - SLACK) & (found != at)
        found, agree = found[close], agree[close]
        if not len(found):
            return None
        likely = found[np.lexsort((found, -agree))[:VERIFIED]]
        scored = [(jaccard(self.texts[at], self.texts[c], self.shingle), -int(c)) for c in likely]
        similarity, other = max(scored)
        return (similarity, -other) if similarity >= self.threshold else None

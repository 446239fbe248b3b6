"""Worked examples of a prompt: always the same ones, or those nearest to the question.

Nearness is BM25 (Robertson and Zaragoza 2009, "The probabilistic relevance framework") over words: light, and the same
wherever the variant runs. Knows no models and no files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log
from typing import Annotated, Any

from pydantic import Field

from sartor.core.section import Section

WORD = re.compile(r"\w+")
K1, B = 1.2, 0.75
"""Of BM25: how soon more of the same word counts no more, and how much long texts are held back."""


class ExampleSet(Section):
    """Examples as they are kept beside a variant, in its `writing.json`."""

    examples: tuple[tuple[str, str], ...] = ()
    """(input, right answer)."""
    nearest: Annotated[int, Field(ge=0)] = 0
    """So many are shown, those that share the most telling words with the question; 0: all, in this order."""


class Examples:
    """A set of examples, ready to be shown."""

    def __init__(self, kept: ExampleSet) -> None:
        """Index the pool, where there is something to find in it."""
        self._kept = kept
        self._postings: dict[str, list[tuple[int, float]]] = {}
        if kept.nearest:
            self._index([asked for asked, _ in kept.examples])

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Examples":
        """Those of a `writing.json`."""
        return cls(ExampleSet.model_validate({k: told[k] for k in ("examples", "nearest") if k in told}))

    def pick(self, text: str) -> Sequence[tuple[str, str]]:
        """Examples for a question, the nearest last: what stands next to the question is heeded most."""
        pool, shots = self._kept.examples, self._kept.nearest
        if not shots:
            return pool
        scores = [0.0] * len(pool)
        for word in set(_words(text)):
            for row, weight in self._postings.get(word, ()):
                scores[row] += weight
        best = sorted(range(len(pool)), key=lambda row: (-scores[row], row))[:shots]
        return [pool[row] for row in reversed(best)]

    def _index(self, texts: Sequence[str]) -> None:
        counted = [Counter(_words(text)) for text in texts]
        mean = sum(counts.total() for counts in counted) / max(len(counted), 1) or 1.0
        stands = Counter(word for counts in counted for word in counts)
        for row, counts in enumerate(counted):
            length = 1 - B + B * counts.total() / mean
            for word, count in counts.items():
                rare = log(1 + (len(texts) - stands[word] + 0.5) / (stands[word] + 0.5))
                self._postings.setdefault(word, []).append((row, rare * count * (K1 + 1) / (count + K1 * length)))


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())

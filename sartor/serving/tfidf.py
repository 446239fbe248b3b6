"""TF-IDF of one text at a time, in microseconds, from the vocabulary that training wrote.

Gives what scikit-learn's `TfidfVectorizer` gives for the same vocabulary (Salton & Buckley 1988; smooth idf comes
in ready-made), without importing it. Knows no classifier and no files.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sartor.core.predict import Floats

Ints = npt.NDArray[np.integer]

TOKEN = re.compile(r"(?u)\b\w\w+\b")
WORDS_REMEMBERED = 100_000
"""Words whose character n-grams are kept: language repeats its words, and cutting them up is most of the work."""


class PartSpec(BaseModel):
    """One block of features, as `vectorizer.json` says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    analyzer: Literal["word", "char_wb"]
    ngram: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    sublinear: bool = True
    """1 + log(count) instead of the count."""
    min_df: float = 1
    """For the record; the vocabulary already obeys it."""
    lowercase: bool = True
    strip_accents: Literal["unicode", "ascii"] | None = None
    vocabulary: dict[str, int]
    """Term -> index inside this part."""


class VectorizerSpec(BaseModel):
    """The content of `vectorizer.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tfidf"]
    parts: Annotated[tuple[PartSpec, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Sparse:
    """The features of one text that are not zero."""

    places: Ints
    """(k,) feature indices over all parts."""
    values: Floats
    """(k,) float32 weights; each part has length 1, or 0 where no term is known."""


class Vectorizer:
    """Turns texts into sparse features. Safe to share between threads."""

    def __init__(self, spec: VectorizerSpec, idf: Floats) -> None:
        sizes = [len(part.vocabulary) for part in spec.parts]
        if sum(sizes) != len(idf):
            raise ValueError(f"vectorizer.json has {sum(sizes)} terms and linear.safetensors {len(idf)} idf weights")
        starts = np.cumsum([0, *sizes])
        self._parts = [
            _Part(part, int(start), idf[start : start + size])
            for part, start, size in zip(spec.parts, starts, sizes, strict=False)
        ]

    def __call__(self, text: str) -> Sparse:
        """The features of one text."""
        found = [part.features(text) for part in self._parts]
        if len(found) == 1:
            return Sparse(*found[0])
        return Sparse(np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]))


class _Part:
    """One block of features."""

    def __init__(self, spec: PartSpec, start: int, idf: Floats) -> None:
        self._spec = spec
        self._start = start
        self._idf = np.ascontiguousarray(idf, dtype=np.float32)
        self._word_terms: dict[str, tuple[int, ...]] = {}

    def features(self, text: str) -> tuple[Ints, Floats]:
        plain = _plain(text, self._spec)
        terms = self._of_words(plain) if self._spec.analyzer == "word" else self._of_characters(plain)
        counts = Counter(terms)
        places = np.fromiter(counts, dtype=np.int64, count=len(counts))
        values = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
        if self._spec.sublinear:
            np.log(values, out=values)
            values += 1.0
        values *= self._idf[places]
        length = float(np.dot(values, values)) ** 0.5
        if length > 0.0:
            values /= length
        places += self._start
        return places, values

    def _of_words(self, text: str) -> list[int]:
        tokens: list[str] = TOKEN.findall(text)
        low, high = self._spec.ngram
        terms = list(tokens) if low == 1 else []
        for size in range(max(low, 2), min(high, len(tokens)) + 1):
            terms += [" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
        known = self._spec.vocabulary
        return [known[term] for term in terms if term in known]

    def _of_characters(self, text: str) -> list[int]:
        remembered = self._word_terms
        terms: list[int] = []
        for word in text.split():
            cut = remembered.get(word)
            if cut is None:
                cut = self._cut(word)
                if len(remembered) < WORDS_REMEMBERED:
                    remembered[word] = cut
            terms += cut
        return terms

    def _cut(self, word: str) -> tuple[int, ...]:
        """Known n-grams of a word with a space at both ends; a word shorter than n counts once (as in scikit-learn)."""
        padded = f" {word} "
        low, high = self._spec.ngram
        grams: list[str] = []
        for size in range(low, high + 1):
            grams += [padded[i : i + size] for i in range(max(len(padded) - size, 0) + 1)]
            if len(padded) <= size:
                break
        known = self._spec.vocabulary
        return tuple(known[gram] for gram in grams if gram in known)


def _plain(text: str, spec: PartSpec) -> str:
    if spec.lowercase:
        text = text.lower()
    if spec.strip_accents is None or text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    if spec.strip_accents == "ascii":
        return apart.encode("ascii", "ignore").decode("ascii")
    return "".join(c for c in apart if not unicodedata.combining(c))

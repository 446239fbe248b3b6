"""TF-IDF of words and characters with a linear model. Needs numpy and safetensors.

The terms are scikit-learn's: its word pattern, its `char_wb` n-grams, sublinear counts, each block of length 1.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from sartor.pipeline.outside.answering import Floats, Scores
from sartor.pipeline.outside.asked import engine

WORD = re.compile(r"(?u)\b\w\w+\b")


def words(text: str, low: int, high: int) -> Iterator[str]:
    """Words and their neighbours, joined by a space."""
    found = WORD.findall(text)
    for size in range(low, high + 1):
        for start in range(len(found) - size + 1):
            yield " ".join(found[start : start + size])


def characters(text: str, low: int, high: int) -> Iterator[str]:
    """Pieces of each word with a space at both ends; a word shorter than the piece counts once."""
    for word in text.split():
        padded = f" {word} "
        for size in range(low, high + 1):
            for start in range(max(len(padded) - size, 0) + 1):
                yield padded[start : start + size]
            if len(padded) <= size:
                break


TERMS = {"word": words, "char_wb": characters}


@engine("linear")
class Linear:
    """The floor of every ladder."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Read `vectorizer.json` and `linear.safetensors`."""
        home = folder / said["folder"]
        self._parts = json.loads((home / "vectorizer.json").read_text(encoding="utf-8"))["parts"]
        tensors = {n: t.astype(np.float32) for n, t in load_file(home / "linear.safetensors").items()}
        self._idf, self._bias = tensors["idf"], tensors["bias"]
        self._weight = np.ascontiguousarray(tensors["weight"].T)

    def score(self, texts: Sequence[str]) -> Scores:
        """Scores of each text."""
        return Scores(np.stack([self._one(text) for text in texts]))

    def _one(self, text: str) -> Floats:
        found, begins = self._bias.copy(), 0
        for part in self._parts:
            plain, known = text.lower() if part["lowercase"] else text, part["vocabulary"]
            counts = Counter(known[t] for t in TERMS[part["analyzer"]](plain, *part["ngram"]) if t in known)
            places = np.array(list(counts), dtype=np.int64) + begins
            values = np.array(list(counts.values()), dtype=np.float32)
            weighed: Floats = (np.log(values) + 1 if part["sublinear"] else values) * self._idf[places]
            length = float(np.linalg.norm(weighed))
            found += weighed @ self._weight[places] / (length or 1.0)
            begins += len(known)
        return found

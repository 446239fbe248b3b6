"""Static token embeddings, averaged: a base in the model2vec layout with heads on it. Needs tokenizers, no torch.

A variant may bring vectors of its own for some tokens (`tokens.safetensors`); all others are the base's.

Gives what `model2vec.StaticModel.encode` gives (unknown tokens left out, mean, normalised), in fewer steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sartor.core.errors import AskError, StoreError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving import heads
from sartor.serving.engine import Embed, Engine, Scored, Work
from sartor.serving.files import read_arrays, read_json
from sartor.serving.tokens import Tokenizer

MAX_TOKENS = 512
OWN = "tokens.safetensors"
BATCH = 1024
"""Texts gathered at once: bounds the memory, which is tokens x d x 4 bytes."""


class Params(Settings):
    """Nothing to set."""


@dataclass(frozen=True)
class _Own:
    """Vectors that replace some of the base's."""

    index: npt.NDArray[np.int32]
    """(tokens of the base,) place among `vectors`, or -1."""
    vectors: Floats


class _Static:
    """The base: one vector a token."""

    def __init__(self, folder: Path) -> None:
        (vectors,) = read_arrays(folder, "model.safetensors", "embeddings")
        config = read_json(folder, "config.json")
        self._vectors = vectors.astype(np.float32)
        self._tokens = Tokenizer(folder, most=int(config.get("max_length") or MAX_TOKENS), special=False)
        self._unknown = self._tokens.unknown

    def own(self, folder: Path) -> "_Own":
        """A variant's own vectors, by token.

        Raises:
            StoreError: they are not of this base.
        """
        places, vectors = read_arrays(folder, OWN, "places", "vectors")
        size, width = self._vectors.shape
        if vectors.shape != (len(places), width) or (len(places) and int(places.max()) >= size):
            raise StoreError(
                f"The token vectors in {folder} {vectors.shape} are of another base: this one has {size:,} by {width}.",
                code="variant_damaged",
            )
        index = np.full(size, -1, dtype=np.int32)
        index[places] = np.arange(len(places))
        return _Own(index, vectors.astype(np.float32))

    def embed(self, texts: Sequence[str], own: "_Own | None" = None) -> Floats:
        out = np.zeros((len(texts), self._vectors.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            self._fill(texts[start : start + BATCH], out[start : start + BATCH], own)
        return out

    def _fill(self, texts: Sequence[str], out: Floats, own: "_Own | None") -> None:
        found = self._tokens(texts)
        if self._unknown is not None:
            found = [[t for t in ids if t != self._unknown] if self._unknown in ids else ids for ids in found]
        rows = [row for row, ids in enumerate(found) if ids]
        if not rows:
            return
        tokens = [t for row in rows for t in found[row]]
        starts = np.cumsum([0, *(len(found[row]) for row in rows[:-1])])
        # The length of a mean and of a sum differ, their direction does not; only the direction is kept.
        vectors = self._vectors[tokens]
        if own is not None:
            at = own.index[tokens]
            vectors[at >= 0] = own.vectors[at[at >= 0]]
        summed = np.add.reduceat(vectors, starts, axis=0)
        out[rows] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


class _Engine:
    def __init__(self, base: Path) -> None:
        self._base = _Static(base)
        self._heads: dict[str, heads.Head] = {}
        self._own: dict[str, _Own] = {}

    def add(self, key: str, folder: Path) -> None:
        head = heads.Head.read(folder)
        if (folder / OWN).is_file():
            self._own[key] = self._base.own(folder)
        self._heads[key] = head

    def drop(self, key: str) -> None:
        self._heads.pop(key, None)
        self._own.pop(key, None)

    def score(self, work: Work, *, embed: Embed | None = None) -> list[Scored]:
        if not self._own:
            vectors = (embed or self.embed)([text for _, text in work])
            return heads.score([self._heads[key] for key, _ in work], vectors)
        by_vectors: dict[str, list[int]] = {}
        for row, (key, _) in enumerate(work):
            by_vectors.setdefault(key if key in self._own else "", []).append(row)
        results: list[Scored | None] = [None] * len(work)
        for name, rows in by_vectors.items():
            texts = [work[row][1] for row in rows]
            seen = self._base.embed(texts, self._own[name]) if name else (embed or self.embed)(texts)
            found = heads.score([self._heads[work[row][0]] for row in rows], seen)
            for row, scored in zip(rows, found, strict=True):
                results[row] = scored
        return [result for result in results if result is not None]

    def embed(self, texts: Sequence[str]) -> Floats:
        return self._base.embed(texts)


@plugin
def static(base: Path | None, params: Params) -> Engine:  # noqa: ARG001 - the shelf's one signature
    """The engine of heads on the static embeddings in the folder `base`.

    Raises:
        AskError: no base is given.
    """
    if base is None:
        raise AskError("Static embeddings need the folder of their base.", param="base")
    return _Engine(base)

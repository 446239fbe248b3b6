"""Static token embeddings, averaged: a base in the model2vec layout with heads on it. Needs tokenizers, no torch.

Gives what `model2vec.StaticModel.encode` gives (unknown tokens left out, mean, normalised), in fewer steps.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving import heads
from sartor.serving.engine import Embed, Engine, Scored, Work
from sartor.serving.files import read_arrays, read_json
from sartor.serving.tokens import Tokenizer

MAX_TOKENS = 512
BATCH = 1024
"""Texts gathered at once: bounds the memory, which is tokens x d x 4 bytes."""


class Params(Settings):
    """Nothing to set."""


class _Static:
    """The base: one vector a token."""

    def __init__(self, folder: Path) -> None:
        (vectors,) = read_arrays(folder, "model.safetensors", "embeddings")
        config = read_json(folder, "config.json")
        self._vectors = vectors.astype(np.float32)
        self._tokens = Tokenizer(folder, most=int(config.get("max_length") or MAX_TOKENS), special=False)
        self._unknown = self._tokens.unknown

    def embed(self, texts: Sequence[str]) -> Floats:
        out = np.zeros((len(texts), self._vectors.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            self._fill(texts[start : start + BATCH], out[start : start + BATCH])
        return out

    def _fill(self, texts: Sequence[str], out: Floats) -> None:
        found = self._tokens(texts)
        if self._unknown is not None:
            found = [[t for t in ids if t != self._unknown] if self._unknown in ids else ids for ids in found]
        rows = [row for row, ids in enumerate(found) if ids]
        if not rows:
            return
        tokens = [t for row in rows for t in found[row]]
        starts = np.cumsum([0, *(len(found[row]) for row in rows[:-1])])
        # The length of a mean and of a sum differ, their direction does not; only the direction is kept.
        summed = np.add.reduceat(self._vectors[tokens], starts, axis=0)
        out[rows] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


class _Engine:
    def __init__(self, base: Path) -> None:
        self._base = _Static(base)
        self._heads: dict[str, heads.Head] = {}

    def add(self, key: str, folder: Path) -> None:
        self._heads[key] = heads.Head.read(folder)

    def drop(self, key: str) -> None:
        self._heads.pop(key, None)

    def score(self, work: Work, *, embed: Embed | None = None) -> list[Scored]:
        vectors = (embed or self.embed)([text for _, text in work])
        return heads.score([self._heads[key] for key, _ in work], vectors)

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

"""Linear models on TF-IDF: words and characters, no base. Needs numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from sartor.core.errors import AskError, StoreError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving.engine import Embed, Engine, Scored, Work
from sartor.serving.files import read_arrays, read_json
from sartor.serving.tfidf import Vectorizer, VectorizerSpec


class Params(Settings):
    """Nothing to set."""


@dataclass(frozen=True, slots=True)
class _Linear:
    vectorize: Vectorizer
    weight: Floats
    """(features, labels): a text touches a few hundred rows of it and nothing else."""
    bias: Floats

    @classmethod
    def read(cls, folder: Path) -> "_Linear":
        idf, weight, bias = read_arrays(folder, "linear.safetensors", "idf", "weight", "bias")
        try:
            spec = VectorizerSpec.model_validate(read_json(folder, "vectorizer.json"))
            if weight.shape != (len(bias), len(idf)):
                raise ValueError(f"weight {weight.shape} does not fit {len(bias)} labels and {len(idf)} features")
            vectorize = Vectorizer(spec, idf)
        except (ValidationError, ValueError) as error:
            raise StoreError(
                f"The linear variant in {folder} does not fit itself: {error}", code="variant_damaged"
            ) from error
        return cls(vectorize, np.ascontiguousarray(weight.T, dtype=np.float32), bias.astype(np.float32))

    def logits(self, text: str) -> Floats:
        row = self.vectorize(text)
        found: Floats = row.values @ self.weight.take(row.places, axis=0)
        return found + self.bias


class _Engine:
    def __init__(self) -> None:
        self._variants: dict[str, _Linear] = {}

    def add(self, key: str, folder: Path) -> None:
        self._variants[key] = _Linear.read(folder)

    def drop(self, key: str) -> None:
        self._variants.pop(key, None)

    def score(self, work: Work, *, embed: Embed | None = None) -> list[Scored]:  # noqa: ARG002 - has no embeddings
        return [Scored(self._variants[key].logits(text)) for key, text in work]

    def embed(self, texts: Sequence[str]) -> Floats:
        raise AskError(f"A linear model has no embeddings, so {len(texts)} texts cannot be embedded: name a base.")


@plugin
def linear(base: Path | None, params: Params) -> Engine:  # noqa: ARG001 - the shelf's one signature
    """The engine of linear models; `base` is not used."""
    return _Engine()

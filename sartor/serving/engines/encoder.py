"""Transformer encoders on the CPU: many heads on one frozen base, and variants that bring a tuned encoder along."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving import heads
from sartor.serving.engine import Embed, Engine, Scored, Work
from sartor.serving.trunk import Trunk


class Params(Settings):
    """How the encoder runs."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one pass; torch knows one number a process, so the last engine opened sets it."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 halves the time where the CPU has it and keeps cosines above 0.999, but training scores in float32."""


class _Engine:
    def __init__(self, base: Path | None, params: Params) -> None:
        self._folder = base
        self._params = params
        self._heads: dict[str, heads.Head] = {}
        self._own: dict[str, Trunk] = {}
        self._loading = Lock()

    @cached_property
    def _base(self) -> Trunk:
        """The frozen base, loaded when it is first needed: with cached embeddings it never is."""
        return self._open(self._needed())

    def _needed(self) -> Path:
        if self._folder is None:
            raise AskError("An encoder with heads or adapters needs the folder of its base.", param="base")
        return self._folder

    def add(self, key: str, folder: Path) -> None:
        head = heads.Head.read(folder)
        with self._loading:
            if (trunk := self._tuned(folder)) is not None:
                self._own[key] = trunk
            else:
                self._needed()
            self._heads[key] = head

    def drop(self, key: str) -> None:
        self._heads.pop(key, None)
        self._own.pop(key, None)

    def score(self, work: Work, *, embed: Embed | None = None) -> list[Scored]:
        by_trunk: dict[str, list[int]] = {}
        for row, (key, _) in enumerate(work):
            by_trunk.setdefault(key if key in self._own else "", []).append(row)
        results: list[Scored | None] = [None] * len(work)
        for name, rows in by_trunk.items():
            see = self._own[name].embed if name else embed or self.embed
            vectors = _once_each(see, [work[row][1] for row in rows])
            found = heads.score([self._heads[work[row][0]] for row in rows], vectors)
            for row, scored in zip(rows, found, strict=True):
                results[row] = scored
        return [result for result in results if result is not None]

    def embed(self, texts: Sequence[str]) -> Floats:
        return self._base.embed(texts)

    def _tuned(self, folder: Path) -> Trunk | None:
        """The variant's own encoder, if its files hold one: tuned whole, or an adapter on the base."""
        if (folder / "encoder").is_dir():
            return self._open(folder / "encoder")
        if (folder / "adapter").is_dir():
            return self._open(self._needed(), folder / "adapter")
        return None

    def _open(self, folder: Path, adapter: Path | None = None) -> Trunk:
        return Trunk(folder, adapter=adapter, threads=self._params.threads, dtype=self._params.dtype)


def _once_each(embed: Embed, texts: Sequence[str]) -> Floats:
    """Embeddings of texts of which several may be the same: one text asked of ten variants is seen once."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    vectors = embed(list(places))
    return vectors if len(places) == len(texts) else np.asarray(vectors[[places[text] for text in texts]])


@plugin
def encoder(base: Path | None, params: Params) -> Engine:
    """The engine of encoders; `base` may be None where every variant brings its own."""
    return _Engine(base, params)

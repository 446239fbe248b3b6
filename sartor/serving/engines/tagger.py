"""Token taggers on the CPU: values of a JSON object with the places where they stand, in one pass of an encoder.

Every variant brings its own encoder along. A value's score is the log-odds of its words being tagged so and no further;
values beside the likeliest tags are told too, for the value function to choose from. Knows no training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sartor.core.claims import as_text, build
from sartor.core.errors import StoreError
from sartor.core.predict import Floats, Usage
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.core.surface import pieces
from sartor.core.tagbook import Seen, TagBook, Told
from sartor.serving.engine import Said, Wish, Work, Writer, Written
from sartor.serving.files import read_arrays, read_json
from sartor.serving.tokens import Tokenizer
from sartor.serving.trunk import Trunk

VERSION = 1
LEAST = 1e-4
"""How near to 0 and 1 a chance is let come, so that its log-odds stay finite."""


class Params(Settings):
    """How the tagger runs."""

    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one pass; torch knows one number a process, so the last engine opened sets it."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is quicker where the CPU has it, and changes few tags."""


@dataclass(frozen=True, eq=False)
class _Member:
    """An encoder with its head."""

    trunk: Trunk
    tokenizer: Tokenizer
    weight: Floats
    bias: Floats

    def chances(self, texts: Sequence[Seen]) -> tuple[list[Floats], list[int]]:
        """(words, tags) of each text, and how many tokens each has."""
        encoded = [self.tokenizer.placed(seen.text) for seen in texts]
        states = self.trunk.states([ids for ids, _ in encoded])
        found = [self._tagged(one, at, of) for one, (_, at), of in zip(texts, encoded, states, strict=True)]
        return found, [len(ids) for ids, _ in encoded]

    def _tagged(self, seen: Seen, places: list[tuple[int, int]], states: Floats) -> Floats:
        owners = np.array(pieces(places, seen.spans))
        held = owners >= 0
        sums = np.zeros((len(seen.spans), states.shape[1]), dtype=np.float32)
        np.add.at(sums, owners[held], states[held])
        counts = np.bincount(owners[held], minlength=len(seen.spans))
        words = np.concatenate([sums / np.maximum(counts, 1)[:, None], seen.features], axis=1)
        logits = words @ self.weight.T + self.bias
        allowed = seen.allowed.copy()
        allowed[counts == 0, 1:] = False  # cut off: nothing is known of these words
        logits[~allowed] = -1e4
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Floats = odds / odds.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True, eq=False)
class _Held:
    book: TagBook
    members: tuple[_Member, ...]


class _Engine:
    def __init__(self, params: Params) -> None:
        self._params = params
        self._held: dict[str, _Held] = {}

    def add(self, key: str, folder: Path) -> None:
        body = read_json(folder, "tagger.json")
        try:
            if body["version"] != VERSION:
                raise ValueError(f"its form is of version {body['version']}, and this engine reads {VERSION}")
            book, most = TagBook.read(body["book"]), int(body["most"])
            members = tuple(self._member(folder / name, most) for name in body["members"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"'tagger.json' in {folder} is none ({type(error).__name__}: {error}). Make the variant again.",
                code="variant_damaged",
            ) from error
        self._held[key] = _Held(book, members)

    def drop(self, key: str) -> None:
        self._held.pop(key, None)

    def write(self, work: Work, wishes: Sequence[Wish | None] | None = None) -> list[Written]:  # noqa: ARG002
        by_key: dict[str, list[int]] = {}
        for row, (key, _) in enumerate(work):
            by_key.setdefault(key, []).append(row)
        results: list[Written | None] = [None] * len(work)
        for key, rows in by_key.items():
            for row, written in zip(rows, _write(self._held[key], [work[row][1] for row in rows]), strict=True):
                results[row] = written
        return [result for result in results if result is not None]

    def pieces(self, key: str, text: str, wish: Wish | None = None) -> Iterator[str | Written]:  # noqa: ARG002
        (whole,) = _write(self._held[key], [text])
        yield whole.output
        yield whole

    def _member(self, folder: Path, most: int) -> _Member:
        weight, bias = read_arrays(folder, "head.safetensors", "weight", "bias")
        trunk = Trunk(folder / "encoder", threads=self._params.threads, dtype=self._params.dtype)
        return _Member(trunk, Tokenizer(folder / "encoder", most=most, special=True), weight, bias)


def _write(held: _Held, texts: Sequence[str]) -> list[Written]:
    seen = [held.book.see(text) for text in texts]
    tagged = [member.chances(seen) for member in held.members]
    found = []
    for place, one in enumerate(seen):
        chances = np.mean([chances[place] for chances, _ in tagged], axis=0)
        told = held.book.tell(one, chances)
        output = as_text(build((each.path, each.value) for each in told))
        usage = Usage(input_tokens=tagged[0][1][place])
        found.append(Written(output, tuple(_said(each) for each in told), usage))
    return found


def _said(told: Told) -> Said:
    chance = min(max(told.chance, LEAST), 1 - LEAST)
    return Said(told.path, told.value, log(chance / (1 - chance)), told.span)


@plugin
def tagger(base: Path | None, params: Params) -> Writer:  # noqa: ARG001 - the shelf's one signature
    """The engine of taggers; `base` is not used."""
    return _Engine(params)

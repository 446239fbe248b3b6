"""What a token tagger knows beside its weights: fields, what context rules out, what it has seen; texts in, values out.

The same for whoever trains it and for whoever serves it. Knows no models.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.gazetteer import Gazetteer
from sartor.core.predict import Floats
from sartor.core.surface import read, words
from sartor.core.tagging import Scheme, Slot, Span


@dataclass(frozen=True, slots=True)
class Told:
    """A value that the tags say."""

    path: str
    value: Any
    chance: float
    """As the tagger has it, before calibration."""
    span: tuple[int, int]
    """By characters of the text."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A text as the tagger looks at it."""

    text: str
    spans: list[tuple[int, int]]
    """Words by characters."""
    features: Floats
    """(words, features) of the gazetteer."""
    allowed: npt.NDArray[np.bool_]
    """(words, tags) what may stand where."""


@dataclass(frozen=True)
class TagBook:
    """All but the weights."""

    schema: Mapping[str, Any]
    """JSON Schema of the answers."""
    fields: tuple[str, ...]
    """Those that training rows had values of."""
    gazetteer: Gazetteer
    context: str = ""
    """Regular expression of a text's beginning that tells what kind of text it is; no value stands in it."""
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Context -> fields that rows of it have; any other context has all."""

    @cached_property
    def scheme(self) -> Scheme:
        """The tags."""
        return Scheme.of(self.schema, self.fields)

    def see(self, text: str, own: Sequence[Span] | None = None) -> Seen:
        """A text ready for the tagger; `own`: its values, where it is a training row."""
        spans = words(text)
        said = [text[start:end].casefold() for start, end in spans]
        begins, kind = within(self.context, text)
        allowed = np.tile(self._masks.get(kind, self._anything), (len(spans), 1))
        closed = sum(start < begins for start, _ in spans)
        allowed[:closed, 1:] = False
        return Seen(text, spans, self.gazetteer.features(said, own), allowed)

    def tell(self, seen: Seen, chances: Floats) -> list[Told]:
        """The values of a text, in its order: those of the likeliest tags, and of each place the likeliest.

        No other span is offered to whoever decides: under tags that are independent given the text a long value's
        chance is a product that its own beginning may well exceed, and stating that cost up to two points of F1.

        Args:
            chances: (words, tags).
        """
        best: dict[str, Told] = {}
        for told in _placed(self.scheme, seen, self.scheme.likeliest(chances)):
            if told.value is not None and (told.path not in best or told.chance > best[told.path].chance):
                best[told.path] = told
        return sorted(best.values(), key=lambda told: (told.span, told.path))

    @cached_property
    def _masks(self) -> dict[str, npt.NDArray[np.bool_]]:
        places = self.scheme.places
        return {key: self.scheme.mask([places[name] for name in names]) for key, names in self.known.items()}

    @cached_property
    def _anything(self) -> npt.NDArray[np.bool_]:
        return np.ones(self.scheme.size, dtype=bool)

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema": self.schema,
            "fields": list(self.fields),
            "context": self.context,
            "known": {key: list(names) for key, names in sorted(self.known.items())},
            "gazetteer": self.gazetteer.body(),
        }

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "TagBook":
        """From its JSON.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        known = {key: tuple(names) for key, names in body["known"].items()}
        gazetteer = Gazetteer.read(body["gazetteer"])
        return cls(body["schema"], tuple(body["fields"]), gazetteer, str(body["context"]), known)


def within(context: str, text: str) -> tuple[int, str]:
    """Where a text's context ends, and the context itself; (0, '') where there is none."""
    match = re.match(context, text) if context else None
    return (match.end(), match[0]) if match else (0, "")


def _placed(scheme: Scheme, seen: Seen, spans: Sequence[Span]) -> Iterator[Told]:
    """Every span with its place in the answer: it belongs to the object that is open where it stands."""
    indices: dict[str, int] = {}
    counts: dict[str, int] = {}
    for span in spans:
        slot = scheme.slots[span.slot]
        start, end = seen.spans[span.start][0], seen.spans[span.end - 1][1]
        value = read(seen.text[start:end], slot.schema)
        yield Told(_next(slot, _home(slot, indices, span.opens), counts), value, span.chance, (start, end))


def _next(slot: Slot, home: str, counts: dict[str, int]) -> str:
    """The place of one more value; where there may be no more, that of the last one."""
    if slot.steps[-1] is not None:
        return home
    place = counts.get(home, -1) + 1
    counts[home] = place if slot.most is None else min(place, slot.most - 1)
    return f"{home}/{counts[home]}"


def _home(slot: Slot, indices: dict[str, int], opens: int) -> str:
    """Pointer to where a value of a field goes; `indices` has the open object of each list and is kept up to date."""
    at, level = "", 0
    for step in slot.steps[:-1] if slot.steps[-1] is None else slot.steps:
        if step is not None:
            at += "/" + step.replace("~", "~0").replace("/", "~1")
            continue
        level += 1
        if at not in indices or level == opens:
            indices[at] = indices.get(at, -1) + 1
        at = f"{at}/{indices[at]}"
    return at

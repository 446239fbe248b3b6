"""What a token tagger knows beside its weights: fields, what context rules out, what it has seen; texts in, values out.

The same for whoever trains it and for whoever serves it. Knows no models.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.gazetteer import Gazetteer
from sartor.core.predict import Floats
from sartor.core.surface import read, words
from sartor.core.tagging import Scheme, Slot, Span

LEAST = 0.03
"""Chance from which a value is told that is not on the likeliest sequence."""
RIVALS = 3
"""Values that are told at most for one place."""


@dataclass(frozen=True, slots=True)
class Told:
    """A value that the tags may say."""

    path: str
    value: Any
    chance: float
    """As the tagger has it, before calibration."""
    span: tuple[int, int]
    """By characters of the text."""
    chosen: bool
    """It is on the likeliest sequence, and the likeliest of its place."""


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
        """The values of a text, in its order: those of the likeliest tags, and others that may be.

        Args:
            chances: (words, tags).
        """
        scheme = self.scheme
        main = scheme.likeliest(chances)
        taken = {(span.slot, span.start, span.end) for span in main}
        spare = [s for s in scheme.possible(chances, LEAST) if (s.slot, s.start, s.end) not in taken]
        found = [told for told in _placed(scheme, seen, main, spare) if told.value is not None]
        return sorted(_rivals(found), key=lambda told: (told.span, told.path))

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


def _placed(scheme: Scheme, seen: Seen, main: Sequence[Span], spare: Sequence[Span]) -> Iterator[Told]:
    """Every span with its place in the answer: it belongs to the object that is open where it stands."""
    main = sorted(main, key=lambda span: span.start)
    indices: dict[str, int] = {}
    counts: dict[str, int] = {}
    paths: dict[Span, str] = {}
    for span in main:
        slot = scheme.slots[span.slot]
        paths[span] = _next(slot, _home(slot, indices, span.opens), counts)
        yield _told(seen, slot, span, paths[span], chosen=True)
    for span in spare:
        slot = scheme.slots[span.slot]
        over = [own for own in main if own.slot == span.slot and own.start < span.end and span.start < own.end]
        if over:
            path = paths[over[0]]
        else:
            indices = {}
            for own in main:
                if own.start < span.start:
                    _home(scheme.slots[own.slot], indices, own.opens)
            path = _next(slot, _home(slot, indices, 0), counts)
        yield _told(seen, slot, span, path, chosen=False)


def _next(slot: Slot, home: str, counts: dict[str, int]) -> str:
    """The place of one more value; where there may be no more, that of the last one, whose rival it is."""
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


def _told(seen: Seen, slot: Slot, span: Span, path: str, *, chosen: bool) -> Told:
    start, end = seen.spans[span.start][0], seen.spans[span.end - 1][1]
    return Told(path, read(seen.text[start:end], slot.schema), span.chance, (start, end), chosen)


def _rivals(found: Sequence[Told]) -> Iterator[Told]:
    """Of each place its likeliest values, no value twice; only the likeliest of those chosen stays so."""
    places: dict[str, list[Told]] = {}
    for told in sorted(found, key=lambda told: (not told.chosen, -told.chance)):
        rivals = places.setdefault(told.path, [])
        if len(rivals) < RIVALS and all(told.value != other.value for other in rivals):
            rivals.append(told if not rivals else replace(told, chosen=False))
    for rivals in places.values():
        yield from rivals

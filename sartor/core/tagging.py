"""Values of a JSON object as tags of words: what a token tagger learns, and the likeliest tags under their grammar.

Each word of a text is outside every value, begins one or goes on with one (BIO; Ramshaw and Marcus 1995, "Text chunking
using transformation-based learning"). In a list of objects the first value of an object has a tag of its own, one for
each level of lists that begins anew with it: so the tags alone say which values belong together. Knows no models, no
texts and no JSON documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats

OUTSIDE = 0

Step = str | None
"""A property by name; None: a place in a list."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A field that values are found for."""

    name: str
    """`brand`, `tags[]`, `lines[].price`."""
    steps: tuple[Step, ...]
    """The way to it: `("lines", None, "price")`."""
    schema: Mapping[str, Any]
    """JSON Schema of one value."""
    most: int | None = None
    """Values that stand at one place at most; None: any number."""

    @property
    def depth(self) -> int:
        """Lists of objects that it stands in."""
        return self.steps[:-1].count(None)


@dataclass(frozen=True, slots=True)
class Span:
    """Words that are a value of a field."""

    slot: int
    """Which field, by its place among the slots."""
    start: int
    end: int
    """First word after it."""
    opens: int = 0
    """Outermost level of lists (1, 2, …) of which an object begins with it; 0: none does."""
    chance: float = 1.0
    """That just these words are a value of that field."""


@dataclass(frozen=True)
class Scheme:
    """The tags of some fields: 0 is outside; then field by field those that begin a value, and the one that goes on."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, schema: Mapping[str, Any], used: Sequence[str] | None = None) -> "Scheme":
        """The tags of a JSON Schema's fields; `used`: only of the fields named there, in that order."""
        slots = [Slot(_name(steps), steps, inner, most) for steps, inner, most in _ways(schema, (), 1)]
        if used is None:
            return cls(tuple(slots))
        named = {slot.name: slot for slot in slots}
        return cls(tuple(named[name] for name in used))

    @cached_property
    def first(self) -> tuple[int, ...]:
        """The first tag of each slot, and the number of tags."""
        found = [1]
        for slot in self.slots:
            found.append(found[-1] + slot.depth + 2)
        return tuple(found)

    @property
    def size(self) -> int:
        """Number of tags."""
        return self.first[-1]

    @cached_property
    def places(self) -> dict[str, int]:
        """Field -> its slot."""
        return {slot.name: place for place, slot in enumerate(self.slots)}

    def inside(self, slot: int) -> int:
        """The tag with which a value goes on."""
        return self.first[slot + 1] - 1

    def encode(self, spans: Sequence[Span], words: int) -> npt.NDArray[np.int64]:
        """(words,) tags of values that do not overlap."""
        tags = np.full(words, OUTSIDE, dtype=np.int64)
        for span in spans:
            tags[span.start] = self.first[span.slot] + span.opens
            tags[span.start + 1 : span.end] = self.inside(span.slot)
        return tags

    def mask(self, slots: Sequence[int]) -> npt.NDArray[np.bool_]:
        """(tags,) which of them may stand where only these fields may."""
        found = np.zeros(self.size, dtype=bool)
        found[OUTSIDE] = True
        for slot in slots:
            found[self.first[slot] : self.first[slot + 1]] = True
        return found

    @cached_property
    def _owns(self) -> npt.NDArray[np.int64]:
        """(slots, most tags of one) its tags; filled up with one that is none."""
        most = max(slot.depth for slot in self.slots) + 2
        rows = [range(self.first[i], self.first[i + 1]) for i in range(len(self.slots))]
        return np.array([[*row, *[self.size] * (most - len(row))] for row in rows], dtype=np.int64)

    @cached_property
    def _insides(self) -> npt.NDArray[np.int64]:
        return np.array([self.inside(place) for place in range(len(self.slots))], dtype=np.int64)

    def likeliest(self, chances: Floats) -> list[Span]:
        """The values of the likeliest sequence of tags in which none goes on that has not begun (Viterbi 1967).

        Args:
            chances: (words, tags) of each word, summing to 1.
        """
        if not len(chances) or not self.slots:
            return []
        logs = np.log(np.maximum(chances, 1e-12))
        score = logs[0].copy()
        score[self._insides] = -np.inf
        back = []
        for word in logs[1:]:
            before = int(score.argmax())
            own = np.append(score, -np.inf)[self._owns]
            nearest = own.argmax(axis=1)
            step = np.full(self.size, before)
            step[self._insides] = self._owns[np.arange(len(nearest)), nearest]
            back.append(step)
            score = score[step] + word
        path = [int(score.argmax())]
        for step in reversed(back):
            path.append(int(step[path[-1]]))
        return [self._weighed(span, chances) for span in self._spans(path[::-1])]

    def _spans(self, tags: Sequence[int]) -> Iterator[Span]:
        slots = np.searchsorted(self.first, tags, side="right") - 1
        start = 0
        while start < len(tags):
            if tags[start] == OUTSIDE:
                start += 1
                continue
            slot = int(slots[start])
            end = start + 1
            while end < len(tags) and tags[end] == self.inside(slot):
                end += 1
            yield Span(slot, start, end, tags[start] - self.first[slot])
            start = end

    def _weighed(self, span: Span, chances: Floats) -> Span:
        """The same with its chance: that it begins there, on whatever level, goes on, and goes no further."""
        inside = self.inside(span.slot)
        chance = (
            chances[span.start, self.first[span.slot] : inside].sum()
            * chances[span.start + 1 : span.end, inside].prod()
        )
        if span.end < len(chances):
            chance *= 1.0 - chances[span.end, inside]
        return Span(span.slot, span.start, span.end, span.opens, float(chance))


def _ways(
    schema: Mapping[str, Any], before: tuple[Step, ...], most: int | None
) -> Iterator[tuple[tuple[Step, ...], Mapping[str, Any], int | None]]:
    """Every field of a schema that holds a value, as `core.claims.fields_of` finds them: the way to it, how many."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from _ways(inner, (*before, name), 1)
    elif "items" in schema:
        yield from _ways(schema["items"], (*before, None), schema.get("maxItems"))
    elif before:
        yield before, schema, most


def _name(steps: Sequence[Step]) -> str:
    found = ""
    for step in steps:
        found += "[]" if step is None else f".{step}" if found else step
    return found

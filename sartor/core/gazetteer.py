"""What words and phrases were in the rows learned from: features that tell a tagger what it has seen before.

For every word of a text: how often it began or went on with a value of each field, and whether the longest known value
that covers it begins or goes on there. A training row is described without what it itself says (its own counts are
taken off), or the tagger would learn to trust a list that knows all answers. Knows no models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.core.tagging import Span

PHRASE = 6
"""Words of the longest phrase that is kept."""
Counts = dict[str, dict[int, int]]


@dataclass(frozen=True)
class Gazetteer:
    """Counts of words and of values."""

    slots: int
    words: Counts = field(default_factory=dict)
    """Word -> kind -> times; kinds: 0 outside, 1 + 2 f begins a value of field f, 2 + 2 f goes on with one."""
    phrases: Counts = field(default_factory=dict)
    """Phrase -> field -> times that it was a value; -1: times that it stood anywhere."""

    @property
    def size(self) -> int:
        """Features of a word."""
        return 2 * (1 + 2 * self.slots)

    @classmethod
    def of(cls, slots: int, texts: Sequence[Sequence[str]], spans: Sequence[Sequence[Span]]) -> "Gazetteer":
        """From rows: words of each text, without capitals, and the values among them."""
        made = cls(slots)
        for said, found in zip(texts, spans, strict=True):
            for word, kind in zip(said, _kinds(found, len(said)), strict=True):
                _add(made.words, word, kind)
            for span in found:
                if span.end - span.start <= PHRASE:
                    _add(made.phrases, " ".join(said[span.start : span.end]), span.slot)
        for said in texts:
            for _, _, phrase in _phrases(said):
                if phrase in made.phrases:
                    _add(made.phrases, phrase, -1)
        return made

    def features(self, said: Sequence[str], own: Sequence[Span] | None = None) -> Floats:
        """(words, size) float32.

        Args:
            said: the words, without capitals.
            own: values of this row, where it is one of those that the counts are of.
        """
        found = np.zeros((len(said), self.size), dtype=np.float32)
        self._words(said, own, found[:, : self.size // 2])
        self._phrases(said, own, found[:, self.size // 2 :])
        return found

    def _words(self, said: Sequence[str], own: Sequence[Span] | None, into: Floats) -> None:
        kinds = None if own is None else _kinds(own, len(said))
        for place, word in enumerate(said):
            counts = dict(self.words.get(word, {}))
            for other, kind in zip(said, kinds or (), strict=False):
                if other == word:
                    counts[kind] = counts.get(kind, 0) - 1
            total = sum(counts.values())
            for kind, times in counts.items():
                into[place, kind] = times / (total + 1.0)

    def _phrases(self, said: Sequence[str], own: Sequence[Span] | None, into: Floats) -> None:
        mine = {(span.start, span.end): span.slot for span in own or ()}
        longest: dict[int, int] = {}
        for start, end, phrase in sorted(_phrases(said), key=lambda one: one[0] - one[1]):
            counts = self.phrases.get(phrase, {})
            elsewhere = counts.get(-1, 0) - (own is not None)
            for slot, times in counts.items():
                share = (times - (mine.get((start, end)) == slot)) / max(elsewhere, 1)
                if slot < 0 or share <= 0:
                    continue
                for place in range(start, end):
                    if longest.setdefault(place, end - start) == end - start:
                        at = 1 + 2 * slot + (place > start)
                        into[place, at] = max(into[place, at], share)
        into[list(longest), 0] = 1.0

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"slots": self.slots, "words": _sorted(self.words), "phrases": _sorted(self.phrases)}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Gazetteer":
        """From its JSON."""
        return cls(
            int(body["slots"]),
            *({w: {int(k): n for k, n in c.items()} for w, c in body[part].items()} for part in ("words", "phrases")),
        )


def _kinds(spans: Sequence[Span], count: int) -> list[int]:
    kinds = [0] * count
    for span in spans:
        kinds[span.start] = 1 + 2 * span.slot
        kinds[span.start + 1 : span.end] = [2 + 2 * span.slot] * (span.end - span.start - 1)
    return kinds


def _phrases(said: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    for start in range(len(said)):
        for end in range(start + 1, min(start + PHRASE, len(said)) + 1):
            yield start, end, " ".join(said[start:end])


def _add(counts: Counts, name: str, kind: int) -> None:
    inner = counts.setdefault(name, {})
    inner[kind] = inner.get(kind, 0) + 1


def _sorted(counts: Counts) -> dict[str, dict[str, int]]:
    return {name: {str(kind): n for kind, n in sorted(counts[name].items()) if n} for name in sorted(counts)}

"""Recorded answers, found by the text that they answer, wherever it stands in a prompt. Knows no protocol."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BEGINNING = 12
"""Characters by which texts are looked up inside of longer ones."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one model said to one text."""

    text: str
    """'' where it gave no answer that was kept."""
    input_tokens: int | None = None
    """As they were counted then; None: counted from the prompt that comes."""
    output_tokens: int | None = None
    seconds: float | None = None
    """That it took then; None: what the server declares."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One text, and what models said to it."""

    text: str
    answers: Mapping[str, Answered]
    """Model -> its answer."""


class Book:
    """All recorded answers."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        """Index them; of several with one text, later ones add models and replace answers."""
        self._answers: dict[str, dict[str, Answered]] = {}
        for one in recorded:
            self._answers.setdefault(one.text.strip(), {}).update(one.answers)
        self._answers.pop("", None)
        self.models = sorted({model for answers in self._answers.values() for model in answers})
        """Every model that said something."""
        self._starts: dict[str, list[str]] = {}
        for text in self._answers:
            self._starts.setdefault(text[:BEGINNING], []).append(text)
        self._lengths = sorted({len(start) for start in self._starts})

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, said: str) -> Mapping[str, Answered] | None:
        """The answers to the recorded text that is all of `said`, or stands in it; None where none does.

        Of several that stand in it the one that ends last counts, since examples come before the question; of those
        that end at one place the longest.
        """
        said = said.strip()
        exact = self._answers.get(said)
        if exact is not None:
            return exact
        best: tuple[int, int] = (0, 0)
        for at in range(len(said)):
            for length in self._lengths:
                for text in self._starts.get(said[at : at + length], ()):
                    place = (at + len(text), len(text))
                    if place > best and said.startswith(text, at) and _stands_alone(said, at, at + len(text)):
                        best = place
        end, size = best
        return self._answers[said[end - size : end]] if size else None


def _stands_alone(said: str, start: int, end: int) -> bool:
    """Whether no word goes on over the edges."""
    before = said[start - 1 : start] + said[start]
    after = said[end - 1] + said[end : end + 1]
    return not (len(before) == 2 and before.isalnum()) and not (len(after) == 2 and after.isalnum())

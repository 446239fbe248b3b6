"""The prompt that an application sends, as fixed text with holes: read from a declaration, matched in linear time.

A match is unambiguous or none: where the fixed text between two holes also stands inside of a filled-in text, nobody
can tell where one ends, so nothing is found. Knows no protocol.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sartor.core.errors import AskError, unknown
from sartor.core.task import PromptMessage

IGNORED = "_"
"""What the names of holes begin with that are filled with something that is no input: a date, a number."""
MARK = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One message: fixed text before, between and after its holes."""

    literals: tuple[str, ...]
    """One more than there are holes."""
    holes: tuple[str, ...]

    @classmethod
    def read(cls, content: str) -> "Pattern":
        """The pattern that a declared message says.

        Raises:
            AskError: a brace stands alone, or nothing stands between two holes.
        """
        literals: list[str] = [""]
        holes: list[str] = []
        at = 0
        for found in MARK.finditer(content):
            literals[-1] += content[at : found.start()]
            at = found.end()
            if found[0] in ("{{", "}}"):
                literals[-1] += found[0][0]
            elif found[1]:
                if holes and not literals[-1]:
                    raise _bad(
                        f"nothing stands between {{{holes[-1]}}} and {{{found[1]}}}: nobody could tell them apart"
                    )
                holes.append(found[1])
                literals.append("")
            else:
                raise _bad(
                    f"a lone {found[0]!r} stands in {_around(content, found.start())!r}: write it twice where a brace "
                    "is meant, or {column} for an input"
                )
        literals[-1] += content[at:]
        return cls(tuple(literals), tuple(holes))

    def write(self) -> str:
        """The declaration that `read` reads as this pattern."""
        parts = [_escaped(self.literals[0])]
        for hole, literal in zip(self.holes, self.literals[1:], strict=True):
            parts += [f"{{{hole}}}", _escaped(literal)]
        return "".join(parts)

    def match(self, text: str) -> tuple[str, ...] | None:
        """What fills the holes, in order; None where the text does not fit, or fits in several ways.

        White space before and after the whole text counts only as far as the fixed text needs it.
        """
        found = _fit(self.literals, text)
        if found is None:
            first, last = self.literals[0].lstrip(), self.literals[-1].rstrip()
            if not self.holes:
                return () if self.literals[0].strip() == text.strip() else None
            text = text.lstrip() if first or self.literals[0] else text
            text = text.rstrip() if last or self.literals[-1] else text
            found = _fit((first, *self.literals[1:-1], last), text)
        return found


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole prompt: messages in order, each with its role."""

    messages: tuple[tuple[str, Pattern], ...]

    @property
    def holes(self) -> tuple[str, ...]:
        """All holes, in order."""
        return tuple(hole for _, pattern in self.messages for hole in pattern.holes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The holes that are inputs, each once."""
        return tuple(dict.fromkeys(hole for hole in self.holes if not hole.startswith(IGNORED)))

    @property
    def fixed_size(self) -> int:
        """Characters of fixed text."""
        return sum(len(literal) for _, pattern in self.messages for literal in pattern.literals)

    @classmethod
    def read(cls, declared: Sequence[PromptMessage], columns: Sequence[str]) -> "Prompt":
        """The prompt that a task declares.

        Raises:
            AskError: it has no messages, a message can't be read, or a column has no hole.
            NotFoundError: a hole is no column of the input.
        """
        if not declared:
            raise _bad("it has no messages. Infer it from traffic with: sartor task learn-input")
        made = cls(tuple((message.role, Pattern.read(message.content)) for message in declared))
        for hole in made.columns:
            if hole not in columns:
                raise unknown("input column", hole, columns, param="input.prompt")
        for column in columns:
            if column not in made.columns:
                raise _bad(f"the column '{column}' has no hole {{{column}}} in it")
        return made

    def match(self, said: Sequence[tuple[str, str | None]]) -> Mapping[str, str] | None:
        """Column -> text from (role, text) of each message; None where the messages are not of this prompt."""
        if len(said) != len(self.messages):
            return None
        found: dict[str, str] = {}
        for (role, pattern), (given_role, text) in zip(self.messages, said, strict=True):
            values = pattern.match(text) if text is not None and role == given_role else None
            if values is None:
                return None
            for hole, value in zip(pattern.holes, values, strict=True):
                if hole.startswith(IGNORED):
                    continue
                # A column with two holes was filled in twice with the same.
                if found.setdefault(hole, value) != value:
                    return None
        return found


@lru_cache(maxsize=256)
def declared_prompt(declared: tuple[PromptMessage, ...], columns: tuple[str, ...]) -> Prompt:
    """`Prompt.read`, remembered: tasks are few and requests are many."""
    return Prompt.read(declared, columns)


def _fit(literals: Sequence[str], text: str) -> tuple[str, ...] | None:
    first, last = literals[0], literals[-1]
    if len(literals) == 1:
        return () if text == first else None
    end = len(text) - len(last)
    if end < len(first) or not text.startswith(first) or not text.endswith(last):
        return None
    left = _places(literals, text, end)
    # The leftmost fit exists if any does; only if the rightmost is the same is it the only one.
    if left is None or (len(literals) > 2 and left != _places_from_right(literals, text)):
        return None
    starts = [len(first), *(at + len(between) for at, between in zip(left, literals[1:-1], strict=True))]
    return tuple(text[start:stop] for start, stop in zip(starts, [*left, end], strict=True))


def _places(literals: Sequence[str], text: str, end: int) -> list[int] | None:
    """Where each text between two holes stands, as far left as can be."""
    places, at = [], len(literals[0])
    for between in literals[1:-1]:
        found = text.find(between, at, end)
        if found < 0:
            return None
        places.append(found)
        at = found + len(between)
    return places


def _places_from_right(literals: Sequence[str], text: str) -> list[int] | None:
    """The same as far right as can be. Searches backwards text forwards, since only `find` takes linear time."""
    backwards = [literal[::-1] for literal in reversed(literals)]
    found = _places(backwards, text[::-1], len(text) - len(literals[0]))
    if found is None:
        return None
    pairs = zip(found, backwards[1:-1], strict=True)
    return [len(text) - at - len(between) for at, between in pairs][::-1]


def _escaped(literal: str) -> str:
    return literal.replace("{", "{{").replace("}", "}}")


def _around(content: str, at: int) -> str:
    return content[max(0, at - 15) : at + 15]


def _bad(what: str) -> AskError:
    return AskError(f"Reading the prompt of the task failed: {what}.", code="bad_prompt", param="input.prompt")

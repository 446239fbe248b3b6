"""Judge by a column that holds the right answer, or by patterns whose label is known; else give no verdict."""

import re
from collections.abc import Sequence

from pydantic import field_validator

from sartor.core.section import Section
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.feedback.judging import Bench, Case, Opinion

LONGEST = 20_000
"""Characters of a text that patterns are looked for in."""


class Pattern(Section):
    """A text in which this is found has this label."""

    pattern: str
    """Regular expression; capitals don't matter."""
    label: str
    """The right answer then."""

    @field_validator("pattern")
    @classmethod
    def _can_be_read(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern


class Params(Settings):
    """What the rule goes by."""

    column: str = ""
    """Column of the input, or of a row, that holds the right answer."""
    patterns: tuple[Pattern, ...] = ()
    """Looked for in the text, in this order; the first that is found counts."""


@plugin
class Rule:
    """A judge who goes by a rule."""

    def __init__(self, params: Params, bench: Bench) -> None:
        self._same = bench.same
        self._column = params.column
        self._patterns = [(re.compile(one.pattern, re.IGNORECASE), one.label) for one in params.patterns]

    async def judge(self, cases: Sequence[Case]) -> list[Opinion]:
        """One opinion a case; none where no rule applies."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Opinion:
        held = case.inputs.get(self._column) or case.extra.get(self._column) if self._column else ""
        if held:
            return Opinion(self._same(held, case.answer), held, f"column {self._column}")
        for number, (pattern, label) in enumerate(self._patterns, start=1):
            if pattern.search(case.text[:LONGEST]):
                return Opinion(self._same(label, case.answer), label, f"pattern {number}")
        return Opinion(None, why="no rule applies")

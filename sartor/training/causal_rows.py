"""What a language model is taught: rows of tokens with the answers marked; too long ones dropped, cut or refused.

A row is a tree. Its stem is what all its prompts begin with; each branch is the rest of one prompt and the answer to
it. So a question that is to be answered and to be reasoned about (Hsieh et al. 2023, "Distilling step-by-step") is
read once, and a branch sees the stem and itself, never its sibling. Knows no torch and no weights.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from sartor.core.errors import AskError
from sartor.core.prompting import answer_text, chat_text

log = logging.getLogger("sartor.training")

Ids = list[int]
TooLong = Literal["drop", "cut", "stop"]
WHY = "\n\nFirst say why."
"""What stands behind an input whose rationale is to be written."""
SHOWN = 5
"""Places of long rows that are named."""


@dataclass(frozen=True)
class Branch:
    """One answer that is learned."""

    prompt: Ids
    """Rest of the prompt; at least one token, whose successor is the first of the answer."""
    answer: Ids
    weight: float = 1.0

    @property
    def read(self) -> Ids:
        """The tokens that the model reads: all but the last, which nothing follows."""
        return self.prompt + self.answer[:-1]


@dataclass(frozen=True)
class Row:
    """One example."""

    stem: Ids
    branches: tuple[Branch, ...]
    """The answer; then the rationale, if it has one."""

    def __len__(self) -> int:
        return len(self.stem) + sum(len(branch.read) for branch in self.branches)

    def alone(self) -> "Row":
        """The same with its first branch alone."""
        return self if len(self.branches) == 1 else Row(self.stem, self.branches[:1])


@dataclass(frozen=True)
class Rows:
    """All rows of one part, and what became of the long ones."""

    rows: list[Row]
    places: list[int]
    """Which of the given rows each one is."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Counts; empty where every row fitted."""


@dataclass(frozen=True)
class Reader:
    """Turns texts into rows, in the words of the one place where prompts are made."""

    tokenizer: Any
    instructions: str = ""
    limit: int = 0
    """Most tokens of a prompt with its answer; 0: any number."""
    too_long: TooLong = "drop"
    rationale_weight: float = 1.0

    def read(self, texts: Sequence[str], answers: Sequence[str], rationales: Sequence[str] = ()) -> Rows:
        """The rows of texts with their right answers.

        Raises:
            AskError: no row fits, or one does not and the policy is `stop`; says how long it is.
        """
        rows, places, long = [], [], _Long(self.limit, self.too_long, len(texts))
        for place, (text, answer) in enumerate(zip(texts, answers, strict=True)):
            whole = self._row(text, answer, rationales[place] if rationales else "")
            tokens = _longest(whole)
            fits = tokens <= (self.limit or tokens)
            if (row := whole if fits else long.met(place, tokens, partial(self._shortened, text, answer))) is not None:
                rows.append(row)
                places.append(place)
        return Rows(rows, places, long.facts(len(rows)))

    def ids(self, text: str) -> Ids:
        """Token ids as the text stands: special tokens are in it already."""
        return [int(one) for one in self.tokenizer.encode(text, add_special_tokens=False)]

    def _row(self, text: str, answer: str, rationale: str = "") -> Row:
        asked = [(text, answer, 1.0)]
        if rationale:
            asked.append((text + WHY, rationale, self.rationale_weight))
        prompts = [self.ids(chat_text(self.tokenizer, self.instructions, one)) for one, _, _ in asked]
        stem = shared(prompts)
        return Row(
            prompts[0][:stem],
            tuple(
                Branch(prompt[stem:], self.ids(answer_text(self.tokenizer, said)), weight)
                for prompt, (_, said, weight) in zip(prompts, asked, strict=True)
            ),
        )

    def _shortened(self, text: str, answer: str) -> Row | None:
        """The row with the end of its text cut off; its rationale goes. None: the rest alone is too long."""
        kept = self.ids(text)
        while kept:
            over = len(self._row(self.tokenizer.decode(kept), answer)) - self.limit + 1
            if over <= 0:
                return self._row(self.tokenizer.decode(kept), answer)
            kept = kept[:-over]
        return None


class _Long:
    """Counts rows that are too long, and does what the policy says."""

    def __init__(self, limit: int, policy: TooLong, given: int) -> None:
        self._limit, self._policy, self._given = limit, policy, given
        self._cut: list[int] = []
        self._dropped: list[int] = []
        self._longest = 0

    def met(self, place: int, tokens: int, shortened: Callable[[], Row | None]) -> Row | None:
        self._longest = max(self._longest, tokens)
        if self._policy == "stop":
            raise self._refused(f"row {place + 1} of {self._given} has {tokens:,} tokens")
        row = shortened() if self._policy == "cut" else None
        (self._dropped if row is None else self._cut).append(place)
        return row

    def facts(self, left: int) -> dict[str, Any]:
        if not self._longest:
            return {}
        if not left:
            raise self._refused(f"each of the {self._given} rows has more, the longest {self._longest:,} tokens")
        counted = {"dropped": len(self._dropped), "cut": len(self._cut), "of": self._given}
        first = sorted(self._dropped + self._cut)[:SHOWN]
        found = {**counted, "limit": self._limit, "longest": self._longest, "first_rows": [p + 1 for p in first]}
        log.warning(
            "%d of %d rows are longer than %d tokens (the longest has %d; the first are rows %s): %d dropped, %d cut",
            len(self._dropped) + len(self._cut),
            self._given,
            self._limit,
            self._longest,
            ", ".join(str(place + 1) for place in first),
            len(self._dropped),
            len(self._cut),
        )
        return found

    def _refused(self, what: str) -> AskError:
        return AskError(
            f"A row may have {self._limit:,} tokens, prompt and answer together, and {what}. Shorten the rows, raise "
            "'max_row' if the base allows it, or set 'too_long' to drop or cut.",
            code="rows_too_long",
            param="candidates.params.max_row",
        )


def shared(prompts: Sequence[Ids]) -> int:
    """How many first tokens all prompts have in common, leaving each at least one of its own."""
    least = min(len(prompt) for prompt in prompts) - 1
    first, last = min(prompts), max(prompts)  # in order of their tokens, so these two differ first
    return next((at for at in range(least) if first[at] != last[at]), least)


def common(rows: Sequence[Row]) -> int:
    """How many first tokens of their stems all rows have in common."""
    stems = [row.stem for row in rows]
    first, last = min(stems), max(stems)
    least = min(len(stem) for stem in stems)
    return next((at for at in range(least) if first[at] != last[at]), least)


def _longest(row: Row) -> int:
    return max(len(row.stem) + len(branch.prompt) + len(branch.answer) for branch in row.branches)

"""Keeps a written answer within a JSON schema: which tokens may come next, and which must. Knows no models.

The grammar is llguidance's. Answers are written without white space, as canonical JSON is: a model that was taught
nothing else can't lose itself in it.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch

from sartor.core.errors import AskError
from sartor.serving.strict_schema import COMPACT


class Grammars:
    """Makes constraints for one tokenizer; a schema is compiled once."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        """Prepare the tokenizer's tokens; takes about a second for 50,000."""
        from llguidance.hf import from_tokenizer

        self._tokens = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))
        self._vocabulary = vocabulary
        self._compiled = lru_cache(maxsize=256)(self._compile)

    def constraint(self, schema: Mapping[str, Any]) -> "Constraint":
        """A fresh constraint for one answer; `strict_schema.strict` makes the schema of canonical answers.

        Raises:
            AskError: the schema is none, or one that no answer can meet.
        """
        compact = {"x-guidance": COMPACT, **schema}
        return Constraint(self._compiled(json.dumps(compact)).deep_copy(), self._vocabulary)

    def _compile(self, schema: str) -> Any:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokens, LLMatcher.grammar_from_json_schema(schema))
        if matcher.is_error():
            raise _bad(matcher.get_error())
        return matcher


def _bad(reason: str) -> AskError:
    return AskError(
        f"The JSON schema can't be held to: {' '.join(reason.split()).rstrip('.')}. Mend it, or ask without one.",
        param="response_format",
        code="bad_schema",
    )


class Constraint:
    """How far one answer is in its grammar."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        """Begin."""
        self._matcher = matcher
        self._bits = torch.zeros((vocabulary + 31) // 32, dtype=torch.int32)
        self._vocabulary = vocabulary

    def allowed(self) -> torch.Tensor:
        """(vocabulary,) True where a token may come next."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.data_ptr(), self._bits.numel() * 4)
        if self._matcher.is_error():
            raise _bad(self._matcher.get_error())
        bits = self._bits.view(torch.uint8)[:, None] >> torch.arange(8, dtype=torch.uint8)
        return (bits & 1).view(-1)[: self._vocabulary].bool()

    def take(self, token: int) -> list[int]:
        """Go on by a token; the tokens that must follow it, already taken."""
        self._matcher.consume_token(token)
        forced: list[int] = self._matcher.compute_ff_tokens() if not self._matcher.is_stopped() else []
        if forced:
            self._matcher.consume_tokens(forced)
        if self._matcher.is_error():
            raise _bad(self._matcher.get_error())
        return forced

    def first(self) -> list[int]:
        """The tokens that an answer must begin with, already taken."""
        forced: list[int] = self._matcher.compute_ff_tokens()
        if forced:
            self._matcher.consume_tokens(forced)
        return forced

    @property
    def done(self) -> bool:
        """Nothing can follow."""
        return bool(self._matcher.is_stopped())

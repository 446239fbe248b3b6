"""One answer that is being written: its tokens, its text so far, and when it ends. Knows no models and no threads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from sartor.serving.causal_mix import Adapter
from sartor.serving.grammar import Constraint

Finish = Literal["stop", "length", "deadline", "cancelled"]


@dataclass(eq=False)
class Line:
    """An answer under way. Filled by a decoder; `finish` is set when it is whole."""

    prompt: Sequence[int]
    adapter: Adapter | None
    limit: int
    """Tokens that it may have."""
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int | None = None
    constraint: Constraint | None = None
    deadline: float | None = None
    """`time.monotonic()` after which no token is made."""
    gone: Callable[[], bool] | None = None
    """Whether nobody wants it any more."""
    tokens: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    """The text of each token; a character of several tokens comes with the last of them."""
    scores: list[float] = field(default_factory=list)
    """Natural logarithm of each token's probability; 0 where the schema left no choice."""
    text: str = ""
    ahead: list[int] = field(default_factory=list)
    """Tokens that have not gone through the model yet."""
    seen: int = 0
    """Tokens that have."""
    cpu_seconds: float = 0.0
    finish: Finish | None = None
    error: Exception | None = None
    cancelled: bool = False
    _stream: Any = None
    _random: torch.Generator | None = None

    def begin(self, tokenizer: Any) -> None:
        """Put the question ahead, and what the answer must begin with."""
        from tokenizers.decoders import DecodeStream

        self._stream = DecodeStream(skip_special_tokens=True)
        self.ahead = list(self.prompt)
        if self.temperature > 0:
            self._random = torch.Generator()
            if self.seed is None:
                self._random.seed()
            else:
                self._random.manual_seed(self.seed)
        if self.constraint is not None:
            self._append(self.constraint.first(), [], tokenizer)

    def choose(self, logits: torch.Tensor, ends: frozenset[int], tokenizer: Any) -> None:
        """Take the next token from (vocabulary,) float32 logits, which are spoilt."""
        total = float(logits.logsumexp(0))
        raw = logits
        if self.constraint is not None:
            raw = logits.masked_fill(~self.constraint.allowed(), -torch.inf)
        token = self._drawn(raw)
        score = float(logits[token]) - total
        if token in ends:
            self.finish = "stop"
            return
        forced = self.constraint.take(token) if self.constraint is not None else []
        self._append([token, *forced], [score], tokenizer)

    def _drawn(self, logits: torch.Tensor) -> int:
        if self._random is None:
            return int(logits.argmax())
        chances = (logits / self.temperature).softmax(0)
        return int(torch.multinomial(chances, 1, generator=self._random))

    def _append(self, tokens: list[int], scores: list[float], tokenizer: Any) -> None:
        """Take tokens of which the later ones were forced, as far as the answer reaches."""
        for place, token in enumerate(tokens):
            if len(self.tokens) >= self.limit:
                break
            self.tokens.append(token)
            self.scores.append(scores[place] if place < len(scores) else 0.0)
            self.pieces.append(self._stream.step(tokenizer, token) or "")
            self.text += self.pieces[-1]
            self.ahead.append(token)
            if self._stopped():
                return
        if self.constraint is not None and self.constraint.done:
            self.finish = "stop"
        elif len(self.tokens) >= self.limit:
            self.finish = "length"

    def _stopped(self) -> bool:
        """Cut the text at the first stop that it holds."""
        found = [at for stop in self.stop if (at := self.text.find(stop)) >= 0]
        if found:
            self.text, self.finish = self.text[: min(found)], "stop"
        return bool(found)

    @property
    def sure(self) -> int:
        """Characters of the text that no stop can take back."""
        if self.finish is not None or not self.stop:
            return len(self.text)
        held = 0
        for stop in self.stop:
            held = max(held, next((n for n in range(len(stop) - 1, 0, -1) if self.text.endswith(stop[:n])), 0))
        return len(self.text) - held

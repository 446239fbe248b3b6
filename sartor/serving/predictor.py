"""A made variant as a Predictor: calibrated probabilities, the least-cost answer, and what it cost to serve.

Knows no routes and no protocol of the wire.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sartor.core.predict import Chunk, Floats, Hop, Prediction, Request, Usage, Wish, one_chunk
from sartor.core.stating import Pricing, state
from sartor.core.value import choose
from sartor.serving.engine import Work
from sartor.serving.fleet import Answered

Ask = Callable[[str, str], Awaitable[Answered]]
"""(variant digest, text) -> its answer; `Batcher.ask` is one."""
Write = Callable[[str, str, Wish | None], AsyncIterator[str | Answered]]
"""(variant digest, text, wish) -> its answer as it is written; `Pen.write` is one."""


class Models(Protocol):
    """What holds the variants: a fleet here, or one in another process."""

    def probabilities(self, work: Work) -> list[Answered]:
        """One answer per (variant digest, text), in order; blocks."""
        ...


class Deciding(Protocol):
    """What turns what a variant says into decisions, all from the task's contract."""

    def decide(self, variant: str, answers: Sequence[Answered]) -> list[Prediction]:
        """One prediction per answer of a variant, in order."""
        ...


@dataclass(frozen=True)
class Answering:
    """Decisions between labels."""

    labels: tuple[str, ...]
    matrix: Floats
    """(labels, labels) from `core.value.cost_matrix`."""
    target: Floats | None = None
    """(labels,) from `core.value.target_costs`; None where nobody can be asked."""
    unit_cost: float = 0.0
    """Money per CPU second of serving."""
    odds: Floats | None = None
    """(labels,) each label's share today by its share when the model was calibrated; None: as they were then."""

    def reweighed(self, answers: Sequence[Answered]) -> Sequence[Answered]:
        """The answers under today's shares of labels (Saerens, Latinne and Decaestecker 2002)."""
        if self.odds is None:
            return answers
        moved = [one.probabilities * self.odds for one in answers]
        return [replace(one, probabilities=p / p.sum()) for one, p in zip(answers, moved, strict=True)]

    def decide(self, variant: str, answers: Sequence[Answered]) -> list[Prediction]:
        """The least-cost label of each."""
        answers = self.reweighed(answers)
        each = [a.probabilities for a in answers]
        choice = choose(each[0][None, :] if len(each) == 1 else np.stack(each), self.matrix, self.target)
        rows = zip(answers, choice.answer.tolist(), choice.escalate.tolist(), choice.cost.tolist(), strict=True)
        return [self._prediction(variant, a, index, cost, escalate=escalate) for a, index, escalate, cost in rows]

    def _prediction(
        self, variant: str, answered: Answered, index: int, expected_cost: float, *, escalate: bool
    ) -> Prediction:
        output = self.labels[index]
        usage = Usage(cpu_seconds=answered.cpu_seconds)
        cost = answered.cpu_seconds * self.unit_cost
        confidence = float(answered.probabilities[index])
        return Prediction(
            output=output,
            served_by=variant,
            decision="escalate" if escalate else "answer",
            probabilities=answered.probabilities,
            labels=self.labels,
            confidence=confidence,
            expected_cost=expected_cost,
            out_of_scope=answered.out_of_scope,
            usage=usage,
            cost=cost,
            hops=(Hop(variant, output, usage, cost, confidence),),
        )


@dataclass(frozen=True)
class Stating:
    """Decisions about what a written answer states."""

    pricing: Pricing
    unit_cost: float = 0.0
    """Money per CPU second of serving."""
    streams: bool = False
    """Whether what is written is what is stated: then it may be passed on before it is whole."""

    def decide(self, variant: str, answers: Sequence[Answered]) -> list[Prediction]:
        """The least-cost answer of each."""
        return [self._prediction(variant, answered) for answered in answers]

    def _prediction(self, variant: str, answered: Answered) -> Prediction:
        stated = state(answered.claims, self.pricing, answered.doubts)
        tokens = answered.written.usage if answered.written else Usage()
        usage = replace(tokens, cpu_seconds=answered.cpu_seconds)
        cost = answered.cpu_seconds * self.unit_cost + (answered.written.cost if answered.written else 0.0)
        return Prediction(
            output=stated.output,
            served_by=variant,
            decision="escalate" if stated.escalate else "answer",
            claims=answered.claims,
            doubts=answered.doubts,
            finish="stop" if answered.written is None or answered.written.finish == "stop" else "length",
            logprobs=answered.written.logprobs if answered.written else (),
            confidence=stated.confidence,
            expected_cost=stated.cost,
            out_of_scope=answered.out_of_scope,
            usage=usage,
            cost=cost,
            hops=(Hop(variant, stated.output, usage, cost, stated.confidence),),
        )


class VariantPredictor:
    """One variant of a fleet, answering under one value function."""

    def __init__(
        self, fleet: Models, variant: str, answering: Deciding, *, ask: Ask | None = None, write: Write | None = None
    ) -> None:
        """Bind a variant.

        Args:
            variant: its digest.
            ask: takes single questions, to gather them into batches with those of others.
            write: takes single questions to a variant whose answers are written token by token.
        """
        self._fleet = fleet
        self._variant = variant
        self._answering = answering
        self._ask = ask
        self._write = write

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order. The event loop stays free: models run in a thread."""
        if not requests:
            return []
        if self._write is not None and len(requests) == 1:
            return [chunk.final async for chunk in self._written(requests[0]) if chunk.final is not None]
        if self._ask is not None and len(requests) == 1:
            return self._answering.decide(self._variant, [await self._ask(self._variant, requests[0].text)])
        return await asyncio.to_thread(self.answer, [request.text for request in requests])

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces where it is written so and nothing of it can be taken back, else in one chunk."""
        schema = request.wish is not None and request.wish.json_schema is not None
        if self._write is None or not (schema or getattr(self._answering, "streams", False)):
            return one_chunk(self, request)
        return self._written(request)

    async def _written(self, request: Request) -> AsyncIterator[Chunk]:
        assert self._write is not None
        async with aclosing(self._write(self._variant, request.text, request.wish)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if isinstance(piece, str):
                    yield Chunk(piece)
                    continue
                (made,) = self._answering.decide(self._variant, [piece])
                if request.wish is not None and request.wish.json_schema is not None and piece.written is not None:
                    # Left-out values could break the caller's own schema.
                    made = replace(made, output=piece.written.output)
                yield Chunk("", made)

    def answer(self, texts: Sequence[str]) -> list[Prediction]:
        """The same as `predict`, for callers without an event loop."""
        if not texts:
            return []
        return self._answering.decide(self._variant, self._fleet.probabilities([(self._variant, t) for t in texts]))

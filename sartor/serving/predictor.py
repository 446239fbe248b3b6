"""A made variant as a Predictor: calibrated probabilities, the least-cost answer, and what it cost to serve.

Knows no routes and no protocol of the wire.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sartor.core.predict import Chunk, Floats, Hop, Prediction, Request, Usage, one_chunk
from sartor.core.value import choose
from sartor.serving.engine import Work
from sartor.serving.fleet import Answered

Ask = Callable[[str, str], Awaitable[Answered]]
"""(variant digest, text) -> its answer; `Batcher.ask` is one."""


class Models(Protocol):
    """What holds the variants: a fleet here, or one in another process."""

    def probabilities(self, work: Work) -> list[Answered]:
        """One answer per (variant digest, text), in order; blocks."""
        ...


@dataclass(frozen=True)
class Answering:
    """What turns probabilities into a decision, all from the task's contract."""

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


class VariantPredictor:
    """One variant of a fleet, answering under one value function."""

    def __init__(self, fleet: Models, variant: str, answering: Answering, *, ask: Ask | None = None) -> None:
        """Bind a variant.

        Args:
            variant: its digest.
            ask: takes single questions, to gather them into batches with those of others.
        """
        self._fleet = fleet
        self._variant = variant
        self._answering = answering
        self._ask = ask

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order. The event loop stays free: models run in a thread."""
        if not requests:
            return []
        if self._ask is not None and len(requests) == 1:
            return self._decide([await self._ask(self._variant, requests[0].text)])
        return await asyncio.to_thread(self.answer, [request.text for request in requests])

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in one chunk."""
        return one_chunk(self, request)

    def answer(self, texts: Sequence[str]) -> list[Prediction]:
        """The same as `predict`, for callers without an event loop."""
        return self._decide(self._fleet.probabilities([(self._variant, text) for text in texts])) if texts else []

    def _decide(self, answers: Sequence[Answered]) -> list[Prediction]:
        answers = self._answering.reweighed(answers)
        each = [a.probabilities for a in answers]
        choice = choose(
            each[0][None, :] if len(each) == 1 else np.stack(each), self._answering.matrix, self._answering.target
        )
        rows = zip(answers, choice.answer.tolist(), choice.escalate.tolist(), choice.cost.tolist(), strict=True)
        return [self._prediction(a, index, cost, escalate=escalate) for a, index, escalate, cost in rows]

    def _prediction(self, answered: Answered, index: int, expected_cost: float, *, escalate: bool) -> Prediction:
        output = self._answering.labels[index]
        usage = Usage(cpu_seconds=answered.cpu_seconds)
        cost = answered.cpu_seconds * self._answering.unit_cost
        confidence = float(answered.probabilities[index])
        return Prediction(
            output=output,
            served_by=self._variant,
            decision="escalate" if escalate else "answer",
            probabilities=answered.probabilities,
            labels=self._answering.labels,
            confidence=confidence,
            expected_cost=expected_cost,
            out_of_scope=answered.out_of_scope,
            usage=usage,
            cost=cost,
            hops=(Hop(self._variant, output, usage, cost, confidence),),
        )

"""Ask the local model first, and somebody better where its answer isn't good enough.

By value: where asking costs less than the mistake that is to be expected, the errors of whoever is asked counted.
By threshold: where the local confidence is below it; a certificate says what errors that leaves.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sartor.core.errors import AskError
from sartor.core.predict import Chunk, Hop, Prediction, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import carry, each, failed, hops_of, opened, relay, settled
from sartor.gateway.policy import Tools, build, valid


class Params(Settings):
    """Who is first, who is second, and when."""

    local: Target
    """What is asked first."""
    to: Target
    """What is asked where that is not good enough."""
    by: Literal["value", "threshold"] = "value"
    """`value`: the task's value function decides, as `value.escalate` prices the second one."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Local answers below it are escalated (by threshold)."""
    score: Literal["confidence"] = "confidence"
    """What is compared with the threshold."""
    certificate: str = ""
    """Digest of the report that certifies the threshold; empty: nobody did."""
    out_of_scope: float | None = None
    """Local answers whose text is less like the training's than this are escalated too."""

    @model_validator(mode="after")
    def _threshold_is_there(self) -> "Params":
        if (self.by == "threshold") != (self.threshold is not None):
            raise ValueError("'threshold' is given with 'by: threshold', and only then")
        return self


@plugin
class Cascade:
    """Local first."""

    def __init__(self, params: Params, tools: Tools) -> None:
        if params.by == "value" and tools.task is not None and tools.task.value.escalate is None:
            raise AskError(
                f"The task '{tools.task.name}' does not say what asking somebody else costs, so its value function "
                "never escalates. Add value.escalate to the task, or use 'by: threshold'.",
                code="no_escalation",
                param="policy.by",
            )
        self._params = params
        self._tools = tools
        self._local, self._to = build(params.local, tools), build(params.to, tools)
        self.asks = (self._local, self._to)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order: local ones in one batch, then those that need more.

        Raises:
            SartorError: both failed.
        """
        firsts = await self._first(requests)
        answers = [first.answer for first in firsts]
        doubtful = [at for at, first in enumerate(firsts) if first.why]
        asked = await each([firsts[at] for at in doubtful], self._second)
        for at, answer in zip(doubtful, asked, strict=True):
            answers[at] = answer
        return [answer for answer in answers if answer is not None]

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The local answer in one piece, or the pieces of whoever is asked instead."""
        (first,) = await self._first([request])
        if first.answer is not None and not first.why:
            yield Chunk(first.answer.output or "", final=first.answer)
            return
        begun, started = self._tools.clock(), False
        try:
            async with opened(self._to, request) as (chunk, rest):
                if first.answer is not None and chunk.final is not None and not valid(chunk.final, self._tools):
                    best = self._best(first, *hops_of(chunk.final, "no valid answer"))
                    yield Chunk(best.output or "", final=best)
                    return
                started = True
                async for piece in relay(chunk, rest, lambda answer: settled(answer, (*first.hops, *hops_of(answer)))):
                    yield piece
        except Exception as error:
            if started:
                raise
            hops = failed(self._params.to, error, self._tools.clock() - begun)
            if first.answer is None:
                carry(error, (*first.hops, *hops))
                raise
            best = self._best(first, *hops)
            yield Chunk(best.output or "", final=best)

    async def _first(self, requests: Sequence[Request]) -> list["First"]:
        begun = self._tools.clock()
        try:
            answers = await self._local.predict(requests)
        except Exception as error:  # noqa: BLE001 - whatever broke here, the second one can still answer
            hops = failed(self._params.local, error, self._tools.clock() - begun)
            return [First(request, None, hops, "failed") for request in requests]
        return [self._judged(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _judged(self, request: Request, answer: Prediction) -> "First":
        why = self._why(answer)
        hops = hops_of(answer, why)
        return First(request, settled(answer, hops, decision="escalate" if why else "answer"), hops, why)

    def _why(self, answer: Prediction) -> str:
        """Why an answer is not good enough; '' where it is."""
        params = self._params
        if answer.output is None:
            return "no valid answer"
        if params.out_of_scope is not None and (answer.out_of_scope or 0.0) > params.out_of_scope:
            return "escalated: out of scope"
        if params.threshold is None:
            return "escalated" if answer.decision == "escalate" else ""
        return "escalated" if answer.confidence is None or answer.confidence < params.threshold else ""

    async def _second(self, first: "First") -> Prediction:
        begun = self._tools.clock()
        try:
            (answer,) = await self._to.predict([first.request])
        except Exception as error:
            hops = failed(self._params.to, error, self._tools.clock() - begun)
            if first.answer is None:
                carry(error, (*first.hops, *hops))
                raise
            return self._best(first, *hops)
        if first.answer is None or valid(answer, self._tools):
            return settled(answer, (*first.hops, *hops_of(answer)))
        return self._best(first, *hops_of(answer, "no valid answer"))

    def _best(self, first: "First", *hops: Hop) -> Prediction:
        """The local best guess, since nobody else has an answer either."""
        assert first.answer is not None
        return settled(first.answer, (*first.hops, *hops))


@dataclass(frozen=True, slots=True)
class First:
    """What the local model said about a request."""

    request: Request
    answer: Prediction | None
    """None where it failed."""
    hops: tuple[Hop, ...]
    why: str
    """Why somebody else is asked; '' where nobody has to be."""

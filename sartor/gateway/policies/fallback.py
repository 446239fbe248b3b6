"""Ask the first model; where it fails or gives no valid answer, the next one.

An answer that has begun to stream is not taken back: what fails after its first piece fails.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from pydantic import Field

from sartor.core.predict import Chunk, Hop, Prediction, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import carry, each, failed, hops_of, opened, relay, settled
from sartor.gateway.policy import Tools, build, valid


class Params(Settings):
    """Who is asked, in which order."""

    to: Annotated[tuple[Target, ...], Field(min_length=1)]
    """Names or policies, the first choice first."""


@plugin
class Fallback:
    """The first of several that answers."""

    def __init__(self, params: Params, tools: Tools) -> None:
        self._targets = params.to
        self._tools = tools
        self.asks = tuple(build(target, tools) for target in params.to)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order.

        Raises:
            SartorError: the last one's, where nobody has answered.
        """
        return await each(requests, self._one)

    async def _one(self, request: Request) -> Prediction:
        hops: list[Hop] = []
        poor: Prediction | None = None
        last = len(self.asks) - 1
        for place, (target, model) in enumerate(zip(self._targets, self.asks, strict=True)):
            begun = self._tools.clock()
            try:
                (answer,) = await model.predict([request])
            except Exception as error:
                hops.extend(failed(target, error, self._tools.clock() - begun))
                if place == last and poor is None:
                    carry(error, hops)
                    raise
                continue
            if valid(answer, self._tools):
                return settled(answer, (*hops, *hops_of(answer)))
            hops.extend(hops_of(answer, "no valid answer"))
            poor = poor or answer
        assert poor is not None
        return settled(poor, hops)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces of the first that begins to answer."""
        hops: list[Hop] = []
        last = len(self.asks) - 1
        for place, (target, model) in enumerate(zip(self._targets, self.asks, strict=True)):
            begun, started = self._tools.clock(), False
            try:
                async with opened(model, request) as (first, rest):
                    if place < last and first.final is not None and not valid(first.final, self._tools):
                        hops.extend(hops_of(first.final, "no valid answer"))
                        continue
                    started = True
                    async for chunk in relay(first, rest, lambda answer: settled(answer, (*hops, *hops_of(answer)))):
                        yield chunk
                    return
            except Exception as error:
                if started:
                    raise
                hops.extend(failed(target, error, self._tools.clock() - begun))
                if place == last:
                    carry(error, hops)
                    raise

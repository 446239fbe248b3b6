"""Ask a small model first which of two models is worth asking, then only that one.

The small model is a made variant like any other: one that answers `right` or `wrong`, whether the cheap one will be
right about a text; or one that says which of the two will be, so that a dear call is paid for what it would gain.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from pydantic import Field

from sartor.core.predict import Chunk, Hop, Prediction, Predictor, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import carry, each, failed, hops_of, opened, relay, settled
from sartor.gateway.policy import Tools, build
from sartor.gateway.unpack import messages_of


class Params(Settings):
    """The two, and who decides."""

    cheap: Target
    """What is asked where it is likely to do."""
    dear: Target
    """What is asked else."""
    by: str
    """Handle of the variant that decides, such as `cheap-is-right@live`."""
    counts: dict[str, float] = Field(default_factory=lambda: {"right": 1.0})
    """Its label -> what that label's probability counts for the cheap one, e.g. {cheap: 1, dear: -1}."""
    threshold: float = 0.5
    """Sum of these from which the cheap one is asked; chosen on validation rows."""


@plugin
class Router:
    """The cheap or the dear one, by what is expected of the cheap one."""

    def __init__(self, params: Params, tools: Tools) -> None:
        self._params = params
        self._tools = tools
        self._cheap, self._dear = build(params.cheap, tools), build(params.dear, tools)
        # The labels of the route are those of the answers, not those of the decision.
        self._by = tools.target(params.by)
        self.asks = (self._by, self._cheap, self._dear)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order."""
        return await each(requests, self._one)

    async def _one(self, request: Request) -> Prediction:
        model, hops = await self._choose(request)
        try:
            (answer,) = await model.predict([request])
        except Exception as error:
            carry(error, (*hops, *failed(self._params.cheap if model is self._cheap else self._params.dear, error)))
            raise
        return settled(answer, (*hops, *hops_of(answer)))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces of the one that was chosen."""
        model, hops = await self._choose(request)
        async with opened(model, request) as (first, rest):
            async for chunk in relay(first, rest, lambda answer: settled(answer, (*hops, *hops_of(answer)))):
                yield chunk

    async def _choose(self, request: Request) -> tuple[Predictor, tuple[Hop, ...]]:
        begun = self._tools.clock()
        try:
            (guess,) = await self._by.predict([replace(request, text=request.text or _asked_in(request))])
        except Exception as error:  # noqa: BLE001 - without advice the dear one is asked, whatever went wrong
            return self._dear, failed(self._params.by, error, self._tools.clock() - begun)
        cheap = self._score(guess) >= self._params.threshold
        return (self._cheap if cheap else self._dear), hops_of(guess, f"routed: {'cheap' if cheap else 'dear'}")

    def _score(self, guess: Prediction) -> float:
        """What speaks for the cheap one; without any probability nothing does."""
        if guess.probabilities is not None:
            shares: dict[str, float] = dict(zip(guess.labels, guess.probabilities.tolist(), strict=True))
        elif guess.output is not None and guess.confidence is not None:
            shares = {guess.output: guess.confidence}
        else:
            return float("-inf")
        return sum(count * shares.get(label, 0.0) for label, count in self._params.counts.items())


def _asked_in(request: Request) -> str:
    """What a chat asks, where no task says where its input stands: what the user said last."""
    said = messages_of(request.chat or {})
    return next((text for role, text in reversed(said) if role == "user" and text is not None), "")

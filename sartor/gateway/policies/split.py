"""Divide the traffic between several models by fixed shares; whoever asks stays on one side."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field, model_validator

from sartor.core.predict import Chunk, Prediction, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import each, whole
from sartor.gateway.policy import Tools, build, side


class Arm(Settings):
    """One side."""

    to: Target
    share: Annotated[float, Field(gt=0, le=1)]
    """Of those who ask."""
    name: Annotated[str, Field(min_length=1, max_length=60)]
    """Under which its exchanges are compared."""


class Params(Settings):
    """The sides."""

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    """Their shares add up to 1."""

    @model_validator(mode="after")
    def _sides_fit(self) -> "Params":
        total = sum(arm.share for arm in self.arms)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the arms add up to {total:g}, not to 1")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("two arms have the same name")
        return self


@plugin
class Split:
    """One of several, drawn for each who asks."""

    def __init__(self, params: Params, tools: Tools) -> None:
        self._arms = params.arms
        self._salt = "/".join([tools.route, "split", *(arm.name for arm in params.arms)])
        self.asks = tuple(build(arm.to, tools) for arm in params.arms)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order, with its arm and the chance of being there."""
        return await each(requests, self._one)

    async def _one(self, request: Request) -> Prediction:
        place = self._place(request)
        (answer,) = await self.asks[place].predict([request])
        return self._told(answer, place)

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces of the side on which the request is."""
        place = self._place(request)
        return whole(self.asks[place], request, lambda answer: self._told(answer, place))

    def _place(self, request: Request) -> int:
        drawn = side(self._salt, request)
        for place, arm in enumerate(self._arms):
            drawn -= arm.share
            if drawn < 0:
                return place
        return len(self._arms) - 1

    def _told(self, answer: Prediction, place: int) -> Prediction:
        return replace(answer, arm=self._arms[place].name, propensity=self._arms[place].share)

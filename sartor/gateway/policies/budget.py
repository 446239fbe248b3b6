"""Spend up to a sum of money in a day or a month, then ask somebody cheaper, or refuse.

Money is set aside before a model is asked and what was not spent is given back, so that the sum holds under many
requests at once.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sartor.core.errors import RateError
from sartor.core.predict import Chunk, Prediction, Predictor, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import each, hops_of, opened, relay, settled
from sartor.gateway.policy import Tools, build

Sum = Annotated[float, Field(gt=0)]


class Params(Settings):
    """How much, for whom, and what then."""

    of: Target
    """What is asked while there is money."""
    then: Target = ""
    """What is asked when there is none left; '' refuses."""
    money: Sum
    """In the currency of the gateway."""
    period: Literal["day", "month"] = "day"
    """In UTC."""
    holder: Literal["tenant", "key", "route"] = "route"
    """Whose money it is."""
    set_aside: Sum | None = None
    """Most that one request may cost; default a hundredth of `money`."""

    @model_validator(mode="after")
    def _room_for_one(self) -> "Params":
        if self.set_aside is not None and self.set_aside > self.money:
            raise ValueError("'set_aside' is more than 'money': nothing could ever be asked")
        return self


@plugin
class Budget:
    """One model while there is money, another one after."""

    def __init__(self, params: Params, tools: Tools) -> None:
        self._params = params
        self._tools = tools
        self._of = build(params.of, tools)
        self._then = build(params.then, tools) if params.then else None
        self._taken = params.set_aside or params.money / 100
        self.asks: tuple[Predictor, ...] = (self._of, self._then) if self._then else (self._of,)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order.

        Raises:
            RateError: the money is gone and nobody is asked instead.
        """
        return await each(requests, self._one)

    async def _one(self, request: Request) -> Prediction:
        holder = self._holder(request)
        if not await self._take(holder):
            (answer,) = await self._instead().predict([request])
            return self._cheaper(answer)
        # A request that is cut tells no cost: what was set aside then counts as spent.
        spent = self._taken
        try:
            (answer,) = await self._of.predict([request])
            spent = answer.cost
        except Exception:
            spent = 0.0
            raise
        finally:
            self._settle(holder, spent)
        return answer

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces of whoever is asked."""
        holder = self._holder(request)
        taken = await self._take(holder)
        model, finish = (self._of, _as_it_is) if taken else (self._instead(), self._cheaper)
        spent, begun = self._taken, False
        try:
            async with opened(model, request) as (first, rest):
                begun = True
                async for chunk in relay(first, rest, finish):
                    spent = spent if chunk.final is None else chunk.final.cost
                    yield chunk
        except Exception:
            spent = spent if begun else 0.0
            raise
        finally:
            if taken:
                self._settle(holder, spent)

    async def _take(self, holder: str) -> bool:
        return await self._tools.purse.take(holder, self._params.period, self._params.money, self._taken)

    def _settle(self, holder: str, spent: float) -> None:
        self._tools.purse.settle(holder, self._params.period, self._taken, spent)

    def _holder(self, request: Request) -> str:
        kind = self._params.holder
        name = {"tenant": request.tenant, "key": request.key, "route": ""}[kind]
        return f"{self._tools.route}/{kind}/{name}"

    def _instead(self) -> Predictor:
        if self._then is not None:
            return self._then
        params = self._params
        raise RateError(
            f"The budget of {params.money:g} a {params.period} is spent. Wait for the next {params.period} (UTC), or "
            "have it raised.",
            retry_after=_until_next(params.period),
            code="budget_spent",
        )

    def _cheaper(self, answer: Prediction) -> Prediction:
        return settled(answer, hops_of(answer, "budget spent"))


def _as_it_is(answer: Prediction) -> Prediction:
    return answer


def _until_next(period: str) -> float:
    """Seconds until the next day or month begins, in UTC."""
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return (today + timedelta(days=1) - now).total_seconds()
    return ((today.replace(day=1) + timedelta(days=32)).replace(day=1) - now).total_seconds()

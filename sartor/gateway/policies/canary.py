"""Let a new target answer a share of those who ask, drawn by chance, and stop it at once where it fails or is slow.

Whether its answers are better is for statistics over many hours to say. What these guards see, they see within
seconds, in this process: a canary that has tripped answers nobody until it is declared anew.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from math import sqrt
from statistics import median
from typing import Annotated, Any

from pydantic import Field

from sartor.core.predict import Chunk, Hop, Prediction, Predictor, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import askers_fault, carry, each, failed, hops_of, opened, relay, settled
from sartor.gateway.policy import Tools, build, side, valid

RECENT = 200
"""Requests of each side that the guards look at."""
CHANCE = 4.0
"""Standard errors by which more requests must have failed than in the control: the guards look at every request."""


class Guards(Settings):
    """When a canary is stopped at once."""

    error_rate: Annotated[float, Field(gt=0, le=1)] | None = 0.05
    """Share of failed requests by which it may be worse than the control."""
    latency_factor: Annotated[float, Field(gt=1)] | None = 3.0
    """How many times the control's median time its own may be."""
    latency_seconds: Annotated[float, Field(ge=0)] = 0.1
    """By which it must be slower as well: of a millisecond thrice is nothing."""
    min_requests: Annotated[int, Field(ge=1, le=RECENT)] = 20
    """Of the canary, before which nothing is judged; of the control too, before times are compared."""


class Params(Settings):
    """The two sides."""

    live: Target
    """What answers the others."""
    canary: Target
    """What is tried."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of those who ask; who is in a small share stays in a larger one."""
    guards: Guards = Guards()
    """What stops it at once."""


class Side:
    """What happened lately on one side."""

    def __init__(self) -> None:
        self._recent: deque[tuple[bool, float]] = deque(maxlen=RECENT)
        self._failed = 0

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, seconds: float, *, failed: bool) -> None:
        """Count one request."""
        if len(self._recent) == RECENT:
            self._failed -= self._recent[0][0]
        self._recent.append((failed, seconds))
        self._failed += failed

    @property
    def error_rate(self) -> float:
        """Share of failed requests."""
        return self._failed / len(self._recent) if self._recent else 0.0

    @property
    def seconds(self) -> float:
        """Median time of those that were answered; 0 where none was."""
        answered = [seconds for failed, seconds in self._recent if not failed]
        return median(answered) if answered else 0.0


@plugin
class Canary:
    """A random share for the new one."""

    def __init__(self, params: Params, tools: Tools) -> None:
        self._params = params
        self._tools = tools
        self._live, self._canary = build(params.live, tools), build(params.canary, tools)
        self._salt = f"{tools.route}/canary/{params.canary}"
        self._sides = {"control": Side(), "canary": Side()}
        self.asks = (self._live, self._canary)
        self.tripped = ""
        """Why it was stopped; '' while it was not. The keeper of the route looks here."""

    def reset(self) -> None:
        """Let it answer again, and forget what happened."""
        self.tripped = ""
        self._sides = {"control": Side(), "canary": Side()}

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order, with its arm and the chance of being there."""
        return await each(requests, self._one)

    async def _one(self, request: Request) -> Prediction:
        drawn = self._drawn(request)
        arm = drawn.get("arm", "control")
        begun = self._tools.clock()
        try:
            (answer,) = await (self._canary if arm == "canary" else self._live).predict([request])
        except Exception as error:
            if askers_fault(error):
                raise
            seconds = self._tools.clock() - begun
            self._count(arm, seconds, failed=True)
            if arm == "control":
                raise
            # Who was drawn pays nothing for it; the failed hop stays in the account of the canary's side.
            return await self._rescued(request, failed(self._params.canary, error, seconds), drawn)
        self._count(arm, self._tools.clock() - begun, failed=not valid(answer, self._tools))
        return settled(answer, hops_of(answer), **drawn)

    async def _rescued(self, request: Request, hops: tuple[Hop, ...], drawn: dict[str, Any]) -> Prediction:
        """The live one's answer, after the canary has failed."""
        try:
            (answer,) = await self._live.predict([request])
        except Exception as error:
            carry(error, (*hops, *failed(self._params.live, error)))
            raise
        return settled(answer, (*hops, *hops_of(answer)), **drawn)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces of the side that was drawn; those of the live one where the canary fails before its first."""
        drawn = self._drawn(request)
        hops: tuple[Hop, ...] = ()
        if drawn.get("arm") == "canary":
            begun, started = self._tools.clock(), False
            try:
                async with aclosing(self._side(self._canary, "canary", request, drawn)) as pieces:
                    async for chunk in pieces:
                        started = True
                        yield chunk
            except Exception as error:
                if started or askers_fault(error):
                    raise
                hops = failed(self._params.canary, error, self._tools.clock() - begun)
            else:
                return
        async with aclosing(self._side(self._live, "" if hops else "control", request, drawn, hops)) as pieces:
            async for chunk in pieces:
                yield chunk

    async def _side(
        self, model: Predictor, arm: str, request: Request, drawn: dict[str, Any], hops: tuple[Hop, ...] = ()
    ) -> AsyncGenerator[Chunk, None]:
        """The pieces of one side; its time is that to the first one. Counted on an arm, if one is named."""
        begun, broken = self._tools.clock(), False
        seconds: float | None = None
        try:
            async with opened(model, request) as (first, rest):
                seconds = self._tools.clock() - begun
                async for chunk in relay(
                    first, rest, lambda answer: settled(answer, (*hops, *hops_of(answer)), **drawn)
                ):
                    yield chunk
        except Exception as error:
            broken = not askers_fault(error)
            raise
        finally:
            if arm and (broken or seconds is not None):
                self._count(arm, self._tools.clock() - begun if seconds is None else seconds, failed=broken)

    def _drawn(self, request: Request) -> dict[str, Any]:
        """Arm and propensity of a request; nothing where nothing is drawn any more."""
        if self.tripped:
            return {}
        share = self._params.share
        if side(self._salt, request) < share:
            return {"arm": "canary", "propensity": share}
        return {"arm": "control", "propensity": 1 - share}

    def _count(self, arm: str, seconds: float, *, failed: bool) -> None:
        """Count one request, and look at the guards."""
        self._sides[arm].add(seconds, failed=failed)
        if arm == "canary" and not self.tripped:
            self.tripped = self._worse()

    def _noise(self) -> float:
        """Standard error of the difference of the failed shares."""
        canary, control = self._sides["canary"], self._sides["control"]
        sizes = len(canary), max(len(control), self._params.guards.min_requests)
        share = (canary.error_rate * sizes[0] + control.error_rate * sizes[1]) / sum(sizes)
        return sqrt(share * (1 - share) * (1 / sizes[0] + 1 / sizes[1]))

    def _worse(self) -> str:
        guards, canary, control = self._params.guards, self._sides["canary"], self._sides["control"]
        if len(canary) < guards.min_requests:
            return ""
        worse = canary.error_rate - control.error_rate
        if guards.error_rate is not None and worse > max(guards.error_rate, CHANCE * self._noise()):
            return (
                f"error_rate: {canary.error_rate:.1%} of the last {len(canary)} requests failed, "
                f"{control.error_rate:.1%} of the control's {len(control)}"
            )
        if guards.latency_factor is None or len(control) < guards.min_requests:
            return ""
        slower = canary.seconds - control.seconds
        if slower > guards.latency_seconds and canary.seconds > guards.latency_factor * control.seconds > 0:
            return f"latency: a median of {canary.seconds:.3g} s, {control.seconds:.3g} s in the control"
        return ""

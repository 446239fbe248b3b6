"""Let a second target see real requests and answer nobody. The live answer never waits for it.

A shadow starts when the live answer is there, runs beside, and is dropped where there is no room. What it said is
booked as an exchange of its own. The counts reconcile at every moment: wanted = sent + dropped, and
sent = received + failed + in flight.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sartor.core.predict import Chunk, Prediction, Request
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import opened
from sartor.gateway.policy import Tools, build, draw


class Params(Settings):
    """Who answers, and who watches."""

    of: Target
    """What answers."""
    beside: Target
    """What only watches."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the requests that it sees."""


@dataclass
class Counts:
    """What became of the requests that were to be shadowed."""

    wanted: int = 0
    sent: int = 0
    dropped: int = 0
    received: int = 0
    failed: int = 0

    @property
    def in_flight(self) -> int:
        """Sent and not yet answered."""
        return self.sent - self.received - self.failed


@plugin
class Shadow:
    """The live answer, and a second opinion for the record."""

    def __init__(self, params: Params, tools: Tools) -> None:
        self._params = params
        self._tools = tools
        self._of, self._beside = build(params.of, tools), build(params.beside, tools)
        self.asks = (self._of, self._beside)
        self.counts = Counts()

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The live predictions, one per request, in order."""
        answers = await self._of.predict(requests)
        for request in requests:
            self._send(request)
        return answers

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The live pieces."""
        async with opened(self._of, request) as (first, rest):
            yield first
            async for chunk in rest:
                yield chunk
        self._send(request)

    def _send(self, request: Request) -> None:
        if draw(f"{self._tools.route}/shadow", request.id) >= self._params.share:
            return
        self.counts.wanted += 1
        work = self._ask(request)
        if self._tools.background(work):
            self.counts.sent += 1
        else:
            self.counts.dropped += 1
            work.close()

    async def _ask(self, request: Request) -> None:
        said: Prediction | Exception
        try:
            (said,) = await self._beside.predict([request])
        except Exception as error:  # noqa: BLE001 - how a shadow failed is what there is to know about it
            said = error
        except BaseException:
            self.counts.failed += 1
            raise
        if isinstance(said, Prediction):
            self.counts.received += 1
        else:
            self.counts.failed += 1
        self._tools.shadowed(request, said)

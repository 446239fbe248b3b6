"""Give an answer again that was given before, to the same question, or to one of nearly the same meaning.

`exact`: the same tenant sent the same body, but for fields that do not bear on the answer. `meaning`: the same tenant
asked something whose embedding is near; some of these hits are asked anyway, which measures how often they are wrong.
Only whole, good answers are kept, in memory of this process, so many and no more.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from sartor.core.errors import AskError, SartorError
from sartor.core.predict import Chunk, Hop, Prediction, Request, Usage
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.hops import each, hops_of, opened, settled
from sartor.gateway.policy import Tools, build, draw, valid
from sartor.gateway.remembered import Kept, Near, Recent, body_key, complete

LONGEST = 10_000
"""Pieces of a stream that is still kept."""


class Params(Settings):
    """What is kept, and for how long."""

    of: Target
    """Who is asked what is not known yet."""
    by: Literal["exact", "meaning"] = "exact"
    """When two requests are the same: word for word, or in meaning."""
    seconds: Annotated[float, Field(gt=0)] = 3600.0
    """After which an answer is asked for again."""
    entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Most answers kept; the ones not used for longest go first (by meaning: the oldest)."""
    megabytes: Annotated[float, Field(gt=0)] = 64.0
    """Most memory of the answers kept (exact)."""
    distance: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Cosine distance up to which two questions mean the same (by meaning)."""
    base: str = "minilm"
    """Base model whose embeddings are compared (by meaning)."""
    check_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Of the hits that are asked anyway, to compare (by meaning)."""


@dataclass
class Counts:
    """What came of the requests."""

    hits: int = 0
    misses: int = 0
    agree: int = 0
    """Checked hits whose answer was the same when asked again."""
    disagree: int = 0


@plugin
class Cache:
    """Known answers first."""

    def __init__(self, params: Params, tools: Tools) -> None:
        if params.by == "meaning" and tools.task is None:
            raise AskError(
                "A cache by meaning compares the texts of a task, and this route passes chats on as they are. Name its "
                "task, or use 'by: exact'.",
                code="no_meaning",
                param="policy.by",
            )
        self._params = params
        self._tools = tools
        self._of = build(params.of, tools)
        self._recent = Recent(params.entries, int(params.megabytes * 1_000_000), params.seconds)
        self._near = Near(params.entries, params.seconds)
        self.asks = (self._of,)
        self.counts = Counts()

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in order; a known one costs nothing."""
        return await each(requests, self._by_meaning if self._params.by == "meaning" else self._by_body)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces as they came the first time, or come now."""
        if self._params.by == "meaning":
            answer = await self._by_meaning(request)
            yield Chunk(answer.output or "", final=answer)
            return
        key, now = body_key(request, stream=True), self._tools.clock()
        known = self._recent.get(key, now)
        if known is not None:
            self.counts.hits += 1
            for chunk in known.chunks:
                yield chunk if chunk.final is None else replace(chunk, final=_again(chunk.final))
            return
        self.counts.misses += 1
        chunks: list[Chunk] = []
        async with opened(self._of, request) as (first, rest):
            yield first
            chunks.append(first)
            async for chunk in rest:
                yield chunk
                if len(chunks) <= LONGEST:
                    chunks.append(chunk)
        final = chunks[-1].final
        if final is not None and len(chunks) <= LONGEST and self._good(final):
            self._recent.put(key, Kept(final, tuple(chunks)), now)

    async def _by_body(self, request: Request) -> Prediction:
        key, now = body_key(request, stream=False), self._tools.clock()
        known = self._recent.get(key, now)
        if known is not None:
            self.counts.hits += 1
            return _again(known.answer)
        self.counts.misses += 1
        (answer,) = await self._of.predict([request])
        if self._good(answer):
            self._recent.put(key, Kept(answer), now)
        return answer

    async def _by_meaning(self, request: Request) -> Prediction:
        if request.wish is not None:  # a text of another length or form is another answer
            (answer,) = await self._of.predict([request])
            return answer
        params, now = self._params, self._tools.clock()
        assert self._tools.embed is not None
        try:
            (vector,) = await self._tools.embed(params.base, [request.text])
        except SartorError:
            # Without the base nothing is found, and everything is asked.
            self.counts.misses += 1
            (answer,) = await self._of.predict([request])
            return answer
        known = self._near.get(request.tenant, vector, params.distance, now)
        if known is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
            if draw(f"{self._tools.route}/cache", request.id) >= params.check_share:
                return _again(known)
        (answer,) = await self._of.predict([request])
        if answer.output is not None and self._good(answer):
            # The label alone is kept: the next one may want it in another form.
            self._near.put(request.tenant, vector, replace(answer, reply=None), now)
        if known is None:
            return answer
        if answer.output == known.output:
            self.counts.agree += 1
        else:
            self.counts.disagree += 1
        return settled(answer, (*_again(known, "checked").hops, *hops_of(answer)))

    def _good(self, answer: Prediction) -> bool:
        return answer.decision == "answer" and valid(answer, self._tools) and complete(answer.reply)


def _again(answer: Prediction, why: str = "cached") -> Prediction:
    """A known answer: it costs nothing and names who gave it."""
    hop = Hop(answer.served_by, answer.output, Usage(), 0.0, confidence=answer.confidence, why=why, kind="cache")
    return settled(answer, (hop,), arm="", propensity=None)

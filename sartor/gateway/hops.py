"""The account of an answer: every model that was asked for it stays in its hops, and the costs are their sum.

Knows no policy. What policies do with one request, with many, and with a stream is told apart here once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, TypeVar

from sartor.core.errors import AskError, SartorError, UpstreamError
from sartor.core.predict import Chunk, Hop, Prediction, Predictor, Request, Usage
from sartor.core.route import Target

T = TypeVar("T")

AT_ONCE = 32
"""Requests of one batch that are under way at the same time."""


def hops_of(answer: Prediction, why: str = "") -> tuple[Hop, ...]:
    """What was asked for this answer.

    Args:
        why: said of the last hop, the one that gave it.
    """
    hops = answer.hops or (
        Hop(answer.served_by, answer.output, answer.usage, answer.cost, confidence=answer.confidence),
    )
    if not why:
        return hops
    last = hops[-1]
    return (*hops[:-1], replace(last, why=f"{last.why}, {why}" if last.why else why))


def settled(answer: Prediction, hops: Sequence[Hop], **changes: Any) -> Prediction:
    """The answer with all that was asked for it, and what that cost together."""
    if len(hops) == 1:
        return replace(answer, hops=tuple(hops), cost=hops[0].cost, usage=hops[0].usage, **changes)
    usages = [hop.usage for hop in hops]
    usage = Usage(
        sum(u.input_tokens for u in usages),
        sum(u.output_tokens for u in usages),
        sum(u.cpu_seconds for u in usages),
        sum(u.cached_tokens for u in usages),
    )
    return replace(answer, hops=tuple(hops), cost=sum(hop.cost for hop in hops), usage=usage, **changes)


def failed(target: Target, error: BaseException, seconds: float = 0.0) -> tuple[Hop, ...]:
    """A model that was asked and failed; what it may have spent itself nobody told."""
    if isinstance(error, SartorError) and error.hops:
        return error.hops
    name = title(target)
    kind: Literal["local", "upstream"] = "local" if "@" in name else "upstream"
    return (Hop(name, None, Usage(), 0.0, why=f"failed: {reason(error)}", seconds=seconds, kind=kind),)


def carry(error: BaseException, hops: Sequence[Hop]) -> None:
    """Give a failure that goes out the account of all that was asked before it."""
    if isinstance(error, SartorError):
        error.hops = tuple(hops)


def askers_fault(error: BaseException) -> bool:
    """Whether whoever asked did something wrong, so that no model is to blame."""
    return isinstance(error, AskError) or (isinstance(error, UpstreamError) and error.http_status in (400, 413, 422))


def reason(error: BaseException) -> str:
    """Why something failed, in a word."""
    return error.code if isinstance(error, SartorError) else type(error).__name__


def title(target: Target) -> str:
    """What a target is called."""
    return target if isinstance(target, str) else str(target.get("use", "policy"))


async def each(asked: Sequence[T], answer: Callable[[T], Awaitable[Prediction]]) -> list[Prediction]:
    """One answer for each that is asked, in order; a few at a time."""
    if len(asked) == 1:
        return [await answer(asked[0])]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> Prediction:
        async with gate:
            return await answer(item)

    return list(await asyncio.gather(*(one(item) for item in asked)))


@asynccontextmanager
async def opened(predictor: Predictor, request: Request) -> AsyncIterator[tuple[Chunk, AsyncIterator[Chunk]]]:
    """A stream whose first piece has come, and the rest of it. Closed when left, so that an upstream is let go.

    Raises:
        SartorError: it ended without a piece; or whatever the predictor raises before its first one.
    """
    stream = predictor.stream(request)
    try:
        first = await anext(stream, None)
        if first is None:
            raise SartorError("A model's answer ended before it began. Ask again.", code="empty_answer")
        yield first, stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


async def relay(
    first: Chunk, rest: AsyncIterator[Chunk], finish: Callable[[Prediction], Prediction]
) -> AsyncIterator[Chunk]:
    """The pieces of a stream as they are, the last one with its prediction finished."""
    yield _finished(first, finish)
    async for chunk in rest:
        yield _finished(chunk, finish)


async def whole(
    predictor: Predictor, request: Request, finish: Callable[[Prediction], Prediction]
) -> AsyncIterator[Chunk]:
    """The stream of a predictor, the last piece with its prediction finished."""
    async with opened(predictor, request) as (first, rest):
        async for chunk in relay(first, rest, finish):
            yield chunk


def _finished(chunk: Chunk, finish: Callable[[Prediction], Prediction]) -> Chunk:
    return chunk if chunk.final is None else replace(chunk, final=finish(chunk.final))

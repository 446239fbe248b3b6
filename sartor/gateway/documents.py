"""A model whose answers are read as the documents that a task wants: a giant writes them in any form, with words for
"no value" and with a fence around.

What can't be read is no answer. Knows no schema: whoever builds a route says what can be read.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from sartor.core.errors import AskError
from sartor.core.predict import Chunk, Prediction, Predictor, Request
from sartor.gateway.answers import FENCE
from sartor.gateway.hops import hops_of, opened

Reads = Callable[[str], str]
"""Brings an answer to its one form; raises AskError where it is none."""


@dataclass(frozen=True)
class Documents:
    """A model, its answers in the task's one form."""

    model: Predictor
    reads: Reads

    @property
    def asks(self) -> tuple[Predictor, ...]:
        """What it asks."""
        return (self.model,)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The answers, `output` a document or None."""
        return [self._read(answer) for answer in await self.model.predict(requests)]

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Our own pieces come as they are written; an upstream's answer comes whole, since it has to be read first."""
        async with opened(self.model, request) as (first, rest):
            async for chunk in _after(first, rest):
                if chunk.final is not None:
                    answer = self._read(chunk.final)
                    said = chunk.text if chunk.final.reply is None else answer.output or ""
                    yield Chunk(said, final=answer)
                elif not chunk.raw:
                    yield chunk

    def _read(self, answer: Prediction) -> Prediction:
        """What is ours is in its form already, and is not read again."""
        if answer.reply is None:
            return answer
        said = (answer.output or "").strip()
        if found := FENCE.match(said):
            said = found[1].strip()
        *before, last = hops_of(answer)
        try:
            read = self.reads(said)
        except AskError:
            return replace(answer, output=None, hops=(*before, replace(last, output=None)))
        return replace(answer, output=read, reply=None, hops=(*before, replace(last, output=read)))


async def _after(first: Chunk, rest: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    yield first
    async for chunk in rest:
        yield chunk

"""A base's embeddings as a Predictor, in the form of OpenAI's /v1/embeddings. Knows no routes and no store."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Chunk, Floats, Hop, Prediction, Request, Usage, one_chunk

MOST_TEXTS = 2048
"""Of one request, as OpenAI allows."""

Embed = Callable[[Sequence[str]], Awaitable[Floats]]
"""Texts -> (texts, d) L2-normalised embeddings."""


@dataclass(frozen=True)
class EmbeddingPredictor:
    """Answers embedding requests from a base that lives here."""

    name: str
    embed: Embed
    second_price: float = 0.0
    """Money per CPU second."""

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, its `reply` being OpenAI's list of embeddings."""
        return [await self._answer(request) for request in requests]

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in one chunk."""
        return one_chunk(self, request)

    async def _answer(self, request: Request) -> Prediction:
        body = {"input": request.text} if request.chat is None else request.chat
        texts = texts_of(body)
        form = body.get("encoding_format") or "float"
        if form not in ("float", "base64"):
            raise _bad(f"encoding_format {form!r} is neither 'float' nor 'base64'", "encoding_format")
        if body.get("dimensions"):
            raise _bad(f"'{self.name}' can't shorten its embeddings; leave 'dimensions' out", "dimensions")
        begun = time.perf_counter()
        vectors = np.asarray(await self.embed(texts), dtype=np.float32)
        seconds = time.perf_counter() - begun
        # Another thread or process computes: the time waited stands for its CPU seconds.
        usage = Usage(input_tokens=_tokens(texts), cpu_seconds=seconds)
        cost = usage.cpu_seconds * self.second_price
        hop = Hop(self.name, None, usage, cost, seconds=seconds)
        reply = await asyncio.to_thread(_reply, self.name, vectors, form, usage.input_tokens)
        return Prediction(output=None, served_by=self.name, usage=usage, cost=cost, hops=(hop,), reply=reply)


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """The texts of an embeddings request.

    Raises:
        AskError: there are none, too many, or they are token numbers, which mean something to one tokenizer only.
    """
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise _bad("'input' must be a text or a list of texts (not of token numbers)", "input")
    if len(texts) > MOST_TEXTS:
        raise _bad(f"'input' has {len(texts)} texts; send at most {MOST_TEXTS} at once", "input")
    return list(texts)


def _reply(name: str, vectors: Floats, form: str, tokens: int) -> bytes:
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if form == "base64" else row.tolist(),
        }
        for i, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": name, "usage": usage}, separators=(",", ":")).encode()


def _tokens(texts: Sequence[str]) -> int:
    """Words, as a stand-in for tokens: what was billed elsewhere by token is free of tokens here."""
    return sum(len(text.split()) for text in texts)


def _bad(what: str, param: str) -> AskError:
    return AskError(f"The embeddings request is wrong: {what}.", code="bad_request", param=param)

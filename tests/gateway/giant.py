"""A giant as a predictor: answers chats, tools, streams and embeddings in OpenAI's own bytes, as an upstream does."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sartor.core.errors import SartorError, UpstreamError
from sartor.core.predict import Chunk, Hop, Prediction, Request, Usage

USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
HEAD = {"id": "chatcmpl-theirs", "created": 1, "model": "giant-1"}
CALL = {"id": "call_7", "type": "function", "function": {"name": "route", "arguments": '{"to": "cards"}'}}
COST = 0.0025


def event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


@dataclass
class Giant:
    """Says "Hello, world" in three pieces, or calls the first tool."""

    seen: list[Request] = field(default_factory=list)
    error: SartorError | None = None
    """Raised at once."""
    breaks_after: int | None = None
    """Pieces of a stream, after which it breaks."""
    stuck_after: int | None = None
    """Pieces of a stream, after which nothing comes any more."""
    closed: int = 0
    fails_first: int = 0

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Request) -> Prediction:
        self.seen.append(request)
        if self.fails_first > 0:
            self.fails_first -= 1
            raise UpstreamError("busy", retryable=True, status=503, retry_after=0.01)
        if self.error is not None:
            raise self.error
        return self.prediction(self.reply(request))

    def prediction(self, reply: dict[str, Any], why: str = "", text: str = "Hello, world") -> Prediction:
        usage = Usage(11, 3)
        hop = Hop("giant", text, usage, COST, why=why, seconds=0.01, kind="upstream")
        return Prediction(text, "giant", usage=usage, cost=COST, hops=(hop,), reply=json.dumps(reply).encode())

    def reply(self, request: Request) -> dict[str, Any]:
        chat = dict(request.chat or {})
        if request.endpoint == "embeddings":
            item = {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}
            usage = {"prompt_tokens": 11, "total_tokens": 11}
            return {"object": "list", "data": [item], "model": "giant-e", "usage": usage}
        if request.endpoint == "completions":
            choice = {"index": 0, "text": "Hello, world", "logprobs": None, "finish_reason": "stop"}
            return {**HEAD, "object": "text_completion", "choices": [choice], "usage": USAGE}
        message: dict[str, Any] = {"role": "assistant", "content": "Hello, world", "refusal": None}
        if chat.get("tools"):
            message |= {"content": None, "tool_calls": [CALL]}
        finish = "tool_calls" if chat.get("tools") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        whole = self.answer(request)
        try:
            for number, (text, raw) in enumerate(self.pieces(request)):
                if number == self.stuck_after:
                    await asyncio.sleep(60)
                if number == self.breaks_after:
                    yield Chunk("", final=self.prediction(self.reply(request), "failed: upstream_closed", "Hello"))
                    raise UpstreamError(
                        "The upstream 'giant' ended too early.", retryable=False, code="upstream_closed"
                    )
                yield Chunk(text, raw=raw)
                await asyncio.sleep(0)
            usage = {**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
            yield Chunk("", final=whole, raw=event(usage))
        except asyncio.CancelledError as gone:
            gone.hops = self.prediction({}, "client gone", "Hello").hops  # type: ignore[attr-defined]
            raise
        finally:
            self.closed += 1

    def pieces(self, request: Request) -> list[tuple[str, bytes]]:
        head = {**HEAD, "object": "chat.completion.chunk"}
        if request.endpoint == "completions":
            head = {**HEAD, "object": "text_completion"}
            return [(t, event(head | {"choices": [{"index": 0, "text": t}]})) for t in ("Hello", ", ", "world")]
        deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
        if (request.chat or {}).get("tools"):
            deltas += [({"tool_calls": [{"index": 0, **CALL}]}, None), ({}, "tool_calls")]
        else:
            deltas += [*(({"content": t}, None) for t in ("Hello", ", ", "world")), ({}, "stop")]
        found = []
        for delta, finish in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            found.append((delta.get("content") or "", event(head | {"choices": [choice]})))
        return found

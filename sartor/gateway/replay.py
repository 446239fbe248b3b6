"""Recorded answers of other models, served over OpenAI's protocol: whole chains run on them, calling nobody.

A request is answered by the text that stands in its last user message, after the time that the answer took or is
declared to take. A text without a recorded answer is an error, never a guess.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from sartor.core.errors import AskError, MethodError, NotFoundError, unknown
from sartor.core.predict import Usage
from sartor.gateway import openai
from sartor.gateway.answers import form_of
from sartor.gateway.envelope import JSON, error_response
from sartor.gateway.recorded import Answered, Book
from sartor.gateway.strict_json import read_object
from sartor.gateway.unpack import messages_of
from sartor.gateway.wire.http import Request, Response

ADDRESSES = ("/v1/chat/completions", "/v1/completions", "/v1/models")
DEPTH = 64
CHARACTERS = 4
"""Of a token, where none were counted."""
FIRST_SHARE = 0.5
"""Of the time of an answer that passes before its first word, in streams."""


@dataclass
class ReplayServer:
    """The handler of every request, for `wire.server.serve`."""

    book: Book
    latency: float = 0.0
    """Seconds that an answer takes, where none were recorded."""
    prompt_tokens: int | None = None
    """Of every request; None: recorded, or counted from the prompt."""
    find: Callable[[Mapping[str, Any]], str | None] = lambda chat: None  # noqa: ARG005
    """The input inside a request, where a task says how it is found."""
    answered: dict[str, int] = field(default_factory=dict)
    """Model -> requests that it answered."""

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            path = request.path
            if path == "/v1/models" and request.method == "GET":
                listed = [openai.model_object(name, 0, {}) for name in self.book.models]
                return Response(200, [JSON], orjson.dumps(openai.model_list(listed)))
            if path not in ADDRESSES:
                raise unknown("address", path[:200], ADDRESSES)
            if path == "/v1/models" or request.method != "POST":
                raise MethodError(f"'{path}' does not take {request.method[:20]}.", code="method_not_allowed")
            return await self._answer(read_object(request.body, depth=DEPTH), legacy=path == "/v1/completions")
        except Exception as error:  # noqa: BLE001 - put into OpenAI's form, whatever it is
            return error_response(error)

    async def _answer(self, chat: Mapping[str, Any], *, legacy: bool) -> Response:
        model, stream, usage_wanted = openai.read_model(chat)
        answer = self._look_up(chat, model)
        usage = self._usage(chat, answer)
        seconds = self.latency if answer.seconds is None else answer.seconds
        self.answered[model] = self.answered.get(model, 0) + 1
        ident = f"chatcmpl-{os.urandom(12).hex()}"
        if legacy:
            completed = openai.text_completion(ident, int(time.time()), model, answer.text)
        else:
            message, finish = _message(chat, answer.text, ident)
            completed = openai.completion(ident, int(time.time()), model, message, finish)
        counted = openai.usage_object(usage)
        if not stream:
            await asyncio.sleep(seconds)
            return Response(200, [JSON], orjson.dumps(completed | {"usage": counted}))
        await asyncio.sleep(seconds * FIRST_SHARE)
        events = list(openai.chunks(completed, usage=usage_wanted)) if legacy else _words(completed, usage=usage_wanted)
        if usage_wanted:
            head = {name: completed[name] for name in ("id", "created", "model")}
            kind = completed["object"] if legacy else "chat.completion.chunk"
            events.append(openai.event({**head, "object": kind, "choices": [], "usage": counted}))
        rest = seconds * (1 - FIRST_SHARE) / len(events)
        return Response(200, [(b"content-type", b"text/event-stream")], _paced([*events, openai.DONE], rest))

    def _look_up(self, chat: Mapping[str, Any], model: str) -> Answered:
        if model not in self.book.models:
            raise unknown("model", model, self.book.models, param="model", code="model_not_found")
        said = self.find(chat)
        if said is None:
            users = [text or "" for role, text in messages_of(chat) if role == "user"]
            said = users[-1] if users else ""
        found = (self.book.find(said) or {}).get(model)
        if found is None:
            raise NotFoundError(
                f"'{model}' has no recorded answer to a text in the last user message ({said.strip()[-80:]!r}).",
                code="not_recorded",
                param="messages",
            )
        return found

    def _usage(self, chat: Mapping[str, Any], answer: Answered) -> Usage:
        asked = self.prompt_tokens if answer.input_tokens is None else answer.input_tokens
        if asked is None:
            asked = _tokens("".join(text or "" for _, text in messages_of(chat)))
        said = _tokens(answer.text) if answer.output_tokens is None else answer.output_tokens
        return Usage(asked, said)


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS)


def _message(chat: Mapping[str, Any], said: str, ident: str) -> tuple[dict[str, Any], str]:
    """The message in the form that the request asks for, as the model would have kept to it."""
    try:
        form = form_of(chat)
        if form.kind != "text" and not said.startswith("{"):
            return form.write(said, ident)
    except AskError:  # a form that one text can't fill: then it goes out as it was said
        pass
    return {"role": "assistant", "content": said, "refusal": None}, "stop"


def _words(completed: Mapping[str, Any], *, usage: bool) -> list[bytes]:
    """The events of a chat completion, its text word by word."""
    events = list(openai.chunks(completed, usage=usage))
    text = completed["choices"][0]["message"]["content"]
    if not text or len(events) != 3:
        return events
    head = openai.chunk_head(completed["id"], completed["created"], completed["model"])
    words = [word for word in text.replace(" ", "\0 ").split("\0") if word]
    return [events[0], *(openai.delta(head, {"content": word}, usage=usage) for word in words), events[-1]]


async def _paced(events: list[bytes], seconds: float) -> AsyncIterator[bytes]:
    for event in events:
        if seconds:
            await asyncio.sleep(seconds)
        yield event

"""Anthropic's Messages protocol: chats are rewritten on the way out, answers and streams on the way back.

Only chats; no embeddings. Thinking blocks are not passed on.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from pydantic import Field

from sartor.core.predict import Usage
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.protocol import (
    Asked,
    Dialect,
    Endpoint,
    Fault,
    StreamFaultError,
    Told,
    chunk,
    completion,
    count,
    refuse_unsaid,
    text_of,
    tool_call,
    unsaid,
    usage_object,
)

NAME = "anthropic"

SAID = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream"}
    | {"tools", "tool_choice", "parallel_tool_calls", "user", "safety_identifier"}
)

FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Params(Settings):
    """What OpenAI's protocol leaves open."""

    version: str = "2023-06-01"
    """Of the protocol."""
    max_tokens: int = Field(default=4096, ge=1)
    """Where the request sets no limit; this protocol always has one."""


@plugin
def anthropic(params: Params) -> Dialect:
    """The protocol."""
    return _Anthropic(params)


class _Anthropic:
    plain = False

    def __init__(self, params: Params) -> None:
        self._params = params

    def ask(self, endpoint: Endpoint, chat: Mapping[str, Any], model: str, *, stream: bool) -> Asked:
        if endpoint != "chat":
            raise unsaid(endpoint, NAME, "answers chats only")
        refuse_unsaid(chat, SAID, NAME)
        system, messages = _messages(chat["messages"])
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": chat.get("max_completion_tokens") or chat.get("max_tokens") or self._params.max_tokens,
            "messages": messages,
        }
        if system:
            body["system"] = system
        if stream:
            body["stream"] = True
        body |= _settings(chat)
        return Asked("/messages", orjson.dumps(body))

    def key_header(self, key: str) -> tuple[str, str]:
        return "x-api-key", key

    def fixed_headers(self) -> Mapping[str, str]:
        return {"anthropic-version": self._params.version}

    def read(self, endpoint: Endpoint, body: bytes) -> Told:  # noqa: ARG002
        said = orjson.loads(body)
        texts, calls = [], []
        for block in said["content"]:
            if block["type"] == "text":
                texts.append(block["text"])
            elif block["type"] == "tool_use":
                calls.append(tool_call(block["id"], block["name"], orjson.dumps(block["input"]).decode()))
        text = "".join(texts) or None
        message: dict[str, Any] = {"content": text} | ({"tool_calls": calls} if calls else {})
        usage = _usage(said["usage"], Usage())
        head = {"id": said["id"], "created": int(time.time()), "model": said["model"]}
        return Told(text, usage, completion(head, message, FINISH.get(said["stop_reason"], "stop"), usage))

    def events(self) -> "_Events":
        return _Events()

    def fault(self, body: bytes) -> Fault:
        return _fault(orjson.loads(body)["error"])


class _Events:
    """Turns blocks into deltas; tool calls are numbered in the order in which they begin."""

    def __init__(self) -> None:
        self.ended = False
        self._head: dict[str, Any] = {}
        self._usage = Usage()
        self._calls: dict[int, int] = {}

    def feed(self, data: bytes) -> Iterable[dict[str, Any]]:
        event = orjson.loads(data)
        kind = event["type"]
        if kind == "error":
            raise StreamFaultError(_fault(event["error"]))
        if kind == "message_start":
            message = event["message"]
            self._head = {"id": message["id"], "created": int(time.time()), "model": message["model"]}
            self._usage = _usage(message["usage"], self._usage)
            return [chunk(self._head, {"role": "assistant", "content": ""})]
        if kind == "content_block_start":
            return self._begin(event["index"], event["content_block"])
        if kind == "content_block_delta":
            return self._delta(event["index"], event["delta"])
        if kind == "message_delta":
            self._usage = _usage(event.get("usage") or {}, self._usage)
            reason = event["delta"].get("stop_reason")
            return [chunk(self._head, {}, FINISH.get(reason, "stop"))] if reason else []
        if kind == "message_stop":
            self.ended = True
            usage = usage_object(self._usage)
            return [{"object": "chat.completion.chunk", **self._head, "choices": [], "usage": usage}]
        return []  # ping, content_block_stop, and what comes to be added

    def _begin(self, index: int, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        if block["type"] == "text" and block.get("text"):
            return [chunk(self._head, {"content": block["text"]})]
        if block["type"] != "tool_use":
            return []
        number = self._calls[index] = len(self._calls)
        call = {"index": number} | tool_call(block["id"], block["name"], "")
        return [chunk(self._head, {"tool_calls": [call]})]

    def _delta(self, index: int, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        if delta["type"] == "text_delta":
            return [chunk(self._head, {"content": delta["text"]})]
        if delta["type"] == "input_json_delta" and index in self._calls:
            call = {"index": self._calls[index], "function": {"arguments": delta["partial_json"]}}
            return [chunk(self._head, {"tool_calls": [call]})]
        return []


def _settings(chat: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (heat := chat.get("temperature")) is not None:
        if heat > 1:
            raise unsaid("temperature", NAME, "takes 0 to 1")
        found["temperature"] = heat
    if chat.get("top_p") is not None:
        found["top_p"] = chat["top_p"]
    if stop := chat.get("stop"):
        found["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if user := chat.get("safety_identifier") or chat.get("user"):
        found["metadata"] = {"user_id": user}
    if chat.get("tools"):
        found["tools"] = [_tool(tool) for tool in chat["tools"]]
        choice = _choice(chat.get("tool_choice"))
        if chat.get("parallel_tool_calls") is False:
            choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
        if choice:
            found["tool_choice"] = choice
    return found


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise unsaid("tools", NAME, "is given functions only")
    function = tool["function"]
    made = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    return made | ({"description": function["description"]} if function.get("description") else {})


def _choice(choice: Any) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        kind = {"auto": "auto", "none": "none", "required": "any"}.get(choice)
    else:
        kind = "tool" if choice.get("type") == "function" else None
    if kind is None:
        raise unsaid("tool_choice", NAME)
    return {"type": kind} | ({"name": choice["function"]["name"]} if kind == "tool" else {})


def _messages(messages: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, and the turns: neighbours of one role are one turn here."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        role, where = message["role"], f"messages.{place}"
        if role in ("system", "developer"):
            system.append(text_of(message["content"], where, NAME))
            continue
        said = "assistant" if role == "assistant" else "user"
        blocks = list(_blocks(message, where))
        if turns and turns[-1]["role"] == said:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": said, "content": blocks})
    return "\n\n".join(system), turns


def _blocks(message: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    if message["role"] == "tool":
        said = text_of(content, where, NAME)
        yield {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": said}
        return
    if message["role"] not in ("user", "assistant"):
        raise unsaid(f"{where}.role", NAME, f"has no role '{str(message['role'])[:40]}'")
    pieces: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    for part in pieces:
        if part["type"] == "text":
            if part["text"]:
                yield {"type": "text", "text": part["text"]}
        elif part["type"] == "image_url":
            yield {"type": "image", "source": _image(part["image_url"]["url"])}
        else:
            raise unsaid(f"{where}.content", NAME, f"takes no part of type '{str(part['type'])[:40]}'")
    for call in message.get("tool_calls") or ():
        given = orjson.loads(call["function"]["arguments"] or "{}")
        yield {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given}


def _image(url: str) -> dict[str, str]:
    if url.startswith("data:") and ";base64," in url:
        media, _, data = url[5:].partition(";base64,")
        return {"type": "base64", "media_type": media, "data": data}
    return {"type": "url", "url": url}


def _usage(said: Mapping[str, Any], before: Usage) -> Usage:
    """All that was read, cached or not; counts of a stream are of all so far, and may be left out."""
    cached = count(said.get("cache_read_input_tokens"))
    asked = cached + sum(count(said.get(name)) for name in ("input_tokens", "cache_creation_input_tokens"))
    answered = count(said.get("output_tokens")) or before.output_tokens
    if not asked:
        return Usage(before.input_tokens, answered, cached_tokens=before.cached_tokens)
    return Usage(asked, answered, cached_tokens=cached)


def _fault(error: Mapping[str, Any]) -> Fault:
    kind = str(error.get("type") or "")
    return Fault(str(error["message"]), kind, None, kind in ("authentication_error", "permission_error"))

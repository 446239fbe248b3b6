"""One stream on its way through: events in, OpenAI's events out, and the completion that they add up to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from sartor.core.predict import Usage
from sartor.gateway.protocol import Events, tool_call, usage_object

EVENT_BYTES = 4 * 1024 * 1024
"""Of one event; more is no event but a fault."""


KEPT_BYTES = 1 << 20
"""Of the text of one choice; more than any model says. What comes after is relayed, and not kept."""


class EventReader:
    """Server-sent events out of bytes, however they were cut up: keeps the beginning of one until its end has come."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""
        """The last bytes that came: the end of an event may be cut in the middle."""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Each event that is whole now: its bytes with the blank line, and its data.

        Comments and events without data are left out.

        Raises:
            ValueError: an event is too long.
        """
        seam = self._tail + data
        if b"\n\n" not in seam and b"\r\n\r\n" not in seam:
            # Only kept, not looked at again: a long event costs no more than its length.
            self._parts.append(data)
            self._size += len(data)
            self._tail = seam[-3:]
            if self._size > EVENT_BYTES:
                raise ValueError(f"an event of more than {EVENT_BYTES} bytes")
            return
        data = b"".join((*self._parts, data))
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *whole, rest = data.split(b"\n\n")
        self._parts, self._size, self._tail = [rest], len(rest), rest[-3:]
        for event in whole:
            if event.startswith(b"data: ") and b"\n" not in event:
                payload = event[6:]
            else:
                lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
                payload = b"\n".join(lines)
            if payload:
                yield event + b"\n\n", payload


class Relay:
    """What has come of one stream, and what of it goes on."""

    def __init__(self, events: Events, *, plain: bool, legacy: bool) -> None:
        """Begin empty.

        Args:
            events: reads the server's events.
            plain: whether their own bytes are passed on.
            legacy: whether it is a text completion.
        """
        self.collected = Collected(legacy=legacy)
        self.usage_event = b""
        """The event that only carries the usage: it waits for the end."""
        self._events = events
        self._plain = plain
        self._reader = EventReader()

    @property
    def ended(self) -> bool:
        """Whether the server has said that this was all."""
        return self._events.ended

    @property
    def whole(self) -> bool:
        """Whether nothing of the answer is missing, should no more come."""
        return self._events.ended or self.collected.finished

    def take(self, data: bytes) -> tuple[str, bytes, Exception | None]:
        """Text and events to pass on, and what was wrong with the event after them, if anything was."""
        said, raws = "", []
        wrong: Exception | None = None
        try:
            for raw, payload in self._reader.feed(data):
                for chunk in self._events.feed(payload):
                    said += self.collected.add(chunk)
                    event = raw if self._plain else b"data: %b\n\n" % orjson.dumps(chunk)
                    if chunk["choices"]:
                        raws.append(event)
                    elif chunk.get("usage"):
                        self.usage_event = event
        except Exception as error:  # noqa: BLE001 - told apart by whoever asked; first goes out what came before
            wrong = error
        return said, b"".join(raws), wrong


@dataclass(slots=True)
class Collected:
    """OpenAI's chunks put together to one completion: what has arrived of a stream."""

    head: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] | None = None
    choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    legacy: bool = False
    """Whether they are text completions."""

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Take a chunk in; returns the text that it adds to the first choice."""
        if not self.head:
            self.head = {name: chunk[name] for name in ("id", "created", "model") if name in chunk}
        if chunk.get("usage"):
            self.usage = chunk["usage"]
        said = ""
        for part in chunk["choices"]:
            index = part.get("index", 0)
            choice = self.choices.setdefault(index, {"text": bytearray(), "fields": {}, "calls": {}, "finish": None})
            if part.get("finish_reason"):
                choice["finish"] = part["finish_reason"]
            delta = part.get("delta") or {}
            text = part.get("text") if self.legacy else delta.get("content")
            if text:
                if len(choice["text"]) < KEPT_BYTES:
                    choice["text"] += text.encode()
                said += text if index == 0 else ""
            for call in delta.get("tool_calls") or ():
                _add_call(choice["calls"], call)
            if delta.get("refusal"):
                choice["fields"]["refusal"] = choice["fields"].get("refusal", "") + delta["refusal"]
        return said

    @property
    def finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        return bool(self.choices) and all(choice["finish"] for choice in self.choices.values())

    @property
    def text(self) -> str | None:
        """Of the first choice."""
        first = self.choices.get(0)
        return first["text"].decode() if first and first["text"] else None

    def reply(self, usage: Usage) -> bytes:
        """The completion, with this usage where the server counted none."""
        choices = [_legacy(i, c) if self.legacy else _choice(i, c) for i, c in sorted(self.choices.items())]
        kind = "text_completion" if self.legacy else "chat.completion"
        return orjson.dumps(
            {"object": kind, **self.head, "choices": choices, "usage": self.usage or usage_object(usage)}
        )


def _add_call(calls: dict[int, dict[str, Any]], call: Mapping[str, Any]) -> None:
    kept = calls.setdefault(call.get("index", 0), {"id": "", "type": "function", "name": "", "arguments": ""})
    function = call.get("function") or {}
    kept["id"] = call.get("id") or kept["id"]
    kept["name"] += function.get("name") or ""
    kept["arguments"] += function.get("arguments") or ""


def _choice(index: int, choice: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice["text"].decode() or None, "refusal": None}
    message |= choice["fields"]
    if choice["calls"]:
        message["tool_calls"] = [
            tool_call(c["id"], c["name"], c["arguments"]) for _, c in sorted(choice["calls"].items())
        ]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": choice["finish"]}


def _legacy(index: int, choice: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "text": choice["text"].decode(), "logprobs": None, "finish_reason": choice["finish"]}

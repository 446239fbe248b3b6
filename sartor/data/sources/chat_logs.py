"""Rows of OpenAI chat logs: the last user message is the text, the assistant's answer the label.

Where an entry says itself what its text is, as exports of captured traffic do, that counts.

Reads JSON lines of two shapes: `{"messages": [...]}` (fine-tuning files) and `{"request": {"messages": [...]},
"response": {"choices": [...]}}` (logs of requests). Does not know whether the answers were right.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.tables import json_lines


class Params(Settings):
    """Which file."""

    path: Path
    """Relative paths start at the folder of the task file."""
    encoding: str = "utf-8"
    """How the file's bytes are text, e.g. utf-8, cp1252, utf-16."""


@plugin
def chat_logs(params: Params) -> Iterator[dict[str, Any]]:
    """Yield text, label, system, model, time, turns, and whatever plain values stand beside the messages.

    Raises:
        AskError: no file, wrong encoding, a line that is no JSON object or holds no messages.
    """
    for number, entry in json_lines(params.path, encoding=params.encoding):
        yield _row(entry, f"{params.path} failed at line {number}")


def _row(entry: dict[str, Any], where: str) -> dict[str, Any]:
    request, response = entry.get("request") or entry, entry.get("response") or {}
    messages = request.get("messages") if isinstance(request, dict) else None
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise AskError(
            f"Reading {where}: it holds no messages. Each line must be "
            f'{{"messages": [...]}} or {{"request": {{"messages": [...]}}, "response": {{"choices": [...]}}}}; '
            f"this one has the keys {', '.join(sorted(entry)) or 'none'}.",
            code="no_messages",
        )
    choices = response.get("choices") if isinstance(response, dict) else None
    if choices and isinstance(choices[0], dict):
        messages = [*messages, choices[0].get("message") or {}]
    at = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=None)
    answers = [m for m in messages[at + 1 :] if m.get("role") == "assistant"] if at is not None else []
    plain = {k: v for k, v in entry.items() if isinstance(v, str | int | float) and not isinstance(v, bool)}
    return plain | {
        "text": plain["text"] if "text" in plain else _content(messages[at]) if at is not None else None,
        "label": _content(answers[-1]) if answers else None,
        "system": _joined(m for m in messages if m.get("role") in ("system", "developer")),
        "model": _either("model", response, request),
        "time": _time(response) or plain.get("time"),
        "turns": sum(m.get("role") == "user" for m in messages),
    }


def _content(message: dict[str, Any]) -> str | None:
    """The words of a message: a string, or the text parts of a list."""
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") in ("text", "input_text")]
        return "\n".join(p for p in parts if isinstance(p, str)) or None
    return content if isinstance(content, str) else None


def _joined(messages: Iterator[dict[str, Any]]) -> str | None:
    return "\n".join(text for m in messages if (text := _content(m))) or None


def _either(name: str, *places: Any) -> str | None:
    return next((p[name] for p in places if isinstance(p, dict) and isinstance(p.get(name), str)), None)


def _time(response: Any) -> str | None:
    created = response.get("created") if isinstance(response, dict) else None
    if not isinstance(created, int) or isinstance(created, bool):
        return None
    try:
        return datetime.fromtimestamp(created, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a number that is no time
        return None

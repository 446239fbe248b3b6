"""How a task's input is read from chat messages. Knows neither HTTP nor models."""

from collections.abc import Sequence
from typing import Any

from sartor.core.errors import AskError, TooLargeError, nearest
from sartor.core.predict import Request
from sartor.core.task import InputSpec
from sartor.gateway.openai import Message
from sartor.gateway.strict_json import read_object

COLUMNS_DEPTH = 2


def read_question(messages: Sequence[Message], spec: InputSpec, *, ident: str, max_bytes: int) -> Request:
    """The one input that a chat asks about, as `task.input.chat` says.

    Raises:
        AskError: there is no user message, it is empty, not text, or not the JSON object that the task wants.
        TooLargeError: the text is longer than `max_bytes` in UTF-8.
    """
    said = [_text(message, place) for place, message in enumerate(messages) if message.role == "user"]
    if not said:
        raise _bad("there is no message with the role 'user', where the input belongs")
    text = "\n".join(said) if spec.chat == "all_user" else said[-1]
    if (size := len(text.encode())) > max_bytes:
        raise TooLargeError(
            f"The text to answer has {size} bytes; at most {max_bytes} are read. Shorten it.",
            code="text_too_long",
            param="messages",
        )
    if not text.strip():
        raise _bad("the user's message is empty")
    inputs = _columns(text, spec) if spec.chat == "json" else {spec.columns[0]: text}
    # Several columns in one plain message: the caller has put them together, so the template is not filled again.
    whole = spec.chat != "json" and len(spec.columns) > 1
    return Request(text=text if whole else spec.render(inputs), id=ident, inputs=inputs)


def _text(message: Message, place: int) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for part in message.content or []:
        kind, text = part.get("type"), part.get("text")
        if kind != "text" or not isinstance(text, str):
            raise AskError(
                f"Message {place} has a content part of type {str(kind)[:40]!r}; only parts like "
                '{"type": "text", "text": "…"} are read.',
                code="unsupported_content",
                param=f"messages.{place}.content",
            )
        parts.append(text)
    return "\n".join(parts)


def _columns(text: str, spec: InputSpec) -> dict[str, str]:
    wanted = ", ".join(spec.columns)
    try:
        given = read_object(text.encode(), depth=COLUMNS_DEPTH)
    except AskError as error:
        raise _bad(f"this task reads the last user message as a JSON object of {wanted}. {error.message}") from error
    for name in spec.columns:
        if name not in given:
            near = nearest(name, given)
            hint = f" ('{near}' is there)" if near else ""
            raise _bad(f"the JSON object in the last user message lacks '{name}'{hint}; it wants {wanted}")
    return {name: _cell(name, given[name]) for name in spec.columns}


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _bad(f"the value of '{name}' in the last user message is neither text nor a number")
    return str(value)


def _bad(what: str) -> AskError:
    return AskError(f"Reading the input from the chat failed: {what}.", code="bad_input", param="messages")

"""Where a task's input stands in what an application sends. Knows neither HTTP nor models.

`find_input` says None for whatever it can't read with certainty (a picture, another prompt, a text that is too long):
such a request goes on to the upstream unharmed. Where there is none, `read_input` says what is wrong with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sartor.core.errors import AskError, TooLargeError, nearest, unknown
from sartor.core.predict import Request
from sartor.core.task import InputSpec, Task
from sartor.gateway.prompt import declared_prompt
from sartor.gateway.strict_json import read_object

COLUMNS_DEPTH = 2
Said = Sequence[tuple[str, str | None]]
"""(role, text) of each message; None where it holds something that is no text."""


def find_input(
    chat: Mapping[str, Any],
    task: Task,
    *,
    id: str,  # noqa: A002
    max_bytes: int,
    sticky: str = "",
    tenant: str = "",
    key: str = "",
) -> Request | None:
    """The input of a chat or completions request, as `task.input.chat` says; None where it is not found.

    Args:
        chat: OpenAI's body, as it was sent.
        id: of the exchange.
        max_bytes: most bytes of the text in UTF-8.
        sticky: see `core.predict.Request`; so are `tenant` and `key`.
    """
    try:
        return read_input(chat, task, id=id, max_bytes=max_bytes, sticky=sticky, tenant=tenant, key=key)
    except AskError:
        return None


def read_input(
    chat: Mapping[str, Any],
    task: Task,
    *,
    id: str,  # noqa: A002
    max_bytes: int,
    sticky: str = "",
    tenant: str = "",
    key: str = "",
) -> Request:
    """The same, for requests that nobody else can answer.

    Raises:
        AskError: the input is not found, and what is wrong.
        TooLargeError: the text is longer than `max_bytes` in UTF-8.
    """
    spec = task.input
    inputs, whole = READERS[spec.chat](chat, spec)
    text = spec.render(inputs) if whole is None else whole
    if (size := len(text.encode())) > max_bytes:
        raise TooLargeError(
            f"The text to answer has {size} bytes; at most {max_bytes} are read. Shorten it.",
            code="text_too_long",
            param="messages",
        )
    if not text.strip():
        raise _bad("the user's message is empty")
    asked = Request(text, id, inputs, chat=chat, sticky=sticky, tenant=tenant, key=key)
    return asked if "messages" in chat else replace(asked, endpoint="completions")


def check_input(spec: InputSpec) -> None:
    """Refuse an input specification by which nothing could ever be found.

    Raises:
        AskError: the prompt or a pointer can't be read, or is ambiguous.
        NotFoundError: a pointer or hole is for something that is no column.
    """
    if spec.chat == "template":
        declared_prompt(spec.prompt, spec.columns)
    if spec.chat == "pointer":
        for column in spec.columns:
            if column not in spec.pointers:
                raise AskError(
                    f"The column '{column}' has no pointer: say where it stands, such as pointers: "
                    f"{{{column}: /messages/0/content}}.",
                    code="bad_pointer",
                    param="input.pointers",
                )
        for column, pointer in spec.pointers.items():
            if column not in spec.columns:
                raise unknown("input column", column, spec.columns, param="input.pointers")
            _steps(pointer)


def resolve(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to.

    Raises:
        LookupError: nothing is there.
        AskError: it is no pointer.
    """
    for step in _steps(pointer):
        if isinstance(document, Mapping):
            document = document[step]
        elif isinstance(document, list) and (step == "0" or (step.isdecimal() and step.isascii() and step[0] != "0")):
            document = document[int(step[:9])]
        else:
            raise LookupError(step)
    return document


Read = Callable[[Mapping[str, Any], InputSpec], tuple[dict[str, str], str | None]]
"""(request, specification) -> the columns, and the text where it is not the template filled with them."""


def _last_user(chat: Mapping[str, Any], spec: InputSpec) -> tuple[dict[str, str], str | None]:
    return _plain(_from_user(chat)[-1], spec)


def _all_user(chat: Mapping[str, Any], spec: InputSpec) -> tuple[dict[str, str], str | None]:
    return _plain("\n".join(_from_user(chat)), spec)


def _plain(text: str, spec: InputSpec) -> tuple[dict[str, str], str | None]:
    # Several columns in one plain message: the caller has put them together, so the template is not filled again.
    return {spec.columns[0]: text}, text if len(spec.columns) > 1 else None


def _json(chat: Mapping[str, Any], spec: InputSpec) -> tuple[dict[str, str], str | None]:
    wanted = ", ".join(spec.columns)
    text = _from_user(chat)[-1]
    if not text.strip():
        raise _bad("the user's message is empty")
    try:
        given = read_object(text.encode(), depth=COLUMNS_DEPTH)
    except AskError as error:
        raise _bad(f"this task reads the last user message as a JSON object of {wanted}. {error.message}") from error
    for name in spec.columns:
        if name not in given:
            near = nearest(name, given)
            hint = f" ('{near}' is there)" if near else ""
            raise _bad(f"the JSON object in the last user message lacks '{name}'{hint}; it wants {wanted}")
    return {name: _cell(name, given[name], "in the last user message") for name in spec.columns}, None


def _pointer(chat: Mapping[str, Any], spec: InputSpec) -> tuple[dict[str, str], str | None]:
    found = {}
    for column in spec.columns:
        pointer = spec.pointers.get(column, "")
        try:
            value = resolve(chat, pointer)
        except LookupError as error:
            raise _bad(f"there is nothing at '{pointer}', where '{column}' belongs") from error
        if isinstance(value, list) and (parts := _joined(value)) is not None:
            value = parts
        found[column] = _cell(column, value, f"at '{pointer}'")
    return found, None


def _template(chat: Mapping[str, Any], spec: InputSpec) -> tuple[dict[str, str], str | None]:
    found = declared_prompt(spec.prompt, spec.columns).match(messages_of(chat))
    if found is None:
        raise _bad("the messages are not the prompt that this task declares under 'input.prompt'")
    return dict(found), None


READERS: Mapping[str, Read] = {
    "last_user": _last_user,
    "all_user": _all_user,
    "json": _json,
    "pointer": _pointer,
    "template": _template,
}


def messages_of(chat: Mapping[str, Any]) -> Said:
    """Role and text of each message; the prompt of a completions request is one user message.

    Raises:
        AskError: there are none, or they are malformed.
    """
    messages = chat.get("messages")
    if messages is None and "prompt" in chat:
        return [("user", _one_prompt(chat["prompt"]))]
    if not isinstance(messages, list) or not messages:
        raise _bad("there are no messages")
    said = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _bad("a message is no object with a role")
        content = message.get("content")
        said.append((message["role"], _joined(content) if isinstance(content, list) else _text(content)))
    return said


def _from_user(chat: Mapping[str, Any]) -> list[str]:
    """The texts of the user's messages, at least one."""
    found = []
    for place, (role, text) in enumerate(messages_of(chat)):
        if role != "user":
            continue
        if text is None:
            raise _no_text(chat, place)
        found.append(text)
    if not found:
        raise _bad("there is no message with the role 'user', where the input belongs")
    return found


def _text(content: Any) -> str | None:
    return content if isinstance(content, str) else None


def _joined(parts: list[Any]) -> str | None:
    """The texts of content parts; None where one is something else."""
    texts = []
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            return None
        texts.append(part["text"])
    return "\n".join(texts)


def _one_prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise AskError(
            "Reading the input failed: 'prompt' is not one text. Send one text for each request.",
            code="bad_input",
            param="prompt",
        )
    return prompt


def _no_text(chat: Mapping[str, Any], place: int) -> AskError:
    """The error for a message that is no text: it names the first part that isn't."""
    if "messages" not in chat:
        return _bad("the prompt is no text")
    content = chat["messages"][place].get("content")
    if content is None:
        return _bad("the user's message is empty")
    parts = content if isinstance(content, list) else [content]
    kinds = [part.get("type") if isinstance(part, dict) else type(part).__name__ for part in parts]
    kind = next((k for k in kinds if k != "text"), "text")
    return AskError(
        f"Message {place} has a content part of type {str(kind)[:40]!r}; only parts like "
        '{"type": "text", "text": "…"} are read.',
        code="unsupported_content",
        param=f"messages.{place}.content",
    )


def _cell(name: str, value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _bad(f"the value of '{name}' {where} is neither text nor a number")
    return str(value)


def _steps(pointer: str) -> list[str]:
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise AskError(
            f"'{pointer[:60]}' is no JSON pointer: it starts with '/', such as /messages/1/content.",
            code="bad_pointer",
            param="input.pointers",
        )
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def _bad(what: str) -> AskError:
    return AskError(f"Reading the input from the chat failed: {what}.", code="bad_input", param="messages")

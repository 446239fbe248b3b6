"""OpenAI's chat protocol as pure functions: a body in, a question out; an answer in, wire objects out.

Knows no HTTP server and no models. Wire forms as the official `openai` client reads them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.core.errors import AskError, TooLargeError
from sartor.core.predict import Prediction
from sartor.core.shelf import explain

UNSUPPORTED: Mapping[str, str] = {
    "tools": "a classifier calls no tools",
    "functions": "a classifier calls no functions",
    "logprobs": "probabilities of tokens do not exist here; the label's is in the header x-sartor-confidence",
    "top_logprobs": "probabilities of tokens do not exist here",
    "logit_bias": "answers are labels, not tokens",
    "audio": "answers are text",
    "prediction": "answers are not generated",
    "moderation": "nothing is moderated here",
    "web_search_options": "nothing is searched here",
}
"""Parameters whose effect a client would miss, and why there is none. Empty values of them are harmless."""


class Wire(BaseModel):
    """What comes over the wire: exact types, nothing coerced."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Message(Wire):
    """One message; fields that do not bear on the answer are not read."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(Wire):
    """How a stream is sent."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(Wire):
    """How the answer is written."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class ChatRequest(Wire):
    """A chat completion request. The fields after `response_format` are OpenAI's, checked and without effect."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=300)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None

    n: Annotated[int, Field(ge=1)] | None = None
    modalities: list[Literal["text"]] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None


def read_request(body: Mapping[str, Any], *, max_messages: int) -> ChatRequest:
    """The checked request.

    Raises:
        AskError: a field is wrong, unknown (the nearest known one is named) or not supported here.
        TooLargeError: there are more messages than allowed.
    """
    for name, why in UNSUPPORTED.items():
        if body.get(name):
            raise _unsupported(name, why)
    given = {name: value for name, value in body.items() if name not in UNSUPPORTED}
    messages = given.get("messages")
    if isinstance(messages, list) and len(messages) > max_messages:
        raise TooLargeError(
            f"The request has {len(messages)} messages; at most {max_messages} are read. Send the last ones only.",
            code="too_many_messages",
            param="messages",
        )
    try:
        request = ChatRequest.model_validate(given)
    except ValidationError as error:
        path = [str(step) for step in error.errors()[0]["loc"]]
        raise AskError(
            f"The chat request is wrong: {explain(error, ChatRequest)[:1000]}.",
            code="bad_request",
            param=".".join(path),
        ) from error
    if request.n not in (None, 1):
        raise _unsupported("n", "a classifier has one answer")
    return request


@dataclass(frozen=True)
class AnswerForm:
    """How a label is written into the message."""

    field: str | None = None
    """Name of the JSON field that holds the label; None: the bare label."""

    def write(self, label: str) -> str:
        """The message's content."""
        return label if self.field is None else json.dumps({self.field: label}, ensure_ascii=False)


def answer_form(wanted: ResponseFormat | None) -> AnswerForm:
    """The form that `response_format` asks for.

    Raises:
        AskError: the JSON schema is not an object with one text property.
    """
    if wanted is None or wanted.type == "text":
        return AnswerForm()
    if wanted.type == "json_object":
        return AnswerForm("label")
    schema = (wanted.json_schema or {}).get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(properties) != 1:
        raise _schema_error("has not exactly one property")
    ((field, kind),) = properties.items()
    if not isinstance(kind, dict) or not (kind.get("type") == "string" or "enum" in kind):
        raise _schema_error(f"has the property '{field}', which is no string")
    return AnswerForm(field)


def completion(ident: str, created: int, model: str, content: str, answer: Prediction) -> dict[str, Any]:
    """The chat completion object."""
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": ident,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": _usage(answer),
    }


def chunks(completed: Mapping[str, Any], *, usage: bool) -> Iterator[str]:
    """A finished completion as the lines of an event stream: the role, the content, the end, `[DONE]`.

    Args:
        usage: whether a last chunk without choices carries the usage, and the others a null.
    """
    head = {name: completed[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    content = completed["choices"][0]["message"]["content"]
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": content}, None),
        ({}, "stop"),
    ]
    for delta, finish in deltas:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        yield _event(head | {"choices": [choice]} | ({"usage": None} if usage else {}))
    if usage:
        yield _event(head | {"choices": [], "usage": completed["usage"]})
    yield "data: [DONE]\n\n"


def model_object(name: str, created: int) -> dict[str, Any]:
    """One entry of the list of models."""
    return {"id": name, "object": "model", "created": created, "owned_by": "sartor"}


def model_list(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": list(models)}


def _usage(answer: Prediction) -> dict[str, int]:
    """Tokens as counted by what answered; small models count none, their cost is in the header x-sartor-cost."""
    asked, said = answer.usage.input_tokens, answer.usage.output_tokens
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _event(data: Any) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _unsupported(name: str, why: str) -> AskError:
    return AskError(
        f"The parameter '{name}' is not supported: {why}. Leave it out.", code="unsupported_parameter", param=name
    )


def _schema_error(what: str) -> AskError:
    return AskError(
        f"The JSON schema {what}. An answer is one label: send an object with one property of type string, "
        'such as {"type": "object", "properties": {"label": {"type": "string"}}}.',
        code="unsupported_schema",
        param="response_format.json_schema",
    )

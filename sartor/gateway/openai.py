"""OpenAI's protocol as pure functions: what is checked of a request that a task answers, and answers as wire objects.

Knows no HTTP server and no models. Wire forms as the official `openai` client reads them. Requests that pass through to
an upstream are not checked here: what it takes and refuses is its own affair.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.core.errors import AskError, TooLargeError
from sartor.core.predict import Usage
from sartor.core.shelf import explain

Endpoint = Literal["chat", "completions", "embeddings"]

NO_TOKENS = "answers are labels, not tokens"
UNSUPPORTED: Mapping[str, str] = {
    "logprobs": "probabilities of tokens do not exist here; the label's is in the header x-sartor-confidence",
    "top_logprobs": "probabilities of tokens do not exist here",
    "logit_bias": NO_TOKENS,
    "audio": "answers are text",
    "prediction": "answers are not generated",
    "moderation": "nothing is moderated here",
    "web_search_options": "nothing is searched here",
    "echo": "answers are labels, without the prompt",
    "suffix": "answers are labels, not insertions",
}
"""Parameters whose effect a client would miss where a task answers, and why. Empty values of them are harmless."""

OF_LABELS = frozenset({"logprobs", "top_logprobs"})
"""Those of them that bear on answers that are written: see `wishes`."""

DONE = b"data: [DONE]\n\n"


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


class Common(Wire):
    """What both kinds of request have. Most of it is OpenAI's, checked and without effect on a label."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=300)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = None


class ChatRequest(Common):
    """A chat completion request, as a task answers it."""

    messages: Annotated[list[Message], Field(min_length=1)]
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[Literal["text"]] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None


class CompletionRequest(Common):
    """A completion request, as a task answers it: the prompt is one text."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None


CHECKED: Mapping[Endpoint, type[Common]] = {"chat": ChatRequest, "completions": CompletionRequest}


def check_for_task(endpoint: Endpoint, body: Mapping[str, Any], *, max_messages: int, writes: bool = False) -> None:
    """Refuse what a task can't answer.

    Args:
        writes: whether its answers are written, rather than labels.

    Raises:
        AskError: a field is wrong, unknown (the nearest known one is named) or not supported here.
        TooLargeError: there are more messages than allowed.
    """
    model = CHECKED.get(endpoint)
    if model is None:
        raise AskError("A task answers chats and completions, and makes no embeddings.", code="unsupported_endpoint")
    for name, why in UNSUPPORTED.items():
        if body.get(name) and not (writes and name in OF_LABELS):
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
        checked = model.model_validate(given)
    except ValidationError as error:
        path = [str(step) for step in error.errors()[0]["loc"]]
        raise AskError(
            f"The request is wrong: {explain(error, model)[:1000]}.", code="bad_request", param=".".join(path)
        ) from error
    if checked.n not in (None, 1):
        raise _unsupported("n", "there is one answer")


def read_model(body: Mapping[str, Any]) -> tuple[str, bool, bool]:
    """What has to be known of every request: the model's name, whether a stream is wanted, and usage at its end.

    Raises:
        AskError: one of them is of the wrong type.
    """
    name, stream, options = body.get("model"), body.get("stream"), body.get("stream_options")
    if not isinstance(name, str) or not 0 < len(name) <= 300:
        what = "is missing" if name is None else "is no name of 1 to 300 characters"
        raise AskError(f"The request is wrong: 'model' {what}.", code="bad_request", param="model")
    if not (stream is None or isinstance(stream, bool)):
        raise AskError("The request is wrong: 'stream' is neither true nor false.", code="bad_request", param="stream")
    if options is not None and not isinstance(options, dict):
        raise AskError(
            "The request is wrong: 'stream_options' is no object.", code="bad_request", param="stream_options"
        )
    return name, stream is True, options is not None and options.get("include_usage") is True


def completion(ident: str, created: int, model: str, message: Mapping[str, Any], finish: str) -> dict[str, Any]:
    """The chat completion object, without its usage."""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {"id": ident, "object": "chat.completion", "created": created, "model": model, "choices": [choice]}


def token_logprobs(logprobs: Sequence[tuple[str, float]]) -> dict[str, Any] | None:
    """The logprobs of a choice of a chat; None where there are none."""
    if not logprobs:
        return None
    told = [
        {"token": token, "logprob": score, "bytes": list(token.encode()), "top_logprobs": []}
        for token, score in logprobs
    ]
    return {"content": told, "refusal": None}


def text_completion(ident: str, created: int, model: str, text: str, finish: str | None = "stop") -> dict[str, Any]:
    """The completion object, without its usage."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return {"id": ident, "object": "text_completion", "created": created, "model": model, "choices": [choice]}


def chunks(completed: Mapping[str, Any], *, usage: bool) -> Iterator[bytes]:
    """A finished chat completion as events of a stream: the role, the answer, the end.

    Args:
        usage: whether a chunk with the usage will follow; then the others carry a null.
    """
    if completed["object"] == "text_completion":
        yield event(dict(completed) | ({"usage": None} if usage else {}))
        return
    (choice,) = completed["choices"]
    message = choice["message"]
    said: dict[str, Any] = {"content": message["content"]}
    if calls := message.get("tool_calls"):
        said = {"tool_calls": [{"index": i} | call for i, call in enumerate(calls)]}
    role = {"role": "assistant", "content": None if calls else "", "refusal": None}
    head = chunk_head(completed["id"], completed["created"], completed["model"])
    yield delta(head, role, usage=usage)
    yield delta(head, said, usage=usage)
    yield delta(head, {}, finish=choice["finish_reason"], usage=usage)


def chunk_head(ident: str, created: int, model: str, kind: str = "chat.completion.chunk") -> dict[str, Any]:
    """What all chunks of one stream have in common."""
    return {"id": ident, "created": created, "model": model, "object": kind}


def delta(head: Mapping[str, Any], said: Mapping[str, Any], *, finish: str | None = None, usage: bool = False) -> bytes:
    """One chunk as an event."""
    choice = {"index": 0, "delta": said, "logprobs": None, "finish_reason": finish}
    return event({**head, "choices": [choice]} | ({"usage": None} if usage else {}))


def event(data: Any) -> bytes:
    """One event of a stream."""
    return b"data: %b\n\n" % orjson.dumps(data)


def usage_object(usage: Usage) -> dict[str, int]:
    """Tokens as counted by what answered; small models count none, their cost is in the header x-sartor-cost."""
    asked, said = usage.input_tokens, usage.output_tokens
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def model_object(name: str, created: int, fields: Mapping[str, str]) -> dict[str, Any]:
    """One entry of the list of models."""
    return {"id": name, "object": "model", "created": created, "owned_by": "sartor", **fields}


def model_list(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": list(models)}


def _unsupported(name: str, why: str) -> AskError:
    return AskError(
        f"The parameter '{name}' is not supported: {why}. Leave it out.", code="unsupported_parameter", param=name
    )

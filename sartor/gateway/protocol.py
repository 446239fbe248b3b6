"""What a protocol of other servers is: OpenAI's body in, the bytes that go out; the bytes that come back, as OpenAI's.

A plug-in of `gateway.protocols` is a function `(params) -> Dialect`. What a protocol has no word for is refused by
name, never left out in silence. Knows no connections and no keys but the header that carries one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from sartor.core.errors import AskError
from sartor.core.predict import Usage
from sartor.core.shelf import Shelf

PROTOCOLS = Shelf("sartor.gateway.protocols")

MOST_TOKENS = 10**9

Endpoint = Literal["chat", "completions", "embeddings"]


class Asked(NamedTuple):
    """What is sent."""

    path: str
    """Below the base URL, query included."""
    body: bytes


class Told(NamedTuple):
    """A whole answer."""

    text: str | None
    """Of the first choice; None where it has none, as with tool calls and embeddings."""
    usage: Usage | None
    """Tokens, where the server counted them."""
    reply: bytes
    """In OpenAI's form."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a server says about a request that it did not answer."""

    message: str
    code: str = ""
    param: str | None = None
    key_refused: bool = False
    """It is about our key, whatever the status says."""


class Events(Protocol):
    """The events of one stream."""

    def feed(self, data: bytes) -> Iterable[dict[str, Any]]:
        """OpenAI's chunks for the data of one event, in order.

        Raises ValueError, KeyError or TypeError for what is no event of this protocol, `StreamFaultError` for an
        error that the server tells in the stream."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the server has said that this was all."""
        ...


class Dialect(Protocol):
    """One protocol."""

    plain: bool
    """Whether its events and answers are OpenAI's own, so that their bytes can be passed on."""

    def ask(self, endpoint: Endpoint, chat: Mapping[str, Any], model: str, *, stream: bool) -> Asked:
        """The request on the wire; raises AskError for what can't be said in it."""
        ...

    def key_header(self, key: str) -> tuple[str, str]:
        """Name and value of the header with the key."""
        ...

    def fixed_headers(self) -> Mapping[str, str]:
        """Headers of every request."""
        ...

    def read(self, endpoint: Endpoint, body: bytes) -> Told:
        """A whole answer; raises ValueError, KeyError or TypeError for what is none."""
        ...

    def events(self) -> Events:
        """A reader of one stream."""
        ...

    def fault(self, body: bytes) -> Fault:
        """What the body of an error says; raises ValueError, KeyError or TypeError where it says nothing."""
        ...


class StreamFaultError(Exception):
    """An error that a server told in the middle of its stream."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def tool_call(ident: str, name: str, arguments: str) -> dict[str, Any]:
    """One call of a function, as OpenAI writes it."""
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage."""
    asked, said = usage.input_tokens, usage.output_tokens
    found: dict[str, Any] = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    return found | ({"prompt_tokens_details": {"cached_tokens": usage.cached_tokens}} if usage.cached_tokens else {})


def read_usage(said: Any) -> Usage | None:
    """OpenAI's usage, where there is one; raises TypeError, ValueError or AttributeError where it is none."""
    if not said:
        return None
    asked, answered = count(said.get("prompt_tokens")), count(said.get("completion_tokens"))
    details = said.get("prompt_tokens_details")
    return Usage(asked, answered, 0.0, min(count(details.get("cached_tokens")), asked) if details else 0)


def count(said: Any) -> int:
    """Tokens as a server says: none where it says nothing, and within what can be booked whatever it says."""
    if type(said) is int and 0 <= said <= MOST_TOKENS:
        return said
    return min(max(int(said or 0), 0), MOST_TOKENS)


def completion(head: Mapping[str, Any], message: dict[str, Any], finish: str, usage: Usage) -> bytes:
    """A chat completion of one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "refusal": None, **message}, "logprobs": None}
    body = {"object": "chat.completion", **head, "choices": [choice | {"finish_reason": finish}]}
    return orjson.dumps(body | {"usage": usage_object(usage)})


def chunk(head: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a chat completion."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"object": "chat.completion.chunk", **head, "choices": [choice]}


HARMLESS = frozenset(
    {"store", "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention", "stream_options"}
)
"""Parameters of OpenAI that don't bear on the answer: a server that does not know them loses nothing."""

NEUTRAL: Mapping[str, Any] = {
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "modalities": ["text"],
    "response_format": {"type": "text"},
    "logit_bias": {},
    "parallel_tool_calls": True,
}
"""Values that mean the same as leaving the parameter out."""


def refuse_unsaid(chat: Mapping[str, Any], said: frozenset[str], protocol: str) -> None:
    """Refuse parameters that the protocol has no word for.

    Args:
        said: those that it has.

    Raises:
        AskError: there is one, with a value that matters.
    """
    for name, value in chat.items():
        if name in said or name in HARMLESS or value is None or (name in NEUTRAL and NEUTRAL[name] == value):
            continue
        raise unsaid(name, protocol)


def unsaid(name: str, protocol: str, what: str = "has no word for it") -> AskError:
    """The error for a part of a request that a protocol can't carry."""
    return AskError(
        f"The parameter '{name}' can't be sent on: the upstream is asked in the protocol '{protocol}', which {what}. "
        "Leave it out, or ask an upstream that speaks OpenAI's protocol.",
        code="unsupported_parameter",
        param=name,
    )


def text_of(content: Any, where: str, protocol: str) -> str:
    """The text of a message's content: a string, or parts of type text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in content):
        return "".join(part["text"] for part in content)
    raise unsaid(where, protocol, "takes only text there")

"""What a request asks of an answer that is written: its length, its ends, its chance, its form. OpenAI's words for it.

Knows no models. What the engines here do not do is refused by name rather than left out.
"""

from collections.abc import Mapping
from typing import Any

from sartor.core.errors import AskError
from sartor.core.predict import Wish

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
STOPS = 4
"""Most texts that may end an answer."""
NEUTRAL: Mapping[str, tuple[Any, str]] = {
    "top_p": (1, "tokens are drawn from all of them, or the likeliest is taken"),
    "presence_penalty": (0, "no token is held back"),
    "frequency_penalty": (0, "no token is held back"),
    "top_logprobs": (0, "only the tokens that were written have logprobs"),
}
"""Parameters that are only taken at the value at which they change nothing, and why."""


def wish_of(chat: Mapping[str, Any]) -> Wish | None:
    """What a checked request wishes; None where it wishes nothing.

    Raises:
        AskError: it wishes what can't be had here.
    """
    drawn = bool(chat.get("temperature"))
    for name, (neutral, why) in NEUTRAL.items():
        # Where the likeliest token is taken, which others might have been drawn makes no difference.
        if chat.get(name) not in (None, neutral) and (drawn or name != "top_p"):
            raise _unsupported(name, why)
    if chat.get("functions") or (chat.get("tools") and chat.get("tool_choice") != "none"):
        name = "functions" if chat.get("functions") else "tools"
        raise _unsupported(name, "this task writes its answers and calls nothing; 'response_format' takes a schema")
    stop = chat.get("stop") or ()
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(stops) > STOPS or not all(stops):
        raise AskError(f"'stop' takes up to {STOPS} texts, none of them empty.", code="bad_request", param="stop")
    wish = Wish(
        max_tokens=chat.get("max_completion_tokens") or chat.get("max_tokens"),
        stop=stops,
        temperature=float(chat.get("temperature") or 0.0),
        seed=chat.get("seed"),
        json_schema=_schema(chat.get("response_format")),
        logprobs=bool(chat.get("logprobs")),
    )
    return None if wish == Wish() else wish


def _schema(wanted: Any) -> Mapping[str, Any] | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else "text" if wanted is None else None
    if kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    named = wanted.get("json_schema") if kind == "json_schema" else None
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise AskError(
            'The parameter \'response_format\' is one of {"type": "text"}, {"type": "json_object"}, and '
            '{"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}.',
            code="bad_request",
            param="response_format",
        )
    return schema


def _unsupported(name: str, why: str) -> AskError:
    return AskError(
        f"The parameter '{name}' is not supported: {why}. Leave it out.", code="unsupported_parameter", param=name
    )

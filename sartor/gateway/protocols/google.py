"""Google's generateContent protocol (Gemini): chats are rewritten on the way out, answers and streams on the way back.

Only chats; no embeddings. Thoughts and their signatures are not passed on.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson

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

NAME = "google"

PLAIN: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
"""Parameters that have another name there, and the same values."""

SAID = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "stop", "stream", "response_format", "tools"}
    | {"tool_choice", "user", "safety_identifier", *PLAIN}
)

BLOCKED = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"})


class Params(Settings):
    """Nothing to be told."""


@plugin
def google(params: Params) -> Dialect:  # noqa: ARG001
    """The protocol."""
    return _Google()


class _Google:
    plain = False

    def ask(self, endpoint: Endpoint, chat: Mapping[str, Any], model: str, *, stream: bool) -> Asked:
        if endpoint != "chat":
            raise unsaid(endpoint, NAME, "answers chats only here")
        refuse_unsaid(chat, SAID, NAME)
        system, contents = _contents(chat["messages"])
        body: dict[str, Any] = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if settings := _settings(chat):
            body["generationConfig"] = settings
        if chat.get("tools"):
            body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in chat["tools"]]}]
            if chat.get("tool_choice") is not None:
                body["toolConfig"] = {"functionCallingConfig": _choice(chat["tool_choice"])}
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return Asked(f"/models/{quote(model, safe='')}:{verb}", orjson.dumps(body))

    def key_header(self, key: str) -> tuple[str, str]:
        return "x-goog-api-key", key

    def fixed_headers(self) -> Mapping[str, str]:
        return {}

    def read(self, endpoint: Endpoint, body: bytes) -> Told:  # noqa: ARG002
        said = orjson.loads(body)
        text, calls, finish = _candidate(said, 0)
        message: dict[str, Any] = {"content": text or None} | ({"tool_calls": calls} if calls else {})
        usage = _usage(said)
        reply = completion(_head(said), message, finish or "stop", usage or Usage())
        return Told(text or None, usage, reply)

    def events(self) -> "_Events":
        return _Events()

    def fault(self, body: bytes) -> Fault:
        said = orjson.loads(body)
        # Streams that fail before they begin answer with a list of one.
        return _fault((said[0] if isinstance(said, list) else said)["error"])


class _Events:
    """Each event is a piece of the answer; the last one says why it ended, there is no other sign."""

    def __init__(self) -> None:
        self.ended = False
        self._calls = 0
        self._begun = False

    def feed(self, data: bytes) -> Iterable[dict[str, Any]]:
        said = orjson.loads(data)
        if "error" in said:
            raise StreamFaultError(_fault(said["error"]))
        head = _head(said)
        text, calls, finish = _candidate(said, self._calls)
        if not self._begun:
            self._begun = True
            yield chunk(head, {"role": "assistant", "content": ""})
        if text:
            yield chunk(head, {"content": text})
        for call in calls:
            yield chunk(head, {"tool_calls": [{"index": self._calls} | call]})
            self._calls += 1
        if finish:
            self.ended = True
            yield chunk(head, {}, "tool_calls" if self._calls and finish == "stop" else finish)
            if (usage := _usage(said)) is not None:
                yield {"object": "chat.completion.chunk", **head, "choices": [], "usage": usage_object(usage)}


def _candidate(said: Mapping[str, Any], calls_before: int) -> tuple[str, list[dict[str, Any]], str | None]:
    """Text, calls and OpenAI's reason for the end of the one candidate."""
    candidates = said.get("candidates") or []
    if not candidates:
        if (said.get("promptFeedback") or {}).get("blockReason"):
            return "", [], "content_filter"
        if "usageMetadata" not in said:
            raise ValueError("no candidate")
        return "", [], None
    candidate = candidates[0]
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in (candidate.get("content") or {}).get("parts") or ():
        if part.get("thought"):
            continue
        if "text" in part:
            texts.append(part["text"])
        elif "functionCall" in part:
            call = part["functionCall"]
            ident = call.get("id") or f"call_{calls_before + len(calls)}"
            calls.append(tool_call(ident, call["name"], orjson.dumps(call.get("args") or {}).decode()))
    return "".join(texts), calls, _finish(candidate.get("finishReason"), calls=bool(calls))


def _finish(reason: str | None, *, calls: bool) -> str | None:
    if not reason or reason == "FINISH_REASON_UNSPECIFIED":
        return None
    if reason == "MAX_TOKENS":
        return "length"
    if reason in BLOCKED:
        return "content_filter"
    return "tool_calls" if calls else "stop"


def _head(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": said.get("responseId") or "", "created": int(time.time()), "model": said.get("modelVersion") or ""}


def _usage(said: Mapping[str, Any]) -> Usage | None:
    counted = said.get("usageMetadata")
    if not counted:
        return None
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount")
    asked, answered, thought, cached = (count(counted.get(name)) for name in names)
    return Usage(asked, answered + thought, cached_tokens=min(cached, asked))


def _settings(chat: Mapping[str, Any]) -> dict[str, Any]:
    found = {there: chat[here] for here, there in PLAIN.items() if chat.get(here) is not None}
    if most := chat.get("max_completion_tokens") or chat.get("max_tokens"):
        found["maxOutputTokens"] = most
    if stop := chat.get("stop"):
        found["stopSequences"] = [stop] if isinstance(stop, str) else stop
    form = chat.get("response_format") or {"type": "text"}
    if form["type"] in ("json_object", "json_schema"):
        found["responseMimeType"] = "application/json"
        if form["type"] == "json_schema":
            found["responseJsonSchema"] = form["json_schema"]["schema"]
    elif form["type"] != "text":
        raise unsaid("response_format", NAME)
    return found


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise unsaid("tools", NAME, "is given functions only")
    function = tool["function"]
    made = {"name": function["name"], "description": function.get("description") or ""}
    return made | ({"parametersJsonSchema": function["parameters"]} if function.get("parameters") else {})


def _choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, str):
        mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}.get(choice)
        if mode:
            return {"mode": mode}
    elif choice.get("type") == "function":
        return {"mode": "ANY", "allowedFunctionNames": [choice["function"]["name"]]}
    raise unsaid("tool_choice", NAME)


def _contents(messages: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, and the turns: neighbours of one role are one turn here."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for place, message in enumerate(messages):
        role, where = message["role"], f"messages.{place}"
        if role in ("system", "developer"):
            system.append(text_of(message["content"], where, NAME))
            continue
        said = "model" if role == "assistant" else "user"
        parts = list(_parts(message, where, called))
        if turns and turns[-1]["role"] == said:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": said, "parts": parts})
    return "\n\n".join(system), turns


def _parts(message: Mapping[str, Any], where: str, called: dict[str, str]) -> Iterator[dict[str, Any]]:
    """`called` keeps which function each call was of: answers to it name the function here."""
    content = message.get("content")
    if message["role"] == "tool":
        name = called.get(message["tool_call_id"])
        if name is None:
            raise unsaid(f"{where}.tool_call_id", NAME, "needs the call that it answers among the messages before")
        yield {"functionResponse": {"name": name, "response": _object(text_of(content, where, NAME))}}
        return
    if message["role"] not in ("user", "assistant"):
        raise unsaid(f"{where}.role", NAME, f"has no role '{str(message['role'])[:40]}'")
    pieces: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    for part in pieces:
        if part["type"] == "text":
            yield {"text": part["text"]}
        elif (
            part["type"] == "image_url" and (url := part["image_url"]["url"]).startswith("data:") and ";base64," in url
        ):
            media, _, data = url[5:].partition(";base64,")
            yield {"inlineData": {"mimeType": media, "data": data}}
        else:
            raise unsaid(f"{where}.content", NAME, "takes text, and images as data: URLs")
    for call in message.get("tool_calls") or ():
        function = call["function"]
        called[call["id"]] = function["name"]
        yield {"functionCall": {"name": function["name"], "args": orjson.loads(function["arguments"] or "{}")}}


def _object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"result": found}


def _fault(error: Mapping[str, Any]) -> Fault:
    reasons = {detail.get("reason") for detail in error.get("details") or () if isinstance(detail, Mapping)}
    status = str(error.get("status") or "")
    refused = "API_KEY_INVALID" in reasons or status in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    return Fault(str(error["message"]), status.lower(), None, refused)

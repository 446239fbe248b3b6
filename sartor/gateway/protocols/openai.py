"""OpenAI's protocol: any server that speaks it. Bodies go on as they came, but for the model's name.

The tokens of a stream are always asked for; unknown parameters are the server's business, not ours.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.protocol import Asked, Dialect, Endpoint, Fault, StreamFaultError, Told, read_usage

PATHS: Mapping[Endpoint, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}


class Params(Settings):
    """Nothing to be told."""


@plugin
def openai(params: Params) -> Dialect:  # noqa: ARG001
    """The protocol."""
    return _OpenAI()


class _OpenAI:
    plain = True

    def ask(self, endpoint: Endpoint, chat: Mapping[str, Any], model: str, *, stream: bool) -> Asked:
        body = {**chat, "model": model}
        if stream:
            body["stream"] = True
            body["stream_options"] = {**(chat.get("stream_options") or {}), "include_usage": True}
        else:
            body.pop("stream", None)
            body.pop("stream_options", None)
        try:
            return Asked(PATHS[endpoint], orjson.dumps(body))
        except TypeError:  # a number of more than 64 bits
            return Asked(PATHS[endpoint], json.dumps(body, ensure_ascii=False).encode())

    def key_header(self, key: str) -> tuple[str, str]:
        return "authorization", f"Bearer {key}"

    def fixed_headers(self) -> Mapping[str, str]:
        return {}

    def read(self, endpoint: Endpoint, body: bytes) -> Told:
        said = orjson.loads(body)
        usage = read_usage(said.get("usage"))
        if endpoint == "embeddings":
            if not isinstance(said["data"], list):
                raise TypeError("data")
            return Told(None, usage, body)
        first = said["choices"][0]
        text = first["text"] if endpoint == "completions" else first["message"].get("content")
        if text is not None and not isinstance(text, str):
            raise TypeError("content")
        return Told(text, usage, body)

    def events(self) -> "_Events":
        return _Events()

    def fault(self, body: bytes) -> Fault:
        return _fault(orjson.loads(body)["error"])


class _Events:
    def __init__(self) -> None:
        self.ended = False

    def feed(self, data: bytes) -> Iterable[dict[str, Any]]:
        if data == b"[DONE]":
            self.ended = True
            return ()
        said = orjson.loads(data)
        if said.get("error") and "choices" not in said:
            raise StreamFaultError(_fault(said["error"]))
        if not isinstance(said["choices"], list):
            raise TypeError("choices")
        return (said,)


def _fault(error: Any) -> Fault:
    if isinstance(error, str):
        return Fault(error)
    code, param = error.get("code"), error.get("param")
    return Fault(
        str(error["message"]),
        code if isinstance(code, str) else "",
        param if isinstance(param, str) else None,
        code == "invalid_api_key",
    )

"""A real uvicorn server on a loopback port, and raw requests to it."""

import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's envelope; fails if it is not exactly one."""
        data = json.loads(self.body)
        assert list(data) == ["error"]
        assert sorted(data["error"]) == ["code", "message", "param", "type"]
        assert self.headers["content-type"].startswith("application/json")
        found: dict[str, Any] = data["error"]
        return found


@dataclass(frozen=True)
class Server:
    """Where it listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def chat(self, body: Any, **headers: str) -> Reply:
        """A chat completion, from a JSON value or from raw bytes."""
        return self.send("POST", PATH, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

    def raw(self, data: bytes, *, wait: float = 5.0) -> bytes:
        """Bytes as they are, and whatever comes back until the server closes or `wait` is over."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(data)
            found = b""
            try:
                while part := connection.recv(65536):
                    found += part
            except TimeoutError:
                pass
            return found


@contextmanager
def running(app: Starlette) -> Iterator[Server]:
    """The app behind uvicorn, in a thread."""
    # Without IPPROTO_TCP asyncio leaves Nagle's algorithm on, and every answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Server(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def counting_ids() -> Any:
    """Ids that a golden file can hold."""
    numbers = itertools.count(1)
    return lambda: f"chatcmpl-{next(numbers)}"


def messages(text: str = "my card is lost") -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]

"""A real server on a loopback port, raw requests to it, and the smallest honest parts behind it."""

import asyncio
import contextlib
import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from sartor.core.access import Caller
from sartor.core.errors import AskError
from sartor.core.traffic import Content, Exchange
from sartor.gateway.app import DataPlane
from sartor.gateway.bounds import Limits
from sartor.gateway.routes import FixedRoutes, Served
from sartor.gateway.wire.http import Request, Response
from sartor.gateway.wire.server import WireServer, serve

PATH = "/v1/chat/completions"


@dataclass
class Everyone:
    """A keyring without keys."""

    caller: Caller = field(default_factory=Caller)

    def identify(self, headers: dict[bytes, bytes]) -> Caller:
        return self.caller


@dataclass
class Books:
    """Limiter, recorder, counters and inbox: writes down what it is told."""

    exchanges: list[Exchange] = field(default_factory=list)
    contents: list[Content | None] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    open: int = 0
    settled: list[tuple[int, float]] = field(default_factory=list)
    expected: list[tuple[int, float]] = field(default_factory=list)
    refuse: Exception | None = None
    on_disk: Callable[[], Awaitable[None]] | None = None
    """What a sync write waits for."""

    def admit(self, caller: Caller, route: Any, *, tokens: int, money: float) -> Any:
        if self.refuse is not None:
            raise self.refuse
        self.open += 1
        self.expected.append((tokens, money))
        return "admission"

    def settle(self, admission: Any, *, tokens: int, money: float) -> None:
        assert admission == "admission"
        self.open -= 1
        self.settled.append((tokens, money))

    def mark(self, text: str) -> str:
        return f"<{text}>"

    def record(self, exchange: Exchange, content: Content | None, spec: Any) -> Any:
        self.exchanges.append(exchange)
        self.contents.append(content)
        return self.on_disk() if spec.durability == "sync" and self.on_disk else None

    def exchange(self, exchange: Exchange) -> None:
        self.counted.append(exchange.id)

    async def receive(self, caller: Caller, body: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
        if str(body.get("metric")) not in metrics:
            raise AskError(f"Known metrics: {', '.join(sorted(metrics))}.", code="unknown_metric", param="metric")
        return {"id": "fb-1", "tenant": caller.tenant, "metric": body["metric"]}


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

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events."""
        lines = [line[6:] for line in self.body.split(b"\n\n") if line]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


@dataclass(frozen=True)
class Server:
    """Where it listens, and what is behind it."""

    port: int
    loop: asyncio.AbstractEventLoop
    wire: WireServer
    books: Books = field(default_factory=Books)
    plane: DataPlane | None = None

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
        return self.post(PATH, body, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """The same, to any path."""
        return self.send("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

    def connect(self, *, wait: float = 5.0) -> socket.socket:
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=wait)

    def raw(self, data: bytes, *, wait: float = 5.0) -> bytes:
        """Bytes as they are, and whatever comes back until the server closes or `wait` is over."""
        with self.connect(wait=wait) as connection:
            connection.sendall(data)
            return read_all(connection)

    def until(self, true: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something that happens in the server's thread."""
        end = time.monotonic() + seconds
        while not true() and time.monotonic() < end:
            time.sleep(0.005)
        assert true()


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes, or nothing comes any more."""
    found = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found


@contextmanager
def listening(
    handle: Callable[[Request], Awaitable[Response]], limits: Limits = Limits(), *, fast: bool = True
) -> Iterator[Server]:
    """A handler behind the wire server, in a thread with a loop of its own."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    ready: list[tuple[asyncio.AbstractEventLoop, WireServer]] = []
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        ready.append((asyncio.get_running_loop(), await serve(handle, [listener], limits)))
        started.set()
        await stop.wait()
        await ready[0][1].drain(0.2)

    def thread() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if fast else None) as runner:
            runner.run(run())

    worker = threading.Thread(target=thread, daemon=True)
    worker.start()
    assert started.wait(10)
    loop, wire = ready[0]
    try:
        yield Server(listener.getsockname()[1], loop, wire)
    finally:
        loop.call_soon_threadsafe(stop.set)
        worker.join(timeout=10)


@contextmanager
def running(
    served: list[Served], limits: Limits = Limits(), *, keyring: Any = None, books: Books | None = None, **settings: Any
) -> Iterator[Server]:
    """A data plane over these names."""
    kept = books or Books()
    plane = DataPlane(
        FixedRoutes(served),
        keyring=keyring or Everyone(),
        limiter=kept,
        recorder=kept,
        counters=kept,
        inbox=kept,
        limits=limits,
        **settings,
    )
    with listening(plane.handle, limits) as found:
        yield Server(found.port, found.loop, found.wire, kept, plane)


def counting_ids() -> Any:
    """Ids that a golden file can hold."""
    numbers = itertools.count(1)
    return lambda: str(next(numbers))


def messages(text: str = "my card is lost") -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]

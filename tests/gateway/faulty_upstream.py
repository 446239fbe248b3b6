"""A server that goes wrong on purpose, each way under a base URL of its own: `…/reset/v1`, `…/once-500/v1`.

Speaks OpenAI's protocol where it speaks at all. Runs in the loop of whoever starts it; also the server of
`benchmarks/faults.py`.
"""

import asyncio
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

KEY_HEADER = b"x-secret-header: do-not-tell\r\n"
USAGE = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
WORDS = ("card", "_", "arrival")
HUGE = 5 * 1024 * 1024
STEP = 0.1
"""Seconds between the pieces of whatever drips."""


def whole(content: str = "card_arrival", usage: dict[str, int] | None = USAGE) -> bytes:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "chatcmpl-9", "object": "chat.completion", "created": 1, "model": "giant-1", "choices": [choice]}
    return json.dumps(body | ({"usage": usage} if usage else {})).encode()


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    head = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1, "model": "giant-1"}
    return sse(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def sse(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def words() -> list[bytes]:
    return [event({"role": "assistant", "content": ""}), *(event({"content": word}) for word in WORDS)]


HEAD = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1, "model": "giant-1"}
USAGE_EVENT = sse(HEAD | {"choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"


def good_events() -> list[bytes]:
    return [*words(), event({}, "stop"), USAGE_EVENT, DONE]


@dataclass
class Talk:
    """One request, and the ways to answer it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    body: dict[str, Any]
    seen: int
    """How often this way was asked before."""
    keep: bool = True

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def plain(self, body: bytes, status: int = 200, kind: str = "application/json", extra: bytes = b"") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n".encode()
        await self.send(head, KEY_HEADER, extra, b"\r\n", body)

    async def error(self, status: int, extra: bytes = b"", **fields: Any) -> None:
        said = {"message": f"said with {status}", "type": "x", "param": None, "code": None} | fields
        await self.plain(json.dumps({"error": said}).encode(), status, extra=extra)

    async def begin(self, kind: str = "text/event-stream") -> None:
        await self.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n" % len(data), data, b"\r\n")

    async def events(self, events: list[bytes], *, end: bool = True) -> None:
        await self.begin()
        for one in events:
            await self.chunk(one)
        if end:
            await self.send(b"0\r\n\r\n")

    async def good(self) -> None:
        if self.body.get("stream"):
            await self.events(good_events())
        elif b"/embeddings " in self.head:
            vector = {"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}
            usage = {"prompt_tokens": 5, "total_tokens": 5}
            await self.plain(json.dumps({"object": "list", "data": [vector], "usage": usage}).encode())
        else:
            await self.plain(whole())

    def reset(self) -> None:
        """Close so that the other side gets a reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.writer.transport.abort()
        self.keep = False


async def ok(talk: Talk) -> None:
    await talk.good()


async def hang(talk: Talk) -> None:
    await talk.reader.read()
    talk.keep = False


async def drip(talk: Talk) -> None:
    """One byte at a time: headers at once, the body for ever."""
    await talk.begin("text/event-stream" if talk.body.get("stream") else "application/json")
    for byte in b"".join(good_events()):
        await talk.chunk(bytes([byte]))
        await asyncio.sleep(STEP)


async def slow_headers(talk: Talk) -> None:
    for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" * 20:
        await talk.send(bytes([byte]))
        await asyncio.sleep(STEP)


async def stall(talk: Talk) -> None:
    """Begins, then says nothing more."""
    await talk.events(words()[:2], end=False)
    await hang(talk)


async def cut(talk: Talk) -> None:
    """Closes in the middle of a stream, or of a body whose length it told."""
    if talk.body.get("stream"):
        await talk.events(words()[:3], end=False)
    else:
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n", whole())
    talk.keep = False


async def reset(talk: Talk) -> None:
    await talk.events(words()[:3], end=False)
    await asyncio.sleep(0.05)
    talk.reset()


async def early_reset(talk: Talk) -> None:
    talk.reset()


async def early_close(talk: Talk) -> None:
    talk.keep = False


async def bad_json(talk: Talk) -> None:
    if talk.body.get("stream"):
        await talk.events([*words()[:2], b'data: {"choices": [{"del\n\n', DONE])
    else:
        await talk.plain(b'{"choices": [')


async def wrong_shape(talk: Talk) -> None:
    if talk.body.get("stream"):
        await talk.events([sse({"choices": "none"}), DONE])
    else:
        await talk.plain(b'{"choices": [], "usage": 7}')


async def html(talk: Talk) -> None:
    await talk.plain(b"<html><h1>It works!</h1></html>", kind="text/html")


async def html_502(talk: Talk) -> None:
    await talk.plain(b"<html><h1>502 Bad Gateway</h1></html>", 502, "text/html")


async def wrong_type(talk: Talk) -> None:
    """A stream, where none was asked for, or the other way round."""
    if talk.body.get("stream"):
        await talk.plain(whole())
    else:
        await talk.events(good_events())


async def no_done(talk: Talk) -> None:
    """The answer is whole, only the last word is missing."""
    await talk.events(good_events()[:-1])


async def no_finish(talk: Talk) -> None:
    """Ends as if all were said, before it is."""
    await talk.events(words())


async def no_usage(talk: Talk) -> None:
    if talk.body.get("stream"):
        await talk.events([*words(), event({}, "stop"), DONE])
    else:
        await talk.plain(whole(usage=None))


async def wild_usage(talk: Talk) -> None:
    """Counts that nobody could book."""
    await talk.plain(whole(usage={"prompt_tokens": -5, "completion_tokens": 10**30}))


async def huge_chunk(talk: Talk) -> None:
    await talk.events([*words()[:2], b"data: " + b"x" * HUGE + b"\n\n", DONE])


async def huge_headers(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\n", b"x-much: " + b"y" * 200_000, b"\r\n\r\n")


async def flood(talk: Talk) -> None:
    """Much more than anybody needs, as fast as it is taken."""
    await talk.begin()
    piece = event({"content": " flooded"}) * 100
    for _ in range(1000):
        await talk.chunk(piece)
    talk.keep = False


async def duplicates(talk: Talk) -> None:
    await talk.events([one for one in good_events()[:-1] for _ in range(2)] + [DONE, DONE])


async def split(talk: Talk) -> None:
    """Every byte of the events in a packet of its own, with the other line ends."""
    await talk.begin()
    for byte in b": a comment\r\n\r\n" + b"".join(good_events()).replace(b"\n", b"\r\n"):
        await talk.chunk(bytes([byte]))
    await talk.send(b"0\r\n\r\n")


async def error_event(talk: Talk) -> None:
    await talk.events([*words()[:3], sse({"error": {"message": "out of memory", "code": "server_error"}})])


async def redirect(talk: Talk) -> None:
    await talk.plain(b"", 307, extra=b"location: http://169.254.169.254/latest/meta-data\r\n")


async def no_http(talk: Talk) -> None:
    await talk.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    await hang(talk)


async def unasked(talk: Talk) -> None:
    """A second answer on the heels of the first: nobody may get it as theirs."""
    poison = whole("poison")
    await talk.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(whole()),
        whole(),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(poison),
        poison,
    )


async def announced(talk: Talk) -> None:
    """`100 Continue` before the answer."""
    await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await talk.good()


async def until_closed(talk: Talk) -> None:
    """An answer without length: it ends with the connection."""
    await talk.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", whole())
    talk.keep = False


async def close_idle(talk: Talk) -> None:
    """Answers well, says that the connection stays, and closes it."""
    await talk.good()
    talk.keep = False


async def echo_key(talk: Talk) -> None:
    sent = next(line for line in talk.head.split(b"\r\n") if line.lower().startswith(b"authorization:"))
    await talk.error(400, message=f"You sent {sent.decode()}, which is wrong", code="bad_thing")


def status(number: int, extra: bytes = b"", **fields: Any) -> Callable[[Talk], Awaitable[None]]:
    async def answer(talk: Talk) -> None:
        await talk.error(number, extra, **fields)

    return answer


def once(first: Callable[[Talk], Awaitable[None]]) -> Callable[[Talk], Awaitable[None]]:
    async def answer(talk: Talk) -> None:
        await (talk.good() if talk.seen else first(talk))

    return answer


AFTER = b"retry-after: 0.2\r\n"
WAYS: dict[str, Callable[[Talk], Awaitable[None]]] = {
    name.replace("_", "-"): way
    for name, way in list(globals().items())
    if asyncio.iscoroutinefunction(way) and way.__module__ == __name__
} | {
    "400": status(400, code="context_length_exceeded", param="messages"),
    "401": status(401, message="Incorrect API key provided: sk-test-key", code="invalid_api_key"),
    "403": status(403),
    "404": status(404, code="model_not_found"),
    "422": status(422),
    "429": status(429, code="rate_limit_exceeded"),
    "429-quota": status(429, code="insufficient_quota"),
    "429-long": status(429, b"retry-after: 600\r\n"),
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "once-429": once(status(429, AFTER)),
    "once-500": once(status(500)),
    "once-503": once(status(503, AFTER)),
    "once-reset": once(early_reset),
}


@dataclass
class Faulty:
    """The running server."""

    port: int
    scheme: str
    asked: Counter[str] = field(default_factory=Counter)
    """Way -> requests."""
    ended: Counter[str] = field(default_factory=Counter)
    """Way -> requests that were answered to the end."""
    connections: int = 0
    open_now: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)

    def url(self, way: str, host: str = "127.0.0.1") -> str:
        assert way in WAYS, way
        return f"{self.scheme}://{host}:{self.port}/{way}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        try:
            keep = True
            while keep:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-le"))
                body = json.loads(await reader.readexactly(length))
                way = head.split(b" ")[1].split(b"/")[1].decode()
                self.heads.append(head)
                self.bodies.append(body)
                talk = Talk(reader, writer, head, body, self.asked[way])
                self.asked[way] += 1
                await WAYS[way](talk)
                self.ended[way] += 1
                keep = talk.keep
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


@asynccontextmanager
async def faulty(tls: ssl.SSLContext | None = None) -> AsyncIterator[Faulty]:
    """Run it on a free port of loopback."""
    here = Faulty(0, "https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(here.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=tls, backlog=1024)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def refusing_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def in_thread() -> Iterator[Faulty]:
    """The same in a thread of its own, for those who have no loop."""
    found: list[Faulty] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    started = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        async with faulty() as server:
            found.append(server)
            loops.append((asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield found[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


WHOLE = {
    "hang": (504, "upstream_timeout", "no answer began"),
    "slow-headers": (504, "upstream_timeout", "no answer began"),
    "drip": (504, "upstream_timeout", "not whole in time"),
    "stall": (504, "upstream_timeout", "nothing more came"),
    "cut": (502, "upstream_closed", "in the middle"),
    "early-reset": (502, "upstream_closed", "before it answered"),
    "early-close": (502, "upstream_closed", "before it answered"),
    "bad-json": (502, "upstream_unreadable", "no completion"),
    "wrong-shape": (502, "upstream_unreadable", "no completion"),
    "html": (502, "upstream_unreadable", "text/html"),
    "html-502": (502, "upstream_error", "502"),
    "wrong-type": (502, "upstream_unreadable", "text/event-stream"),
    "huge-headers": (502, "upstream_too_large", "headers"),
    "redirect": (502, "upstream_unreadable", "not followed"),
    "no-http": (502, "upstream_malformed", "no HTTP"),
    "400": (400, "context_length_exceeded", "said with 400"),
    "401": (502, "upstream_key_refused", "refused our key"),
    "403": (502, "upstream_key_refused", "refused our key"),
    "404": (404, "model_not_found", "said with 404"),
    "422": (422, "upstream_error", "said with 422"),
    "429": (429, "rate_limit_exceeded", "said with 429"),
    "429-quota": (429, "insufficient_quota", "said with 429"),
    "429-long": (429, "upstream_error", "said with 429"),
    "500": (502, "upstream_error", "said with 500"),
    "502": (502, "upstream_error", "said with 502"),
    "503": (503, "upstream_error", "said with 503"),
    "echo-key": (400, "bad_thing", "Bearer [key]"),
}
"""Way -> status, code, and words of the error."""

STREAM = {way: said for way, said in WHOLE.items() if not way.endswith(("drip", "json", "shape", "type", "html"))} | {
    "drip": (504, "upstream_timeout", "not whole in time"),
    "bad-json": (502, "upstream_unreadable", "no event"),
    "wrong-shape": (502, "upstream_unreadable", "no event"),
    "wrong-type": (502, "upstream_unreadable", "application/json"),
    "html": (502, "upstream_unreadable", "text/html"),
    "reset": (502, "upstream_closed", "in the middle"),
    "no-finish": (502, "upstream_closed", "before the answer was whole"),
    "huge-chunk": (502, "upstream_unreadable", "more than"),
    "error-event": (502, "upstream_error", "out of memory"),
}

CUT = {"cut", "stall", "reset", "no-finish", "error-event", "bad-json", "huge-chunk"}
"""Ways after whose beginning something has arrived."""

"""HTTP/1.1 over raw sockets: order, bounds, slow and vanishing clients, requests that two readers could read apart."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from gateway_server import Server, listening, read_all

from sartor.gateway.bounds import Limits
from sartor.gateway.wire.http import Request, Response

HOST = b"Host: localhost\r\n"
LIMITS = Limits(
    body_bytes=10_000,
    drained_bytes=5_000_000,
    receiving_bytes=30_000,
    header_bytes=4096,
    headers=20,
    receipt_seconds=0.6,
    idle_seconds=30,
    pipelined=4,
)


class Echo:
    """Says what it was asked; some paths misbehave."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.cancelled: list[str] = []
        self.closed: list[str] = []
        self.sent = 0
        self.go = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.seen.append(request.target)
        if request.path == "/fails":
            raise ZeroDivisionError("secret")
        if request.path in ("/slow", "/hangs"):
            try:
                await asyncio.sleep(0.1 if request.path == "/slow" else 60)
            except asyncio.CancelledError:
                self.cancelled.append(request.target)
                raise
        if request.path.startswith("/stream"):
            return Response(200, [(b"content-type", b"text/plain")], self.pieces(request))
        said = {"method": request.method, "target": request.target, "body": request.body.decode("latin-1")}
        said |= {"headers": {k.decode(): v.decode("latin-1") for k, v in request.headers.items()}}
        return Response(200, [(b"content-type", b"application/json")], json.dumps(said).encode())

    async def pieces(self, request: Request) -> AsyncIterator[bytes]:
        how = request.path.rpartition("/")[2]
        try:
            if how == "endless":
                while True:
                    self.sent += 10_000
                    yield b"x" * 10_000
            for piece in (b"one", b"", b"two"):
                yield piece
                if how == "waits":
                    await asyncio.sleep(60)
                if how == "breaks":
                    raise ZeroDivisionError("secret")
        finally:
            self.closed.append(request.target)


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def server(echo: Echo) -> Iterator[Server]:
    with listening(echo, LIMITS) as found:
        yield found


def get(path: str, more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path.encode(), HOST, more)


def post(body: bytes, more: bytes = b"", path: str = "/echo") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n%b\r\n%b" % (path.encode(), HOST, len(body), more, body)


LAST = b"Connection: close\r\n"


def answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers in what came back: status, headers, body."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if "content-length" in headers:
            size = int(headers["content-length"])
            body, data = data[:size], data[size:]
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                length, _, data = data.partition(b"\r\n")
                size = int(length, 16)
                body, data = body + data[:size], data[size + 2 :]
                if size == 0:
                    break
        else:
            body, data = data, b""
        found.append((int(first.split()[1]), headers, body))
    return found


def said(answer: tuple[int, dict[str, str], bytes]) -> Any:
    status, _, body = answer
    assert status == 200, body
    return json.loads(body)


def refused(data: bytes, status: int, code: str) -> None:
    """Exactly one answer, a refusal in the envelope, and the connection was closed."""
    ((found, headers, body),) = answers(data)
    assert (found, json.loads(body)["error"]["code"]) == (status, code)
    assert headers["connection"] == "close"
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-content-type-options"] == "nosniff"


def test_one_connection_takes_one_request_after_another(server: Server) -> None:
    with server.connect() as connection:
        for number in range(3):
            connection.sendall(get(f"/{number}"))
            (answer,) = answers(connection.recv(65536))
            assert said(answer)["target"] == f"/{number}"
            assert "connection" not in answer[1]
            assert answer[1]["date"].endswith(" gmt")


def test_requests_sent_together_are_answered_in_their_order(server: Server, echo: Echo) -> None:
    echo.seen.clear()
    sent = get("/slow") + post(b"abc") + get("/stream/x") + get("/last", LAST)
    found = answers(server.raw(sent))
    assert [json.loads(a[2])["target"] for a in (found[0], found[1], found[3])] == ["/slow", "/echo", "/last"]
    assert found[2][2] == b"onetwo"
    assert [a[1].get("connection") for a in found] == [None, None, None, "close"]
    assert echo.seen == ["/slow", "/echo", "/stream/x", "/last"]


def test_the_loop_of_the_standard_library_does_as_well() -> None:
    echo = Echo()
    with listening(echo, LIMITS, fast=False) as server:
        found = answers(server.raw(get("/slow") + post(b"abc") + get("/stream/x") + get("/last", LAST)))
        assert [a[0] for a in found] == [200] * 4
        assert found[2][2] == b"onetwo"
        refused(server.raw(b"hello\r\n\r\n"), 400, "bad_http")
        with server.connect() as connection:
            connection.sendall(get("/hangs"))
            server.until(lambda: server.wire.in_flight == 1)
        server.until(lambda: echo.cancelled == ["/hangs"])


def test_more_requests_than_may_wait_are_answered_still(server: Server) -> None:
    sent = b"".join(get(f"/{i}") for i in range(300)) + get("/last", LAST)
    targets = [said(a)["target"] for a in answers(server.raw(sent))]
    assert targets == [f"/{i}" for i in range(300)] + ["/last"]


def test_large_requests_that_wait_are_not_piled_up() -> None:
    large = post(b"x" * 100_000)
    with listening(Echo(), Limits(buffer_bytes=1000)) as server, server.connect() as hung:
        hung.sendall(get("/hangs") + large + large[:-1])
        server.until(lambda: any(not c._reading for c in list(server.wire.connected)))
        (connection,) = server.wire.connected
        assert len(connection._waiting) == 1
        found = answers(server.raw(get("/slow") + large + large + get("/last", LAST)))
        assert [a[0] for a in found] == [200] * 4


def test_nothing_after_the_last_request_is_read(server: Server, echo: Echo) -> None:
    echo.seen.clear()
    assert len(answers(server.raw(get("/a", LAST) + get("/b")))) == 1
    assert echo.seen == ["/a"]


def test_requests_arrive_byte_by_byte(server: Server) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(b"abc", LAST):
            connection.sendall(bytes([byte]))
        (answer,) = answers(read_all(connection))
    assert said(answer)["body"] == "abc"


CHUNKED = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"


def test_a_body_in_chunks_is_put_together_and_what_trails_it_is_not_read(server: Server) -> None:
    body = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\nHost: evil.example\r\n\r\n"
    first, last = answers(server.raw(CHUNKED + b"\r\n" + body + get("/last", LAST)))
    assert said(first)["body"] == "abcde"
    assert said(first)["headers"] == {"host": "localhost", "transfer-encoding": "chunked"}
    assert said(last)["target"] == "/last"


def test_repeated_headers_are_joined(server: Server) -> None:
    (answer,) = answers(server.raw(get("/", b"X-A: 1\r\nx-a: 2\r\n" + LAST)))
    assert said(answer)["headers"]["x-a"] == "1, 2"


def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    with server.connect() as connection:
        head, _, _ = post(b"abc", b"Expect: 100-continue\r\n" + LAST).partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        (answer,) = answers(read_all(connection))
        assert said(answer)["body"] == "abc"


def test_a_client_that_asks_first_waits_for_its_turn(server: Server) -> None:
    with server.connect() as connection:
        head, _, _ = post(b"abc", b"Expect: 100-continue\r\n" + LAST).partition(b"\r\n\r\n")
        connection.sendall(get("/slow") + head + b"\r\n\r\n")
        found = b""
        while not found.endswith(b"100 Continue\r\n\r\n"):
            found += connection.recv(65536)
        assert found.startswith(b"HTTP/1.1 200")
        connection.sendall(b"abc")
        (answer,) = answers(read_all(connection))
        assert said(answer)["body"] == "abc"


def test_a_client_that_asks_first_for_too_much_never_sends_it(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10001\r\nExpect: 100-continue\r\n\r\n"
    refused(server.raw(head), 413, "request_too_large")


def test_head_is_get_without_its_body(server: Server) -> None:
    asked = b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n"
    with server.connect(wait=0.3) as connection:
        connection.sendall(asked)
        found = read_all(connection)
    assert found.endswith(b"\r\n\r\n")
    assert b"content-length: " in found


def test_an_old_client_gets_a_stream_that_ends_with_the_connection(server: Server) -> None:
    found = server.raw(b"GET /stream/x HTTP/1.0\r\n" + HOST + b"\r\n")
    ((status, headers, body),) = answers(found)
    assert (status, body, headers["connection"]) == (200, b"onetwo", "close")
    assert "transfer-encoding" not in headers


def test_an_offer_of_another_protocol_is_not_taken(server: Server) -> None:
    offers = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    (answer,) = answers(server.raw(post(b"abc", offers)))
    assert said(answer)["body"] == "abc"
    assert answer[1]["connection"] == "close"
    with server.connect() as connection:
        for byte in post(b"abc", offers):
            connection.sendall(bytes([byte]))
        assert said(answers(read_all(connection))[0])["body"] == "abc"
    (answer,) = answers(server.raw(get("/", offers) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    assert said(answer)["target"] == "/"


# What is refused.

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
AMBIGUOUS = {
    "two ways to say the length": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "the other way round": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "two equal lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
    "a length with a sign": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "a length in hex": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
    "an endless length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    "a coding nobody knows": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "chunks that are packed": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "chunked said with a tab": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "lines without a return": b"GET / HTTP/1.1\nHost: a\n\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two keys": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n",
    "two kinds of body": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\nContent-Type: y\r\n\r\n",
    "no size of a chunk": CHUNKED + b"\r\n\r\nabc\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"\r\n-1\r\nabc\r\n0\r\n\r\n",
    "a chunk that is too short": CHUNKED + b"\r\n2\r\nabc\r\n0\r\n\r\n",
    "a huge chunk": CHUNKED + b"\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "an expectation nobody knows": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: tea\r\n\r\nabc",
    "an offer with chunks": CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no method": b"/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in the address": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a line of nothing": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("case", sorted(AMBIGUOUS))
def test_what_could_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(
    case: str, server: Server, echo: Echo
) -> None:
    echo.seen.clear()
    refused(server.raw(AMBIGUOUS[case] + get("/smuggled")), 400, "bad_http")
    assert echo.seen == []


def test_a_refusal_comes_after_the_answers_before_it(server: Server) -> None:
    first, second = answers(server.raw(get("/slow") + b"hello\r\n\r\n" + get("/smuggled")))
    assert said(first)["target"] == "/slow"
    assert second[0] == 400


LARGE = {
    "many headers": (get("/", b"".join(b"X-%d: 1\r\n" % i for i in range(21))), "headers_too_large"),
    "a long header": (get("/", b"X: " + b"x" * 5000 + b"\r\n"), "headers_too_large"),
    "a long name": (get("/", b"X" * 5000 + b": x\r\n"), "headers_too_large"),
    "many long headers": (get("/", (b"X: " + b"x" * 1000 + b"\r\n") * 5), "headers_too_large"),
    "a large body": (post(b"x" * 10_001), "request_too_large"),
    "a much larger body": (post(b"x" * 4_000_000), "request_too_large"),
    "a large body in chunks": (CHUNKED + b"\r\n" + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 11, "request_too_large"),
}


@pytest.mark.parametrize("case", sorted(set(LARGE) - {"a large body in chunks"}))
def test_what_is_too_large_is_refused(case: str, server: Server, echo: Echo) -> None:
    echo.seen.clear()
    data, code = LARGE[case]
    refused(server.raw(data + get("/smuggled")), 413, code)
    assert echo.seen == []


def test_chunks_without_end_are_cut(server: Server) -> None:
    data, code = LARGE["a large body in chunks"]
    refused(server.raw(data + b"0\r\n\r\n"), 413, code)
    with server.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(CHUNKED + b"\r\n")
        for _ in range(20_000):
            connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert not server.wire.inflow.bytes


def test_a_header_without_end_is_cut(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(b"x" * 1000)
                time.sleep(0)
        assert b"headers_too_large" in read_all(connection)


def test_all_bodies_together_have_a_bound(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(server.connect()).sendall(head + b"x" * 9_999)
        server.until(lambda: server.wire.inflow.bytes == 3 * 9_999)
        refused(server.raw(head + b"x" * 9_999), 503, "overloaded")
    server.until(lambda: server.wire.inflow.bytes == 0)
    assert said(answers(server.raw(post(b"abc", LAST)))[0])["body"] == "abc"


# Time.


def test_a_request_that_is_begun_and_not_ended_is_refused(server: Server) -> None:
    begun = [b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", post(b"abc")[:-1], CHUNKED + b"\r\n3\r\na"]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in begun]
        for connection, data in zip(connections, begun, strict=True):
            connection.sendall(data)
        for connection in connections:
            found = read_all(connection)
            refused(found, 408, "request_timeout")
            assert b"took longer than 0.6 seconds" in found


def test_a_sender_who_drips_is_refused_all_the_same(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n")
        connection.settimeout(0.05)
        found = b""
        for _ in range(100):
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if found := connection.recv(65536):
                    break
    refused(found, 408, "request_timeout")


def test_a_late_request_does_not_take_the_answer_before_it_away(server: Server) -> None:
    first, second = answers(server.raw(get("/slow") + b"GET / HT"))
    assert (first[0], second[0]) == (200, 408)


def test_a_connection_that_asks_nothing_is_closed() -> None:
    with listening(Echo(), Limits(idle_seconds=0.2)) as server:
        assert server.raw(b"") == b""
        assert len(answers(server.raw(get("/")))) == 1
        assert server.wire.connections == 0


def test_connections_have_a_bound() -> None:
    with listening(Echo(), Limits(connections=2)) as server, server.connect() as one, server.connect() as two:
        for connection in (one, two):
            connection.sendall(get("/"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        refused(server.raw(get("/")), 503, "overloaded")


# Clients that vanish, and clients that are slow.


def test_a_client_that_leaves_cancels_its_request(server: Server, echo: Echo) -> None:
    echo.cancelled.clear()
    with server.connect() as connection:
        connection.sendall(get("/hangs") + get("/never"))
        server.until(lambda: server.wire.in_flight == 1)
    server.until(lambda: echo.cancelled == ["/hangs"])
    server.until(lambda: server.wire.in_flight == 0)
    assert "/never" not in echo.seen


def test_a_client_that_leaves_closes_its_stream(server: Server, echo: Echo) -> None:
    echo.closed.clear()
    with server.connect() as connection:
        connection.sendall(get("/stream/waits"))
        assert b"one" in connection.recv(65536)
    server.until(lambda: echo.closed == ["/stream/waits"])


def test_a_client_that_leaves_in_the_middle_of_its_request_breaks_nothing(server: Server) -> None:
    before = server.wire.connections
    for size in range(0, len(post(b"abc")), 7):
        with server.connect() as connection:
            connection.sendall(post(b"abc")[:size])
    server.until(lambda: server.wire.connections <= before)
    assert server.wire.inflow.bytes == 0


def test_slow_clients_hold_little_memory() -> None:
    echo = Echo()
    with listening(echo, Limits(send_seconds=60)) as server, contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(get("/stream/endless"))
        server.until(lambda: server.wire.in_flight == 100)
        sent = -1
        while sent != echo.sent:
            sent = echo.sent
            time.sleep(0.1)
        held = [c._transport.get_write_buffer_size() for c in list(server.wire.connected)]
        assert len(held) == 100
        assert max(held) <= server.wire.limits.buffer_bytes + 11_000
        begun = time.monotonic()
        assert answers(server.raw(get("/", LAST)))[0][0] == 200
        assert time.monotonic() - begun < 5
    server.until(lambda: len(echo.closed) == 100)


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    echo = Echo()
    with listening(echo, Limits(send_seconds=0.2)) as server, server.connect() as connection:
        connection.sendall(get("/stream/endless"))
        server.until(lambda: echo.closed == ["/stream/endless"])
        assert server.wire.connections == 0


# Handlers that fail.


def test_a_handler_that_fails_becomes_an_answer(server: Server) -> None:
    failed, after = answers(server.raw(get("/fails") + get("/", LAST)))
    assert failed[0] == 500
    assert b"secret" not in failed[2]
    assert after[0] == 200


def test_a_stream_that_breaks_is_cut_where_the_client_sees_it(server: Server) -> None:
    found = server.raw(get("/stream/breaks") + get("/after"))
    assert found.endswith(b"\r\n\r\n3\r\none\r\n")


# The end.


def test_a_server_that_drains_finishes_what_is_under_way() -> None:
    echo = Echo()
    with listening(echo) as server, server.connect() as busy, server.connect() as idle:
        idle.sendall(get("/"))
        assert idle.recv(65536)
        busy.sendall(get("/slow") + get("/waiting"))
        server.until(lambda: server.wire.in_flight == 1)
        draining = asyncio.run_coroutine_threadsafe(server.wire.drain(5), server.loop)
        first, *_ = answers(read_all(busy))
        assert first[0] == 200
        assert first[1]["connection"] == "close"
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        idle.sendall(get("/late"))
        ((status, headers, _),) = answers(read_all(idle))
        assert (status, headers["connection"]) == (200, "close")
        draining.result(timeout=5)
        assert server.wire.connections == 0


def test_a_server_that_drains_does_not_wait_for_ever() -> None:
    echo = Echo()
    with listening(echo) as server, server.connect() as busy:
        busy.sendall(get("/hangs"))
        server.until(lambda: server.wire.in_flight == 1)
        asyncio.run_coroutine_threadsafe(server.wire.drain(0.1), server.loop).result(timeout=5)
        assert read_all(busy) == b""
        server.until(lambda: echo.cancelled == ["/hangs"])

"""The server side of HTTP/1.1: one connection, its requests in order, their answers in the same order.

Keeps slow and silent clients within bounds without a timer for each: one sweep a second looks at all connections. Knows
no routes: whatever the handler returns is sent, and a client that leaves cancels it.
"""

import asyncio
import contextlib
import http
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from typing import cast

from sartor.core.errors import BusyError, SartorError, TooSlowError
from sartor.gateway.bounds import Limits
from sartor.gateway.envelope import error_response
from sartor.gateway.wire.http import Request, Response
from sartor.gateway.wire.reading import Inflow, Reader, Spools

Handle = Callable[[Request], Awaitable[Response]]

STANDING = (
    b"x-content-type-options: nosniff\r\n"
    b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
    b"cross-origin-resource-policy: same-origin\r\n"
    b"referrer-policy: no-referrer\r\n"
    b"cache-control: no-store\r\n"
)
"""Header lines of every answer."""

STATUS = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in http.HTTPStatus}
SWEEP_SECONDS = 1.0
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before the connection is cut: a reset could overtake the refusal."""

log = logging.getLogger("sartor.gateway")

_Item = tuple[Request | Response, bool, bool]
"""What is to be answered or sent, whether the connection may go on, whether the answer may be chunked."""


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_busy", "_cut_at", "_discarding", "_next", "_owes_continue", "_paused_at", "_peer", "_reader", "_reading",
        "_resumed", "_server", "_task", "_transport", "_waiting", "idle_since",
    )  # fmt: skip

    def __init__(self, server: "WireServer") -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._busy = False
        self._next: asyncio.Future[_Item] | None = None
        """What the task waits for between requests: one task for all of them is cheaper than one for each."""
        self._waiting: deque[_Item] = deque()
        self._resumed: asyncio.Future[None] | None = None
        self._paused_at: float | None = None
        self._reading = True
        self._discarding = self._owes_continue = False
        self._cut_at = 0.0
        self.idle_since = server.now()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        server = self._server
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=server.limits.buffer_bytes)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._reader = Reader(
            server.limits,
            server.inflow,
            server.now,
            deliver=self._deliver,
            refuse=self._refuse,
            continues=self._continue,
            spools=server.spools,
        )
        server.connected.add(self)
        if len(server.connected) > server.limits.connections:
            self._reader.fail(BusyError("Too many connections are open. Try again.", retry_after=1.0))

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._discarding:
            self._reader.feed(data, self._peer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone, or was sent away."""
        self._server.gone(self)
        self._reader.stop()
        for item, _, _ in self._waiting:
            if isinstance(item, Request) and item.spool is not None:
                item.spool.close()
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self._paused_at = self._server.now()
        self._resumed = self._server.loop.create_future()

    def resume_writing(self) -> None:
        """It caught up."""
        self._paused_at = None
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
        self._resumed = None

    # What the reader calls.

    def _deliver(self, item: Request | Response, keep: bool, chunked: bool) -> None:  # noqa: FBT001 - called with places
        if not self._busy:
            self._busy = True
            if self._next is None:
                self._task = self._server.loop.create_task(self._run(item, keep, chunked))
            else:
                self._next.set_result((item, keep, chunked))
                self._next = None
            return
        self._waiting.append((item, keep, chunked))
        limits = self._server.limits
        large = isinstance(item, Request) and (item.spool is not None or len(item.body) > limits.buffer_bytes)
        if self._reading and (large or len(self._waiting) >= limits.pipelined):
            self._reading = False
            self._transport.pause_reading()

    def _refuse(self, error: SartorError) -> None:
        answer = error_response(error)
        answer.close = True
        self._deliver(answer, keep=False, chunked=True)

    def _continue(self) -> None:
        self._owes_continue = True
        if not self._busy:
            self._pay_continue()

    def _pay_continue(self) -> None:
        self._owes_continue = False
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Answers, in order.

    async def _run(self, item: Request | Response, keep: bool, chunked: bool) -> None:  # noqa: FBT001
        while True:
            if isinstance(item, Response):
                response, head_only = item, False
            else:
                response, head_only = await self._answer(item), item.method == "HEAD"
            keep = keep and not self._server.draining
            body = response.body
            if isinstance(body, bytes):
                keep = keep and not response.close
                lines = self._head(response, b"content-length: %d\r\n" % len(body), keep)
                if not head_only:
                    lines.append(body)
                self._transport.write(b"".join(lines))
            elif not await self._stream(response, body, keep=keep, chunked=chunked, head_only=head_only):
                keep = False
            if self._resumed is not None:
                await self._resumed
            if not keep:
                self._leave()
                return
            if not self._waiting:
                self._rest()
                assert self._next is not None
                item, keep, chunked = await self._next
                continue
            item, keep, chunked = self._waiting.popleft()
            if not self._reading and len(self._waiting) < self._server.limits.pipelined // 2:
                self._read_on()

    def _rest(self) -> None:
        """Be ready for the next request."""
        self._busy = False
        self._next = self._server.loop.create_future()
        self.idle_since = self._server.now()
        if self._owes_continue:
            self._pay_continue()

    def _read_on(self) -> None:
        self._reading = True
        if self._reader.since is not None:
            self._reader.since = self._server.now()  # that it took so long was not the client's doing
        self._transport.resume_reading()

    async def _answer(self, request: Request) -> Response:
        self._server.in_flight += 1
        try:
            return await self._server.handle(request)
        except Exception as error:  # whatever a handler let through becomes an answer
            log.exception("answering %s %s failed", request.method, request.path)
            return error_response(error)
        finally:
            self._server.in_flight -= 1
            if request.spool is not None:
                request.spool.close()

    def _head(self, response: Response, length: bytes, keep: bool) -> list[bytes]:  # noqa: FBT001
        lines = [STATUS[response.status], STANDING, self._server.date]
        for name, value in response.headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (length, b"\r\n" if keep else b"connection: close\r\n\r\n")
        return lines

    async def _stream(
        self, response: Response, body: AsyncIterator[bytes], *, keep: bool, chunked: bool, head_only: bool
    ) -> bool:
        """Send pieces as they come; whether the connection can go on."""
        keep = keep and chunked and not response.close
        lines = self._head(response, b"transfer-encoding: chunked\r\n" if chunked else b"", keep)
        write = self._transport.write
        write(b"".join(lines))
        self._server.in_flight += 1
        try:
            if not head_only:
                async for piece in body:
                    if not piece:
                        continue
                    write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    if self._resumed is not None:
                        await self._resumed
                if chunked:
                    write(b"0\r\n\r\n")
        except Exception:  # too late for an answer: a cut body is how the client is told
            log.exception("a stream failed")
            self._transport.abort()
            return False
        finally:
            self._server.in_flight -= 1
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        return keep and not response.close

    def _leave(self) -> None:
        """Close; where the client may still be sending, only once it has had time to read why."""
        self._busy = False
        self._waiting.clear()
        if self._reader.stopped and not self._transport.is_closing():
            self._discarding = True
            if not self._reading:
                self._transport.resume_reading()
            self._cut_at = self._server.now() + LINGER_SECONDS
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self._transport.close()

    # Bounds in time.

    def sweep(self, now: float) -> None:
        """Close what waits too long."""
        limits, since = self._server.limits, self._reader.since
        if self._paused_at is not None and now - self._paused_at > limits.send_seconds:
            self._transport.abort()
        elif self._discarding:
            if now > self._cut_at:
                self._transport.abort()
        elif since is not None:
            if self._reading and now - since > self._reader.receipt_seconds:
                self._reader.fail(self._too_slow())
        elif not self._busy and now - self.idle_since > self._server.idle_seconds:
            self._transport.close()

    def cut(self) -> None:
        """Send the client away whatever is under way."""
        self._transport.abort()

    def _too_slow(self) -> TooSlowError:
        return TooSlowError(
            f"Receiving the request took longer than {self._reader.receipt_seconds:g} seconds "
            f"({self._reader.received} bytes came). Send it again over a better connection.",
            code="request_timeout",
        )


class WireServer:
    """All connections of one process."""

    def __init__(self, handle: Handle, limits: Limits, spools: Spools | None = None) -> None:
        self.handle = handle
        self.spools = spools
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.inflow = Inflow()
        self.connected: set[Connection] = set()
        self.in_flight = 0
        """Requests under way."""
        self.draining = False
        self.idle_seconds = limits.idle_seconds
        self.date = b""
        self._empty = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._every = min(SWEEP_SECONDS, limits.receipt_seconds / 2, limits.idle_seconds / 2, limits.send_seconds / 2)
        self._sweep()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.connected)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept clients on sockets that are bound."""
        for bound in sockets:
            self._servers.append(await self.loop.create_server(lambda: Connection(self), sock=bound, backlog=2048))

    async def drain(self, seconds: float) -> None:
        """Accept nobody, let everybody finish, close.

        Connections that are idle stay a moment: a request that is on its way to one of them is answered still.

        Args:
            seconds: after which what is still under way is cut off.
        """
        self.draining = True
        for server in self._servers:
            server.close()
        self.idle_seconds = min(self.idle_seconds, SWEEP_SECONDS)
        if self.connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        for connection in list(self.connected):
            connection.cut()
        await asyncio.sleep(0)
        self._timer.cancel()

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connected.discard(connection)
        if self.draining and not self.connected:
            self._empty.set()

    def _sweep(self) -> None:
        now = self.now()
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in list(self.connected):
            connection.sweep(now)
        self._timer = self.loop.call_later(self._every, self._sweep)


async def serve(
    handle: Handle, sockets: Sequence[socket.socket], limits: Limits = Limits(), *, spools: Spools | None = None
) -> WireServer:
    """Answer what comes in on bound sockets, until `drain`.

    Args:
        handle: takes one request and returns its answer; it is cancelled when the client leaves.
        spools: says of a request's head whether its body goes to disk, and into which file.
    """
    server = WireServer(handle, limits, spools)
    await server.listen(sockets)
    return server

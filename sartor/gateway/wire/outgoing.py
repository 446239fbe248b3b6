"""One connection to another server, and the answer that comes on it: no wait without an end. Knows no pool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, NamedTuple, cast

import httptools

from sartor.core.route import Timing

HEADER_BYTES = 64 * 1024
ANSWER_BYTES = 64 * 1024 * 1024
HEADERS_TOO_LARGE = f"its headers have more than {HEADER_BYTES} bytes"
READ_BYTES = 32 * 1024
"""At one time from one connection."""
HELD_BYTES = 32 * 1024
"""Of a stream that nobody takes; then the connection is not read any more."""
TAIL_SECONDS = 1.0
"""How long the end of an answer is waited for after its last word, so that the connection can be kept."""

Kind = Literal["connect", "first_token", "between_chunks", "total", "closed", "malformed", "too_large"]


class BrokenError(Exception):
    """An answer that did not come, or not whole. `begun` says whether any of it had come."""

    def __init__(self, kind: Kind, why: str, *, begun: bool = False) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.begun = begun


class Waits(NamedTuple):
    """When a request is given up, on the loop's clock."""

    timing: Timing
    until: float
    """The moment at which its total time is over."""


class Answer:
    """One answer, as far as it has come."""

    __slots__ = ("_broken", "_connection", "_held", "_left", "_parts", "_wake", "complete", "headers", "status")

    def __init__(self, connection: "Connection") -> None:
        self.status = 0
        """0 until the headers are whole."""
        self.headers: dict[bytes, bytes] = {}
        """Lower-case names; of repeated ones the last."""
        self.complete = False
        self._connection = connection
        self._parts: list[bytes] = []
        self._held = 0
        self._left = False
        self._broken: BrokenError | None = None
        self._wake: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The whole body; raises BrokenError."""
        while not self.complete:
            self._connection.resume()
            await self.wait()
        return self.body

    @property
    def body(self) -> bytes:
        """What has come of the body and was not taken: all of it, where it is complete and no stream."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises BrokenError after what had come."""
        while True:
            if self._parts:
                data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts, self._held = [], 0
                self._connection.resume()
                yield data
            elif self.complete:
                return
            else:
                await self.wait()

    def leave(self) -> None:
        """Take no more of it: the connection is kept if the rest comes soon, else closed."""
        if not self.complete:
            self._left = True
            self._connection.drain(self)

    def abort(self) -> None:
        """Take no more of it, and close the connection unless the answer was whole or left."""
        if not (self.complete or self._left):
            self._connection.close()

    async def wait(self) -> None:
        """Until more has come; raises BrokenError."""
        if self._broken is not None:
            raise self._broken
        self._wake = self._connection.loop.create_future()
        await self._wake

    def add(self, data: bytes) -> int:
        """More of the body; returns how much is held."""
        self._parts.append(data)
        self._held += len(data)
        return self._held

    def more(self) -> None:
        """Wake whoever waits."""
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_result(None)

    def end(self, broken: BrokenError | None) -> None:
        """It is whole, or broken."""
        if broken is None:
            self.complete = True
            self.more()
            return
        self._broken = broken
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_exception(broken)


class Connection(asyncio.BufferedProtocol):
    """One connection, with at most one request under way."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: memoryview, release: "Callable[[Connection], None]"
    ) -> None:
        """A connection that is about to be made.

        Args:
            shared: room for what is read at one time; all connections of a loop can have the same.
            release: called when an answer is whole and the connection can be used again.
        """
        self.loop = loop
        self._shared = shared
        self.since = 0.0
        """When it became idle."""
        self._release = release
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._stream = False
        self._waits: Waits | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0
        self._sent = self._last = 0.0
        self._heard = False
        self._paused = False
        self._draining = False
        self._size = 0
        self._framed = False
        self._lines: dict[bytes, bytes] = {}
        """Of a head that is not whole, or what comes after a body."""
        self.on_header = self._lines.__setitem__
        """Called by the parser for each header."""
        self._parser: Any = httptools.HttpResponseParser(self)

    @property
    def usable(self) -> bool:
        """Whether a request can be sent on it."""
        return self._answer is None and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, waits: Waits, *, stream: bool) -> Answer:
        """Begin a request; the answer fills as it comes."""
        assert self._transport is not None
        self._answer = answer = Answer(self)
        self._stream, self._waits = stream, waits
        self._heard = self._paused = self._draining = self._framed = False
        self._size = 0
        self._sent = self._last = self.loop.time()
        self._arm()
        self._transport.write(request)
        return answer

    def resume(self) -> None:
        """Read on, if reading was paused because nobody took the answer."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._last = self.loop.time()
            self._transport.resume_reading()
            self._arm()

    def drain(self, answer: Answer) -> None:
        """Throw the rest of this answer away; close if it does not end soon."""
        if answer is self._answer and self._waits is not None:
            self._draining = True
            self._waits = Waits(self._waits.timing, min(self._waits.until, self.loop.time() + TAIL_SECONDS))
            self.resume()
            self._arm()

    def close(self) -> None:
        """Close at once."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none by descent

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where to read to."""
        return self._shared

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the answer, or bytes that nobody asked for."""
        if self._answer is None:
            self.close()
            return
        self._heard = True
        self._last = self.loop.time()
        if not self._answer.status:
            self._size += nbytes
        try:
            self._parser.feed_data(self._shared[:nbytes])
        except httptools.HttpParserUpgrade:
            self._fail("malformed", "it changed the protocol, which nobody asked for")
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, BrokenError):
                self._fail(cause.kind, cause.why)
            else:
                self._fail("malformed", "its answer is no HTTP")
        answer = self._answer
        if self._lines and sum(len(name) + len(value) for name, value in self._lines.items()) > HEADER_BYTES:
            self._fail("too_large", HEADERS_TOO_LARGE)
        elif answer is not None and answer.status:
            self._arm()
            if self._stream:
                answer.more()
        elif self._size > HEADER_BYTES:
            self._fail("too_large", HEADERS_TOO_LARGE)

    def connection_lost(self, error: Exception | None) -> None:
        """The other side, or this one, closed it."""
        self._transport = None
        self._stop_timer()
        answer = self._answer
        if answer is None:
            return
        if error is None and answer.status and not self._framed:
            self._finish()  # an answer without length ends with its connection
        else:
            begun = "in the middle of its answer" if answer.status else "before it answered"
            self._fail("closed", f"it closed the connection {begun}")

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Something begins to come."""
        if self._answer is None:
            raise BrokenError("malformed", "it sent an answer that nobody had asked for")

    def on_headers_complete(self) -> None:
        """The headers are whole."""
        answer, status = self._answer, self._parser.get_status_code()
        if answer is None or status < 200:  # 100 and 103 only announce the answer
            return
        if self._size > HEADER_BYTES + READ_BYTES:  # of which the last piece may have been body
            raise BrokenError("too_large", HEADERS_TOO_LARGE)
        headers = answer.headers = {name.lower(): value for name, value in self._lines.items()}
        self._lines.clear()
        answer.status = status
        self._framed = b"content-length" in headers or b"transfer-encoding" in headers
        self._size = 0

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        answer = self._answer
        if answer is None or self._draining:
            return
        self._size += len(data)
        if self._size > ANSWER_BYTES:
            raise BrokenError("too_large", f"its answer has more than {ANSWER_BYTES} bytes")
        if answer.add(data) > HELD_BYTES and self._stream and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        answer = self._answer
        if answer is None:
            return
        self._lines.clear()
        if not answer.status:
            return
        keep = self._parser.should_keep_alive()
        self._finish()
        if keep and self._transport is not None and not self._transport.is_closing():
            self.since = self._last
            self._release(self)
        else:
            self.close()

    def _finish(self) -> None:
        answer, self._answer = self._answer, None
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        if answer is not None:
            answer.end(None)

    def _fail(self, kind: Kind, why: str) -> None:
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None:
            answer.end(BrokenError(kind, why, begun=self._heard))

    def _due(self) -> float:
        waits, answer = self._waits, self._answer
        assert waits is not None
        if answer is None or not answer.status:
            # Bytes of headers don't move it, or a drip of them would never end.
            return min(waits.until, self._sent + waits.timing.first_token)
        return waits.until if self._paused else min(waits.until, self._last + waits.timing.between_chunks)

    def _arm(self) -> None:
        """Set the timer for what is due next, where that is earlier.

        A timer that rings too early is set anew then: most requests find one that is good enough, and touch none.
        """
        due = self._due()
        if self._timer is None or due < self._rings:
            self._stop_timer()
            self._timer, self._rings = self.loop.call_at(due, self._tick), due

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        waits, answer = self._waits, self._answer
        if waits is None or answer is None:
            return
        now, due = self.loop.time(), self._due()
        if now < due:
            self._timer, self._rings = self.loop.call_at(due, self._tick), due
        elif now >= waits.until:
            self._fail("total", "its answer was not whole in time")
        elif not answer.status:
            self._fail("first_token", f"no answer began within {waits.timing.first_token:g} seconds")
        else:
            self._fail("between_chunks", f"nothing more came for {waits.timing.between_chunks:g} seconds")

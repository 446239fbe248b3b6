"""Reads HTTP/1.1 requests from bytes, within bounds, and refuses what two readers could understand differently.

Knows no sockets: whoever feeds it is handed whole requests, or one refusal after which nothing is read any more.
"""

from collections.abc import Callable
from typing import BinaryIO

import httptools

from sartor.core.errors import AskError, BusyError, SartorError, TooLargeError, disk_full
from sartor.gateway.bounds import Limits
from sartor.gateway.wire.http import Request

ONCE = frozenset({b"host", b"authorization", b"content-length", b"content-type", b"expect", b"transfer-encoding"})
"""Headers of which a second one is refused."""
VERSIONS = ("1.1", "1.0")
Spools = Callable[[str, str, dict[bytes, bytes]], BinaryIO | None]
"""Of a form: (method, target, headers) -> a file into which the body goes; None: it stays in memory, in smaller bounds.
Bodies that are no form always do."""


class Inflow:
    """Bytes of all bodies that are being received: in memory, and on their way to disk."""

    __slots__ = ("bytes", "spooled")

    def __init__(self) -> None:
        self.bytes = self.spooled = 0


class Reader:
    """The requests of one connection, one after another."""

    __slots__ = (
        "_continues", "_deliver", "_fed", "_head_done", "_headers", "_held", "_inflow", "_limits", "_lines", "_now",
        "_offered", "_over", "_parser", "_parts", "_peer", "_refuse", "_size", "_spool", "_spools", "_url", "_version",
        "since",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        inflow: Inflow,
        now: Callable[[], float],
        *,
        deliver: Callable[[Request, bool, bool], None],
        refuse: Callable[[SartorError], None],
        continues: Callable[[], None],
        spools: Spools | None = None,
    ) -> None:
        """A reader.

        Args:
            now: seconds, monotonic.
            deliver: takes (request, whether the connection may go on, whether the answer may be chunked).
            refuse: takes why nothing is read any more.
            continues: the client waits to be told that it may send the body.
            spools: where bodies go that are not kept in memory.
        """
        self._limits, self._inflow, self._now = limits, inflow, now
        self._deliver, self._refuse, self._continues = deliver, refuse, continues
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._spools = spools
        self._spool: BinaryIO | None = None
        self._held = 0
        self._peer = ""
        self.since: float | None = None
        """When the first byte of the request came that is being received; None between requests."""
        self._clear()

    def feed(self, data: bytes, peer: str) -> None:
        """Read what came; whole requests are delivered on the way."""
        if self._parser is None:
            return
        self._peer = peer
        before = self.since
        if self._offered:
            self._feed_body(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_body(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.fail(_malformed(str(error)))
        if before is not None and self.since == before and not self._head_done:
            # A header is shown only when it is whole: until then the parser keeps what came of it.
            self._fed += len(data)
            if self._fed > self._limits.header_bytes:
                self.fail(self._head_too_large())

    def _feed_body(self, data: bytes) -> None:
        """Read the body of a request that offered another protocol: the parser takes what follows for that protocol."""
        self.on_body(data[: self._offered - self._size])
        if self._size == self._offered:
            self._complete(keep=False)

    def fail(self, error: SartorError) -> None:
        """Refuse the request that is being received; nothing after it can be read."""
        if self._parser is not None:
            self.stop()
            self._refuse(error)

    def stop(self) -> None:
        """Read nothing any more."""
        self._parser = None
        self.since = None
        self._drop()

    def _drop(self) -> None:
        """Forget what came of the body."""
        self._release()
        self._parts.clear()
        if self._spool is not None:
            self._spool.close()

    @property
    def receipt_seconds(self) -> float:
        """How long the request may take that is being received."""
        return self._limits.receipt_seconds if self._spool is None else self._limits.upload_seconds

    @property
    def stopped(self) -> bool:
        """Whether nothing is read any more."""
        return self._parser is None

    @property
    def received(self) -> int:
        """Bytes of the body that have come so far."""
        return self._size

    def _clear(self) -> None:
        self._url = b""
        self._version = ""
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._lines: list[tuple[bytes, bytes]] = []
        self._head_done = self._over = False
        self._size = self._fed = self._offered = 0

    def _release(self) -> None:
        if self._spool is None:
            self._inflow.bytes -= self._held
        else:
            self._inflow.spooled -= self._held
        self._held = 0

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._parser is not None:
            self.since = self._now()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those after the body are not read."""
        if not self._head_done:
            self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of the head."""
        if self._parser is None:
            return
        self._head_done = True
        self._version = self._parser.get_http_version()
        headers, size = self._headers, len(self._url)
        for name, value in self._lines:
            size += len(name) + len(value)
            name = name.lower()  # noqa: PLW2901
            if name in headers:
                if name in ONCE:
                    self.fail(_malformed(f"it has two headers '{name.decode('latin-1')}'"))
                    return
                value = headers[name] + b", " + value  # noqa: PLW2901
            headers[name] = value
        if size > self._limits.header_bytes or len(self._lines) > self._limits.headers:
            self.fail(self._head_too_large())
        elif b"transfer-encoding" in headers and (
            b"content-length" in headers or headers[b"transfer-encoding"].lower() != b"chunked"
        ):
            self.fail(_malformed("its length is said in more than one way"))
        elif self._version not in VERSIONS:
            self.fail(_malformed("it is not HTTP/1.1"))
        else:
            if self._spools is not None and headers.get(b"content-type", b"").startswith(b"multipart/"):
                self._spool = self._spools(
                    self._parser.get_method().decode("ascii"), self._url.decode("latin-1"), headers
                )
            if b"expect" in headers:
                self._expected(headers)

    def _expected(self, headers: dict[bytes, bytes]) -> None:
        if headers[b"expect"].lower() != b"100-continue":
            self.fail(_malformed("nothing but '100-continue' can be expected"))
        elif int(headers.get(b"content-length", b"0")) > self._most:
            self.fail(self._body_too_large())
        else:
            self._continues()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._parser is None:
            return
        self._size += len(body)
        if self._size > self._most:
            self._over = True
            self._drop()
            if self._size > max(self._limits.drained_bytes, self._most):
                self.fail(self._body_too_large())
            return
        if self._spool is not None:
            self._to_disk(self._spool, body)
            return
        if self._inflow.bytes + len(body) > self._limits.receiving_bytes:
            self.fail(BusyError("More is being sent to this server than it can hold. Try again.", retry_after=1.0))
            return
        self._inflow.bytes += len(body)
        self._held += len(body)
        self._parts.append(body)

    def _to_disk(self, spool: BinaryIO, body: bytes) -> None:
        """Write a piece of the body; it goes to the system's memory first, so that nobody waits for the disk."""
        if self._inflow.spooled + len(body) > self._limits.uploading_bytes:
            self.fail(BusyError("More files are being sent to this server than it can hold. Try again.", retry_after=9))
            return
        self._inflow.spooled += len(body)
        self._held += len(body)
        try:
            spool.write(body)
        except OSError as error:
            self.fail(disk_full(error, "the folder of files under way"))

    @property
    def _most(self) -> int:
        return self._limits.body_bytes if self._spool is None else self._limits.upload_bytes

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        parser = self._parser
        if parser is None:
            return
        if not parser.should_upgrade():
            self._complete(keep=self._version == "1.1" and parser.should_keep_alive())
        elif b"transfer-encoding" in self._headers:
            self.fail(_malformed("it offers another protocol and has a body in chunks"))
        else:
            self._offered = int(self._headers.get(b"content-length", b"0"))

    def _complete(self, *, keep: bool) -> None:
        parser = self._parser
        if parser is None:
            return
        if self._over:
            self.fail(self._body_too_large())
            return
        parts = self._parts
        if self._spool is not None:
            self._spool.seek(0)
        request = Request(
            parser.get_method().decode("ascii"),
            self._url.decode("latin-1"),
            self._headers,
            parts[0] if len(parts) == 1 else b"".join(parts),
            self._peer,
            self._spool,
        )
        chunked = self._version == "1.1"
        self._release()
        self._spool = None  # the request's now
        self._clear()
        self.since = None
        if not keep:
            self.stop()
        self._deliver(request, keep, chunked)

    def _head_too_large(self) -> SartorError:
        return TooLargeError(
            f"The request's head has more than {self._limits.headers} headers or {self._limits.header_bytes} bytes, "
            "which is the limit. Send fewer.",
            code="headers_too_large",
        )

    def _body_too_large(self) -> SartorError:
        if self._spool is not None:
            return TooLargeError(
                f"The file has more than {self._most:,} bytes with what is sent around it, which is the limit. Split "
                "it, or let the server take more: SARTOR_UPLOAD_MB.",
                code="file_too_large",
                param="file",
            )
        return TooLargeError(
            f"The request's body has more than {self._limits.body_bytes} bytes, which is the limit. "
            "Send less text, or answer many rows at once with 'sartor predict'.",
            code="request_too_large",
        )


def _malformed(what: str) -> AskError:
    return AskError(f"Reading the request failed: it is not proper HTTP/1.1: {what}.", code="bad_http")

"""Bodies that are files: on disk as they come, within bounds of their own, closed whatever becomes of them."""

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from gateway_server import read_all

from sartor.core.errors import AskError
from sartor.gateway.bounds import Limits
from sartor.gateway.multipart import MOST_PARTS, Slice, read_form
from sartor.gateway.wire.http import Request, Response
from sartor.gateway.wire.server import WireServer, serve

FORM = "content-type: multipart/form-data; boundary=b"
LIMITS = Limits(body_bytes=1000, drained_bytes=4000, upload_bytes=100_000, uploading_bytes=150_000)


@dataclass
class Desk:
    """A server that keeps bodies for `/files` on disk and says how long they are."""

    folder: Path
    files: list[BinaryIO] = field(default_factory=list)
    got: list[tuple[int, int]] = field(default_factory=list)
    """Bytes in memory and on disk of each request."""
    port: int = 0
    wire: WireServer = field(init=False)

    def spool(self, method: str, target: str, headers: dict[bytes, bytes]) -> BinaryIO | None:
        if (method, target) != ("POST", "/files") or headers.get(b"x-may") == b"no":
            return None
        self.files.append(cast("BinaryIO", tempfile.TemporaryFile(dir=self.folder)))  # noqa: SIM115 - closed by the wire
        return self.files[-1]

    async def handle(self, request: Request) -> Response:
        spooled = len(request.spool.read()) if request.spool is not None else 0
        self.got.append((len(request.body), spooled))
        return Response(200, [(b"content-type", b"text/plain")], b"%d" % spooled)


@contextmanager
def desk(folder: Path, limits: Limits = LIMITS) -> Iterator[Desk]:
    found = Desk(folder)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    started, stop = threading.Event(), asyncio.Event()
    loops: list[Any] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        found.wire = await serve(found.handle, [listener], limits, spools=found.spool)
        started.set()
        await stop.wait()
        await found.wire.drain(0.2)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert started.wait(10)
    found.port = listener.getsockname()[1]
    try:
        yield found
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


def send(port: int, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_all(connection)


def head(size: int, *more: str, path: str = "/files") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {size}", "connection: close", FORM, *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_file_goes_to_disk_and_anything_else_stays_in_its_smaller_bounds(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        assert send(found.port, head(50_000), b"x" * 50_000).endswith(b"50000")
        assert send(found.port, head(0)).endswith(b"0")
        chunked = head(0).replace(b"content-length: 0", b"transfer-encoding: chunked")
        assert send(found.port, chunked, b"1388\r\n", b"y" * 5000, b"\r\n0\r\n\r\n").endswith(b"5000")
        assert found.got == [(0, 50_000), (0, 0), (0, 5000)]
        assert b" 413 " in send(found.port, head(2000, path="/other"), b"x" * 2000)
        assert b" 413 " in send(found.port, head(2000, "x-may: no"), b"x" * 2000)
        plain = head(2000).replace(FORM.encode(), b"content-type: application/json")
        assert b" 413 " in send(found.port, plain, b"x" * 2000)
        assert b"100 Continue" in send(found.port, head(2000, "expect: 100-continue"), b"x" * 2000)
        assert all(file.closed for file in found.files)
        assert found.wire.inflow.spooled == found.wire.inflow.bytes == 0
        assert list(tmp_path.iterdir()) == []


def test_a_file_over_the_limit_is_refused_by_its_name(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        told = send(found.port, head(100_001), b"x" * 100_001)
        assert b" 413 " in told
        assert b"file_too_large" in told
        assert b"more than 100,000 bytes" in told
        assert b"file_too_large" in send(found.port, head(100_001, "expect: 100-continue"))
        # Two that are under way have together more than there is room for: the second is told to come back.
        with socket.create_connection(("127.0.0.1", found.port), timeout=5) as first:
            first.sendall(head(90_000) + b"x" * 80_000)
            while not found.files[-1].closed and found.wire.inflow.spooled < 80_000:
                time.sleep(0.01)
            assert b" 503 " in send(found.port, head(90_000), b"x" * 90_000)
            first.sendall(b"x" * 10_000)
            assert read_all(first).endswith(b"90000")
        assert found.wire.inflow.spooled == 0


def test_a_sender_who_leaves_or_dawdles_leaves_nothing(tmp_path: Path) -> None:
    with desk(tmp_path, Limits(upload_seconds=0.3, receipt_seconds=0.1)) as found:
        with socket.create_connection(("127.0.0.1", found.port), timeout=5) as connection:
            connection.sendall(head(90_000) + b"x" * 10)
            assert b" 408 " in read_all(connection)
        with socket.create_connection(("127.0.0.1", found.port), timeout=5) as connection:
            connection.sendall(head(90_000) + b"x" * 10)
        while not all(file.closed for file in found.files) or len(found.files) < 2:
            time.sleep(0.01)
        assert found.got == []
        assert found.wire.inflow.spooled == 0


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(
        b"--b\r\nContent-Disposition: form-data; " + said.encode() + b"\r\n\r\n" + data + b"\r\n"
        for said, data in parts
    )


def read(folder: Path, body: bytes) -> tuple[dict[str, str], dict[str, tuple[str | None, bytes]]]:
    (folder / "body").write_bytes(body)
    with (folder / "body").open("r+b") as file:
        fields, files = read_form(file, 'multipart/form-data; boundary="b"')
        return fields, {n: (part.filename, Slice(file, part).read(1 << 20)) for n, part in files.items()}


def test_the_parts_of_a_form(tmp_path: Path) -> None:
    tricky = b"\r\n--\r\n--bb\r\n\r\n a --b not at the start of a line"
    body = form(
        ('name="purpose"', b"fine-tune"),
        ('name="file"; filename="../a/größe \\"x\\".jsonl"', tricky),
        ('name="nothing"; filename=""', b""),
        ('name="expires_after[anchor]"', b"created_at"),
    )
    fields, files = read(tmp_path, b"a preamble\r\n" + body.replace(b"\r\n--bb", b"\r\n- bb") + b"--b--\r\nan epilogue")
    assert fields == {"purpose": "fine-tune", "expires_after[anchor]": "created_at"}
    assert files["file"] == ('größe "x".jsonl', tricky.replace(b"\r\n--bb", b"\r\n- bb"))
    assert files["nothing"] == ("unnamed", b"")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "it is empty"),
        (b"nothing", "the last boundary is missing"),
        (form(('name="a"', b"1")), "the last boundary is missing"),
        (form(('name="a"', b"1"), ('name="a"', b"2")) + b"--b--", "it has the field 'a' twice"),
        (form(('title="a"', b"1")) + b"--b--", "a part says no name"),
        (form(('name="a"', b"1" * 9000)) + b"--b--", "the field 'a' has more than 8192 bytes and no file name"),
        (form(('name="a"', b"\xff")) + b"--b--", "the field 'a' is not UTF-8"),
        (form(*[(f'name="f{n}"', b"1") for n in range(MOST_PARTS + 1)]) + b"--b--", "it has more than 20 parts"),
        (form(('name="a"\r\nContent-Transfer-Encoding: base64', b"1")) + b"--b--", "the part 'a' is encoded"),
        (b"--b\r\nx: " + b"y" * 9000 + b"\r\n\r\n\r\n--b--", "no end of its headers"),
        (b"--bx\r\n", "what follows a boundary is no part"),
    ],
)
def test_a_form_that_cant_be_read(tmp_path: Path, body: bytes, what: str) -> None:
    with pytest.raises(AskError, match="Reading the form failed") as refused:
        read(tmp_path, body)
    assert what in refused.value.message

"""A form with files (multipart/form-data, RFC 7578) that lies on disk: where each part stands, without reading it.

Knows no fields by name. Small parts are read by whoever needs them, a file goes on from disk to disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import BinaryIO

from sartor.core.errors import AskError

KIND = "multipart/form-data"
MOST_PARTS = 20
MOST_HEAD = 8192
"""Bytes of the headers of one part."""
MOST_FIELD = 8192
"""Bytes of a part that is no file."""
MOST_NAME = 255
WINDOW = 1 << 20
"""Bytes that are looked at together."""
PLAIN = ("", "7bit", "8bit", "binary")


@dataclass(frozen=True)
class Part:
    """One part of a form."""

    name: str
    filename: str | None
    """As its sender calls it, without folders; None: it is no file."""
    start: int
    end: int
    """Where its bytes begin, and where they have ended."""


class Slice:
    """The bytes of a part, read once from front to end."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        file.seek(part.start)
        self._file, self._left = file, part.end - part.start

    def read(self, size: int, /) -> bytes:
        """At most so many of the bytes that come next; none at the end."""
        found = self._file.read(min(size, self._left))
        self._left -= len(found)
        return found


def read_form(file: BinaryIO, content_type: str) -> tuple[dict[str, str], dict[str, Part]]:
    """The fields of a form as text, and its files.

    Raises:
        AskError: it is no such form, is cut off, has a field twice, too many parts, or one that is too large.
    """
    fields: dict[str, str] = {}
    files: dict[str, Part] = {}
    for part in _parts(file, _boundary(content_type)):
        if part.name in fields or part.name in files:
            raise _bad(f"it has the field '{part.name[:80]}' twice")
        if part.filename is not None:
            files[part.name] = part
            continue
        if part.end - part.start > MOST_FIELD:
            raise _bad(f"the field '{part.name[:80]}' has more than {MOST_FIELD} bytes and no file name")
        try:
            fields[part.name] = Slice(file, part).read(MOST_FIELD).decode()
        except UnicodeDecodeError as error:
            raise _bad(f"the field '{part.name[:80]}' is not UTF-8") from error
    return fields, files


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    found = message.get_param("boundary")
    if message.get_content_type() != KIND or not isinstance(found, str) or not 0 < len(found) <= 200:
        raise no_form(content_type)
    return found.encode("latin-1", "replace")


def _parts(file: BinaryIO, boundary: bytes) -> Iterator[Part]:
    if file.seek(0, 2) == 0:
        raise _bad("it is empty")
    between = b"\r\n--" + boundary
    first = _read(file, 0, len(between) - 2) == between[2:]
    at = len(between) - 2 if first else _after(file, between, 0)
    for _ in range(MOST_PARTS):
        head = _read(file, at, MOST_HEAD)
        if head.startswith(b"--"):
            return
        if not head.startswith(b"\r\n"):
            raise _bad("what follows a boundary is no part")
        ends = head.find(b"\r\n\r\n")
        if ends < 0:
            raise _bad(f"a part has no end of its headers within {MOST_HEAD} bytes")
        start = at + ends + 4
        at = _after(file, between, start)
        yield _part(head[2:ends], start, at - len(between))
    raise _bad(f"it has more than {MOST_PARTS} parts")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _after(file: BinaryIO, between: bytes, start: int) -> int:
    """Behind the next boundary, looked for in windows that overlap: no file is held in memory."""
    file.seek(start)
    at, kept = start, b""
    while piece := file.read(WINDOW):
        found = (kept + piece).find(between)
        if found >= 0:
            return at - len(kept) + found + len(between)
        at += len(piece)
        kept = (kept + piece)[1 - len(between) :]
    raise _bad("it is cut off: the last boundary is missing")


def _part(head: bytes, start: int, end: int) -> Part:
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() in ("content-disposition", "content-transfer-encoding"):
            message[name.strip().lower()] = value.strip()
    said = message.get_param("name", header="content-disposition")
    if not isinstance(said, str) or not said:
        raise _bad("a part says no name")
    if message.get("content-transfer-encoding", "").lower() not in PLAIN:
        raise _bad(f"the part '{said[:80]}' is encoded; send its bytes as they are")
    filename = message.get_filename()
    if filename is not None:
        filename = filename.replace("\\", "/").rpartition("/")[2][:MOST_NAME] or "unnamed"
    return Part(said, filename, start, end)


def _bad(what: str) -> AskError:
    return AskError(
        f"Reading the form failed: {what}. Official clients make such forms by themselves.", code="bad_form"
    )


def no_form(content_type: str) -> AskError:
    """The error for a request that is no form."""
    return AskError(
        f"A file is sent as a form, '{KIND}; boundary=…', with the fields 'file' and 'purpose'; this request says "
        f"'{content_type[:100]}'.",
        code="no_form",
    )

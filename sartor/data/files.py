"""Opening files for sources, with errors that say what is wrong and where. Knows no format."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from sartor.core.errors import AskError, NotFoundError, nearest

TRIED = ("utf-8", "utf-16", "cp1252", "latin-1")
"""Encodings that are tried to give a hint."""
SAMPLE = 1 << 20


def existing(path: Path) -> Path:
    """The path, if it is a file with something in it.

    Raises:
        NotFoundError: there is no such file; the nearest name in its folder is given.
        AskError: it is a folder, empty, or may not be read.
    """
    if path.is_dir():
        raise AskError(f"Reading rows from {path} failed: it is a folder. Name one file in it.", code="not_a_file")
    if not path.exists():
        names = [f.name for f in path.parent.iterdir() if f.is_file()] if path.parent.is_dir() else []
        near = nearest(path.name, names)
        where = f"Did you mean '{near}'?" if near else "Paths are relative to the folder of the task file."
        raise NotFoundError(f"Reading rows from {path} failed: there is no such file. {where}", code="no_file")
    try:
        with path.open("rb") as file:
            filled = bool(file.read(1))
    except PermissionError as error:
        raise AskError(f"Reading rows from {path} failed: no permission to read it.", code="no_permission") from error
    if not filled:
        raise AskError(
            f"Reading rows from {path} failed: the file is empty. Name one with rows in it.", code="empty_file"
        )
    return path


def text_lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file with their ends, decoded strictly; a byte order mark is skipped.

    Raises:
        NotFoundError, AskError: no file, an empty one, an unknown encoding, bytes that don't fit it, a NUL character.
    """
    existing(path)
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise AskError(
            f"Reading {path} failed: there is no encoding '{encoding}'. Try one of: {', '.join(TRIED)}.",
            code="unknown_encoding",
            param="encoding",
        ) from error
    try:
        with path.open(encoding="utf-8-sig" if name == "utf-8" else name, newline="") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise AskError(
                        f"Reading {path} as {encoding} failed: line {number} has a NUL byte, so it is a binary file or "
                        f"in another encoding. {_hint(path, name)}",
                        code="nul_byte",
                        param="encoding",
                    )
                yield line
    except UnicodeError as error:
        raise AskError(
            f"Reading {path} as {encoding} failed at byte {_offset(path, name, error)}: {error}. {_hint(path, name)}",
            code="wrong_encoding",
            param="encoding",
        ) from error


def _offset(path: Path, encoding: str, error: UnicodeError) -> int:
    """Where in the file the first undecodable byte stands."""
    decoder = codecs.getincrementaldecoder(encoding)()
    passed = 0
    with path.open("rb") as file:
        while chunk := file.read(SAMPLE):
            waiting = len(decoder.getstate()[0])  # bytes of a character cut by the chunk's edge
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as found:
                return passed - waiting + found.start
            passed += len(chunk)
    return int(getattr(error, "start", passed))


def _hint(path: Path, used: str) -> str:
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
    fits = [name for name in _candidates(sample) if name != used and _decodes(sample, name)]
    if not fits:
        return f"Save it as UTF-8, or say 'encoding: NAME' (tried: {', '.join(TRIED)})."
    return f"It can be read as {' or '.join(fits)}: say 'encoding: {fits[0]}', or save it as UTF-8."


def _candidates(sample: bytes) -> tuple[str, ...]:
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    even, odd = sample[:2000:2].count(0), sample[1:2000:2].count(0)
    if even + odd > len(sample[:2000]) // 4:
        return ("utf-16-le" if odd > even else "utf-16-be",)
    return ("utf-8", "cp1252", "latin-1")


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeError:
        return False
    return True

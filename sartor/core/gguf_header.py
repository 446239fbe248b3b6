"""Reads what a GGUF file says of itself: its architecture, its sizes, its chat template. Weights are left alone.

Layout as ggml's `docs/gguf.md` gives it, version 2 and 3, little-endian. A file from a stranger is read within bounds:
nothing is believed that would reach beyond its end. Knows no library of models and judges no architecture.
"""

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
MOST_FACTS = 4096
MOST_DEEP = 2
"""Lists within lists; ggml itself writes none deeper than one."""

Read = Callable[[int], bytes]
"""That many bytes further on; raises where there are fewer."""


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself."""

    architecture: str
    tensors: int
    facts: Mapping[str, Any]
    """By their names; of a list that was not asked for its length alone."""

    def number(self, name: str) -> int:
        """A whole number that the architecture has under this name, such as `context_length`; 0 where none is told."""
        found = self.facts.get(f"{self.architecture}.{name}", 0)
        return int(found) if isinstance(found, int | float) else 0


def read_header(file: Path, lists: Collection[str] = ()) -> Header:
    """The header of a GGUF file.

    Args:
        lists: names of the lists whose values are wanted, `tokenizer.ggml.tokens` for one.

    Raises:
        AskError: it is no GGUF file, of a version that is not known, or ends within its header.
        OSError: it can't be read.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        read = _reader(stream, size, file.name)
        if read(4) != MAGIC:
            raise _damaged(file.name, "it does not begin with 'GGUF'")
        (version,) = struct.unpack("<I", read(4))
        if version not in VERSIONS:
            raise _damaged(file.name, f"its version is {version}, and {' and '.join(map(str, VERSIONS))} are known")
        tensors, count = struct.unpack("<QQ", read(16))
        if count > MOST_FACTS:
            raise _damaged(file.name, f"its header claims to have {count:,} entries")
        facts: dict[str, Any] = {}
        for _ in range(count):
            name = _string(read)
            (kind,) = struct.unpack("<I", read(4))
            facts[name] = _value(read, kind, file.name, keep=name in lists)
    return Header(str(facts.get("general.architecture", "")), int(tensors), facts)


def _value(read: Read, kind: int, file: str, *, keep: bool = True, deep: int = 0) -> Any:
    if kind == STRING:
        return _string(read)
    if kind in NUMBERS:
        shape = NUMBERS[kind]
        return struct.unpack(shape, read(struct.calcsize(shape)))[0]
    if kind != ARRAY or deep >= MOST_DEEP:
        raise _damaged(file, f"its header has a value of an unknown kind {kind}")
    inner, length = struct.unpack("<IQ", read(12))
    if inner in NUMBERS:
        shape = NUMBERS[inner]
        raw = read(length * struct.calcsize(shape))
        return [value for (value,) in struct.iter_unpack(shape, raw)] if keep else length
    found = []
    for _ in range(length):  # each takes bytes of the file, whose end ends it
        value = _value(read, inner, file, deep=deep + 1)
        if keep:
            found.append(value)
    return found if keep else length


def _string(read: Read) -> str:
    (length,) = struct.unpack("<Q", read(8))
    return read(length).decode("utf-8", errors="replace")


def _reader(stream: BufferedReader, size: int, file: str) -> Read:
    left = size

    def read(length: int) -> bytes:
        nonlocal left
        if length > left:
            raise _damaged(file, "it ends within its header")
        left -= length
        return stream.read(length)

    return read


def _damaged(file: str, why: str) -> AskError:
    return AskError(f"'{file}' is no GGUF file that can be read: {why}. Fetch or write it again.", code="bad_gguf")

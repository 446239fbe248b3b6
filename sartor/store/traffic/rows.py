"""Reads what the index wants of a segment: rows without their content, many at once. What is damaged is passed over.

Whole is what `frames.scan` calls so; that is asked too wherever something is not.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sartor.store.traffic import frames
from sartor.store.traffic.segment import Reader

CHUNK = 1 << 20
"""Bytes read at once."""
_HEAD = struct.Struct("<8sIIBBHII")
"""A frame's own head, and that of the record in it."""
_BODY = struct.calcsize("<8sII")

Row = tuple[int, Any, int, int, int]
"""Kind, values (in the order of the segment's names, or by name), place in its file, form of its content, days."""


class Rows:
    """The rows of a segment from a place on; each is let go when the next is asked for, so that none piles up."""

    def __init__(self, path: Path, at: int) -> None:
        """Open at a place where a record begins; 0 is the first one.

        Raises:
            StoreError: this is no segment.
            FileNotFoundError: there is no such file.
        """
        reader = Reader(path, at)
        self.path, self.header = path, reader.header
        self.end = reader.at
        """Where the last row that was given ends."""
        self.damaged = 0
        """Bytes passed over."""

    def __iter__(self) -> Iterator[Row]:
        if self.header is None:
            return
        with self.path.open("rb") as file:
            size, wanted = os.fstat(file.fileno()).st_size, CHUNK
            while self.end < size:
                base = self.end
                data = os.pread(file.fileno(), min(wanted, size - base), base)
                ended = base + len(data) >= size
                yield from self._stretch(data, self.header.word, base, ended=ended)
                if ended or not data:
                    return
                wanted = CHUNK if self.end > base else 2 * wanted

    def _stretch(self, data: bytes, word: bytes, base: int, *, ended: bool) -> Iterator[Row]:
        """The rows in a stretch of the segment that begins at `base`."""
        unpack, check, loads, view = _HEAD.unpack_from, zlib.crc32, orjson.loads, memoryview(data)
        size, last = len(data), len(data) - _HEAD.size
        while True:
            at = self.end - base
            while at <= last:
                found, length, checksum, kind, form, days, row, _ = unpack(data, at)
                begin, end = at + _HEAD.size, at + _BODY + length
                if found != word or end > size or check(view[at + _BODY : end]) != checksum:
                    break
                self.end = base + end
                yield kind, loads(view[begin : begin + row]), base + at, form, days
                at = end
            item = next(frames.scan(data, word, base=base, start=at, ended=ended), None)
            if item is None:
                return
            self.damaged += item.end - item.start
            self.end = item.end

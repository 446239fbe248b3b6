"""How records lie in a segment: framed, checked, told apart from what happens to stand in their content.

A segment begins with a mark, the names of the fields that its rows have, and a random word that begins each of its
frames: content of strangers can't hold a frame that a reader would believe. Knows no files and no threads.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any

import orjson

from sartor.core.errors import StoreError
from sartor.core.traffic import Exchange, Feedback, HopRow

VERSION = 1
WORD = 8
"""Bytes of the random word before each frame."""
_HEAD = struct.Struct("<8sHH8s")
_FRAME = struct.Struct("<8sII")
_META = struct.Struct("<BBHII")
_MARK = b"SARTORTL"

EXCHANGE, FEEDBACK, ERASED = 1, 2, 3
"""Kinds of records."""

EMPTY, KEPT, HASHED, SEALED = 0, 1, 2, 3
"""Forms of content: none, as it was said (or redacted), only its keyed digest, encrypted under its subject's key."""

FIELDS = {
    kind: tuple(sorted((f.name for f in fields(kind)), key="hops".__eq__)) for kind in (Exchange, HopRow, Feedback)
}
"""Names of the fields in the order in which rows have their values; hops come last."""
TOMBSTONE = ("tenant", "subject", "at")
"""Fields of an erasure."""
DEFAULTS: Mapping[int, dict[str, Any]] = {
    EXCHANGE: {f.name: f.default for f in fields(Exchange) if f.default is not MISSING},
    FEEDBACK: {f.name: f.default for f in fields(Feedback) if f.default is not MISSING} | {"tags": {}},
    ERASED: {},
}
"""Values of fields that older segments don't have."""
Record = tuple[int, Mapping[str, Any], int, int, int]
"""Kind, fields by name, place in its file, form of its content, days that this is kept."""
_HOP_DEFAULTS = {f.name: f.default for f in fields(HopRow) if f.default is not MISSING}
_facts = attrgetter(*(name for name in FIELDS[Exchange] if name != "hops"))
_hop = attrgetter(*FIELDS[HopRow])
_feedback = attrgetter(*FIELDS[Feedback])


@dataclass(slots=True)
class Frame:
    """A whole record as it lies in a segment."""

    start: int
    end: int
    kind: int
    form: int
    days: int
    """How long its content is kept."""
    row: list[Any]
    asked: bytes
    answered: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch that is no frame though frames follow."""

    start: int
    end: int


def header(word: bytes) -> bytes:
    """The first bytes of a segment."""
    names = orjson.dumps({"exchange": FIELDS[Exchange], "hop": FIELDS[HopRow], "feedback": FIELDS[Feedback]})
    return _HEAD.pack(_MARK, VERSION, len(names), word) + names


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself."""

    word: bytes
    size: int
    names: Mapping[int, Sequence[str]]
    """Kind -> the fields of its rows."""
    hop: Sequence[str]

    def named(self, item: Frame) -> dict[str, Any]:
        """A record's fields by name; those that its segment has not are as they are by default."""
        row: dict[str, Any] = DEFAULTS[item.kind] | dict(zip(self.names[item.kind], item.row, strict=True))
        if item.kind == EXCHANGE:
            row["hops"] = [_HOP_DEFAULTS | dict(zip(self.hop, step, strict=True)) for step in row["hops"]]
        return row


def read_header(data: bytes, where: object) -> Header | None:
    """The header; None where it is not yet whole.

    Raises:
        StoreError: this is no segment, or a newer Sartor wrote it.
    """
    if len(data) < _HEAD.size:
        return None
    mark, version, length, word = _HEAD.unpack_from(data)
    if mark != _MARK:
        raise StoreError(f"{where} is no segment of the traffic log: its first bytes are others.", code="store_damaged")
    if version != VERSION:
        raise StoreError(f"{where} has format {version}: a newer Sartor wrote it.", code="store_newer")
    if len(data) < _HEAD.size + length:
        return None
    try:
        names = orjson.loads(data[_HEAD.size : _HEAD.size + length])
        kinds = {EXCHANGE: names["exchange"], FEEDBACK: names["feedback"], ERASED: TOMBSTONE}
        return Header(word, _HEAD.size + length, kinds, names["hop"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where} is damaged: its header can't be read.", code="store_damaged") from error


def exchange_row(exchange: Exchange) -> bytes:
    """The accounting row as JSON: values in the order of the fields, the hops, likewise, at the end."""
    return orjson.dumps((*_facts(exchange), [*map(_hop, exchange.hops)]))


def tombstone_row(tombstone: Mapping[str, Any]) -> bytes:
    """An erasure as JSON: values in the order of the fields."""
    return orjson.dumps([tombstone[name] for name in TOMBSTONE])


def feedback_row(feedback: Feedback) -> bytes:
    """A feedback as JSON: values in the order of the fields."""
    return orjson.dumps(_feedback(feedback))


def frame(word: bytes, kind: int, row: bytes, *, form: int = 0, days: int = 0, content: tuple[bytes, bytes]) -> bytes:
    """One record as it is written."""
    asked, answered = content
    body = b"".join((_META.pack(kind, form, days, len(row), len(asked)), row, asked, answered))
    return _FRAME.pack(word, len(body), zlib.crc32(body)) + body


def scan(data: bytes, word: bytes, *, base: int, start: int = 0, ended: bool = True) -> Iterator[Frame | Damage]:
    """The whole frames in a stretch of a segment, and what is damaged between them; stops before what is not whole.

    Args:
        base: where in the segment `data` begins.
        start: where in `data` the first frame begins.
        ended: nothing follows `data` in the segment; only then can damage be told from what is still to be read.
    """
    at = start
    while at < len(data):
        found = _whole(data, word, at)
        if found is None:
            short = at + _FRAME.size > len(data) or (
                data[at : at + WORD] == word and at + _FRAME.size + _FRAME.unpack_from(data, at)[1] > len(data)
            )
            if short and not ended:
                return
            following = _next(data, word, at + 1)
            if following is None:
                return
            yield Damage(base + at, base + following)
            at = following
            continue
        found.start, found.end = base + at, base + found.end
        yield found
        at = found.end - base


def _next(data: bytes, word: bytes, at: int) -> int | None:
    """Where the next whole frame begins."""
    while (at := data.find(word, at)) >= 0:
        if _whole(data, word, at) is not None:
            return at
        at += 1
    return None


def _whole(data: bytes, word: bytes, at: int) -> Frame | None:
    begin = at + _FRAME.size
    if begin + _META.size > len(data):
        return None
    found, length, checksum = _FRAME.unpack_from(data, at)
    end = begin + length
    if found != word or length < _META.size or end > len(data) or zlib.crc32(data[begin:end]) != checksum:
        return None
    kind, form, days, row, asked = _META.unpack_from(data, begin)
    row_at = begin + _META.size
    asked_at = row_at + row
    return Frame(
        at,
        end,
        kind,
        form,
        days,
        orjson.loads(data[row_at:asked_at]),
        data[asked_at : asked_at + asked],
        data[asked_at + asked : end],
    )

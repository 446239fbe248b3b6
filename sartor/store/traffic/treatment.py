"""What is done to content before it is written: redacted, reduced to a digest, encrypted. On the log's own thread."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from sartor.core.traffic import Content, Exchange
from sartor.store.traffic.frames import EMPTY, HASHED, KEPT, SEALED

_LENGTH = struct.Struct("<I")


class Sealer(Protocol):
    """Encrypts content under its subject's own key."""

    def prepare(self, subjects: set[tuple[str, str]]) -> None:
        """Have a durable key at hand for each (tenant, subject); fails where some can't be had."""
        ...

    def seal(self, tenant: str, subject: str, exchange: str, plain: bytes) -> bytes:
        """The bytes, encrypted; they can be read only as those of this exchange. Raises KeyError without a key."""
        ...


@dataclass(frozen=True, slots=True)
class Redactor:
    """Redacts texts, and tells beforehand where there is nothing to do, so that most bodies need not be parsed."""

    redact: Callable[[str], str]
    suspects: Callable[[str], bool]
    """False promises: neither in this text nor in a part of it between two quotes is anything to redact."""

    def __call__(self, text: str) -> str:
        """The text without personal data."""
        return self.redact(text)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a route's capture asks for."""

    hashed: bool = False
    """Keep only a keyed digest: equal content has an equal one, and nobody without the store's secret can try texts."""
    redact: Callable[[str], str] | None = None
    encrypt: bool = False
    """Where the exchange names its subject."""
    days: int = 184
    """After which the content is deleted."""


PLAIN = Treatment()


def treat(
    content: Content,
    exchange: Exchange,
    how: Treatment,
    sealer: Sealer | None,
    digest: Callable[[bytes], bytes] | None,
) -> tuple[int, tuple[bytes, bytes]]:
    """The form in which content is kept, and its bytes: of the request and of the answer."""
    if how.hashed:
        return (HASHED, (digest(content.asked), digest(content.answered))) if digest else (EMPTY, (b"", b""))
    asked, answered = content.asked, content.answered
    if how.redact is not None:
        asked, answered = redacted(asked, how.redact), redacted(answered, how.redact)
    if not (how.encrypt and exchange.subject):
        return KEPT, (asked, answered)
    if sealer is None:
        return EMPTY, (b"", b"")
    plain = _LENGTH.pack(len(asked)) + asked + answered
    return SEALED, (sealer.seal(exchange.tenant, exchange.subject, exchange.id, plain), b"")


def opened(plain: bytes) -> tuple[bytes, bytes]:
    """Request and answer, as they were sealed together."""
    (length,) = _LENGTH.unpack_from(plain)
    return plain[_LENGTH.size : _LENGTH.size + length], plain[_LENGTH.size + length :]


def redacted(data: bytes, redact: Callable[[str], str]) -> bytes:
    """JSON with each of its texts redacted; what is no JSON is redacted as one text."""
    if isinstance(redact, Redactor):
        texts = _readings(data)
        if texts and not any(map(redact.suspects, texts)):
            return data
    try:
        value = orjson.loads(data)
    except ValueError:
        return redact(data.decode("utf-8", "replace")).encode("utf-8", "replace")
    clean = _walk(value, redact)
    return data if clean == value else orjson.dumps(clean)


def _readings(data: bytes) -> tuple[str, ...]:
    """Texts in which every text of a body stands between quotes, without parsing it; none where that can't be had.

    What is no JSON is one text in which a backslash is a backslash, so it has two readings.
    """
    try:
        text = data.decode()
    except ValueError:
        return ()
    if "\\" not in text:
        return (text,)
    if "\\\\" in text or "\\u" in text or "\\/" in text:
        return ()
    read = text.replace('\\"', '"')
    for escape in ("\\n", "\\t", "\\r", "\\b", "\\f"):
        read = read.replace(escape, "\n")  # none of them is part of anything that is looked for
    return (text, read)


def _walk(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_walk(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(key): _walk(item, redact) for key, item in value.items()}
    return value

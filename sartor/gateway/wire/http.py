"""What the two sides of the wire hand to each other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(slots=True)
class Request:
    """One HTTP request, read whole."""

    method: str
    target: str
    """Path and query as they came, never decoded into anything that is authorised on."""
    headers: dict[bytes, bytes]
    """Lower-case names. Repeated ones are joined with a comma; a second Host or Authorization is refused."""
    body: bytes
    peer: str = ""
    """Address of the client."""
    spool: BinaryIO | None = None
    """The body, where it went to disk as it came; `body` is empty then. Closed once the answer is known."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(slots=True)
class Response:
    """One HTTP response; a stream is sent as it comes, chunked."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Beside those that every answer has, and those that say how long it is."""
    body: bytes | AsyncIterator[bytes] = b""
    close: bool = False
    """Close the connection afterwards; a stream may set it while it is sent."""

"""How much one request may ask of the server, and the reading of a body within that."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from sartor.core.errors import AskError, TooLargeError, TooSlowError


@dataclass(frozen=True)
class Limits:
    """Bounds of one request."""

    body_bytes: int = 1024 * 1024
    """Of the whole request."""
    drained_bytes: int = 32 * 1024 * 1024
    """How much of a body that is too large is read and thrown away, so that its sender gets to see the refusal."""
    receipt_seconds: float = 10.0
    """From the first byte of the body to the last."""
    answer_seconds: float = 60.0
    """From the whole request to its answer."""
    messages: int = 1000
    """Most messages of a chat."""
    text_bytes: int = 128 * 1024
    """Of the text that is answered, in UTF-8."""
    json_depth: int = 32
    """How deep lists and objects may be nested."""


async def read_body(request: Request, limits: Limits) -> bytes:
    """The request's body.

    Raises:
        TooLargeError: it is over the limit.
        TooSlowError: it did not arrive in time. Servers below do not bound the total time of a slow sender.
    """
    parts: list[bytes] = []
    size = 0
    _refuse_unreadable(request)
    try:
        async with asyncio.timeout(limits.receipt_seconds):
            async for part in request.stream():
                size += len(part)
                if size <= limits.body_bytes:
                    parts.append(part)
                elif size > limits.drained_bytes:
                    break
    except TimeoutError as error:
        raise TooSlowError(
            f"Receiving the request took longer than {limits.receipt_seconds:g} seconds ({size} bytes came). "
            "Send it again over a better connection.",
            code="request_timeout",
        ) from error
    if size > limits.body_bytes:
        raise TooLargeError(
            f"The request's body has more than {limits.body_bytes} bytes, which is the limit. "
            "Send less text, or answer many rows at once with 'sartor predict'.",
            code="request_too_large",
        )
    return b"".join(parts)


def _refuse_unreadable(request: Request) -> None:
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise AskError(
            f"The request's body is encoded as '{coding[:40]}', which is not read here. Send it plain.",
            code="unsupported_encoding",
        )

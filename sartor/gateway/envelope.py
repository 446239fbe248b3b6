"""Errors as they go out: OpenAI's envelope over HTTP, or as the last event of a stream."""

import os

import orjson

from sartor.core.errors import SartorError, TooLargeError, TooSlowError
from sartor.gateway.wire.http import Response

JSON = (b"content-type", b"application/json")


def error_response(error: Exception, request_id: str = "") -> Response:
    """An error in OpenAI's form; what is inside of an unforeseen one stays in the log."""
    request_id = request_id or f"req_{os.urandom(16).hex()}"
    told = foreseen(error, request_id)
    headers = [JSON, (b"x-request-id", request_id.encode())]
    retry_after: float | None = getattr(told, "retry_after", None)
    if retry_after is not None:
        # Whole seconds, and never too early.
        headers.append((b"retry-after", b"%d" % max(1, -int(-retry_after // 1))))
    # The rest of a body that was not read would be taken for the next request.
    close = isinstance(told, (TooSlowError, TooLargeError))
    return Response(told.http_status, headers, orjson.dumps(told.envelope()), close=close)


def error_event(error: Exception, request_id: str) -> bytes:
    """An error after the first byte of a stream, where no status can be sent any more."""
    return b"data: %b\n\n" % orjson.dumps(foreseen(error, request_id).envelope())


def foreseen(error: Exception, request_id: str) -> SartorError:
    """The error as it may be told to a client."""
    if isinstance(error, SartorError):
        return error
    return SartorError(f"The server failed on this request. Its log says why, under {request_id}.", code="server_error")

"""How much one request, and one client, may ask of the server. Plain numbers; what keeps to them stands elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one request and one connection."""

    body_bytes: int = 16 * 1024 * 1024
    """Of the whole request."""
    drained_bytes: int = 64 * 1024 * 1024
    """How much of a body that is too large is read and thrown away, so that its sender gets to see the refusal."""
    receiving_bytes: int = 256 * 1024 * 1024
    """Of all requests that are being received at one time; more are refused with 503."""
    upload_bytes: int = 512 * 1024 * 1024
    """Of the whole request that brings a file; it goes to disk as it comes."""
    uploading_bytes: int = 4 * 1024 * 1024 * 1024
    """Of all files that are being received at one time; more are refused with 503."""
    upload_seconds: float = 3600.0
    """From the first byte of a request that brings a file to its last."""
    header_bytes: int = 32 * 1024
    """Of the request line and all headers."""
    headers: int = 100
    """Most headers of a request."""
    receipt_seconds: float = 10.0
    """From the first byte of a request to its last."""
    idle_seconds: float = 75.0
    """How long a connection may wait between two requests."""
    send_seconds: float = 60.0
    """How long a client may take nothing of an answer that is being sent."""
    buffer_bytes: int = 64 * 1024
    """Of an answer, waiting for a slow client; a stream waits when it is full."""
    pipelined: int = 16
    """Requests of one connection that may wait for their turn; then it is not read any further."""
    connections: int = 10_000
    """Open at one time; more are refused with 503."""
    answer_seconds: float = 660.0
    """From the whole request to its answer, or to the first piece of a stream; an upstream's own times come first."""
    messages: int = 1000
    """Most messages of a chat that a task answers."""
    text_bytes: int = 128 * 1024
    """Of the text that a task answers, in UTF-8."""
    json_depth: int = 32
    """How deep lists and objects may be nested."""

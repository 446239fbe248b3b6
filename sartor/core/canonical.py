"""One byte form per value, so that equal content has an equal digest. Knows nothing of records or files."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and no NaN, in UTF-8.

    Raises:
        ValueError: a number is NaN or infinite: such a value has no canonical form.
        TypeError: a value is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def sha256(data: bytes) -> str:
    """The sha256 of bytes, as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """The sha256 of the canonical form of a JSON value."""
    return sha256(canonical(value))

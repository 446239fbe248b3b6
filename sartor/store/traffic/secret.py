"""The store's own secret, under which users and business keys are turned into digests that nobody else can make."""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from sartor.store.disk import sync, writing

SIZE = 32


def read_secret(path: Path, *, make: bool = True) -> bytes:
    """The secret in a file that its owner alone may read; made where there is none.

    Args:
        make: else a passing secret is given, whose digests fit nothing.

    Raises:
        StoreError: it can't be made.
        OSError: it can't be read.
    """
    if not path.exists() and make:
        with writing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            draft.touch(mode=0o600)
            try:
                draft.write_bytes(os.urandom(SIZE))
                sync(draft)
                with suppress(FileExistsError):  # somebody else was first, and theirs counts
                    os.link(draft, path)
                sync(path.parent)
            finally:
                draft.unlink()
    return path.read_bytes() if path.exists() else os.urandom(SIZE)


class Marks:
    """Keyed digests: equal for equal texts of one store, and telling nothing to whoever lacks its secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def text(self, text: str) -> str:
        """Digest of a user's name or a business key, 32 hex digits; of '' it is ''."""
        if not text:
            return ""
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)[:16].hex()

    def data(self, data: bytes) -> bytes:
        """Digest of content, 32 bytes; of nothing it is nothing. Never equal to that of a text."""
        return hmac.digest(self._secret, b"\0content\0" + data, hashlib.sha256) if data else b""

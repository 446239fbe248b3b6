"""Content-addressed files at a remote place that fsspec reaches (S3 and others), behind the same names as on disk.

Knows transport and what its failures mean; what comes back is checked by the vault.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, NotFoundError, StoreError, missing_extra
from sartor.store.disk import is_digest, key

FRESH = 900.0
"""Seconds for which a stored file counts as young without being written again; far less than gc's shortest grace."""


class Bucket:
    """Files under `prefix/sha256/ab/cdef…`. Written by one conditional put each, never renamed."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self._system, self._prefix = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **options)
        except ImportError as error:
            raise missing_extra(error.name or "s3fs", f"a vault at {url}") from error
        except ValueError as error:
            raise AskError(f"The vault URL {url} cannot be used: {error}", param="vault_url") from error

    def _key(self, digest: str) -> str:
        return f"{self._prefix}/sha256/{key(digest)}"

    def has(self, digest: str) -> bool:
        """Whether there is such a file."""
        with self._reaching("looking for a file"):
            return bool(self._system.exists(self._key(digest)))

    def put(self, path: Path, digest: str) -> None:
        """Upload a file whose bytes have this digest.

        A file that is there and was stored lately stays; an old one is written again, the same bytes over the same,
        so that it is young while a record that refers to it is on its way.
        """
        with self._reaching("uploading a file"):
            stands = self._written(digest)
            if stands is not None and time.time() - stands < FRESH:
                return
            try:
                self._system.put_file(str(path), self._key(digest), mode="create" if stands is None else "overwrite")
            except OSError as error:
                if not self._system.exists(self._key(digest)):  # else somebody else was first
                    raise error from None

    def _written(self, digest: str) -> float | None:
        try:
            return _time(self._system.info(self._key(digest)))
        except FileNotFoundError:
            return None

    def get(self, digest: str, target: Path) -> None:
        """Download into a file; the bytes are not yet checked.

        Raises:
            NotFoundError: there is no such file.
        """
        with self._reaching("downloading a file"):
            try:
                self._system.get_file(self._key(digest), str(target))
            except FileNotFoundError as error:
                raise NotFoundError(f"The vault {self.url} has no file {digest}.", code="file_not_found") from error

    def sizes(self) -> Iterator[tuple[str, int, float]]:
        """Digest, bytes and time of writing (seconds since 1970) of every file."""
        base = f"{self._prefix}/sha256/"
        with self._reaching("listing files"):
            try:
                found = self._system.find(base, detail=True)
            except FileNotFoundError:
                return
        for name, facts in sorted(found.items()):
            digest = name.rsplit("/sha256/", 1)[1].replace("/", "")
            if is_digest(digest):
                yield digest, int(facts["size"]), _time(facts)

    def remove(self, digest: str, *, before: float = math.inf) -> bool:
        """Remove the file if it is there and was last stored before a time (seconds since 1970); whether it was."""
        with self._reaching("removing a file"):
            stands = self._written(digest)
            if stands is None or stands >= before:
                return False
            self._system.rm_file(self._key(digest))
        return True

    @contextmanager
    def _reaching(self, trying: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise StoreError(
                f"Tried {trying} at {self.url}: not permitted ({error}). Check the key, and what it may do there.",
                code="store_read_only",
            ) from error
        except (OSError, ImportError) as error:
            raise StoreError(
                f"Tried {trying} at {self.url}: {error}. Check that it can be reached, and the bucket's name.",
                code="store_unreachable",
            ) from error


def _time(facts: Mapping[str, Any]) -> float:
    written = facts.get("LastModified") or facts.get("created") or facts.get("mtime")
    return written.timestamp() if isinstance(written, datetime) else float(written or 0.0)

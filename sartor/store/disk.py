"""Content-addressed files on a local disk: a file is absent or complete, and is checked before it is believed.

Knows nothing of records, artifacts or remote places.
"""

import errno
import fcntl
import hashlib
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sartor.core.errors import DISK_FULL, NotFoundError, StoreError, disk_full

CHUNK = 1 << 20
Seen = tuple[int, int, int, int]
"""Device, inode, time of change and size: what a file was when its bytes were last hashed."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many of the bytes that come next; none at the end."""
        ...


class Disk:
    """Files under `folder/sha256/ab/cdef…`, write-once, readable by their owner alone."""

    def __init__(self, folder: Path, temp: Path) -> None:
        self.folder = folder
        self.temp = temp
        self._verified: dict[tuple[str, Seen], None] = {}

    def place(self, digest: str) -> Path:
        """Where the file with this digest lies, or would lie."""
        return self.folder / "sha256" / key(digest)

    def has(self, digest: str) -> bool:
        """Whether there is such a file; says nothing about its bytes."""
        return self.place(digest).is_file()

    def put(self, source: Readable) -> str:
        """Keep what a stream holds, durably; returns its sha256.

        Raises:
            StoreError: the disk is full or may not be written; nothing is left behind.
        """
        with writing(self.folder), self.draft() as draft:
            hashed = hashlib.sha256()
            with draft.open("wb") as out:
                while chunk := source.read(CHUNK):
                    hashed.update(chunk)
                    out.write(chunk)
            self.adopt(draft, hashed.hexdigest())
        return hashed.hexdigest()

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A temporary file on the same disk, removed afterwards unless it was adopted."""
        self.temp.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="draft-", dir=self.temp)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def adopt(self, draft: Path, digest: str) -> None:
        """Give a written draft, whose bytes have this digest, its place. A sound file already there stays."""
        target = self.place(digest)
        with self.holding(fcntl.LOCK_SH):
            if not (target.exists() and self.sound(target, digest)):
                draft.chmod(0o400)
                sync(draft)
                target.parent.mkdir(parents=True, exist_ok=True)
                draft.replace(target)
            sync(target.parent)  # also for a file that is there: whoever put it there may not have come so far
            sync(target.parent.parent)
            os.utime(target)  # young again: what is about to be referred to is not swept
            self._verified[digest, _seen(target)] = None

    @contextmanager
    def holding(self, how: int) -> Iterator[None]:
        """The lock between those who store (shared) and those who sweep (exclusive)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def path(self, digest: str) -> Path:
        """The verified file.

        Raises:
            NotFoundError: there is none.
            StoreError: its bytes are not those that were stored.
        """
        target = self.place(digest)
        try:
            sound = self.sound(target, digest)
        except FileNotFoundError as error:
            raise NotFoundError(f"The vault {self.folder} has no file {digest}.", code="file_not_found") from error
        except OSError as error:
            raise StoreError(
                f"Tried reading {target}: {error.strerror}. Check the disk and the file's permissions.",
                code="store_unreadable",
            ) from error
        if not sound:
            raise damaged(target, digest)
        return target

    def sound(self, path: Path, digest: str) -> bool:
        """Whether a file's bytes have this digest. Hashed once, and again only if the file has changed since."""
        seen = _seen(path)
        if (digest, seen) in self._verified:
            return True
        with path.open("rb") as source:
            fits = hashlib.file_digest(source, "sha256").hexdigest() == digest
        if fits:
            self._verified[digest, seen] = None
        return fits

    def digests(self) -> Iterator[str]:
        """Digests of all files, sorted; a stray file under another name is none of ours."""
        for folder in sorted((self.folder / "sha256").glob("[0-9a-f][0-9a-f]")):
            yield from filter(is_digest, (folder.name + path.name for path in sorted(folder.iterdir())))

    def remove(self, digest: str, *, before: float = math.inf) -> bool:
        """Remove the file if it is there and was last stored before a time (seconds since 1970); whether it was."""
        target = self.place(digest)
        with writing(self.folder), self.holding(fcntl.LOCK_EX):
            if not target.exists() or target.stat().st_mtime >= before:
                return False
            target.unlink()
        return True


def is_digest(name: str) -> bool:
    """Whether this is a sha256: 64 lower-case hex digits."""
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


def key(digest: str) -> str:
    """`ab/cdef…` for a digest.

    Raises:
        NotFoundError: it is no sha256; above all no path that leads elsewhere.
    """
    if not is_digest(digest):
        raise NotFoundError(f"'{digest}' is no sha256: 64 lower-case hex digits.", code="file_not_found")
    return f"{digest[:2]}/{digest[2:]}"


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damaged(path: object, digest: str) -> StoreError:
    """The error for bytes that are not those that were stored."""
    return StoreError(
        f"{path} is damaged: its bytes do not have the sha256 {digest} under which it was stored. Restore it from a "
        "backup ('sartor restore'), or remove it and make it again.",
        code="file_damaged",
    )


@contextmanager
def writing(where: object) -> Iterator[None]:
    """Turn a disk's failure to write into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise explain(error, where) from error


def explain(error: OSError, where: object) -> StoreError:
    """The StoreError for a failed write."""
    if error.errno in DISK_FULL:
        return disk_full(error, where)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        what, code = "The store may not be written. Check the folder's permissions and mount.", "store_read_only"
    else:
        what, code = "Check the disk, then repeat; nothing stored before is lost.", "store_failed"
    return StoreError(f"Tried writing to {where}: {error.strerror or error}. {what}", code=code)


def _seen(path: Path) -> Seen:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

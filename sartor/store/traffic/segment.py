"""One segment of the log: a file that one process appends to, and many may read. Knows nothing of what is in it."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sartor.store.disk import sync
from sartor.store.traffic import frames
from sartor.store.traffic.frames import Damage, Frame, Header

CHUNK = 4 << 20
SUFFIX = ".log"


class Segment:
    """A segment that is being written. Its lock tells others that somebody still writes it."""

    def __init__(self, path: Path, word: bytes) -> None:
        """Make the file; it is there for good, with its header, when this returns.

        Args:
            word: begins each of its frames.

        Raises:
            OSError: the disk is full or may not be written; nothing is left behind.
        """
        self.path = path
        self.size = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            head = frames.header(word)
            if self.write(head) < len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            sync(path.parent)
        except BaseException:
            os.close(self._file)
            path.unlink(missing_ok=True)
            raise

    def write(self, data: bytes | memoryview) -> int:
        """Append what there is room for; returns how many bytes that was."""
        written = os.write(self._file, data)
        self.size += written
        return written

    def sync(self) -> None:
        """Wait until everything is on the disk itself."""
        os.fsync(self._file)

    def close(self) -> None:
        """Give up the lock; nothing is written any more."""
        os.close(self._file)


def segments(folder: Path) -> list[Path]:
    """All segments of a log, by name."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


@contextmanager
def finished(path: Path) -> Iterator[bool]:
    """Whether nobody writes a segment any more; nobody begins to while the block runs."""
    handle = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def cut(path: Path) -> int:
    """Cut what a killed writer left unfinished at the end of a segment; returns how many bytes that was.

    A segment that is still being written is left alone.
    """
    with finished(path) as free:
        if not free:
            return 0
        size = path.stat().st_size
        end = whole_until(path)
        if end < size:
            os.truncate(path, end)
            sync(path)
        return size - end


def whole_until(path: Path) -> int:
    """Where the last whole record of a segment ends."""
    reader = Reader(path)
    end = reader.at
    for item in reader.items():
        end = item.end
    return end


class Reader:
    """Reads a segment's whole records from a place on; what is still being written is not seen."""

    def __init__(self, path: Path, at: int = 0) -> None:
        """Open at a place where a record begins; 0 is the first one.

        Raises:
            StoreError: this is no segment.
            FileNotFoundError: there is no such file.
        """
        self.path = path
        with path.open("rb") as file:
            self.header: Header | None = frames.read_header(file.read(1 << 16), path)
        self.at = max(at, self.header.size) if self.header else 0

    def items(self, chunk: int = CHUNK) -> Iterator[Frame | Damage]:
        """Whole records, and stretches that are damaged; `chunk` bytes are read at once, or a whole record."""
        if self.header is None:
            return
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            wanted = chunk
            while self.at < size:
                data = os.pread(file.fileno(), min(wanted, size - self.at), self.at)
                base, ended = self.at, self.at + len(data) >= size
                for item in frames.scan(data, self.header.word, base=base, ended=ended):
                    self.at = item.end
                    yield item
                if ended or not data:
                    return
                wanted = chunk if self.at > base else 2 * wanted


def read_one(path: Path, at: int) -> Frame | None:
    """The record at a place; None where there is no whole one."""
    reader = Reader(path, at)
    if reader.at != at:
        return None
    for item in reader.items(1 << 14):
        return item if isinstance(item, Frame) and item.start == at else None
    return None

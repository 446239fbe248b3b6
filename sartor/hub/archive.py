"""Takes named files out of a zip archive, each checked against its sha256. Knows nothing of models or of the network.

`zipfile.extractall` is not used: an archive names its own paths, may hold links, and may unpack to any size.
Here the caller names the files; whatever else the archive holds is never written.
"""

import fnmatch
import hashlib
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from sartor.core.errors import RefusedError

MAX_FILES = 1_000
MAX_BYTES = 20 * 2**30
CHUNK = 2**20


def take_out(archive: Path, inside: str, files: Mapping[str, str], folder: Path) -> None:
    """Write `files` (path -> sha256), which stand under `inside` in the archive, into `folder`.

    Raises:
        RefusedError: the archive is damaged, lacks a file, holds something that is no plain file under its name,
            is over the limits on size and number, or a file has other bytes than pinned.
    """
    if len(files) > MAX_FILES:
        raise RefusedError(f"The archive {archive.name} would give {len(files)} files; the limit is {MAX_FILES}.")
    try:
        with zipfile.ZipFile(archive) as opened:
            left = MAX_BYTES
            for name, sha256 in files.items():
                target = folder / safe(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                left -= _take_one(opened, inside + name, sha256, target, left)
    except zipfile.BadZipFile as error:
        raise RefusedError(
            f"The archive {archive.name} is damaged ({error}). Delete it and fetch again.", code="bad_archive"
        ) from error


def safe(name: str) -> PurePosixPath:
    """The path, if it stays inside the folder that it is joined to.

    Raises:
        RefusedError: it is absolute, climbs, or is written for another system.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or {"..", "."} & set(name.split("/")) or set(name) & set("\\:\0"):
        raise RefusedError(f"The file name {name!r} would leave its folder.", code="unsafe_path")
    return path


def _take_one(opened: zipfile.ZipFile, name: str, sha256: str, target: Path, limit: int) -> int:
    try:
        info = opened.getinfo(name)
    except KeyError:
        raise RefusedError(
            f"The archive lacks the file '{name}' that the catalogue names.", code="bad_archive"
        ) from None
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or info.flag_bits & 1 or kind not in (0, stat.S_IFREG):
        raise RefusedError(f"'{name}' is no plain file in the archive.", code="bad_archive")
    with opened.open(info) as source, target.open("wb") as sink:
        size, found = copy(source, sink, limit)
    if found != sha256:
        raise RefusedError(
            f"'{name}' has sha256 {found}, but the catalogue pins {sha256}. Nothing was kept of it.",
            code="hash_mismatch",
        )
    return size


def join(archives: Sequence[Path], pattern: str, target: Path) -> None:
    """Write one file from pieces, of which each archive holds one.

    Raises:
        RefusedError: an archive does not hold exactly one file whose name fits `pattern`.
    """
    left = MAX_BYTES
    with target.open("wb") as sink:
        for archive in archives:
            with zipfile.ZipFile(archive) as opened:
                names = fnmatch.filter(opened.namelist(), pattern)
                if len(names) != 1:
                    raise RefusedError(f"{archive.name} holds {len(names)} pieces, not one.", code="bad_archive")
                with opened.open(names[0]) as source:
                    left -= copy(source, sink, left)[0]


def copy(source: IO[bytes], sink: IO[bytes], limit: int = MAX_BYTES) -> tuple[int, str]:
    """Copy a stream; its size in bytes and its sha256.

    Raises:
        RefusedError: the stream is longer than `limit`, whatever its archive says of its size.
    """
    hashing, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise RefusedError(f"An archive unpacks to more than {limit:,} bytes.", code="bad_archive")
        hashing.update(chunk)
        sink.write(chunk)
    return size, hashing.hexdigest()

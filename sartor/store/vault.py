"""The vault: files named by the sha256 of their bytes, verified whenever they are read.

Knows no records. On local disk by default; with a remote place the disk is a cache of it.
"""

import io
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from sartor.core.errors import AskError, StoreError
from sartor.store.bucket import Bucket
from sartor.store.disk import Disk, Readable, damaged, writing


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as the vault lists it."""

    digest: str
    bytes: int
    written: float
    """Seconds since 1970."""


class Vault:
    """Content-addressed files."""

    def __init__(self, disk: Disk, bucket: Bucket | None = None, *, read_only: bool = False) -> None:
        self.disk = disk
        """Where the files lie, or the cache of what lies in the bucket."""
        self.bucket = bucket
        self.read_only = read_only

    @property
    def where(self) -> str:
        """For messages: folder or URL."""
        return self.bucket.url if self.bucket else str(self.disk.folder)

    def put_bytes(self, data: bytes) -> str:
        """Keep bytes, durably; returns their sha256. Known bytes are not written again.

        Raises:
            StoreError: the vault is full, read-only or out of reach; nothing half-written is left.
        """
        return self._put(io.BytesIO(data))

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file, durably; returns the sha256 of its bytes."""
        with path.open("rb") as source:
            return self._put(source)

    def put_stream(self, source: Readable) -> str:
        """Keep what is left of an open file, durably; returns the sha256 of its bytes."""
        return self._put(source)

    def _put(self, source: Readable) -> str:
        self._may_change()
        digest = self.disk.put(source)
        if self.bucket:
            self.bucket.put(self.disk.place(digest), digest)
        return digest

    def _may_change(self) -> None:
        if self.read_only:
            raise StoreError(
                f"The vault {self.where} was opened read-only, so nothing was changed. Open it for writing.",
                code="store_read_only",
            )

    def put_folder(self, folder: Path) -> dict[str, str]:
        """Keep every file under a folder: path inside it, in POSIX form, -> sha256, sorted by path.

        Raises:
            AskError: something in it is neither a plain file nor a folder.
        """
        files: dict[str, str] = {}
        for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise AskError(f"{path} is a link or a device; an artifact holds plain files only.", code="not_a_file")
            if path.is_file():
                files[path.relative_to(folder).as_posix()] = self.put_file(path)
        return files

    def read(self, digest: str) -> bytes:
        """The bytes with this digest, verified.

        Raises:
            NotFoundError: there are none.
            StoreError: they are damaged.
        """
        return self.path(digest).read_bytes()

    def path(self, digest: str) -> Path:
        """A local file with these bytes, verified; not to be changed.

        Raises:
            NotFoundError: there is none.
            StoreError: it is damaged.
        """
        if self.bucket and not (self.disk.has(digest) and self.disk.sound(self.disk.place(digest), digest)):
            self._download(self.bucket, digest)
        return self.disk.path(digest)

    def _download(self, bucket: Bucket, digest: str) -> None:
        with writing(self.disk.folder), self.disk.draft() as draft:
            bucket.get(digest, draft)
            if not self.disk.sound(draft, digest):
                raise damaged(f"{bucket.url}: file {digest}", digest)
            self.disk.adopt(draft, digest)

    def lay_out(self, files: Mapping[str, str], folder: Path) -> Path:
        """Put files into a folder under their own names, each verified; returns the folder.

        Args:
            files: path inside the folder -> sha256.

        Raises:
            AskError: a path is absolute, empty or leads out of the folder.
            StoreError: a file is damaged, or the disk is full.
        """
        targets = {name: folder / inside(name) for name in files}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, target in targets.items():
                source = self.path(files[name])
                target.parent.mkdir(parents=True, exist_ok=True)
                place(source, target)
        return folder

    def fits(self, files: Mapping[str, str], folder: Path) -> bool:
        """Whether a folder holds exactly these files with their bytes."""
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
        return there == set(files) and all(self.disk.sound(folder / name, files[name]) for name in files)

    def has(self, digest: str) -> bool:
        """Whether the vault has the file; says nothing about its bytes."""
        return self.bucket.has(digest) if self.bucket else self.disk.has(digest)

    def stored(self) -> Iterator[Stored]:
        """All files with their sizes."""
        if self.bucket:
            yield from (Stored(*facts) for facts in self.bucket.sizes())
            return
        for digest in self.disk.digests():
            with suppress(FileNotFoundError):  # removed since
                found = self.disk.place(digest).stat()
                yield Stored(digest, found.st_size, found.st_mtime)

    def digests(self) -> Iterator[str]:
        """Digests of all files, sorted."""
        return (item.digest for item in self.stored())

    def remove(self, digest: str, *, before: float = math.inf) -> bool:
        """Remove a file if it is there and was last stored before a time (seconds since 1970); whether it was."""
        self._may_change()
        if self.bucket is None:
            return self.disk.remove(digest, before=before)
        removed = self.bucket.remove(digest, before=before)
        if removed:
            self.disk.remove(digest)
        return removed


def inside(name: str) -> PurePosixPath:
    r"""The path inside an artifact, if it stays inside.

    Raises:
        AskError: it is absolute, empty, has a backslash, a NUL, or a part `.` or `..`.
    """
    parts = name.split("/")
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise AskError(f"'{name}' is no file name inside an artifact: it must not lead out of it.", code="bad_path")
    return PurePosixPath(name)


def place(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where links are not to be had."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def open_vault(
    root: Path, caches: Path, url: str | None, *, read_only: bool, storage_options: Mapping[str, Any]
) -> Vault:
    """The vault of the store in `root`, or at a URL; what is only a cache lies under `caches`.

    Raises:
        AskError: the URL is none.
        MissingExtraError: the package for such URLs is not installed.
    """
    if url is None:
        return Vault(Disk(root / "vault", caches / "temp"), read_only=read_only)
    if "://" not in url:
        raise AskError(f"'{url}' is no vault URL: give s3://bucket/prefix, or nothing for the disk.", param="vault_url")
    if url.startswith("file://"):
        folder = Path(unquote(url.removeprefix("file://")))
        return Vault(Disk(folder, folder / "temp"), read_only=read_only)
    return Vault(Disk(caches / "cache", caches / "temp"), Bucket(url, storage_options), read_only=read_only)

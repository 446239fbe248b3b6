"""Sweeps what nothing refers to: files, laid-out folders and leftovers of killed work. Never removes a record.

A file stays as long as a record that counts (see `contents.counting`) names it. What remains are the files of killed
work and of caches such as embeddings, which are made again when they are needed. Traffic is none of it: its
content goes by its own days (`traffic.compact`).
"""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sartor.core.errors import AskError
from sartor.store.contents import counting
from sartor.store.disk import writing
from sartor.store.opening import Store
from sartor.store.uploads import Uploads
from sartor.store.vault import Stored

DAY = 86_400.0
SHORTEST_IN_BUCKET = 3_600.0
"""A bucket marks a file as young at most every quarter of an hour, so an hour is safe and less may not be."""


@dataclass(frozen=True)
class Swept:
    """What was removed, or would be."""

    files: tuple[Stored, ...]
    leftovers: tuple[Path, ...]
    """Unfinished work and laid-out folders."""
    bytes: int
    kept: int
    """Files that stay."""
    dry_run: bool


def collect(store: Store, *, dry_run: bool = True, grace: float = DAY) -> Swept:
    """Remove files that nothing refers to, if they were last stored more than `grace` seconds ago.

    The grace protects work under way, whose files are in the vault before the record that names them. Storing a
    file that is there makes it young again, under a lock that keeps the sweep out.

    Raises:
        StoreError: the store is read-only.
        AskError: the grace is too short for where the vault lies.
    """
    shortest = SHORTEST_IN_BUCKET if store.vault.bucket else 0.0
    if grace < shortest:
        raise AskError(f"The grace must be at least {shortest:.0f} s for a vault in a bucket.", param="grace")
    if not dry_run:
        Uploads(store.ledger.database).sweep()
    before = time.time() - grace
    stored = list(store.vault.stored())  # before the ledger is read: what comes later is not looked at
    with store.ledger.database.snapshot() as connection:
        counts = counting(connection)
    files = [item for item in stored if item.digest not in counts.files and item.written < before]
    unfinished = [
        path for folder in {store.temp, store.vault.disk.temp, store.checkpoints} for path in _entries(folder)
    ]
    leftovers = [path for path in unfinished if _touched(path) < before]
    leftovers += [path for path in _entries(store.laid) if path.name not in counts.records and _touched(path) < before]
    size = sum(item.bytes for item in files) + sum(_bytes(path) for path in leftovers)
    if not dry_run:
        files = [item for item in files if store.vault.remove(item.digest, before=before)]
        with writing(store.root):
            for path in leftovers:
                _remove(path)
    return Swept(tuple(files), tuple(leftovers), size, len(stored) - len(files), dry_run)


def _entries(folder: Path) -> Iterable[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else ()


def _touched(path: Path) -> float:
    # The newest thing inside counts: a folder's own time stands still while files in it are written.
    try:
        return max(p.lstat().st_mtime for p in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()  # somebody is at work in it


def _bytes(path: Path) -> int:
    # A laid-out file that is a link to the vault's own frees nothing.
    found = [p.lstat() for p in (path, *path.rglob("*")) if not p.is_dir()]
    return sum(item.st_size for item in found if item.st_nlink == 1)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

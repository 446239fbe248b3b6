"""Takes traffic into a backup and back: segments and files of old records; the index is made of them again.

The keys of subjects and the store's secret go into a folder apart, beside the backup: whoever has both can read what
people said, and an erased person comes back with a copy of their key. Keep it elsewhere, and for a short time.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sartor.core.errors import StoreError
from sartor.store.disk import sync, writing
from sartor.store.traffic import old
from sartor.store.traffic.compact import holding
from sartor.store.traffic.keeping import Traffic
from sartor.store.traffic.segment import segments

KEYS = "subjects.jsonl"
SECRET = "secret"  # noqa: S105 - a file's name


def copy_out(traffic: Traffic, target: Path) -> dict[str, dict[str, Any]]:
    """Copy the log as it stands, and the files of old records; path -> sha256 and bytes. Writing goes on meanwhile.

    A record that is half written at the end of a segment is cut when it is restored.
    """
    if not traffic.folder.is_dir():
        return {}
    found: dict[str, dict[str, Any]] = {}
    with holding(traffic.folder):  # so that no record moves from what is not yet copied to what is
        for path in (*segments(traffic.folder / "log"), *old.files(traffic.folder / "old")):
            name = f"{path.parent.name}/{path.name}"
            (target / path.parent.name).mkdir(mode=0o700, parents=True, exist_ok=True)
            found[name] = _copy(path, target / name, path.stat().st_size)
    return found


def _copy(source: Path, target: Path, size: int) -> dict[str, Any]:
    hashed, left = hashlib.sha256(), size
    with source.open("rb") as data, target.open("wb") as out:
        target.chmod(0o600)
        while left and (chunk := data.read(min(left, 1 << 20))):
            hashed.update(chunk)
            out.write(chunk)
            left -= len(chunk)
    sync(target)
    return {"sha256": hashed.hexdigest(), "bytes": size - left}


def copy_keys(traffic: Traffic, target: Path) -> None:
    """Copy secret and keys, where there are any, into a folder that its owner alone may read."""
    secret = traffic.folder / SECRET
    if not secret.exists():
        return
    rows = traffic.subjects.rows() if traffic.subjects else []
    target.mkdir(mode=0o700, parents=True)
    for name, data in (
        (SECRET, secret.read_bytes()),
        (KEYS, b"".join(json.dumps(row).encode() + b"\n" for row in rows)),
    ):
        (target / name).touch(mode=0o600)
        (target / name).write_bytes(data)
        sync(target / name)
    sync(target)


def copy_in(source: Path, files: Mapping[str, Mapping[str, Any]], traffic: Traffic) -> None:
    """Put the log of a backup into an empty store.

    Raises:
        StoreError: a file of the backup is not what it was, or the disk is full.
    """
    for name, facts in files.items():
        path, target = source / name, traffic.folder / name
        with path.open("rb") as data:
            if hashlib.file_digest(data, "sha256").hexdigest() != facts["sha256"]:
                raise StoreError(
                    f"{path} is damaged: it does not fit the manifest. Use another backup.", code="damaged"
                )
        with writing(target):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            os.chmod(target, 0o600)  # noqa: PTH101
            sync(target)
            sync(target.parent)


def keys_in(source: Path, traffic: Traffic) -> None:
    """Put secret and keys of a backup into a store, but those of people who are erased in its log."""
    if not source.is_dir():
        return
    secret = traffic.folder / SECRET
    with writing(secret):
        secret.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret.touch(mode=0o600)
        shutil.copyfile(source / SECRET, secret)
        sync(secret)
    traffic.index.catch_up()
    if traffic.subjects is not None:
        traffic.subjects.load(_living(source / KEYS, traffic))


def _living(path: Path, traffic: Traffic) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            gone = traffic.index.erased_at(row["tenant"], row["subject"])
            yield row | {"key": None} if gone is not None and row["created"] <= gone else row

"""Copies a store into a folder, and makes a store of such a copy again, on any database and any kind of vault.

The copy is plain: `records.jsonl`, a file for each table beside it (pointers, keys, audit and so on), the vault's
files, and a manifest, written last. Of keys it holds the marks, as the store does.
The log of traffic is in it; the keys of people's content, and the secret that digests are made with, go beside it.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, NotFoundError, StoreError
from sartor.core.progress import Progress, silent
from sartor.core.records import KINDS, Record, now
from sartor.store import contents
from sartor.store.disk import Disk, sync, writing
from sartor.store.opening import Store, open_store
from sartor.store.schema import REVISION
from sartor.store.traffic.copying import copy_in, copy_keys, copy_out, keys_in
from sartor.store.verify import verify as verify_store

FORMAT = 1


@dataclass(frozen=True)
class Copied:
    """What a backup or a restore took along."""

    folder: Path
    records: int
    files: int
    bytes: int
    faulty: tuple[str, ...]
    """What could not be copied because it is damaged or missing, in words."""
    keys: Path | None = None
    """Folder apart with the keys of people's content: whoever has it and the backup reads what they said."""


def backup(store: Store, target: Path, *, progress: Progress = silent) -> Copied:
    """Copy a store, as it stands at one instant, into a folder that is not there yet; work may go on meanwhile.

    A damaged file does not stop the rest from being saved: it is left out and named in the result.

    Raises:
        AskError: the folder is there already.
        StoreError: the disk is full or the store cannot be read; nothing is left behind.
    """
    if target.exists():
        raise AskError(
            f"{target} is there already: a backup goes into a new folder. Name another.", code="target_exists"
        )
    part = target.with_name(f"{target.name}.part")
    keys = keys_of(target)
    if keys.exists():
        raise AskError(f"{keys} is there already: keys of another backup. Name another.", code="target_exists")
    try:
        with writing(target):
            shutil.rmtree(part, ignore_errors=True)  # of a backup that was killed
            part.mkdir(parents=True)
            copied = _copy(store, part, progress)
            copy_keys(store.traffic, keys)
            sync(part)
            part.rename(target)
            sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not target.exists():
            shutil.rmtree(keys, ignore_errors=True)
    return Copied(target, *copied, keys if keys.exists() else None)


def keys_of(target: Path) -> Path:
    """Where the keys of a backup lie: beside it, so that they are kept apart."""
    return target.with_name(f"{target.name}.subjects")


def _copy(store: Store, part: Path, progress: Progress) -> tuple[int, int, int, tuple[str, ...]]:
    with store.ledger.database.snapshot() as connection:
        records = (
            {"kind": row.kind, "digest": row.digest, "seal": row.seal, "body": json.loads(row.body)}
            for row in contents.rows(connection)
        )
        marks = {"records": _write(part / "records.jsonl", records)}
        for name in contents.TABLES:
            marks[name] = _write(part / f"{name}.jsonl", contents.beside(connection, name))
        needed = set(contents.counting(connection).files)
    files, size, faulty = _copy_files(store, Disk(part / "vault", part / "temp"), needed, progress)
    shutil.rmtree(part / "temp", ignore_errors=True)
    manifest: dict[str, Any] = {"format": FORMAT, "schema": REVISION, "created": now(), "tables": marks}
    manifest |= {"files": files, "bytes": size, "traffic": copy_out(store.traffic, part / "traffic")}
    _write(part / "manifest.json", [manifest])
    return int(marks["records"]["rows"]), files, size, faulty


def _copy_files(store: Store, disk: Disk, needed: set[str], progress: Progress) -> tuple[int, int, tuple[str, ...]]:
    kept = list(store.vault.stored())
    faulty = [f"File {d} is named by a record but not in the vault." for d in sorted(needed - {s.digest for s in kept})]
    files = size = 0
    for done, item in enumerate(kept, start=1):
        progress("files", done, len(kept))
        try:
            with store.vault.path(item.digest).open("rb") as source:
                disk.put(source)
        except NotFoundError:
            if item.digest in needed:  # else it was swept while we copied
                faulty.append(f"File {item.digest} is named by a record but not in the vault.")
            continue
        except StoreError as error:
            if error.code != "file_damaged":
                raise
            faulty.append(error.message)
            continue
        files, size = files + 1, size + item.bytes
    return files, size, tuple(faulty)


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    hashed, count = sha256(), 0
    with path.open("wb") as out:
        for line in lines:
            data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            hashed.update(data)
            out.write(data)
            count += 1
    sync(path)
    return {"sha256": hashed.hexdigest(), "rows": count}


def restore(
    source: Path,
    root: Path,
    *,
    verify: bool = True,
    progress: Progress = silent,
    ledger_url: str | None = None,
    vault_url: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Copied:
    """Make a store of a backup, in an empty place. Files first, then all records and pointers in one transaction.

    Killed half-way it can simply be repeated.

    Args:
        verify: re-hash every record and file of the new store afterwards.
        ledger_url, vault_url, storage_options: as for `open_store`; they may differ from those of the old store.

    Raises:
        AskError: the folder holds no backup.
        ConflictError: the new place has a ledger with records in it.
        StoreError: the backup, or what was made of it, is damaged.
    """
    manifest = _manifest(source)
    store = open_store(root, ledger_url=ledger_url, vault_url=vault_url, storage_options=storage_options)
    try:
        disk = Disk(source / "vault", store.temp)
        kept = list(disk.digests())
        for done, digest in enumerate(kept, start=1):
            store.vault.put_file(disk.path(digest))
            progress("files", done, len(kept))
        beside = {
            table: list(_read(source / f"{name}.jsonl"))
            for name, table in contents.TABLES.items()
            if name in manifest["tables"]  # an older Sartor knew fewer
        }
        records = store.ledger.load(map(_record, _read(source / "records.jsonl")), beside)
        copy_in(source / "traffic", manifest.get("traffic", {}), store.traffic)
        keys_in(keys_of(source), store.traffic)
        faults = verify_store(store, progress=progress) if verify else []
        lost = tuple(f"{fault.digest}: {fault.says}" for fault in faults)
        return Copied(root, records, len(kept), int(manifest["bytes"]), lost)
    finally:
        store.close()


def _manifest(source: Path) -> dict[str, Any]:
    try:
        (manifest,) = _read(source / "manifest.json")
    except (OSError, ValueError) as error:
        raise AskError(
            f"{source} holds no backup: its manifest.json is missing or no JSON. Name a folder that 'sartor backup' "
            "wrote.",
            code="no_backup",
        ) from error
    if manifest.get("format") != FORMAT:
        raise StoreError(f"{source} has backup format {manifest.get('format')}, and this Sartor reads {FORMAT}.")
    for name in manifest["tables"]:
        path = source / f"{name}.jsonl"
        with path.open("rb") as data:
            fits = file_digest(data, "sha256").hexdigest() == manifest["tables"][name]["sha256"]
        if not fits:
            raise StoreError(f"{path} is damaged: it does not fit the manifest. Use another backup.", code="damaged")
    return dict(manifest)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _record(line: Mapping[str, Any]) -> Record:
    kind = KINDS.get(line["kind"])
    if kind is None:
        raise StoreError(f"The backup holds a record of kind '{line['kind']}': a newer Sartor wrote it.")
    found = kind.model_validate_json(json.dumps(line["body"]))
    if (found.digest, found.seal) != (line["digest"], line["seal"]):
        raise StoreError(f"Record {line['digest']} of the backup was changed: its digest or seal does not fit.")
    return found

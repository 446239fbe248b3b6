"""Reads everything a store holds and compares it with the marks under which it was stored. Changes nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sartor.core.errors import NotFoundError, StoreError
from sartor.core.progress import Progress, silent
from sartor.core.records import KINDS
from sartor.store.contents import Row, counting, rows
from sartor.store.disk import Disk, writing
from sartor.store.opening import Store
from sartor.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not what it was when it was stored."""

    digest: str
    says: str


def verify(store: Store, *, progress: Progress = silent) -> list[Fault]:
    """Re-hash every record and every file; check that each file named by a record that counts is there.

    The log of traffic is read whole as well: each of its records has a checksum.

    Args:
        progress: told the number of things checked.
    """
    faults: list[Fault] = []
    with store.ledger.database.snapshot() as connection:
        for done, row in enumerate(rows(connection), start=1):
            faults += record_faults(row)
            if done % 1000 == 0:
                progress("records", done, 0)
        named = counting(connection).files
    kept = dict.fromkeys(store.vault.digests())  # after the ledger was read: a file is there before it is named
    faults += [
        Fault(digest, f"Record {by} names this file, which is not in the vault.")
        for digest, by in sorted(named.items())
        if digest not in kept
    ]
    with _unremembering(store) as vault:
        for done, digest in enumerate(kept, start=1):
            faults += file_faults(vault, digest)
            if vault.bucket:
                vault.disk.remove(digest)  # the copy that was looked at
            progress("files", done, len(kept))
    return faults + [Fault(name, says) for name, says in store.traffic.faults()]


@contextmanager
def _unremembering(store: Store) -> Iterator[Vault]:
    """The store's vault, so opened that each file is hashed anew, and fetched anew where it lies in a bucket."""
    if store.vault.bucket is None:
        yield Vault(Disk(store.vault.disk.folder, store.temp), read_only=True)
        return
    with writing(store.temp):
        store.temp.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix="verify-", dir=store.temp)
    with scratch as folder:
        yield Vault(Disk(Path(folder), Path(folder) / "temp"), store.vault.bucket, read_only=True)


def record_faults(row: Row) -> Iterator[Fault]:
    """What is wrong with a record as it lies in the ledger."""
    kind = KINDS.get(row.kind)
    if kind is None:
        yield Fault(row.digest, f"Its kind '{row.kind}' is not known: a newer Sartor wrote it.")
        return
    try:
        found = kind.model_validate_json(row.body)
    except ValueError as error:
        yield Fault(row.digest, f"The record cannot be read: {error}")
        return
    if found.digest != row.digest:
        yield Fault(row.digest, f"The record's content has the digest {found.digest}: it was changed.")
    elif found.seal != row.seal:
        yield Fault(row.digest, "The record's times or costs were changed: the seal does not fit.")


def file_faults(vault: Vault, digest: str) -> Iterator[Fault]:
    """What is wrong with a file in the vault."""
    try:
        vault.path(digest)
    except NotFoundError:
        return  # swept since it was listed
    except StoreError as error:
        yield Fault(digest, error.message)

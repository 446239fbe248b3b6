"""Opens a store: one folder with a ledger, a vault, temporary files and artifacts laid out as folders."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import StoreError
from sartor.core.records import Artifact
from sartor.store.engine import open_sqlite, open_url
from sartor.store.ledger import Ledger
from sartor.store.migrate import bring_up
from sartor.store.vault import Vault, open_vault

LEDGER = "ledger.db"


@dataclass(frozen=True)
class Store:
    """Everything that is kept."""

    root: Path
    ledger: Ledger
    vault: Vault
    temp: Path
    """Folder for unfinished work, on the same disk as the store."""

    def folder(self, artifact: Artifact) -> Path:
        """A folder with the artifact's files under their own names, each verified; made once, then reused.

        Raises:
            StoreError: a file is missing or damaged, or the disk is full.
        """
        target = self.root / "laid" / artifact.digest
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="laid-", dir=self.temp))
        try:
            self.vault.lay_out(artifact.files, work)
            work.rename(target)
        except OSError as error:
            if not target.is_dir():  # else somebody else was first, with the same bytes
                raise StoreError(
                    f"Tried to lay out {artifact.name} in {target}: {error}.", code="store_full"
                ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target

    def close(self) -> None:
        """Close the ledger's connections."""
        self.ledger.close()


def open_store(
    root: Path,
    *,
    ledger_url: str | None = None,
    vault_url: str | None = None,
    read_only: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Store:
    """The store in a folder; made if it is not there.

    Args:
        ledger_url: `postgresql+psycopg://…`; default SQLite in the folder.
        vault_url: `s3://bucket/prefix` or any fsspec URL; default the folder.
        storage_options: for the vault's file system (endpoint, key, secret), passed on as they are.

    Raises:
        StoreError: the folder cannot be made or written, or a newer Sartor wrote it.
    """
    temp = root / "temp"
    if not read_only:
        try:
            os.makedirs(root, exist_ok=True)
            temp.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"Tried to make a store in {root}: {error.strerror}. Name a folder that may be written.",
                code="store_unwritable",
            ) from error
    opened = (
        open_url(ledger_url, read_only=read_only) if ledger_url else open_sqlite(root / LEDGER, read_only=read_only)
    )
    bring_up(opened)
    vault = open_vault(root, vault_url, read_only=read_only, storage_options=storage_options or {})
    return Store(root, Ledger(opened), vault, temp)

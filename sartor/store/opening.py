"""Opens a store: one folder with a ledger, a vault, unfinished work, and artifacts laid out as folders."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sartor.core.errors import NotFoundError, StoreError
from sartor.core.jobs import Job
from sartor.core.records import Artifact
from sartor.store.disk import sync, writing
from sartor.store.engine import open_sqlite, open_url
from sartor.store.jobs import Jobs
from sartor.store.leases import Leases, fence
from sartor.store.ledger import Ledger
from sartor.store.migrate import bring_up
from sartor.store.traffic.keeping import Traffic
from sartor.store.uploads import Uploads
from sartor.store.vault import Vault, open_vault

LEDGER = "ledger.db"


@dataclass(frozen=True)
class Store:
    """Everything that is kept."""

    root: Path
    ledger: Ledger
    vault: Vault
    temp: Path
    """Folder for unfinished work; on the same disk as the store unless that disk may not be written."""
    laid: Path
    """Folder of artifacts laid out as folders: a cache, made again when it is gone."""
    scratch: "tempfile.TemporaryDirectory[str] | None" = None
    """Where `temp` and `laid` are while the store's own folder may not be written."""

    @cached_property
    def traffic(self) -> Traffic:
        """Exchanges and feedback; nothing of it is made before it is used."""
        return Traffic(self.root, self.laid.parent, self.ledger.database)

    @cached_property
    def uploads(self) -> Uploads:
        """Files that people sent."""
        return Uploads(self.ledger.database)

    @cached_property
    def jobs(self) -> Jobs:
        """Durable jobs, as those see them who ask for them."""
        return Jobs(self.ledger.database)

    @cached_property
    def leases(self) -> Leases:
        """Durable jobs, as workers see them."""
        return Leases(self.ledger.database)

    def fenced(self, held: Job) -> "Store":
        """The store for one attempt at a job: once another worker has the job, nothing is written through it.

        What is written raises `core.jobs.Stopped` then, in its own transaction.
        """
        database = replace(self.ledger.database, fence=fence(held))
        store = replace(self, ledger=Ledger(database))
        store.__dict__["traffic"] = self.traffic  # the log has one writer in each process
        return store

    def folder(self, artifact: Artifact) -> Path:
        """A folder with exactly the artifact's files under their own names, each verified; made once, then reused.

        Raises:
            StoreError: a file is missing or damaged, or the disk is full.
        """
        target = self.laid / artifact.digest
        if target.is_dir():
            if self.vault.fits(artifact.files, target):
                return target
            shutil.rmtree(target, ignore_errors=True)  # the vault's own files decide whether it can be made again
        with writing(self.laid):
            self.laid.mkdir(parents=True, exist_ok=True)
            self.temp.mkdir(mode=0o700, parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix="laid-", dir=self.temp))
            try:
                self._lay_out(artifact, work)
                _settle(work, target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return target

    def _lay_out(self, artifact: Artifact, folder: Path) -> None:
        try:
            self.vault.lay_out(artifact.files, folder)
        except NotFoundError as error:
            raise StoreError(
                f"'{artifact.name}' ({artifact.digest[:12]}) is not whole: {error.message} Restore it from a backup "
                "('sartor restore'), or make it again.",
                code="file_missing",
            ) from error

    @property
    def checkpoints(self) -> Path:
        """Folder in which long trainings keep how far they are: of this machine, lost at the price of time alone."""
        return self.temp.parent / "checkpoints"

    def close(self) -> None:
        """Close the ledger's connections and drop what was only for this opening."""
        if "traffic" in self.__dict__:
            self.traffic.close()
        self.ledger.close()
        if self.scratch:
            self.scratch.cleanup()


def _settle(work: Path, target: Path) -> None:
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():  # else somebody else was first, with the same bytes
            raise


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
        read_only: change no record, pointer or file. Caches are still made, elsewhere if they must.
        storage_options: for the vault's file system (endpoint, key, secret), passed on as they are.

    Raises:
        StoreError: the folder cannot be made or written, or a newer Sartor wrote it.
    """
    if not read_only:
        _make(root)
    opened = (
        open_url(ledger_url, read_only=read_only) if ledger_url else open_sqlite(root / LEDGER, read_only=read_only)
    )
    try:
        bring_up(opened)
        scratch = None if os.access(root, os.W_OK) else tempfile.TemporaryDirectory(prefix="sartor-")
        caches = Path(scratch.name) if scratch else root
        vault = open_vault(root, caches, vault_url, read_only=read_only, storage_options=storage_options or {})
    except BaseException:
        opened.close()
        raise
    return Store(root, Ledger(opened), vault, caches / "temp", caches / "laid", scratch)


def _make(root: Path) -> None:
    with writing(root):
        (root / "vault" / "sha256").mkdir(parents=True, exist_ok=True)
        if not (root / "temp").exists():
            (root / "temp").mkdir(mode=0o700, exist_ok=True)
            for folder in (root / "vault", root, root.parent):  # what is put into them must not lose its folder
                sync(folder)

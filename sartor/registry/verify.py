"""Hashes again what a record stands for: itself, everything it came from, and all their files."""

from dataclasses import dataclass

from sartor.core.errors import SartorError
from sartor.core.records import Artifact, Record, Report
from sartor.registry.lineage import lineage
from sartor.store.opening import Store


@dataclass(frozen=True)
class Verified:
    """What was hashed, and what was found wrong."""

    records: int
    files: int
    faults: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.faults


def verify(store: Store, digest: str) -> Verified:
    """Check a record and its ancestors: each body must have its digest, each file its sha256.

    Raises:
        NotFoundError: there is no such record.
    """
    walked = lineage(store.ledger, digest, "up", limit=100_000)
    faults, files = [], set[str]()
    for name, record in walked.nodes.items():
        if record is None:
            faults.append(f"Record {name} is missing; something was made from it.")
            continue
        if record.digest != name:
            faults.append(f"{record.kind} {name} has been changed: its content has digest {record.digest}.")
        for path, sha256 in _files(record).items():
            files.add(sha256)
            faults += _fault(store, f"{record.kind} {name[:12]}, {path}", sha256)
    return Verified(len(walked.nodes), len(files), tuple(faults))


def _files(record: Record) -> dict[str, str]:
    return dict(record.files) if isinstance(record, Artifact | Report) else {}


def _fault(store: Store, what: str, sha256: str) -> list[str]:
    try:
        store.vault.path(sha256)
    except SartorError as error:
        return [f"{what}: {error.message}"]
    return []

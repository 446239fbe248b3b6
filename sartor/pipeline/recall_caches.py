"""What is kept only to save work, or to be looked at, and holds something of what is recalled: found, and destroyed.

Embeddings are found by the texts that they stand for; folders and pages by the record that they show.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import StoreError
from sartor.core.records import EXPORT, Artifact, Dataset, Run
from sartor.pipeline.origins import READERS, Origins, column, matches
from sartor.pipeline.workshop import Workshop
from sartor.registry.impact import Impact

EMBEDDINGS = "embeddings/"
SHARD = "shard.safetensors"


@dataclass(frozen=True)
class Caches:
    """What is destroyed with a recall, or must be by hand."""

    shards: tuple[Artifact, ...]
    """Embeddings that hold at least one text of it."""
    checkpoints: tuple[Path, ...]
    """States of trainings under way: they don't say of what, so all of them go. That costs time only."""
    folders: tuple[Path, ...]
    """Artifacts laid out as folders."""
    pages: tuple[Path, ...]
    """HTML and JSON reports of its decisions."""
    exports: tuple[Run, ...]
    """Files outside of the store that may hold something of it: only whoever has them can remove them."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "embeddings": [shard.digest for shard in self.shards],
            "checkpoints": [folder.name for folder in self.checkpoints],
            "folders": [folder.name for folder in self.folders],
            "pages": [page.name for page in self.pages],
            "exports": [run.params.get("target", "") for run in self.exports],
        }


def caches_of(shop: Workshop, begun: Origins, found: Impact) -> Caches:
    """Find them."""
    kept = found.caches
    by_edge = {d: a for d, a in kept.items() if a.name.startswith(EMBEDDINGS)}
    texts = _texts(shop, begun, found)
    shards = by_edge | {shard.digest: shard for shard in _shards(shop, texts)}
    states = shop.store.checkpoints
    checkpoints = tuple(sorted(states.iterdir())) if found.goods and states.is_dir() else ()
    folders = tuple(path for d in found.goods if (path := shop.store.laid / d).is_dir())
    return Caches(
        tuple(shards.values()), checkpoints, folders, tuple(_pages(shop, found)), tuple(_exports(shop, begun, found))
    )


def _texts(shop: Workshop, begun: Origins, found: Impact) -> set[bytes]:
    """Digests of the texts of the rows that are recalled: those that match, or of whole data sets all."""
    read = READERS.get(begun.what.kind)
    keys: set[bytes] = set()
    for digest in begun.roots:
        holder = found.records.get(digest)
        if not isinstance(holder, Artifact) or (read is None and not isinstance(holder, Dataset)):
            continue
        for name, file in holder.files.items():
            if name.endswith(".parquet"):
                texts = column(shop, file, lambda opened: opened.read(columns=["text"]).column(0).to_pylist())
                said = column(shop, file, read) if read else []
                keys.update(
                    hashlib.sha256((text or "").encode()).digest()
                    for number, text in enumerate(texts)
                    if read is None or matches(begun.what, said[number])
                )
    return keys


def _shards(shop: Workshop, texts: set[bytes]) -> Iterator[Artifact]:
    """Embeddings that hold one of the texts; only their keys are read."""
    if not texts:
        return
    from safetensors import safe_open

    for found in shop.store.ledger.find(Artifact, limit=1_000_000):
        file = found.files.get(SHARD, "")
        if not found.name.startswith(EMBEDDINGS) or not shop.store.vault.has(file):
            continue
        with safe_open(shop.store.vault.path(file), framework="np") as tensors:
            keys = tensors.get_tensor("keys").tobytes()
        if any(keys[at : at + 32] in texts for at in range(0, len(keys), 32)):
            yield found


def _pages(shop: Workshop, found: Impact) -> Iterator[Path]:
    folder = shop.store.root / "reports"
    for digest, decision in found.decisions.items():
        for end in (".html", ".json"):
            page = folder / f"{decision.task}-{digest[:12]}{end}"
            if page.exists():
                yield page


def _exports(shop: Workshop, begun: Origins, found: Impact) -> Iterator[Run]:
    """Variants that left the house, and traffic: of that only a person's, or a row's exchange, can have gone out."""
    variants, asked = found.variants, begun.what.kind in ("subject", "row")
    for run in shop.store.ledger.find(Run, verb=EXPORT, limit=100_000):
        left = run.inputs.get("variant")
        if left in variants or (asked and left is None):
            yield run


def purge(shop: Workshop, caches: Caches, *, pages: bool) -> int:
    """Destroy them; how many files and folders went. What is gone already is passed over.

    Args:
        pages: reports too. They quote rows.
    """
    gone = 0
    for artifact in caches.shards:
        gone += destroy(shop, artifact.files.values())
    for folder in (*caches.folders, *caches.checkpoints):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            gone += 1
    for page in caches.pages if pages else ():
        with suppress(FileNotFoundError):
            page.unlink()
            gone += 1
    return gone


def destroy(shop: Workshop, files: Iterable[str]) -> int:
    """Remove files from the vault; how many were there."""
    gone = 0
    for file in set(files):
        with suppress(StoreError):
            gone += shop.store.vault.remove(file)
    return gone

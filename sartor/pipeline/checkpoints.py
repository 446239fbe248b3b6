"""Keeps how far a long training is: a folder of the store for each recipe key, whole or not believed.

Files first, each synced, then a manifest with the sha256 of each, then one rename. A state that is not whole is passed
over for the one before it. States lie on this machine's disk, beside the store's unfinished work: they can be lost at
the price of time, so no backup holds them, and `sartor gc` sweeps what nobody has touched for a day. Knows no models.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.store.disk import sync

SHARE = 0.05
"""Most of the time that keeping states may take: where it takes longer, it is done less often."""
MANIFEST = "manifest.json"
FACTS = "facts.json"
DRAFT = ".draft-"
log = logging.getLogger("sartor.checkpoints")

Tensors = Mapping[str, npt.NDArray[Any]]


class Folder:
    """The states of one training. Several processes may work on one: the same key gives the same states."""

    def __init__(self, folder: Path, every: float) -> None:
        self._folder = folder
        self._every = every
        self._last = time.monotonic()
        self._took = 0.0

    def due(self) -> bool:
        """Whether the last state is old enough, measured by the clock and by what keeping it took."""
        wait = max(self._every, self._took / SHARE) if self._every else 0.0
        return time.monotonic() - self._last >= wait

    def save(self, at: int, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        """Keep the state after `at` steps, whole or not at all; then earlier ones go.

        Raises:
            OSError: the disk is full or may not be written; nothing half-written is left.
        """
        began = time.monotonic()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep_drafts()
            self._settle(at, tensors, facts)
        finally:
            self._last = time.monotonic()
            self._took = self._last - began
        for place, path in self._states():
            if place < at:
                shutil.rmtree(path, ignore_errors=True)

    def load(self) -> tuple[int, dict[str, npt.NDArray[Any]], dict[str, Any]] | None:
        """The newest whole state: steps done, tensors, facts; None where there is none."""
        for at, path in reversed(self._states()):
            try:
                found = _read(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("the checkpoint %s is not whole and is passed over: %s", path, error)
                continue
            return at, *found
        return None

    def discard(self) -> None:
        """The step is done: its states are of no more use."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _settle(self, at: int, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self._folder))
        handle = os.open(draft, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # held while the draft is worked on: a free one is a dead one's
            _write(draft, tensors, facts)
            target = self._folder / f"{at:012}"
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():  # else somebody at the same work was first
                    raise
            sync(self._folder)
        finally:
            os.close(handle)
            shutil.rmtree(draft, ignore_errors=True)

    def _states(self) -> list[tuple[int, Path]]:
        with suppress(FileNotFoundError):
            return sorted((int(path.name), path) for path in self._folder.iterdir() if path.name.isdigit())
        return []

    def _sweep_drafts(self) -> None:
        """Remove what killed processes left."""
        for draft in self._folder.glob(f"{DRAFT}*"):
            with suppress(OSError):  # its owner has just finished with it, or is still at it
                handle = os.open(draft, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(draft, ignore_errors=True)
                finally:
                    os.close(handle)


def _write(folder: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
    from safetensors.numpy import save

    # One file a kind, each laid out in memory: a full disk is then an ordinary error of an ordinary write.
    digests = {f"{kind}.safetensors": save(part) for kind, part in _kinds(tensors)}
    manifest = {name: _put(folder / name, data) for name, data in digests.items()}
    manifest[FACTS] = _put(folder / FACTS, json.dumps(facts, allow_nan=False).encode())
    _put(folder / MANIFEST, json.dumps({"files": manifest}, sort_keys=True).encode())
    sync(folder)


def _kinds(tensors: Tensors) -> Iterable[tuple[str, dict[str, npt.NDArray[Any]]]]:
    for kind in sorted({name.partition("/")[0] for name in tensors}):
        yield kind, {n: np.ascontiguousarray(v) for n, v in tensors.items() if n.partition("/")[0] == kind}


def _put(path: Path, data: bytes) -> str:
    with path.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return hashlib.sha256(data).hexdigest()


def _read(folder: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    listed = json.loads((folder / MANIFEST).read_bytes())["files"]
    tensors: dict[str, npt.NDArray[Any]] = {}
    facts: dict[str, Any] | None = None
    for name in sorted(listed):
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != listed[name]:
            raise ValueError(f"{name} is damaged")
        if name == FACTS:
            facts = json.loads(data)
            continue
        try:
            tensors |= load(data)
        except SafetensorError as error:
            raise ValueError(f"{name} can't be read: {error}") from error
    if facts is None:
        raise ValueError(f"{FACTS} is not listed")
    return tensors, facts

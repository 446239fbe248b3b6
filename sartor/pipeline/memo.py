"""Do a step once: find what is already made by its recipe key, else make it and keep it whole or not at all.

A recipe key covers inputs, plug-in, params, seed and the source of the plug-in and of the Sartor modules that it
imports. The record of the run and of what it made are written in one transaction after all files are in the vault,
so that a process killed at any instant leaves either nothing or the finished step.
"""

import ast
import hashlib
import importlib.util
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sartor.core.canonical import digest
from sartor.core.errors import DISK_FULL, NotFoundError, StoreError, disk_full
from sartor.core.records import Record, Run, now
from sartor.pipeline.workshop import Workshop


@dataclass(frozen=True)
class Step:
    """One thing to do, as the memo sees it."""

    verb: str
    task: str
    plugin: str
    modules: tuple[str, ...]
    """Modules whose source, with all Sartor modules that they import, is part of the key."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def code(self) -> str:
        """Digest of the source that does the step."""
        return digest({name: _source_digest(name) for module in self.modules for name in _closure(module)})

    @property
    def key(self) -> str:
        """The recipe key."""
        return digest(
            {
                "verb": self.verb,
                "task": self.task,  # what is made bears its name, though another task have the same rows
                "plugin": self.plugin,
                "inputs": dict(self.inputs),
                "params": dict(self.params),
                "seed": self.seed,
                "code": self.code,
            }
        )


Work = Callable[[Path], Mapping[str, Record]]
"""Does the step in an empty folder and returns what it made, by role; files must already be in the vault."""


def done_before(shop: Workshop, step: Step) -> Run | None:
    """The run that made this already, if all it made still stands."""
    for run in shop.store.ledger.find(Run, key=step.key, status="done", limit=1):
        if all(_stands(shop, made) for made in run.outputs.values()):
            return run
    return None


def once(shop: Workshop, step: Step, work: Work) -> dict[str, Record]:
    """What the step makes, by role: from the ledger if it was done before, else done now.

    Raises:
        Whatever the work raises; a failed run is recorded first.
    """
    before = done_before(shop, step)
    if before is not None:
        return {role: shop.store.ledger.get(made) for role, made in before.outputs.items()}
    folder = Path(tempfile.mkdtemp(prefix=f"{step.verb}-", dir=shop.store.temp))
    started, seconds, cpu = now(), time.monotonic(), _cpu_seconds()

    def record(outputs: Mapping[str, str], error: str = "") -> Run:
        used = _cpu_seconds() - cpu
        return Run(
            verb=step.verb,
            plugin=step.plugin,
            task=step.task,
            key=step.key,
            params=dict(step.params),
            inputs=dict(step.inputs),
            outputs=dict(outputs),
            code=step.code,
            environment=environment(),
            seed=step.seed,
            status="failed" if error else "done",
            error=error,
            created=started,
            seconds=time.monotonic() - seconds,
            cpu_seconds=used,
            cost=used * shop.second_price,
        )

    try:
        made = _worked(work, folder)
    except Exception as error:
        try:
            shop.store.ledger.put(record({}, f"{type(error).__name__}: {error}"))
        except StoreError as also:
            error.add_note(f"The failed run could not be recorded either: {also}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    shop.store.ledger.put_many([*made.values(), record({role: r.digest for role, r in made.items()})])
    # Content that was made before keeps its first record, times included: read back what the ledger holds.
    return {role: shop.store.ledger.get(r.digest) for role, r in made.items()}


def _worked(work: Work, folder: Path) -> dict[str, Record]:
    try:
        return dict(work(folder))
    except OSError as error:
        if error.errno in DISK_FULL:
            raise disk_full(error, folder) from error
        raise


def _stands(shop: Workshop, made: str) -> bool:
    try:
        record = shop.store.ledger.get(made)
    except NotFoundError:
        return False
    return all(shop.store.vault.has(d) for d in getattr(record, "files", {}).values())


def _cpu_seconds() -> float:
    """CPU seconds of this process and its finished children."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@lru_cache
def environment() -> dict[str, str]:
    """Versions that bear on what is made."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("sartor", "numpy", "scikit-learn", "torch", "transformers"):
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found


@lru_cache
def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@lru_cache
def _source_digest(module: str) -> str:
    path = _file_of(module)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


@lru_cache
def _imports(module: str) -> frozenset[str]:
    """Sartor modules that a module's source imports, read without running it."""
    path = _file_of(module)
    if path is None:
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] == "sartor" and _file_of(name))


@lru_cache
def _closure(module: str) -> frozenset[str]:
    """The module and all Sartor modules that it imports, directly or not."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_imports(name))
    return frozenset(seen)

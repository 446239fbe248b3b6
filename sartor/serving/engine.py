"""What an engine is: many variants held on one base, answering mixed batches with one pass of that base.

Knows neither calibration nor money, and does not load anything by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from sartor.core.predict import Floats
from sartor.core.shelf import Shelf

ENGINES = Shelf("sartor.serving.engines")

Work = Sequence[tuple[str, str]]
"""(key of a variant, text) pairs, mixed."""
Embed = Callable[[Sequence[str]], Floats]
"""Texts -> (texts, d) L2-normalised float32 embeddings of a frozen base."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a variant says about one text, before calibration."""

    logits: Floats
    """(labels,) logits or decision values."""
    novelty: float | None = None
    """One minus the greatest cosine to a class centroid; None where the engine knows no centroids."""


@runtime_checkable
class Engine(Protocol):
    """Holds variants of one kind on one base. `add` may run beside `score` in another thread."""

    def add(self, key: str, folder: Path) -> None:
        """Hold the variant whose files lie in `folder`."""
        ...

    def drop(self, key: str) -> None:
        """Let a variant go; an unknown key is no error."""
        ...

    def score(self, work: Work, *, embed: Embed | None = None) -> list[Scored]:
        """One result per pair, in order.

        Args:
            embed: used instead of the engine's own `embed` for the frozen base (a cache in front of it).
        """
        ...

    def embed(self, texts: Sequence[str]) -> Floats:
        """(texts, d) L2-normalised float32 embeddings of the base.

        Raises:
            AskError: this kind of engine has no embeddings.
        """
        ...


@runtime_checkable
class Mixer(Protocol):
    """Holds variants that answer from the answers of other variants instead of from text."""

    def add(self, key: str, folder: Path) -> None:
        """Hold the variant whose files lie in `folder`."""
        ...

    def drop(self, key: str) -> None:
        """Let a variant go; an unknown key is no error."""
        ...

    def roles(self, key: str) -> tuple[str, ...]:
        """Roles of the parents whose answers are mixed."""
        ...

    def mix(self, key: str, parts: Mapping[str, Floats]) -> Floats:
        """(rows, labels) logits from each role's (rows, labels) calibrated probabilities."""
        ...


def open_engine(name: str, base: Path | None = None, *, threads: int = 1) -> Engine | Mixer:
    """Take an engine from the shelf.

    Args:
        base: folder of the base model's files, for engines that have one.
        threads: CPU threads that one pass may use, where the engine can use several.

    Raises:
        NotFoundError: no such engine; the known ones are listed.
        MissingExtraError: the engine needs a package that is not installed.
    """
    plugin = ENGINES.take(name)
    settings = {"threads": threads} if "threads" in plugin.params.model_fields else {}
    engine: Engine | Mixer = plugin(base, plugin.read(settings))
    return engine

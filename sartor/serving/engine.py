"""What an engine is: many variants held on one base, answering mixed batches with one pass of that base.

Knows neither calibration nor money, and does not load anything by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from sartor.core.predict import Floats, Usage
from sartor.core.predict import Wish as Wish  # noqa: PLC0414 - those who write answers find it here
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


@dataclass(frozen=True, slots=True)
class Said:
    """One value that a variant wrote, before calibration."""

    path: str
    """JSON pointer into the answer (`/lines/0/price`); '' for a whole text."""
    value: Any
    """The JSON value, or the text."""
    score: float
    """Log-odds, roughly, that it is right; calibration makes chances of it. Also for values that the engine would
    rather leave out, so that the value function may take them in."""
    span: tuple[int, int] | None = None
    """Where the value stands in the text, by characters, where it was read there."""


@dataclass(frozen=True, slots=True)
class Written:
    """An answer that was written, before calibration."""

    output: str
    """The text; for an extraction the JSON object with all that was said."""
    said: tuple[Said, ...]
    usage: Usage = field(default_factory=Usage)
    """Tokens; the fleet adds the CPU seconds."""
    novelty: float | None = None
    finish: Literal["stop", "length", "deadline", "cancelled"] = "stop"
    logprobs: tuple[tuple[str, float], ...] = ()
    """(token, natural logarithm of its probability), where they were wished for."""
    cost: float = 0.0
    """Money that somebody else charged for it, in the currency of the books."""


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody else's model answered."""

    text: str
    usage: Usage
    cost: float
    """Money that it charged."""
    finish: str = "stop"
    logprobs: tuple[tuple[str, float], ...] = ()
    """(token, natural logarithm of its probability), where it gives them."""


class Upstreams(Protocol):
    """Somebody else's models, by the names under which they are declared; where their keys are, nobody here knows."""

    def ask(self, upstream: str, chats: Sequence[Mapping[str, Any]]) -> list[Told]:
        """One answer per chat (bodies of OpenAI's protocol, without `model`), in order; blocks.

        Raises:
            NotFoundError: no upstream of this name is declared.
            UpstreamError: it did not answer.
        """
        ...


@runtime_checkable
class AsksOthers(Protocol):
    """An engine whose variants are somebody else's models, asked with a prompt of ours."""

    def ask_by(self, upstreams: Upstreams) -> None:
        """Use these from now on."""
        ...


@runtime_checkable
class Writer(Protocol):
    """Holds variants that write their answers: JSON objects or texts."""

    def add(self, key: str, folder: Path) -> None:
        """Hold the variant whose files lie in `folder`."""
        ...

    def drop(self, key: str) -> None:
        """Let a variant go; an unknown key is no error."""
        ...

    def write(self, work: Work, wishes: Sequence[Wish | None] | None = None) -> list[Written]:
        """One answer per pair, in order."""
        ...

    def pieces(self, key: str, text: str, wish: Wish | None = None) -> Iterator[str | Written]:
        """One answer as it is written: pieces of text, then the whole. Closing the iterator stops the writing."""
        ...


@runtime_checkable
class Flowing(Protocol):
    """A writer whose answers join and leave a running batch: each is best asked by itself, as soon as it comes."""

    def under_way(self) -> int:
        """Answers that are being written now."""
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


def open_engine(
    name: str, base: Path | None = None, *, threads: int = 1, upstreams: Upstreams | None = None
) -> Engine | Mixer | Writer:
    """Take an engine from the shelf.

    Args:
        base: folder of the base model's files, for engines that have one.
        threads: CPU threads that one pass may use, where the engine can use several.
        upstreams: whom an engine asks whose variants are somebody else's models.

    Raises:
        NotFoundError: no such engine; the known ones are listed.
        MissingExtraError: the engine needs a package that is not installed.
    """
    plugin = ENGINES.take(name)
    settings = {"threads": threads} if "threads" in plugin.params.model_fields else {}
    engine: Engine | Mixer | Writer = plugin(base, plugin.read(settings))
    if upstreams is not None and isinstance(engine, AsksOthers):
        engine.ask_by(upstreams)
    return engine

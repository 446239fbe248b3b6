"""What a recipe is given and what it hands back. Recipes know nothing of stores, tasks or servers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.progress import Progress, silent
from sartor.core.rows import Hierarchy

Ints = npt.NDArray[np.integer]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts -> (texts, d) L2-normalised embeddings of the frozen base; the caller caches them."""


@dataclass(frozen=True)
class Part:
    """An already made variant that a blend mixes, a surgeon cuts, or a student learns from."""

    title: str
    digest: str
    validation: Floats
    """(validation rows, labels) its calibrated probabilities; empty for a variant that writes its answers."""
    folder: Path | None = None
    """Its files."""
    engine: str = ""
    """Serving engine that reads them."""
    base: Path | None = None
    """Folder of the base that it stands on."""
    recipe: str = ""
    """How it was made."""
    answer: Callable[[Sequence[str]], Floats] | None = None
    """Texts -> (texts, labels) its calibrated probabilities; None for a variant that writes its answers."""
    write: Callable[[Sequence[str]], list[str]] | None = None
    """Texts -> its answers, canonical JSON or text; None for a variant that chooses among labels."""


class Checkpoints(Protocol):
    """Where a long training keeps how far it is, so that a killed one goes on from there."""

    def due(self) -> bool:
        """Whether it is time to keep the state again."""
        ...

    def save(self, at: int, tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Keep the state after `at` steps, whole or not at all; earlier ones may go.

        Raises:
            OSError: the disk is full; nothing half-written counts.
        """
        ...

    def load(self) -> "tuple[int, dict[str, npt.NDArray[Any]], dict[str, Any]] | None":
        """The newest whole state: steps done, tensors, facts; None where there is none."""
        ...


@dataclass(frozen=True)
class Writing:
    """What a recipe must know where answers are written rather than chosen: JSON objects or texts."""

    kind: str
    """`extract` or `generate`."""
    train: Sequence[str]
    """(train rows,) right answers: canonical JSON, or the text."""
    validation: Sequence[str]
    """(validation rows,)"""
    json_schema: Mapping[str, Any] = field(default_factory=dict)
    """Of the object that is extracted; empty for texts."""
    instructions: str = ""
    max_tokens: int = 256
    rationales: Sequence[str] = ()
    """(train rows,) why the answer is right, where a teacher said so; empty: none."""
    right: Callable[[str, str], bool] | None = None
    """(truth, answer) -> whether all of it is right; None: letter by letter."""
    score: Callable[[Sequence[str]], Floats] | None = None
    """Answers to all validation rows -> (validation rows,) money lost, under the task's value function."""


@dataclass(frozen=True)
class Preferences:
    """What people made of answers that were given: of training rows and training-side traffic alone."""

    pairs: Sequence[tuple[str, str, str]] = ()
    """(text, the better answer, the worse one): a demonstration beside what had been answered."""
    marks: Sequence[tuple[str, str, bool]] = ()
    """(text, answer, whether it was good)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What files answered when they were tried, by the engine that would serve them."""

    output: str
    """The text; for an extraction the JSON object with all that was said."""
    cost: float = 0.0
    """Money that somebody else charged for it."""
    tokens: int = 0
    """Read and written."""


Try = Callable[[str, Path, Sequence[str]], Sequence[Trial]]
"""Answers of an unfinished variant: engine, folder of its files, texts."""


@dataclass(frozen=True)
class Job:
    """Everything that a recipe may use, and the folder that it fills."""

    labels: tuple[str, ...]
    train_texts: Sequence[str]
    train_targets: Ints
    """(train rows,) class index."""
    validation_texts: Sequence[str]
    validation_targets: Ints
    folder: Path
    """Empty; the files that the recipe writes here become the variant's."""
    train_weights: Floats | None = None
    """(train rows,) weight of each example, mean 1; None: all alike."""
    train_scores: Floats | None = None
    """(train rows, labels) a teacher's probabilities, all zeros for a row without; None: no row has any."""
    train_groups: Sequence[str] | None = None
    """Rows of one group stand on one side of every fold."""
    hierarchy: Hierarchy = field(default_factory=Hierarchy)
    base: Path | None = None
    """Folder of the base model's files."""
    device: str = "cpu"
    """Where torch trains: `cpu` or `cuda`."""
    embed: Embed | None = None
    parts: tuple[Part, ...] = ()
    writing: Writing | None = None
    """None where answers are labels."""
    preferences: Callable[[], Preferences] | None = None
    """What people made of answers, for recipes that learn from that; read when it is called."""
    attempt: Try | None = None
    """Tries unfinished files through the engine that would serve them, for recipes that choose by answers."""
    unlabelled: Sequence[str] = ()
    """Texts without an answer, to learn from what a teacher or the model itself says of them."""
    start: Path | None = None
    """Folder of the files of an earlier variant of the same recipe and base, to go on from; None: from the base."""
    start_labels: tuple[str, ...] = ()
    """Labels of that variant, by the place of its outputs."""
    checkpoints: Checkpoints | None = None
    seed: int = 0
    threads: int = 1
    progress: Progress = silent

    def needs_base(self, recipe: str) -> Path:
        """The base's folder, for a recipe that cannot do without.

        Raises:
            AskError: the candidate names no base.
        """
        if self.base is None:
            raise AskError(
                f"Recipe '{recipe}' starts from a base model and none is named: add 'base:' to the candidate.",
                param="candidates.base",
            )
        return self.base


@dataclass(frozen=True)
class Draft:
    """What a recipe made."""

    engine: str
    """Serving engine that reads the files: linear, static, encoder, blend, tagger, lm, onnx."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What was chosen and why, part of the variant's digest: no times, no paths."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Seconds and speeds: never part of the digest."""

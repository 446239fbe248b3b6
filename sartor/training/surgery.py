"""What every surgery shares: the variant under the knife, its weights one tensor at a time, and all its other files.

A variant stands on its own (`encoder/`, or `model/` of a language model) or brings a LoRA adapter for its base; the
adapter is then added into each tensor as it is read. Knows no operation: those are recipes.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.errors import AskError
from sartor.training.job import Job, Part
from sartor.training.lowrank import Lora, read_lora
from sartor.training.shards import INDEX, Make, Shards, Spec, Values, write_folder

OWN = ("encoder", "model")
"""Folders of a variant's files that hold weights of its own: an encoder's, a language model's."""
ADAPTER = "adapter"
LEFT = ("calibration.json", "probe.json")
"""Files of a parent that are made anew for the child."""
KEPT = (".json", ".txt", ".jinja", ".model")
"""Endings of a Hugging Face folder's files that are neither weights nor papers."""
WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Patient:
    """A variant that is operated on."""

    part: Part
    folder: Path
    own: str
    """`encoder` or `model`: where the weights of its child go, and where its own lie if it has any."""
    home: Path
    """Hugging Face folder of its weights: its own, or its base's."""
    adapter: Path | None
    """Folder of its adapter; None where it was tuned whole."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """Of the model that it stands on."""
        loaded: dict[str, Any] = json.loads((self.home / "config.json").read_text(encoding="utf-8"))
        return loaded

    @cached_property
    def body(self) -> "Body":
        """Its weights."""
        return Body(Shards(self.home), read_lora(self.adapter) if self.adapter else None)


def patients(job: Job, recipe: str, *, least: int = 1, most: int = 1) -> list[Patient]:
    """The variants that a surgery works on, from the candidate's `of`.

    Raises:
        AskError: there are too few or too many of them, or one has no weights that can be worked on.
    """
    if not least <= len(job.parts) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise AskError(
            f"Recipe '{recipe}' works on {wanted} other candidate(s) and {len(job.parts)} are named: say "
            "'of: [name of a candidate]'.",
            param="candidates.of",
            code="parts_do_not_fit",
        )
    return [_patient(part, recipe) for part in job.parts]


def _patient(part: Part, recipe: str) -> Patient:
    folder = part.folder
    for own in OWN:
        if folder is not None and (folder / own / "config.json").is_file():
            return Patient(part, folder, own, folder / own, None)
    if folder is not None and (folder / ADAPTER).is_dir() and part.base is not None:
        kind = "encoder" if part.engine in ("encoder", "tagger") else "model"
        return Patient(part, folder, kind, part.base, folder / ADAPTER)
    raise AskError(
        f"Recipe '{recipe}' was to work on '{part.title}' (recipe '{part.recipe}'), which has no weights of its own: "
        "it works on variants of 'tune', 'adapter', 'full', 'lora' and the like.",
        param="candidates.of",
        code="nothing_to_operate_on",
    )


def needs_encoder(recipe: str, patient: Patient, engines: Sequence[str] = ("encoder",)) -> None:
    """Raise AskError unless the variant is an encoder that one of these engines serves."""
    if patient.own != "encoder" or patient.part.engine not in engines:
        raise AskError(
            f"Recipe '{recipe}' works on encoders (engine {' or '.join(engines)}), and '{patient.part.title}' is "
            f"served by engine '{patient.part.engine}'.",
            param="candidates.of",
            code="parts_do_not_fit",
        )


@dataclass(frozen=True)
class Body:
    """Weights under the names that their architecture's bare model gives them, an adapter added in."""

    shards: Shards
    lora: Lora | None = None

    def __post_init__(self) -> None:
        if self.lora is not None:
            self.lora.fits(self.specs)

    @cached_property
    def _prefix(self) -> str:
        """What a file saved with a head puts before the names (`bert.`)."""
        return next((name[: -len(WORDS)] for name in self.shards if name.endswith(WORDS)), "")

    @cached_property
    def specs(self) -> dict[str, Spec]:
        """Every tensor's type and shape."""
        cut = len(self._prefix)
        return {name[cut:]: spec for name, spec in self.shards.specs.items() if name.startswith(self._prefix)}

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(spec.bytes for spec in self.specs.values())

    def read(self, name: str) -> Values:
        """A tensor's values, in float32 where it is bfloat16 on disk."""
        values = self.shards.read(self._prefix + name)
        delta = self.lora.delta(name) if self.lora is not None else None
        return values if delta is None else (values.astype(np.float32) + delta).astype(values.dtype)


def carry_over(patient: Patient, folder: Path, *, but: Sequence[str] = ()) -> None:
    """Copy a parent's files into its child's folder: all but weights, what is made anew, and what else is named."""
    left = {*OWN, ADAPTER, *LEFT, *but}
    for path in sorted(patient.folder.rglob("*")):
        inside = path.relative_to(patient.folder)
        if path.is_file() and inside.parts[0] not in left:
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / inside)


def write_body(
    patient: Patient, folder: Path, plan: Mapping[str, Spec], make: Make, *, config: Mapping[str, Any] | None = None
) -> None:
    """Write the child's weights as a Hugging Face folder: the parent's tokenizer and settings, and these tensors.

    Args:
        plan: every tensor's type and shape.
        config: what is new in its `config.json`.
    """
    target = folder / patient.own
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(patient.home.iterdir()):
        if (
            path.is_file()
            and path.name not in (INDEX, "README.md")
            and path.suffix in (".json", ".txt", ".jinja", ".model")
        ):
            shutil.copyfile(path, target / path.name)
    if config:
        text = json.dumps({**patient.config, **config}, indent=2, sort_keys=True)
        (target / "config.json").write_text(text + "\n", encoding="utf-8")
    write_folder(target, plan, make)


def promised(tolerance: float, **facts: Any) -> dict[str, Any]:
    """Facts of a child: what was done, and how many answers it may change of its first parent's.

    `pipeline.parity` holds it to that.
    """
    return {**facts, "parity": {"with": "first", "tolerance": tolerance}}


def bytes_of(folder: Path) -> int:
    """Of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""What training again has in common for all recipes: rows in, a copy of the export with a new model out.

Knows no recipe.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Rows:
    """Texts with their right answers."""

    texts: list[str]
    labels: list[str]

    def targets(self, labels: list[str]) -> Ints:
        """(rows,) places of the labels."""
        places = {label: place for place, label in enumerate(labels)}
        return np.array([places.get(label, -1) for label in self.labels], dtype=np.int64)


@dataclass(frozen=True)
class Again:
    """What a recipe is trained again from."""

    recipe: dict[str, Any]
    said: dict[str, Any]
    """`predict.json`."""
    folder: Path
    """The copy; its model is replaced."""
    rows: Rows
    validation: Rows | None
    base: Path | None = None
    """Folder of the base, where it was named."""


def rows_in(path: Path, wanted: dict[str, Any]) -> Rows:
    """The rows of a JSON lines file; says whether they are those of `recipe.json`."""
    text = path.read_bytes()
    same = hashlib.sha256(text).hexdigest() == wanted["jsonl_sha256"]
    print(f"{path}: {'the rows that it was made of' if same else 'OTHER rows than it was made of'}", flush=True)
    found = [json.loads(line) for line in text.decode("utf-8").splitlines() if line.strip()]
    return Rows([row["text"] for row in found], [row["label"] for row in found])


def again(fit: Callable[[Again], None]) -> None:
    """Read the command line, copy the export, and let the recipe replace the model in the copy."""
    asked = argparse.ArgumentParser(description="Train this model again, from its rows and its recipe.")
    asked.add_argument("--folder", type=Path, default=Path(__file__).parent, help="folder of the export")
    asked.add_argument("--rows", type=Path, help="JSON lines of text and label; default rows/train.jsonl")
    asked.add_argument("--validation", type=Path, help="validation rows; default rows/validation.jsonl if it is there")
    asked.add_argument("--base", type=Path, help="folder of the base, where it is not in the export")
    asked.add_argument("--out", type=Path, required=True, help="where the new export goes; it must not be there")
    given = asked.parse_args()
    recipe = json.loads((given.folder / "recipe.json").read_text(encoding="utf-8"))
    said = json.loads((given.folder / "predict.json").read_text(encoding="utf-8"))
    splits, validation = recipe["data"]["splits"], given.validation or given.folder / "rows" / "validation.jsonl"
    rows = rows_in(given.rows or given.folder / "rows" / "train.jsonl", splits["train"])
    held = rows_in(validation, splits["validation"]) if validation.is_file() else None
    shutil.copytree(given.folder, given.out)
    # What was measured is not true of what is trained now.
    (given.out / "README.md").write_text("Trained again by train.py; not measured.\n", encoding="utf-8")
    fit(Again(recipe, said, given.out, rows, held, given.base))
    print(f"Wrote {given.out}. Answer with: python {given.out / 'predict.py'} 'a text'")


def recalibrated(job: Again, logits: Floats | None) -> None:
    """Fit the temperature on (validation rows, labels) logits and write it down; what else was fitted stays."""
    if job.validation is None or logits is None:
        return
    targets = job.validation.targets(job.recipe["labels"])
    known = targets >= 0
    tried = np.exp(np.linspace(np.log(1e-2), np.log(1e2), 400))
    losses = [_loss(logits[known].astype(np.float64) / one, targets[known]) for one in tried]
    job.said["calibration"]["temperature"] = float(tried[int(np.argmin(losses))])
    (job.folder / "predict.json").write_text(json.dumps(job.said, ensure_ascii=False, indent=1, sort_keys=True))


def _loss(scaled: Floats, targets: Ints) -> float:
    top = scaled.max(axis=1, keepdims=True)
    total = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
    return float((total - scaled[np.arange(len(targets)), targets]).mean())

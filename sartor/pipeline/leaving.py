"""What stands beside the model in every export: `predict.py` and its settings, pins, the recipe and its rows' digests.

Knows no target.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.records import Dataset
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.hub.elsewhere import elsewhere
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.goods import Goods, Packed
from sartor.pipeline.outside.assembled import bundle, copies, packages
from sartor.pipeline.serve import answering_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.files import read_json
from sartor.serving.predictor import Answering, Deciding, Stating

FORMAT = 1
RUN = 'OPENED = {opened}\n\nif __name__ == "__main__":\n    main(OPENED)'
ABOUT = "Answers of '{name}'. Needs {packages}; see README.md. Made by Sartor, which it does not need."
ANSWERED = ("asked", "answering", "retrain")
TORCH = ("numpy", "peft", "safetensors", "tokenizers", "torch", "transformers")
TRAINING: Mapping[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("linear", "linear"): (("retrain", "train_linear"), ("numpy", "safetensors", "scikit-learn", "scipy")),
    ("head", "static"): (
        (*ANSWERED, "heads", "static", "train_head"),
        ("numpy", "safetensors", "scikit-learn", "tokenizers"),
    ),
    ("head", "encoder"): ((*ANSWERED, "heads", "base", "encoder", "train_head"), (*TORCH, "scikit-learn")),
    ("tune", "encoder"): (("retrain", "train_encoder"), (*TORCH, "scikit-learn")),
    ("adapter", "encoder"): (("retrain", "train_encoder"), (*TORCH, "scikit-learn")),
    ("lora", "lm"): (("retrain", "base", "train_causal"), (*TORCH, "pydantic")),
    ("full", "lm"): (("retrain", "base", "train_causal"), (*TORCH, "pydantic")),
}
"""Recipe and how the export answers -> scripts that train it again, and the packages that they need."""


def predicting(shop: Workshop, goods: Goods, task: Task, packed: Packed, out: Path) -> None:
    """Write `predict.py`, `predict.json`, the terms that it decides under, and `requirements.txt`."""
    variant = goods.variant
    how = _deciding(answering_of(shop, task, variant), out)
    said = {
        "format": FORMAT,
        "kind": task.kind,
        "task": task.name,
        "variant": variant.digest,
        "labels": list(variant.labels),
        "calibration": read_json(goods.folder, "calibration.json"),
        "input": {"columns": list(task.input.columns), "template": task.input.template},
        **how.said,
        **packed.extra,
        "model": dict(packed.model),
    }
    _write(out / "predict.json", said)
    scripts = ("asked", how.script, *packed.scripts)
    requires = needed(packed)
    about = ABOUT.format(name=variant.name, packages=", ".join(requires))
    for path, source in bundle(scripts, about, RUN.format(opened=how.opened)).items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(source, encoding="utf-8")
    (out / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins(requires)), encoding="utf-8")


@dataclass(frozen=True)
class How:
    """How answers are decided outside."""

    script: str
    opened: str
    """Class in that script."""
    said: Mapping[str, Any]
    """For `predict.json`."""


def _deciding(deciding: Deciding, out: Path) -> How:
    """The terms, written where they are arrays."""
    from safetensors.numpy import save_file

    if isinstance(deciding, Stating):
        return How("stating", "Stater", {"pricing": asdict(deciding.pricing)})
    assert isinstance(deciding, Answering)
    terms = {"costs": deciding.matrix, "asking": deciding.target, "odds": deciding.odds}
    known = {name: np.ascontiguousarray(found, dtype=np.float64) for name, found in terms.items() if found is not None}
    save_file(known, out / "decision.safetensors")
    return How("answering", "Classifier", {})


def needed(packed: Packed) -> tuple[str, ...]:
    """Packages that `predict.py` needs, those of copied modules included."""
    return tuple(sorted({*packed.requires, *packages(copies(packed.scripts))}))


def pins(packages: Iterable[str]) -> tuple[str, ...]:
    """The packages at the versions that are installed here; a name alone where it is not."""
    return tuple(_pin(name) for name in sorted(set(packages)))


def _pin(name: str) -> str:
    try:
        return f"{name}=={version(name).partition('+')[0]}"
    except PackageNotFoundError:
        return name


def recipe_files(shop: Workshop, goods: Goods, dataset: Dataset, engine: str, out: Path, *, rows: bool) -> None:
    """Write `recipe.json`, the rows if they are wanted, and `train.py` where the recipe has one.

    Args:
        engine: by which the export answers.
    """
    variant = goods.variant
    snapshot = open_dataset(shop, dataset)
    splits = {}
    for split, found in snapshot.splits.items():
        lines = rows_text(found)
        splits[split] = {
            "rows": len(found),
            "sha256": dataset.files[f"{split}.parquet"],
            "jsonl_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        }
        if rows and split != "test":
            (out / "rows").mkdir(exist_ok=True)
            (out / "rows" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    said = {
        "format": FORMAT,
        "recipe": variant.recipe,
        "params": variant.params,
        "seed": variant.seed,
        "chosen": variant.facts,
        "engine": variant.engine,
        "labels": list(variant.labels),
        "data": {"digest": dataset.digest, "splits": splits},
        "base": base_facts(goods),
        "trained_from": variant.parents.get("start", ""),
    }
    _write(out / "recipe.json", said)
    if (variant.recipe, engine) in TRAINING:
        _training(variant.recipe, engine, variant.name, out)


def _training(recipe: str, engine: str, name: str, out: Path) -> None:
    scripts, needs = TRAINING[recipe, engine]
    about = f"Trains '{name}' again from its rows. Needs {', '.join(needs)}, and no Sartor."
    made = bundle(scripts, about, 'if __name__ == "__main__":\n    train()', script="train.py")
    for path, source in made.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(source, encoding="utf-8")
    text = "".join(f"{pin}\n" for pin in pins(needs))
    (out / "requirements-train.txt").write_text(text, encoding="utf-8")


def base_facts(goods: Goods) -> dict[str, Any] | None:
    """What identifies the base, for those who fetch it elsewhere; None where the variant has none."""
    if goods.base is None:
        return None
    where = elsewhere(goods.base.name, goods.base.facts)
    return {
        "name": goods.base.name,
        "digest": goods.base.digest,
        "hub_id": where.repo,
        "revision": where.revision,
        "licence": list(goods.base.licence.names),
        "files": dict(goods.base.files),
    }


def rows_text(rows: Sequence[Row]) -> str:
    """Rows as JSON lines of `id`, `text` and `label`, in their order."""
    lines = ({"id": row.id, "text": row.text, "label": row.label} for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")

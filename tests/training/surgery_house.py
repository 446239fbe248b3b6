"""Small real encoders of several architectures, variants on them, and jobs that operate on those."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmarks._tiny_encoder import FRAMES, SUBJECTS, write_encoder
from sartor.core.shelf import Shelf
from sartor.training.encoder import load, repeatable
from sartor.training.heads import centroids, fit_head, write_head
from sartor.training.job import Draft, Job, Part

__all__ = ["FRAMES", "SUBJECTS", "write_encoder"]
RECIPES = Shelf("sartor.training.recipes")
LABELS = tuple(sorted(SUBJECTS))
ROWS = [(f.format(word), place) for place, label in enumerate(LABELS) for word in SUBJECTS[label] for f in FRAMES]
TEXTS = [text for text, _ in ROWS]
TARGETS = np.array([target for _, target in ROWS])


def tuned(folder: Path, kind: str = "bert", *, seed: int = 0, layers: int = 2) -> Part:
    """A variant with an encoder of its own, whose head is fitted to the rows."""
    write_encoder(folder / "encoder", kind, seed=seed, layers=layers)
    return headed(folder, folder / "encoder", "tune")


def headed(folder: Path, encoder: Path, recipe: str, base: Path | None = None) -> Part:
    """The variant in a folder, after a head was fitted to the rows on an encoder."""
    from sartor.serving.trunk import Trunk

    adapter = folder / "adapter"
    found = Trunk(encoder, adapter=adapter if adapter.is_dir() else None, dtype="float32").embed(TEXTS)
    write_head(folder, fit_head(found, TARGETS, len(LABELS), 100.0), centroids(found, TARGETS, len(LABELS)))
    return Part(recipe, recipe * 8, np.empty((0, 3)), folder, "encoder", base, recipe)


def adapted(folder: Path, base: Path, *, seed: int = 0, rank: int = 4) -> Part:
    """A variant with an adapter whose weights do something."""
    from sartor.training.encoder import adapted as with_adapter
    from sartor.training.encoder import save_adapter

    with repeatable(seed, 1):
        encoder = with_adapter(load(base), rank, 2 * rank)
        import torch

        for name, weight in encoder.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        save_adapter(encoder, folder / "adapter")
    return headed(folder, base, "adapter", base)


def job_on(folder: Path, *parts: Part, **more: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    given = {"train_texts": TEXTS, "train_targets": TARGETS, "validation_texts": TEXTS, "validation_targets": TARGETS}
    return Job(labels=LABELS, folder=folder, parts=parts, **(given | more))


def operate(recipe: str, folder: Path, *parts: Part, job: dict[str, Any] | None = None, **params: Any) -> Draft:
    """A surgery on variants, into a folder."""
    plugin = RECIPES.take(recipe)
    draft: Draft = plugin(job_on(folder, *parts, **(job or {})), plugin.read(params))
    return draft


def logits(engine: str, folder: Path, base: Path | None = None, texts: list[str] = TEXTS) -> np.ndarray:
    """What the serving engine says."""
    from sartor.serving.engine import open_engine

    opened: Any = open_engine(engine, base)
    opened.add("v", folder)
    return np.stack([one.logits for one in opened.score([("v", text) for text in texts])])


def damaged(folder: Path, **tensors: np.ndarray) -> Path:
    """A folder with just these weights."""
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    return folder

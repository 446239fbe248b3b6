"""Go on from an earlier variant: its files, and its head's rows under the labels of today, matched by name.

A label that it did not know begins as the direction of its class (Qi et al. 2018, "Low-shot learning with imprinted
weights"), taken from the middle of all classes and as long as the other rows are. Knows no losses.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sartor.core.errors import AskError
from sartor.training.heads import Head, Singles, centroids
from sartor.training.job import Ints, Job

ABSENT = -10.0
"""Bias of a label that neither the earlier variant nor a training row has."""
OWN = {"tune": "encoder", "adapter": "adapter"}
"""Recipe -> folder of its variants' files that holds what it trained of the encoder."""


def misfit(recipe: str, why: str) -> AskError:
    """The error for an earlier variant that can't be gone on from."""
    return AskError(
        f"Recipe '{recipe}' was to go on from an earlier variant, and {why}. Name a variant of the same recipe and "
        "base with labels in common, or begin anew (strategy 'scratch').",
        code="start_does_not_fit",
        param="start",
    )


def fits(job: Job, recipe: str) -> Path | None:
    """The folder to go on from, if there is one and it is of this recipe.

    Raises:
        AskError: it is of another recipe, or has no label in common; the message says which.
    """
    if job.start is None:
        return None
    found = [name for name, folder in OWN.items() if (job.start / folder).is_dir()]
    if not (job.start / "head.safetensors").is_file():
        raise misfit(recipe, "that one has no head")
    if found != [recipe] * (recipe in OWN):
        made = f"recipe '{found[0]}'" if found else "a head on the frozen base"
        raise misfit(recipe, f"that one is of {made}")
    if not set(job.start_labels) & set(job.labels):
        raise misfit(recipe, "that one answers none of the labels that are asked for now")
    return job.start


def same_build(recipe: str, base: Path, encoder: Path) -> None:
    """Raise AskError unless an earlier encoder is built like the base."""
    read = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (base, encoder)]
    for name in ("model_type", "hidden_size", "num_hidden_layers", "vocab_size"):
        if read[0].get(name) != read[1].get(name):
            raise misfit(recipe, f"its encoder has {name} {read[1].get(name)} and the base {read[0].get(name)}")


def anew(job: Job, recipe: str) -> None:
    """For a recipe that has nothing to go on from.

    Raises:
        AskError: it was to go on from an earlier variant.
    """
    if job.start is not None:
        raise misfit(recipe, "this recipe always begins anew")


def carried(job: Job, recipe: str, classes: Callable[[], tuple[Singles, Ints]]) -> Head:
    """The earlier head under the labels of today.

    Args:
        classes: (rows, d) embeddings of training rows and their class indices; asked only for new labels.

    Raises:
        AskError: the earlier head does not fit its own list of labels.
    """
    before = read_head(job.start or job.folder)
    if len(before.weight) != len(job.start_labels):
        raise misfit(recipe, f"its head has {len(before.weight)} outputs for {len(job.start_labels)} labels")
    places = {label: place for place, label in enumerate(job.start_labels)}
    if set(job.labels) <= set(places):
        rows = [places[label] for label in job.labels]
        return Head(before.weight[rows].copy(), before.bias[rows].copy())
    embedded, targets = classes()
    if before.weight.shape[1] != embedded.shape[1]:
        raise misfit(
            recipe, f"its head is for {before.weight.shape[1]} dimensions and the base has {embedded.shape[1]}"
        )
    return _grown(before, places, job.labels, centroids(embedded, targets, len(job.labels)))


def read_head(folder: Path) -> Head:
    """The head in a variant's folder."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / "head.safetensors")
    return Head(tensors["weight"].astype(np.float32), tensors["bias"].astype(np.float32))


def _grown(before: Head, places: dict[str, int], labels: tuple[str, ...], centres: Singles) -> Head:
    """Known rows are copied; a new one scores, on the middle of all classes, what the known ones do on average."""
    present = np.linalg.norm(centres, axis=1) > 0
    middle = centres[present].mean(axis=0) if present.any() else np.zeros(centres.shape[1], dtype=np.float32)
    length = float(np.linalg.norm(before.weight, axis=1).mean())
    usual = float((before.weight @ middle + before.bias).mean())
    weight, bias = np.zeros_like(centres), np.full(len(labels), ABSENT, dtype=np.float32)
    for row, label in enumerate(labels):
        if label in places:
            weight[row], bias[row] = before.weight[places[label]], before.bias[places[label]]
        elif present[row]:
            away = centres[row] - middle
            weight[row] = length * away / max(float(np.linalg.norm(away)), 1e-12)
            bias[row] = usual - float(weight[row] @ middle)
    return Head(weight, bias)

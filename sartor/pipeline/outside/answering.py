"""From scores to answers: calibrated probabilities and the answer that costs least. Needs numpy and safetensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from sartor.pipeline.outside.asked import ENGINES, said_in

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scores:
    """What a model says of texts, before calibration."""

    logits: Floats
    """(texts, labels)"""
    novelty: Floats | None = None
    """(texts,) how far each is from what was trained on; None where the model can't tell."""


def chances(logits: Floats, calibration: dict[str, Any]) -> Floats:
    """(texts, labels) calibrated probabilities."""
    scaled = np.asarray(logits, dtype=np.float64) / calibration["temperature"]
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def strangeness(scores: Scores, calibration: dict[str, Any]) -> Floats:
    """(texts,) how unlike training each text is; above `threshold` it counts as out of scope."""
    scaled = np.asarray(scores.logits, dtype=np.float64) / calibration["temperature"]
    top = scaled.max(axis=-1, keepdims=True)
    energy = -(top[..., 0] + np.log(np.exp(scaled - top).sum(axis=-1)))
    mean, std = calibration["energy"]
    found: Floats = (energy - mean) / std
    if scores.novelty is None or calibration["novelty"] is None:
        return found
    mean, std = calibration["novelty"]
    both: Floats = (found + (np.asarray(scores.novelty, dtype=np.float64) - mean) / std) / 2.0
    return both


class Classifier:
    """Labels for texts: the answer of least expected cost, and whether asking somebody would cost less."""

    def __init__(self, folder: Path) -> None:
        """Open the export in the folder."""
        self._said = said_in(folder)
        self._terms = load_file(folder / "decision.safetensors")
        self._model = ENGINES[self._said["model"]["engine"]](folder, self._said["model"])

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """An answer for each text."""
        if not texts:
            return []
        calibration, labels = self._said["calibration"], self._said["labels"]
        scores = self._model.score(list(texts))
        shares = chances(scores.logits, calibration)
        if "odds" in self._terms:
            shares = shares * self._terms["odds"]
            shares = shares / shares.sum(axis=1, keepdims=True)
        costs = shares @ self._terms["costs"]
        picked = costs.argmin(axis=1)
        asked = shares @ self._terms["asking"] if "asking" in self._terms else np.full(len(texts), np.inf)
        strange = strangeness(scores, calibration)
        return [
            {
                "label": labels[place],
                "confidence": float(shares[row, place]),
                "escalate": bool(asked[row] < costs[row, place]),
                "expected_cost": float(min(asked[row], costs[row, place])),
                "out_of_scope": bool(strange[row] > calibration["threshold"]),
                "scores": dict(zip(labels, shares[row].tolist(), strict=True)),
            }
            for row, place in enumerate(picked)
        ]

"""A mix of the calibrated probabilities of several models. Needs what they need."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.pipeline.outside.answering import Scores, chances
from sartor.pipeline.outside.asked import ENGINES, engine

LEAST = 1e-12


@engine("blend")
class Blend:
    """Models with weights."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Open every part."""
        self._said = said
        self._models = [ENGINES[part["model"]["engine"]](folder, part["model"]) for part in said["parts"]]

    def score(self, texts: Sequence[str]) -> Scores:
        """Logarithms of the mixed probabilities."""
        total = 0.0
        logarithmic = self._said["mix"] == "logarithmic"
        for part, model in zip(self._said["parts"], self._models, strict=True):
            shares = chances(model.score(texts).logits, part["calibration"])
            total = total + part["weight"] * (np.log(np.maximum(shares, LEAST)) if logarithmic else shares)
        return Scores(np.asarray(total) if logarithmic else np.log(np.maximum(total, LEAST)))

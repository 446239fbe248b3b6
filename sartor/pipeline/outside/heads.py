"""A linear head on embeddings of length 1. Needs numpy and safetensors."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from sartor.pipeline.outside.answering import Floats, Scores


class Head:
    """Weights, biases and the centres of the classes."""

    def __init__(self, file: Path) -> None:
        """Read `head.safetensors`."""
        tensors = {name: tensor.astype(np.float32) for name, tensor in load_file(file).items()}
        self._weight, self._bias, centres = tensors["weight"], tensors["bias"], tensors["centroids"]
        self._centres = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)

    def score(self, embedded: Floats) -> Scores:
        """Scores from (texts, d) embeddings of length 1."""
        return Scores(embedded @ self._weight.T + self._bias, 1.0 - (embedded @ self._centres.T).max(axis=1))

"""Multinomial logistic regression and class centroids on embeddings. Knows neither texts nor the model that embeds.

Solved by L-BFGS on the penalised log-likelihood: the loss is convex, so the same rows give the same head.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.training.job import Ints

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A linear layer on embeddings."""

    weight: Singles
    """(labels, d)."""
    bias: Singles
    """(labels,)."""

    def logits(self, embeddings: Singles) -> Singles:
        """(rows, labels) from (rows, d)."""
        scores: Singles = embeddings @ self.weight.T + self.bias
        return scores


def fit_head(
    embeddings: Singles,
    targets: Ints | Floats,
    labels: int,
    c: float,
    *,
    weights: Floats | None = None,
    start: Head | None = None,
    steps: int = 60,
) -> Head:
    """The head of least mean log loss plus |weight|² / (2 · c · rows).

    Args:
        embeddings: (rows, d).
        targets: (rows,) class index, or (rows, labels) shares that sum to one.
        weights: (rows,) importance of each row, mean 1.
        start: where to begin; a solution for a smaller c saves most of the steps.
        steps: most L-BFGS iterations.
    """
    from scipy.optimize import minimize

    rows, width = embeddings.shape
    share = np.full(rows, 1.0 / rows) if weights is None else weights / weights.sum()
    share = share.astype(np.float32)
    place = np.arange(rows)
    soft = targets.astype(np.float32) if targets.ndim == 2 else None

    def cost(flat: Floats) -> tuple[float, Floats]:
        head = _unpack(flat, labels, width)
        scores = head.logits(embeddings)
        scores -= scores.max(axis=1, keepdims=True)
        picked = scores[place, targets].copy() if soft is None else np.einsum("ij,ij->i", scores, soft)
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        value = float(share @ (np.log(total[:, 0]) - picked)) + 0.5 / (c * rows) * float((head.weight**2).sum())
        scores /= total
        if soft is None:
            scores[place, targets] -= 1.0
        else:
            scores -= soft
        scores *= share[:, None]
        slope = scores.T @ embeddings + head.weight / np.float32(c * rows)
        return value, np.concatenate([slope.ravel(), scores.sum(axis=0)]).astype(np.float64)

    begin = np.zeros(labels * (width + 1)) if start is None else np.concatenate([start.weight.ravel(), start.bias])
    found = minimize(cost, begin, jac=True, method="L-BFGS-B", options={"maxiter": steps, "ftol": 1e-7, "gtol": 1e-6})
    return _unpack(found.x, labels, width)


def centroids(embeddings: Singles, targets: Ints, labels: int) -> Singles:
    """(labels, d) mean direction of each class at unit length; zeros for a class without rows."""
    sums = np.zeros((labels, embeddings.shape[1]), dtype=np.float64)
    np.add.at(sums, targets, embeddings)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centres: Singles = (sums / np.maximum(lengths, 1e-12)).astype(np.float32)
    return centres


def novelty(embeddings: Singles, centres: Singles) -> Floats:
    """(rows,) one minus the greatest cosine to a centroid."""
    far: Floats = 1.0 - (embeddings @ centres.T).max(axis=1)
    return far


def write_head(folder: Path, head: Head, centres: Singles) -> None:
    """Write `head.safetensors`."""
    from safetensors.numpy import save_file

    save_file({"weight": head.weight, "bias": head.bias, "centroids": centres}, folder / "head.safetensors")


def _unpack(flat: Floats, labels: int, width: int) -> Head:
    flat = flat.astype(np.float32)
    return Head(np.ascontiguousarray(flat[: labels * width].reshape(labels, width)), flat[labels * width :].copy())

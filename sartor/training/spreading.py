"""Labels carried from labelled texts to those that nobody labelled, along a graph of nearest neighbours.

Zhou et al. 2003, "Learning with local and global consistency", begun not from the labels alone but from what a head
says of every text, as in Klicpera et al. 2019, "Predict then propagate": neighbours settle what it doubts, and labels
that contradict their whole neighbourhood lose weight. Knows embeddings; neither texts nor models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.calibration import Calibration
from sartor.core.predict import Floats
from sartor.training.folds import folds
from sartor.training.heads import Singles, fit_head
from sartor.training.job import Ints

CHUNK = 1024
"""Texts whose neighbours are looked for at once."""
WIDTH = 0.1
"""A neighbour whose cosine is lower by this weighs 1/e."""
STEPS = 20
"""Of the spreading: what is left after so many is below a hundredth at a share of 0.8."""
STRENGTH = 10.0
"""C of the head from which the spreading begins."""


@dataclass(frozen=True)
class Spread:
    """What was found out about texts."""

    shares: Floats
    """(texts, labels) probabilities, those of the labelled ones first."""
    alpha: float
    """Share that neighbours have in them."""
    tried: dict[str, float]
    """Alpha -> share of held-out labels that were met."""


def neighbours(embeddings: Singles, count: int) -> Any:
    """(texts, texts) symmetric sparse weights of the nearest texts, scaled by the square roots of the degrees."""
    from scipy import sparse

    size = len(embeddings)
    count = min(count, size - 1)
    places, weights = [], []
    for start in range(0, size, CHUNK):
        alike = embeddings[start : start + CHUNK] @ embeddings.T
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -2.0
        near = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        places.append(near)
        weights.append(np.exp((np.take_along_axis(alike, near, axis=1) - 1.0) / WIDTH))
    rows = np.repeat(np.arange(size), count)
    shape = (size, size)
    graph = sparse.csr_matrix((np.concatenate(weights).ravel(), (rows, np.concatenate(places).ravel())), shape)
    graph = graph.maximum(graph.T)
    scale = sparse.diags(1.0 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    return (scale @ graph @ scale).tocsr()


def spread(graph: Any, shares: Floats, alpha: float) -> Floats:
    """(texts, labels) shares after every text has listened to its neighbours; rows sum to one."""
    if not alpha:
        return shares
    found = shares
    for _ in range(STEPS):
        found = alpha * (graph @ found) + (1 - alpha) * shares
    scaled: Floats = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
    return scaled


@dataclass(frozen=True)
class Known:
    """What there is to begin with, labelled texts first."""

    embeddings: Singles
    """(texts, d)."""
    targets: Ints
    """(labelled,) class index."""
    labels: int
    names: Singles | None = None
    """(labels, d) embeddings of the labels' own words: one example more of each."""
    weights: Floats | None = None
    """(labelled,) mean 1."""
    groups: Sequence[str] | None = None
    """(labelled,) rows of one group stand on one side of every fold."""

    def first(self, rows: Ints) -> Floats:
        """(texts, labels) what a head of some labelled rows says of every text, those rows as they are labelled."""
        seen, told = self.embeddings[rows], self.targets[rows]
        weights = None if self.weights is None else self.weights[rows]
        if self.names is not None:
            seen, told = np.vstack([seen, self.names]), np.concatenate([told, np.arange(self.labels)])
            weights = None if weights is None else np.concatenate([weights, np.ones(self.labels)])
        head = fit_head(seen, told, self.labels, STRENGTH, weights=weights)
        shares = Calibration().probabilities(head.logits(self.embeddings))
        shares[rows] = np.eye(self.labels)[self.targets[rows]]
        return shares


def spread_labels(known: Known, graph: Any, alphas: Sequence[float], parts: int, seed: int) -> Spread:
    """Probabilities of every text; how much neighbours count is chosen by cross-validation on the labelled ones.

    Args:
        alphas: shares of the neighbours to choose from, each at least 0 and below 1.
        parts: folds.
    """
    pairs = folds(known.targets, known.groups, parts, seed) if len(alphas) > 1 else []
    scores = dict.fromkeys(alphas, 0.0)
    for inside, held in pairs:
        first = known.first(inside)
        for alpha in alphas:
            told = spread(graph, first, alpha)[held].argmax(axis=1)
            scores[alpha] += float((told == known.targets[held]).sum())
    seen = sum(len(held) for _, held in pairs)
    best = max(alphas, key=lambda alpha: (scores[alpha], -alpha))
    every = known.first(np.arange(len(known.targets)))
    tried = {f"{alpha:g}": round(score / seen, 6) for alpha, score in scores.items()} if seen else {}
    return Spread(spread(graph, every, best), best, tried)

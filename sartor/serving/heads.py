"""Many linear heads over one kind of embedding: a mixed batch costs one pass of the base and a row of products.

Knows neither where the embeddings come from nor what the labels mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sartor.core.errors import StoreError
from sartor.core.predict import Floats
from sartor.serving.blas import ONE_BLAS_THREAD
from sartor.serving.engine import Scored
from sartor.serving.files import read_arrays


@dataclass(frozen=True, slots=True)
class Head:
    """One variant's head, laid out so that logits and cosines come from a single product."""

    table: Floats
    """(2 * labels, d + 1) float32: weight rows with their bias, then centroid rows of length 1 with a zero."""
    labels: int

    @classmethod
    def read(cls, folder: Path) -> "Head":
        """The head in `head.safetensors`.

        Raises:
            StoreError: the file is missing, damaged or its shapes do not fit each other.
        """
        weight, bias, centroids = read_arrays(folder, "head.safetensors", "weight", "bias", "centroids")
        if weight.ndim != 2 or bias.shape != (len(weight),) or centroids.shape != weight.shape:
            raise StoreError(
                f"The head in {folder} does not fit itself: weight {weight.shape}, bias {bias.shape}, "
                f"centroids {centroids.shape}.",
                code="variant_damaged",
            )
        length = np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
        classify = np.hstack([weight, bias[:, None]])
        compare = np.hstack([centroids / length, np.zeros((len(weight), 1))])
        return cls(np.ascontiguousarray(np.vstack([classify, compare]), dtype=np.float32), len(weight))


def score(heads: Sequence[Head], vectors: Floats) -> list[Scored]:
    """What each row's head says about its embedding.

    Rows of one head share a matrix product; heads of one size share all that comes after it. A gathering einsum
    would first copy every head of the batch, which measured slower at any number of heads.

    Args:
        heads: one per row.
        vectors: (rows, d) L2-normalised embeddings.
    """
    extended = np.ones((len(vectors), vectors.shape[1] + 1), dtype=np.float32)
    extended[:, :-1] = vectors
    if len(heads) == 1:
        return _score(heads, extended)
    with ONE_BLAS_THREAD:
        return _score(heads, extended)


def _score(heads: Sequence[Head], extended: Floats) -> list[Scored]:
    results: list[Scored | None] = [None] * len(heads)
    by_size: dict[int, dict[int, list[int]]] = {}
    for row, head in enumerate(heads):
        by_size.setdefault(head.labels, {}).setdefault(id(head), []).append(row)
    for size, groups in by_size.items():
        order = [row for rows in groups.values() for row in rows]
        raw = np.empty((len(order), 2 * size), dtype=np.float32)
        start = 0
        for rows in groups.values():
            _product(heads[rows[0]].table, extended, rows, raw[start : start + len(rows)])
            start += len(rows)
        novelty = (1.0 - raw[:, size:].max(axis=1)).tolist()
        for place, row in enumerate(order):
            results[row] = Scored(raw[place, :size], novelty[place])
    return [result for result in results if result is not None]


def _product(table: Floats, vectors: Floats, rows: list[int], out: Floats) -> None:
    if len(rows) == 1:
        np.dot(table, vectors[rows[0]], out=out[0])
    else:
        np.matmul(vectors[rows], table.T, out=out)

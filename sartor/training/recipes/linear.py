"""TF-IDF of words and characters with a linear model: the floor that every dearer model must beat.

Loss and C are chosen by cross-validation on the training rows, so that the floor is an honest one. Knows no base
model and no hierarchy. One classifier a label against the rest, solved by LIBLINEAR (Fan et al. 2008); a word and
its character n-grams side by side follow Wang & Manning 2012 and Joachims 1998.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.folds import folds, sample
from sartor.training.job import Draft, Ints, Job

Loss = Literal["hinge", "logistic"]

MEGABYTES = {"small": 16, "medium": 60, "large": 240}
"""Size of the weights at each size."""


class Params(Base):
    """Settings of the linear recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """How large the weights may become: 16, 60 or 240 MB; the most frequent terms are kept."""
    characters: tuple[int, int] = (2, 5)
    """Lengths of character n-grams inside words."""
    losses: tuple[Loss, ...] = ("hinge", "logistic")
    """Losses to choose from (hinge is squared)."""
    hinge_c: tuple[float, ...] = (0.1, 0.3, 1.0)
    logistic_c: tuple[float, ...] = (10.0, 100.0)
    folds: int = Field(default=3, ge=2, le=10)
    search_rows: int = Field(default=5000, ge=100)
    """Cross-validation looks at no more rows than this, classes in proportion."""


@plugin
def linear(job: Job, params: Params) -> Draft:
    """Fit the floor and write `vectorizer.json` and `linear.safetensors`."""
    from safetensors.numpy import save_file

    targets = np.asarray(job.train_targets)
    most = int(MEGABYTES[params.size] * 2**20 / (4 * max(len(job.labels), 1)))
    parts = _vectorizers(params, most)
    features = _features(parts, job.train_texts, learn=True)
    loss, c, tried = _choose(job, params, features, targets)
    job.progress("fitting the linear model", 0, 1)
    weight, bias = _fit(features, targets, job.train_weights, loss, c, len(job.labels), job.seed)
    job.progress("fitting the linear model", 1, 1)
    idf = np.concatenate([part.idf_ for part in parts]).astype(np.float32)
    (job.folder / "vectorizer.json").write_text(json.dumps(_described(parts), ensure_ascii=False, sort_keys=True))
    save_file({"idf": idf, "weight": weight, "bias": bias}, job.folder / "linear.safetensors")
    chosen = {"loss": loss, "c": c, "features": len(idf), "cross_validated": tried}
    return Draft(engine="linear", facts=chosen)


def _vectorizers(params: Params, most: int) -> list[Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = {"sublinear_tf": True, "lowercase": True, "dtype": np.float64}
    return [
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), max_features=max(most // 3, 1), **common),
        TfidfVectorizer(
            analyzer="char_wb", ngram_range=params.characters, max_features=max(2 * most // 3, 1), **common
        ),
    ]


def _features(parts: list[Any], texts: Sequence[str], *, learn: bool = False) -> Any:
    from scipy.sparse import hstack

    return hstack([part.fit_transform(texts) if learn else part.transform(texts) for part in parts], format="csr")


def _choose(job: Job, params: Params, features: Any, targets: Ints) -> tuple[Loss, float, dict[str, float]]:
    """Loss and C of the best cross-validated accuracy; the first of equals, so the simplest stands first."""
    rows = sample(targets, params.search_rows, job.seed)
    groups = None if job.train_groups is None else [job.train_groups[i] for i in rows]
    pairs = folds(targets[rows], groups, params.folds, job.seed)
    grid: list[tuple[Loss, float]] = [("hinge", c) for c in params.hinge_c if "hinge" in params.losses]
    grid += [("logistic", c) for c in params.logistic_c if "logistic" in params.losses]
    if not pairs:
        return (*grid[len(params.hinge_c) - 1], {})
    scores = {}
    for done, (loss, c) in enumerate(grid):
        job.progress("choosing loss and C", done, len(grid))
        right = 0
        for train, held in pairs:
            inside, outside = rows[train], rows[held]
            weights = None if job.train_weights is None else job.train_weights[inside]
            weight, bias = _fit(features[inside], targets[inside], weights, loss, c, len(job.labels), job.seed)
            guess = (features[outside] @ weight.T.astype(np.float64) + bias).argmax(axis=1)
            right += int((guess == targets[outside]).sum())
        scores[(loss, c)] = right / sum(len(held) for _, held in pairs)
    best = max(scores, key=lambda pair: scores[pair])
    return (*best, {f"{loss} {c:g}": round(score, 6) for (loss, c), score in scores.items()})


def _fit(
    features: Any, targets: Ints, weights: Any, loss: Loss, c: float, labels: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights (labels, features) and biases (labels,); a label without rows never answers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    present = np.unique(targets)
    weight = np.zeros((labels, features.shape[1]), dtype=np.float32)
    bias = np.full(labels, -10.0, dtype=np.float32)
    if len(present) < 2:
        bias[present] = 1.0
        return weight, bias
    if loss == "hinge":
        model = LinearSVC(C=c, random_state=seed, max_iter=2000).fit(features, targets, sample_weight=weights)
        found, offsets = model.coef_, model.intercept_
    else:
        found, offsets = np.empty((len(present), features.shape[1])), np.empty(len(present))
        for place, label in enumerate(present):
            one = LogisticRegression(C=c, solver="liblinear", dual=True, random_state=seed, max_iter=1000, tol=1e-3)
            one.fit(features, targets == label, sample_weight=weights)
            found[place], offsets[place] = one.coef_[0], one.intercept_[0]
    if len(present) == 2 and len(found) == 1:
        found, offsets = np.concatenate([-found, found]), np.concatenate([-offsets, offsets])
    weight[present], bias[present] = found, offsets
    return weight, bias


def _described(parts: list[Any]) -> dict[str, Any]:
    described = [
        {
            "analyzer": part.analyzer,
            "ngram": list(part.ngram_range),
            "sublinear": part.sublinear_tf,
            "min_df": part.min_df,
            "lowercase": part.lowercase,
            "strip_accents": part.strip_accents,
            "vocabulary": {term: int(place) for term, place in part.vocabulary_.items()},
        }
        for part in parts
    ]
    return {"kind": "tfidf", "parts": described}

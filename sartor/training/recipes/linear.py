"""TF-IDF of words and characters with a linear model: the floor that every dearer model must beat.

Loss and C are chosen by cross-validation on the training rows, so that the floor is an honest one. Knows no base
model and no hierarchy. One classifier a label against the rest, solved by LIBLINEAR (Fan et al. 2008); a word and
its character n-grams side by side follow Wang & Manning 2012 and Joachims 1998.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from sartor.core.progress import silent, track
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training.folds import folds, sample
from sartor.training.heads import Singles
from sartor.training.job import Draft, Ints, Job
from sartor.training.warm import anew

Loss = Literal["hinge", "logistic"]

WHAT = "fitting the linear model"
ABSENT = -10.0
"""Score of a label that no training row has."""

MEGABYTES = {"small": 16, "medium": 60, "large": 240}
"""Size of the weights at each size."""

MS_PER_ROW = {"small": 2.0, "medium": 4.0, "large": 8.0}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""


class Params(Base):
    """Settings of the linear recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """How large the weights may become: 16, 60 or 240 MB; the most frequent terms are kept."""
    characters: tuple[int, int] = (2, 4)
    """Lengths of character n-grams inside words."""
    losses: tuple[Loss, ...] = Field(default=("hinge", "logistic"), min_length=1)
    """Losses to choose from. Hinge (squared) is the cheaper, logistic the better calibrated."""
    hinge_c: tuple[float, ...] = Field(default=(0.3, 1.0), min_length=1)
    """Values of C to choose from with hinge loss."""
    logistic_c: tuple[float, ...] = Field(default=(10.0, 30.0), min_length=1)
    """Values of C to choose from with logistic loss."""
    folds: int = Field(default=3, ge=2, le=10)
    """Parts of the training rows by which loss and C are chosen."""
    search_rows: int = Field(default=4000, ge=100)
    """Cross-validation looks at no more rows than this, classes in proportion."""


@plugin
def linear(job: Job, params: Params) -> Draft:
    """Fit the floor and write `vectorizer.json` and `linear.safetensors`."""
    from safetensors.numpy import save_file

    anew(job, "linear")
    targets = np.asarray(job.train_targets)
    most = int(MEGABYTES[params.size] * 2**20 / (2 * max(len(job.labels), 1)))
    parts = _vectorizers(params, most)
    features = _features(parts, job.train_texts, learn=True)
    loss, c, tried = _choose(job, params, features, targets)
    model = _fit(job, features, targets, job.train_weights, loss, c, watched=True)
    idf = np.concatenate([part.idf_ for part in parts]).astype(np.float32)
    (job.folder / "vectorizer.json").write_text(json.dumps(_described(parts), ensure_ascii=False, sort_keys=True))
    # Half precision halves the file: weights are of order one, so each is off by less than a thousandth.
    save_file({"idf": idf, "weight": model[0].astype(np.float16), "bias": model[1]}, job.folder / "linear.safetensors")
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
    """Loss and C of the best cross-validated accuracy; of equals the first, which is the cheapest."""
    rows = sample(targets, params.search_rows, job.seed)
    groups = None if job.train_groups is None else [job.train_groups[i] for i in rows]
    pairs = folds(targets[rows], groups, params.folds, job.seed)
    strengths = {"hinge": params.hinge_c, "logistic": params.logistic_c}
    grid = [(loss, c) for loss in params.losses for c in strengths[loss]]
    if not pairs or len(grid) == 1:
        return (*grid[0], {})
    scores = {}
    for done, (loss, c) in enumerate(grid):
        job.progress("choosing loss and C", done, len(grid))
        right = sum(_right(job, features, targets, (rows[a], rows[b]), (loss, c)) for a, b in pairs)
        scores[(loss, c)] = right / sum(len(held) for _, held in pairs)
    job.progress("choosing loss and C", len(grid), len(grid))
    best = max(scores, key=lambda pair: scores[pair])
    return (*best, {f"{loss} {c:g}": round(score, 6) for (loss, c), score in scores.items()})


def _right(job: Job, features: Any, targets: Ints, fold: tuple[Ints, Ints], how: tuple[Loss, float]) -> int:
    """How many rows of the held-out part a model of the rest gets right."""
    inside, outside = fold
    weights = None if job.train_weights is None else job.train_weights[inside]
    weight, bias = _fit(job, features[inside], targets[inside], weights, *how)
    return int(((features[outside] @ weight.T + bias).argmax(axis=1) == targets[outside]).sum())


def _fit(
    job: Job, features: Any, targets: Ints, weights: Any, loss: Loss, c: float, *, watched: bool = False
) -> tuple[Singles, Singles]:
    """Weights (labels, features) and biases (labels,); a label without rows never answers."""
    weight = np.zeros((len(job.labels), features.shape[1]), dtype=np.float32)
    bias = np.full(len(job.labels), ABSENT, dtype=np.float32)
    present = np.unique(targets)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias

    # One after another: the solver draws from one random state in the process, which threads would share.
    for label in track(present, WHAT, len(present), job.progress if watched else silent):
        model = _solver(loss, c, job.seed).fit(features, targets == label, sample_weight=weights)
        weight[label], bias[label] = model.coef_[0], model.intercept_[0]
    return weight, bias


def _solver(loss: Loss, c: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if loss == "hinge":
        return LinearSVC(C=c, tol=0.01, max_iter=2000, random_state=seed)
    return LogisticRegression(C=c, tol=0.1, max_iter=2000, solver="liblinear", dual=True, random_state=seed)


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

"""TF-IDF with a linear model, trained again by scikit-learn with the loss and the C that were chosen."""

import json
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from sartor.pipeline.outside.retrain import Again, again, recalibrated

MEGABYTES = {"small": 16, "medium": 60, "large": 240}
ABSENT = -10.0


def vectorizers(params: dict[str, Any], labels: int) -> list[Any]:
    """Words, then characters inside words."""
    most = int(MEGABYTES[params["size"]] * 2**20 / (2 * max(labels, 1)))
    common = {"sublinear_tf": True, "lowercase": True, "dtype": np.float64}
    return [
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), max_features=max(most // 3, 1), **common),
        TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=tuple(params["characters"]),
            max_features=max(2 * most // 3, 1),
            **common,
        ),
    ]


def fit(job: Again) -> None:
    """Fit one label against the rest after another, and write what `predict.py` reads."""
    labels, chosen, seed = job.recipe["labels"], job.recipe["chosen"], job.recipe["seed"]
    parts = vectorizers(job.recipe["params"], len(labels))
    features = hstack([part.fit_transform(job.rows.texts) for part in parts], format="csr")
    targets = job.rows.targets(labels)
    weight = np.zeros((len(labels), features.shape[1]), dtype=np.float32)
    bias = np.full(len(labels), ABSENT, dtype=np.float32)
    for label in np.unique(targets[targets >= 0]):
        if chosen["loss"] == "hinge":
            model: Any = LinearSVC(C=chosen["c"], tol=0.01, max_iter=2000, random_state=seed)
        else:
            model = LogisticRegression(
                C=chosen["c"], tol=0.1, max_iter=2000, solver="liblinear", dual=True, random_state=seed
            )
        model.fit(features, targets == label)
        weight[label], bias[label] = model.coef_[0], model.intercept_[0]
    idf = np.concatenate([part.idf_ for part in parts]).astype(np.float32)
    home = job.folder / job.said["model"]["folder"]
    described = [
        {
            "analyzer": part.analyzer,
            "ngram": list(part.ngram_range),
            "sublinear": part.sublinear_tf,
            "lowercase": part.lowercase,
            "vocabulary": {term: int(place) for term, place in part.vocabulary_.items()},
        }
        for part in parts
    ]
    text = json.dumps({"kind": "tfidf", "parts": described}, ensure_ascii=False, sort_keys=True)
    (home / "vectorizer.json").write_text(text, encoding="utf-8")
    save_file({"idf": idf, "weight": weight.astype(np.float16), "bias": bias}, home / "linear.safetensors")
    if job.validation is not None:
        seen = hstack([part.transform(job.validation.texts) for part in parts], format="csr")
        recalibrated(job, np.asarray(seen @ weight.T + bias))


def train() -> None:
    """Train it again."""
    again(fit)

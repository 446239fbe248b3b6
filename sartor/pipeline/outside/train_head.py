"""A head on a frozen base, trained again by scikit-learn with the C that was chosen: the same objective."""

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from sartor.pipeline.outside.answering import Floats
from sartor.pipeline.outside.asked import ENGINES
from sartor.pipeline.outside.retrain import Again, Ints, again, recalibrated

ABSENT = -10.0


def centres_of(embedded: Floats, targets: Ints, labels: int) -> Floats:
    """(labels, d) mean direction of each class, length 1."""
    sums = np.zeros((labels, embedded.shape[1]))
    np.add.at(sums, targets, embedded)
    found: Floats = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return found


def fit(job: Again) -> None:
    """Embed the rows and fit the head."""
    said, labels = job.said["model"], job.recipe["labels"]
    model = ENGINES[said["engine"]](job.folder, said)
    embedded, targets = model.embed(job.rows.texts), job.rows.targets(labels)
    known = targets >= 0
    found = LogisticRegression(C=job.recipe["chosen"]["c"], max_iter=1000, tol=1e-6).fit(
        embedded[known], targets[known]
    )
    weight = np.zeros((len(labels), embedded.shape[1]), dtype=np.float32)
    bias = np.full(len(labels), ABSENT, dtype=np.float32)
    two = len(found.classes_) == 2  # scikit-learn then keeps one row for both
    weight[found.classes_] = np.vstack([-found.coef_, found.coef_]) / 2 if two else found.coef_
    bias[found.classes_] = np.concatenate([-found.intercept_, found.intercept_]) / 2 if two else found.intercept_
    tensors = {"weight": weight, "bias": bias, "centroids": centres_of(embedded[known], targets[known], len(labels))}
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, job.folder / said["head"])
    if job.validation is not None:
        recalibrated(job, model.embed(job.validation.texts) @ weight.T + bias)


def train() -> None:
    """Train it again."""
    again(fit)

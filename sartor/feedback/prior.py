"""Only the shares of labels have changed? Then what they are now can be told from the answers, and made up for.

Where a label's inputs look as they did and only its share is another (label shift), the answers' shares are mixed from
the errors that are known (Lipton, Wang and Smola 2018, "Detecting and correcting for label shift with black box
predictors"). The mixture is found by expectation maximisation (Saerens, Latinne and Decaestecker 2002), drawn to the
shares before by a few rows of each, since a matrix of errors that is measured on few rows can't be turned around.
Pure arithmetic.
"""

from dataclasses import dataclass

import numpy as np

from sartor.core.predict import Floats
from sartor.core.value import Ints

ROUNDS = 500
HELD = 4.0
"""Answers for each label, spread as the shares before, that the new shares are drawn by (chosen on CLINC150)."""
FAINT = 5.0
"""Validation rows that the errors of all labels together count as among those of one."""
FAR = 4.0
"""Standard errors by which a view may differ and still be explained."""


def errors_of(true: Ints, answer: Ints, labels: int) -> Floats:
    """(labels, labels) chance of each answer given the truth; where a label has few rows, as labels have on average.

    Args:
        true: (rows,) class index; rows with -1 do not count.
    """
    kept = (true >= 0) & (answer >= 0)
    counts = np.zeros((labels, labels))
    np.add.at(counts, (true[kept], answer[kept]), 1.0)
    right = (np.trace(counts) + 1.0) / (counts.sum() + 2.0)
    wrong = counts.sum(axis=0) - np.diag(counts) + 0.1
    usual = np.tile(wrong / wrong.sum() * (1.0 - right), (labels, 1))
    usual[np.diag_indices(labels)] += right
    found = counts + FAINT * usual / usual.sum(axis=1, keepdims=True)
    shares: Floats = found / found.sum(axis=1, keepdims=True)
    return shares


def fit(errors: Floats, answers: Floats, before: Floats) -> Floats:
    """(labels,) the shares of labels that the answers speak for.

    Args:
        errors: (labels, labels) from `errors_of`.
        answers: (labels,) how often each was answered.
        before: (labels,) shares before, above 0.
    """
    shares: Floats = before / before.sum()
    held = HELD * len(shares) * shares
    for _ in range(ROUNDS):
        joint = shares[:, None] * errors
        belongs = joint / np.maximum(joint.sum(axis=0, keepdims=True), 1e-12)
        weighed = belongs @ answers + held
        new: Floats = weighed / weighed.sum()
        if float(np.abs(new - shares).max()) < 1e-7:
            return new
        shares = new
    return shares


def reweigh(probabilities: Floats, before: Floats, now: Floats) -> Floats:
    """(..., labels) calibrated probabilities under other shares of labels; nothing is trained anew."""
    moved = probabilities * (now / before)
    found: Floats = moved / moved.sum(axis=-1, keepdims=True)
    return found


@dataclass(frozen=True)
class Explained:
    """How far views differ from what the new shares alone would make of the rows before."""

    worst: str
    """The view that differs most."""
    far: float
    """By how many standard errors."""

    @property
    def whole(self) -> bool:
        """Whether the shares of labels explain everything that is seen."""
        return self.far <= FAR


def explain(rows: Floats, true: Ints, stream: Floats, names: tuple[str, ...], weights: Floats) -> Explained:
    """Hold the views of a stream against those of rows that are weighed by the new shares of their labels.

    Args:
        rows: (rows, views) before; those with a true label of -1 do not count.
        stream: (n, views).
        weights: (labels,) new share by old one.
    """
    kept = true >= 0
    weight = weights[true[kept]]
    weight = weight / weight.sum()
    middle = weight @ rows[kept]
    spread = (weight**2) @ (rows[kept] - middle) ** 2 + stream.var(axis=0) / len(stream)
    far = np.abs(stream.mean(axis=0) - middle) / np.sqrt(np.maximum(spread, 1e-18))
    worst = int(np.argmax(far))
    return Explained(names[worst], float(far[worst]))

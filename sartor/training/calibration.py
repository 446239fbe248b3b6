"""Fit a variant's calibration on validation rows: temperature, out-of-scope score and threshold.

Sources: temperature by least negative log likelihood (Guo et al. 2017), which suits decision values of a
hinge-trained model as well as logits; expected calibration error with equally wide bins (Naeini et al. 2015).
"""

import numpy as np

from sartor.core.calibration import Calibration, Spread
from sartor.core.predict import Floats
from sartor.training.job import Ints

LEAST, MOST = 1e-3, 1e3
"""Temperatures looked at."""
KEPT = 0.95
"""Share of validation rows that the out-of-scope threshold lets pass."""


def fit(logits: Floats, novelty: Floats | None, targets: Ints) -> Calibration:
    """The calibration of one variant.

    Args:
        logits: (rows, labels) on validation rows.
        novelty: (rows,) one minus the greatest cosine to a centroid, or None.
        targets: (rows,) class index; rows with -1 (no label of the task) are left out.
    """
    known = np.asarray(targets) >= 0
    logits, targets = np.asarray(logits, dtype=np.float64)[known], np.asarray(targets)[known]
    if not len(targets):
        return Calibration()
    novelty = None if novelty is None else np.asarray(novelty, dtype=np.float64)[known]
    plain = Calibration(temperature=_temperature(logits, targets))
    spread = plain.model_copy(
        update={
            "energy": _spread(plain.raw_energy(logits)),
            "novelty": None if novelty is None else _spread(novelty),
        }
    )
    threshold = float(np.quantile(spread.out_of_scope(logits, novelty), KEPT))
    return spread.model_copy(update={"threshold": threshold})


def loss(probabilities: Floats, targets: Ints) -> float:
    """Mean negative log likelihood of the truths, in nats; (rows, labels) and (rows,)."""
    chosen = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def calibration_error(probabilities: Floats, targets: Ints, bins: int = 15) -> float:
    """Expected calibration error of the top answer, from 0 to 1."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(targets), 1))


def facts(logits: Floats, calibration: Calibration, targets: Ints) -> dict[str, float]:
    """What calibrating changed on the rows it was fitted on: loss in nats and calibration error, before and after."""
    known = np.asarray(targets) >= 0
    logits, targets = np.asarray(logits)[known], np.asarray(targets)[known]
    before, after = Calibration().probabilities(logits), calibration.probabilities(logits)
    return {
        "temperature": calibration.temperature,
        "loss_before": loss(before, targets),
        "loss_after": loss(after, targets),
        "calibration_error_before": calibration_error(before, targets),
        "calibration_error_after": calibration_error(after, targets),
    }


def _temperature(logits: Floats, targets: Ints) -> float:
    from scipy.optimize import minimize_scalar

    def cost(log_temperature: float) -> float:
        return loss(Calibration(temperature=float(np.exp(log_temperature))).probabilities(logits), targets)

    found = minimize_scalar(cost, bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def _spread(scores: Floats) -> Spread:
    return float(scores.mean()), max(float(scores.std()), 1e-6)

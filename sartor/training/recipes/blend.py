"""Mix the probabilities of already made variants: words that only characters catch, meanings that only encoders do.

Weights and the way of mixing are chosen on the validation rows. Linear and logarithmic opinion pools: Genest &
Zidek 1986, "Combining probability distributions". Knows nothing of how its parts work.
"""

import json
from typing import Literal

import numpy as np

from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Base
from sartor.core.shelf import plugin
from sartor.training import calibration
from sartor.training.job import Draft, Ints, Job
from sartor.training.warm import anew

ROLES = ("first", "second")
STEPS = {"small": 5, "medium": 20, "large": 100}
LEAST = 1e-12
"""Probabilities are not let under this, so that their logarithms stay finite."""
MS_PER_ROW = {"small": 0.1, "medium": 0.2, "large": 0.4}
"""Rule of thumb: CPU milliseconds a training row, for a forecast where no run is on record."""

Mix = Literal["probability", "logarithmic"]


class Params(Base):
    """Settings of the blend recipe."""

    size: Literal["small", "medium", "large"] = "medium"
    """How finely the weight is looked for: in 5, 20 or 100 steps."""
    mixes: tuple[Mix, ...] = ("probability", "logarithmic")
    """Ways of mixing to choose from."""


@plugin
def blend(job: Job, params: Params) -> Draft:
    """Choose the mix of least validation log loss, of equals the more accurate one; write `blend.json`.

    Raises:
        AskError: the candidate names not exactly two parts, or there are no validation rows to choose on.
    """
    anew(job, "blend")
    if len(job.parts) != len(ROLES):
        raise AskError(
            f"A blend mixes two candidates and {len(job.parts)} are named: say 'of: [first, second]'.",
            param="candidates.of",
        )
    known = np.asarray(job.validation_targets) >= 0
    if not known.any():
        raise AskError("A blend is chosen on validation rows and there are none.", param="data.split.validation")
    targets = np.asarray(job.validation_targets)[known]
    parts: list[Floats] = [np.asarray(part.validation, dtype=np.float64)[known] for part in job.parts]
    weight, mix, loss = _choose(parts, targets, params)
    shares = [{"role": role, "weight": w} for role, w in zip(ROLES, (weight, round(1 - weight, 6)), strict=True)]
    (job.folder / "blend.json").write_text(json.dumps({"parts": shares, "mix": mix}, sort_keys=True))
    alone = [calibration.loss(np.maximum(part, LEAST), targets) for part in parts]
    return Draft(
        engine="blend",
        facts={
            "weights": {part.title: share["weight"] for part, share in zip(job.parts, shares, strict=True)},
            "mix": mix,
            "validation_loss": round(loss, 6),
            "validation_loss_alone": {p.title: round(value, 6) for p, value in zip(job.parts, alone, strict=True)},
        },
    )


def mixed(parts: list[Floats], weight: float, mix: Mix) -> Floats:
    """(rows, labels) probabilities of two parts, the first with `weight`, the second with the rest."""
    first, second = (np.maximum(part, LEAST) for part in parts)
    if mix == "probability":
        return weight * first + (1 - weight) * second
    raised = np.exp(weight * np.log(first) + (1 - weight) * np.log(second))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _choose(parts: list[Floats], targets: Ints, params: Params) -> tuple[float, Mix, float]:
    steps = STEPS[params.size]
    tried = []
    for mix in params.mixes:
        for step in range(steps + 1):
            weight = round(step / steps, 6)
            shares = mixed(parts, weight, mix)
            loss = _calibrated_loss(shares, targets)
            tried.append((round(loss, 6), -float((shares.argmax(axis=1) == targets).mean()), weight, mix, loss))
    _, _, weight, chosen, loss = min(tried, key=lambda one: one[:2])
    return weight, chosen, loss


def _calibrated_loss(shares: Floats, targets: Ints) -> float:
    """Log loss after the temperature that the blend will be given in any case."""
    logits = np.log(np.maximum(shares, LEAST))
    return calibration.loss(calibration.fit(logits, None, targets).probabilities(logits), targets)

"""What a variant learnt about its own scores: temperature, and what ordinary inputs look like.

Pure arithmetic, the same where variants are made and where they answer. Knows no models and no files.
Temperature scaling is Guo et al. 2017, "On calibration of modern neural networks"; the energy score is Liu et
al. 2020, "Energy-based out-of-distribution detection".
"""

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sartor.core.predict import Doubts, Floats

Spread = tuple[float, Annotated[float, Field(gt=0)]]
"""Mean and standard deviation of a score on validation rows."""


class ClaimScale(BaseModel):
    """From the score of a written value to its chances: logistic, with an offset for each field (Platt 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    right: tuple[float, float] = (1.0, 0.0)
    """Slope and offset of the log-odds that the value is right."""
    absent: tuple[float, float] = (0.0, 0.0)
    """Slope and offset of the log-odds that nothing should stand there, given that the value is not right."""
    fields: dict[str, float] = Field(default_factory=dict)
    """Field -> what is added to the log-odds of being right."""
    unseen: Annotated[float, Field(ge=0)] = 0.0
    """Values an answer of which the model has no idea, in the mean."""
    whole: tuple[float, float] = (1.0, 0.0)
    """Slope and offset: from the log-odds that all stated values are right by themselves, to those of the whole."""

    @property
    def doubts(self) -> Doubts:
        """What is known of all answers together."""
        return Doubts(self.unseen, self.whole)

    def chances(self, score: float, name: str) -> tuple[float, float]:
        """(right, absent) of a value in a field."""
        right = _logistic(self.right[0] * score + self.right[1] + self.fields.get(name, 0.0))
        return right, (1.0 - right) * _logistic(self.absent[0] * score + self.absent[1])


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(odds, 500.0), -500.0)))


class Calibration(BaseModel):
    """The content of `calibration.json`: `model_dump()` writes it, `model_validate()` reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: Annotated[float, Field(gt=0)] = 1.0
    energy: Spread = (0.0, 1.0)
    novelty: Spread | None = None
    """None where the variant knows no distance to its training rows."""
    threshold: float = 0.0
    """Out-of-scope score that 95 % of the validation rows stay under."""
    claims: ClaimScale | None = None
    """Of a variant that writes its answers; None of one that chooses labels."""

    def content(self) -> dict[str, Any]:
        """As `calibration.json` has it; what says nothing of this variant is left out."""
        return self.model_dump(mode="json", exclude={"claims"} if self.claims is None else None)

    def probabilities(self, logits: Floats) -> Floats:
        """Softmax of logits (..., labels) divided by the temperature, in double precision."""
        scaled = np.asarray(logits, dtype=np.float64) / self.temperature
        raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        shares: Floats = raised / raised.sum(axis=-1, keepdims=True)
        return shares

    def raw_energy(self, logits: Floats) -> Floats:
        """Minus the log-sum-exp of the scaled logits (..., labels): high where no label speaks up. (...,)."""
        scaled = np.asarray(logits, dtype=np.float64) / self.temperature
        top = scaled.max(axis=-1, keepdims=True)
        summed: Floats = -(top[..., 0] + np.log(np.exp(scaled - top).sum(axis=-1)))
        return summed

    def out_of_scope(self, logits: Floats, novelty: npt.ArrayLike | None = None) -> Floats:
        """How unlike training an input is: the mean of the standardised scores that there are.

        Args:
            logits: (..., labels).
            novelty: (...,) one minus the greatest cosine to a class centroid, or None.

        Returns:
            (...,) scores; above `threshold` counts as out of scope.
        """
        mean, std = self.energy
        score: Floats = (self.raw_energy(logits) - mean) / std
        if novelty is None or self.novelty is None:
            return score
        mean, std = self.novelty
        far: Floats = (np.asarray(novelty, dtype=np.float64) - mean) / std
        return (score + far) / 2.0

"""What a variant learnt about its own scores: temperature, and what ordinary inputs look like.

Pure arithmetic, the same where variants are made and where they answer. Knows no models and no files.
Temperature scaling is Guo et al. 2017, "On calibration of modern neural networks"; the energy score is Liu et
al. 2020, "Energy-based out-of-distribution detection".
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sartor.core.predict import Floats

Spread = tuple[float, Annotated[float, Field(gt=0)]]
"""Mean and standard deviation of a score on validation rows."""


class Calibration(BaseModel):
    """The content of `calibration.json`: `model_dump()` writes it, `model_validate()` reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: Annotated[float, Field(gt=0)] = 1.0
    energy: Spread = (0.0, 1.0)
    novelty: Spread | None = None
    """None where the variant knows no distance to its training rows."""
    threshold: float = 0.0
    """Out-of-scope score that 95 % of the validation rows stay under."""

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

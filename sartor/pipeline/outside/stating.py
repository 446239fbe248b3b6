"""From values and how sure the model is of each to the answer that costs least. Needs numpy and pydantic."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.calibration import ClaimScale
from sartor.core.claims import field_of
from sartor.core.predict import Claim
from sartor.core.stating import Pricing, state
from sartor.pipeline.outside.asked import ENGINES, said_in


@dataclass(frozen=True)
class Value:
    """One value that a model wrote, before calibration."""

    path: str
    value: Any
    score: float
    """Log-odds, roughly, that it is right."""
    span: tuple[int, int] | None = None


class Stater:
    """Written answers for texts: the values that are worth stating, and whether asking somebody would cost less."""

    def __init__(self, folder: Path) -> None:
        """Open the export in the folder."""
        said = said_in(folder)
        prices = said["pricing"]
        fields = {name: tuple(costs) for name, costs in prices["fields"].items()}
        self._pricing = Pricing(tuple(prices["every"]), fields, prices["right"], prices["target"])
        self._scale = ClaimScale.model_validate(said["calibration"].get("claims") or {})
        self._is_json = said["kind"] == "extract"
        self._model = ENGINES[said["model"]["engine"]](folder, said["model"])

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """An answer for each text."""
        return [self._stated(found) for found in self._model.write(list(texts))]

    def _stated(self, found: Sequence[Value]) -> dict[str, Any]:
        claims = [
            Claim(one.path, one.value, *self._scale.chances(one.score, field_of(one.path)), one.span) for one in found
        ]
        stated = state(claims, self._pricing, self._scale.doubts)
        return {
            "answer": json.loads(stated.output) if self._is_json else stated.output,
            "output": stated.output,
            "confidence": stated.confidence,
            "escalate": stated.escalate,
            "expected_cost": stated.cost,
            "values": [
                {"path": claim.path, "value": claim.value, "right": claim.right, "span": claim.span} for claim in claims
            ],
        }

"""A mix of the probabilities of two or more made variants. Needs numpy only.

Linear and logarithmic opinion pools: Genest & Zidek 1986, "Combining probability distributions".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.core.errors import StoreError
from sartor.core.predict import Floats
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving.engine import Mixer
from sartor.serving.files import read_json

LEAST = 1e-12
"""Probabilities are not let under this, so that their logarithms stay finite."""


class Params(Settings):
    """Nothing to set."""


class Portion(BaseModel):
    """One variant of the mix."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    role: str
    weight: Annotated[float, Field(ge=0)]


class Recipe(BaseModel):
    """The content of `blend.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: Annotated[tuple[Portion, ...], Field(min_length=1)]
    mix: Literal["probability", "logarithmic"]


class _Engine:
    def __init__(self) -> None:
        self._recipes: dict[str, Recipe] = {}

    def add(self, key: str, folder: Path) -> None:
        try:
            self._recipes[key] = Recipe.model_validate(read_json(folder, "blend.json"))
        except ValidationError as error:
            raise StoreError(f"The blend in {folder} is not one: {error}", code="variant_damaged") from error

    def drop(self, key: str) -> None:
        self._recipes.pop(key, None)

    def roles(self, key: str) -> tuple[str, ...]:
        return tuple(part.role for part in self._recipes[key].parts)

    def mix(self, key: str, parts: Mapping[str, Floats]) -> Floats:
        recipe = self._recipes[key]
        weighed = [(part.weight, np.asarray(parts[part.role], dtype=np.float64)) for part in recipe.parts]
        if recipe.mix == "logarithmic":
            return np.asarray(sum(weight * np.log(np.maximum(p, LEAST)) for weight, p in weighed))
        return np.log(np.maximum(sum(weight * p for weight, p in weighed), LEAST))


@plugin
def blend(base: Path | None, params: Params) -> Mixer:  # noqa: ARG001 - the shelf's one signature
    """The engine of blends; `base` is not used."""
    return _Engine()

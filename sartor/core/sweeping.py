"""A sweep as the task file says it: which settings of a candidate are tried, on how many rows, for how long, and where.

Pure: draws combinations, tries nothing.
"""

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from sartor.core.section import Section


class Range(Section):
    """Numbers between two."""

    low: float
    """The least."""
    high: float
    """The greatest."""
    log: bool = False
    """As many are drawn between 1 and 10 as between 10 and 100."""
    whole: bool = False
    """Whole numbers only."""

    @model_validator(mode="after")
    def _ends_fit(self) -> "Range":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError("'low' must be less than 'high', and above 0 where 'log' is set")
        return self

    def draw(self, draw: np.random.Generator) -> float | int:
        """One of them."""
        if self.log:
            found = float(np.exp(draw.uniform(np.log(self.low), np.log(self.high))))
        else:
            found = float(draw.uniform(self.low, self.high))
        if self.whole:
            return min(max(round(found), round(self.low)), round(self.high))
        return float(f"{found:.3g}")


class Sweep(Section):
    """A search for better settings of one candidate, judged on validation rows alone."""

    of: str
    """The candidate, by its title."""
    space: Annotated[dict[str, Range | list[Any]], Field(min_length=1)]
    """Setting of its recipe -> values to try: a list, or a range. `size` is one too."""
    samples: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Combinations that are drawn; none: all there are, for which no range may stand in the space."""
    cpu_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Of all trials together; what is not begun by then is not tried."""
    least_rows: Annotated[int, Field(ge=1)] = 100
    """Training rows of the first round; later ones have `eta` times as many, the last one all."""
    eta: Annotated[float, Field(gt=1, le=10)] = 3.0
    """One in so many goes on to the next round."""
    on: Literal["local", "ray"] = "local"
    """Where trials run: in processes of this machine, or as tasks of a Ray cluster."""
    workers: Annotated[int, Field(ge=1, le=1000)] = 1
    """Trials at the same time."""
    address: str = ""
    """Of the Ray cluster; empty: one of its own on this machine, on loopback."""
    gpus: Annotated[float, Field(ge=0, le=16)] = 0.0
    """Of each trial, where Ray places them."""

    @model_validator(mode="after")
    def _space_can_be_drawn(self) -> "Sweep":
        for name, values in self.space.items():
            if isinstance(values, list) and not values:
                raise ValueError(f"'space.{name}' has no values: list some")
            if isinstance(values, Range) and self.samples is None:
                raise ValueError(f"'space.{name}' is a range, of which not all can be tried: say how many 'samples'")
        return self

    def combinations(self, seed: int) -> list[dict[str, Any]]:
        """The settings that are tried, each once, in an order that the seed decides."""
        draw = np.random.default_rng(seed)
        if self.samples is None:
            every = [dict(zip(self.space, values, strict=True)) for values in product(*self._lists())]
            return [every[place] for place in draw.permutation(len(every))]
        found: list[dict[str, Any]] = []
        for _ in range(20 * self.samples):  # a small space has fewer than were asked for
            one = {name: _drawn(values, draw) for name, values in self.space.items()}
            if one not in found:
                found.append(one)
            if len(found) == self.samples:
                break
        return found

    def _lists(self) -> list[list[Any]]:
        return [values for values in self.space.values() if isinstance(values, list)]


def _drawn(values: Range | list[Any], draw: np.random.Generator) -> Any:
    return values.draw(draw) if isinstance(values, Range) else values[int(draw.integers(len(values)))]


def told(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "as it stands"

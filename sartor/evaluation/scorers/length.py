"""A text that is not too long, nor too short."""

from pydantic import Field

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """Bounds."""

    least: int = Field(default=1, ge=0)
    """Words at least."""
    most: int = Field(default=1_000_000, ge=1)
    """Words at most."""


@plugin
def length(truth: str, said: str, params: Params) -> float:  # noqa: ARG001 - the shelf's one signature
    """1 within the bounds."""
    return float(params.least <= len(said.split()) <= params.most)

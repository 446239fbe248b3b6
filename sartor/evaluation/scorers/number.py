"""The right number, however it is written: the last one of the text counts."""

import math
import re

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin

NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")


class Params(Settings):
    """How near is right."""

    tolerance: float = 1e-6
    """Relative difference that counts as none."""


@plugin
def number(truth: str, said: str, params: Params) -> float:
    """1 where the last numbers of both texts are the same; commas part thousands."""
    one, other = _last(truth), _last(said)
    if one is None or other is None:
        return 0.0
    return float(math.isclose(one, other, rel_tol=params.tolerance, abs_tol=1e-9))


def _last(text: str) -> float | None:
    found = NUMBER.findall(text)
    if not found:
        return None
    try:
        return float(found[-1].replace(",", ""))
    except ValueError:
        return None

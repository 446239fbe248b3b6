"""A sum that comes to the right number: `( 3.0 * 4.0 )` and `4*3` are the same."""

import math

from sartor.core.rules import work_out
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """How near is right."""

    tolerance: float = 1e-6
    """Relative difference that counts as none."""


@plugin
def expression(truth: str, said: str, params: Params) -> float:
    """1 where both come to the same number."""
    one, other = value_of(truth), value_of(said)
    if one is None or other is None:
        return 0.0
    return float(math.isclose(one, other, rel_tol=params.tolerance, abs_tol=1e-9))


def value_of(text: str) -> float | None:
    """What a sum comes to; None for what is none, or has no finite value."""
    try:
        found = work_out(text.strip(), {})
    except (ValueError, KeyError, OverflowError, RecursionError):
        return None
    return found if found is not None and math.isfinite(found) else None

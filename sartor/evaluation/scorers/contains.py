"""Words that must stand in a text, or must not."""

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """Which words."""

    all_of: tuple[str, ...] = ()
    """Each must stand in it."""
    none_of: tuple[str, ...] = ()
    """None may."""


@plugin
def contains(truth: str, said: str, params: Params) -> float:  # noqa: ARG001 - the shelf's one signature
    """Share of the demands that are met; capitals don't count."""
    text = said.casefold()
    met = [word.casefold() in text for word in params.all_of] + [w.casefold() not in text for w in params.none_of]
    return sum(met) / len(met) if met else 1.0

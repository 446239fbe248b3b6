"""The right text, letter by letter, white space at its ends aside."""

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """What differences count."""

    case: bool = True
    """Capitals count."""


@plugin
def exact(truth: str, said: str, params: Params) -> float:
    """1 for the same text."""
    one, other = truth.strip(), said.strip()
    return float(one == other if params.case else one.casefold() == other.casefold())

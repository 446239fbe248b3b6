"""Ask one model, always."""

from sartor.core.predict import Predictor
from sartor.core.route import Target
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.gateway.policy import Tools, build


class Params(Settings):
    """What is asked."""

    to: Target
    """A name, or another policy."""


@plugin
def direct(params: Params, tools: Tools) -> Predictor:
    """The target itself."""
    return build(params.to, tools)

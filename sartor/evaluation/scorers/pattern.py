"""A form that a text must have, as a regular expression."""

import re
from typing import Annotated

from pydantic import AfterValidator

from sartor.core.rules import check_pattern
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin


class Params(Settings):
    """Which form."""

    pattern: Annotated[str, AfterValidator(check_pattern)]
    """Regular expression that the whole text must match."""


@plugin
def pattern(truth: str, said: str, params: Params) -> float:  # noqa: ARG001 - the shelf's one signature
    """1 where the text has the form."""
    return float(re.fullmatch(params.pattern, said.strip(), re.DOTALL) is not None)

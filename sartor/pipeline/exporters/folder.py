"""The files as they are, with the base's, and a script that answers from them."""

from pathlib import Path

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.pipeline.goods import Goods, Packed
from sartor.pipeline.packing import as_they_are


class Params(Settings):
    """Nothing to set."""


@plugin
def folder(goods: Goods, out: Path, params: Params) -> Packed:  # noqa: ARG001 - the shelf's one signature
    """Copy the variant into `model/` and its base into `base/`; a mixture's parts into `parts/ROLE/`."""
    return as_they_are(goods, out)

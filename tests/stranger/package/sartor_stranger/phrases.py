"""Rows put together from phrases: a source that reads no file."""

from collections.abc import Iterator
from itertools import product

from sartor import Params as Settings
from sartor import plugin

BEGINNINGS = ("please", "hello,", "once more:", "since monday", "i think", "sorry,")
PHRASES = {
    "card": ("my card is lost", "the card was stolen", "i need a new card", "the card is blocked", "no card came"),
    "money": ("the money is gone", "send my money back", "where is the money", "money is missing", "no money came"),
}


class Params(Settings):
    """How many rows."""

    times: int = 4
    """Rows of each pair of beginning and phrase."""


@plugin
def phrases(params: Params) -> Iterator[dict[str, str]]:
    """Yield one dict a row: text and label."""
    for label, said in PHRASES.items():
        for beginning, phrase, number in product(BEGINNINGS, said, range(params.times)):
            yield {"text": f"{beginning} {phrase} {number}", "label": label}

"""Rules: values read out of a text, or texts written from its numbers. No base, no torch, microseconds an answer.

Everything that is said comes with the share of training rows on which its rule was right. Knows no model.
"""

from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path

from pydantic import ValidationError

from sartor.core.claims import as_text, build
from sartor.core.errors import StoreError
from sartor.core.rules import Found, RuleBook, Rules
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.serving.engine import Said, Wish, Work, Writer, Written
from sartor.serving.files import read_json

LEAST = 1e-3
"""How near to 0 and 1 a share is let come, so that its log-odds stay finite."""


class Params(Settings):
    """Nothing to set."""


class _Engine:
    def __init__(self) -> None:
        self._held: dict[str, RuleBook] = {}

    def add(self, key: str, folder: Path) -> None:
        try:
            self._held[key] = RuleBook(Rules.model_validate(read_json(folder, "rules.json")))
        except ValidationError as error:
            raise StoreError(f"The rules in {folder} are none: {error}", code="variant_damaged") from error

    def drop(self, key: str) -> None:
        self._held.pop(key, None)

    def write(self, work: Work, wishes: Sequence[Wish | None] | None = None) -> list[Written]:  # noqa: ARG002
        return [_written(self._held[key], text) for key, text in work]

    def pieces(self, key: str, text: str, wish: Wish | None = None) -> Iterator[str | Written]:  # noqa: ARG002
        whole = _written(self._held[key], text)
        yield whole.output
        yield whole


def _written(book: RuleBook, text: str) -> Written:
    if book.rules.kind == "generate":
        found = book.text(text)
        return Written("", ()) if found is None else Written(found.value, (_said(found),))
    values = book.values(text)
    return Written(as_text(build((one.path, one.value) for one in values)), tuple(_said(one) for one in values))


def _said(found: Found) -> Said:
    right = min(max(found.right, LEAST), 1 - LEAST)
    return Said(found.path, found.value, log(right / (1 - right)), found.span)


@plugin
def rules(base: Path | None, params: Params) -> Writer:  # noqa: ARG001 - the shelf's one signature
    """The engine of rules; `base` is not used."""
    return _Engine()

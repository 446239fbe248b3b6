"""How long work tells how far it is. Rooms report; only an interface draws."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`: called as work advances; `total` 0 means not known."""


def silent(what: str, done: int, total: int) -> None:
    """The progress that nobody watches."""


def track(items: Iterable[T], what: str, total: int, progress: Progress) -> Iterator[T]:
    """Yield the items and report after each."""
    progress(what, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress(what, done, total)

"""What a policy is, and what it is given. A policy wraps predictors and is one; knows no store and no HTTP.

A plug-in of `gateway.policies` is a function `(params, tools) -> Predictor`. Its params name what it asks as targets:
a name, or another policy with its own settings, so that policies nest.
"""

import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sartor.core.predict import Floats, Prediction, Predictor, Request
from sartor.core.route import Target
from sartor.core.shelf import Shelf
from sartor.core.task import Task

POLICIES = Shelf("sartor.gateway.policies")


class Purse(Protocol):
    """Money that a holder may spend in a period, shared by all workers."""

    async def take(self, holder: str, period: Literal["day", "month"], limit: float, money: float) -> bool:
        """Set this much aside if the limit still has room for it."""
        ...

    def settle(self, holder: str, period: Literal["day", "month"], taken: float, spent: float) -> None:
        """Give back what was set aside and not spent, or book what was spent beyond it."""
        ...


@dataclass(frozen=True)
class Tools:
    """What whoever builds a route hands to its policies."""

    route: str
    """Name of the route; salts every draw, so that routes are randomised apart."""
    target: Callable[[Target], Predictor]
    """The predictor behind a name or a nested policy.

    Raises NotFoundError for a name that nothing has; the known ones are listed."""
    background: Callable[[Coroutine[Any, Any, None]], bool]
    """Run beside the answers, bounded in number; False: there is no room, and it was dropped."""
    shadowed: Callable[[Request, Prediction | Exception], None]
    """Book what a shadow said about a request, or how it failed."""
    purse: Purse
    task: Task | None = None
    """Whose value function applies; None for a route that passes chats through."""
    labels: tuple[str, ...] = ()
    embed: Callable[[str, Sequence[str]], Awaitable[Floats]] | None = None
    """(base, texts) -> (texts, d) L2-normalised embeddings; None where no base is at hand."""
    clock: Callable[[], float] = field(default=lambda: 0.0)
    """Seconds, monotonic."""


def draw(salt: str, sticky: str) -> float:
    """A number in [0, 1) that depends on nothing but these two: the same requester always falls on the same side."""
    mark = hashlib.blake2b(f"{salt}\0{sticky}".encode(), digest_size=8).digest()
    return int.from_bytes(mark) / 2.0**64


def build(target: Target, tools: Tools) -> Predictor:
    """The predictor of a nested target: `{use: …}` is taken from the shelf, a name is looked up.

    Raises:
        NotFoundError: no such policy, or no such name.
        AskError: the settings don't fit.
    """
    if isinstance(target, str):
        return tools.target(target)
    settings = dict(target)
    plugin = POLICIES.take(str(settings.pop("use", "")))
    made: Predictor = plugin(plugin.read(settings), tools)
    return made

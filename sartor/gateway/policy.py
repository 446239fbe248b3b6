"""What a policy is, and what it is given. A policy wraps predictors and is one; knows no store and no HTTP.

A plug-in of `gateway.policies` is a function `(params, tools) -> Predictor`. Its params name what it asks as targets:
a name, or another policy with its own settings, so that policies nest.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from sartor.core.errors import AskError
from sartor.core.predict import Chunk, Floats, Prediction, Predictor, Request
from sartor.core.route import Target
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.gateway.answers import PLAIN, form_of, label_in, label_of
from sartor.gateway.documents import Documents, Reads
from sartor.gateway.hops import hops_of, whole

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
    reads: Reads | None = None
    """What brings an answer to the task's one form; None where answers are labels, or pass as they are."""
    embed: Callable[[str, Sequence[str]], Awaitable[Floats]] | None = None
    """(base, texts) -> (texts, d) L2-normalised embeddings; None where no base is at hand."""
    clock: Callable[[], float] = field(default=lambda: 0.0)
    """Seconds, monotonic."""


def draw(salt: str, sticky: str) -> float:
    """A number in [0, 1) that depends on nothing but these two: the same requester always falls on the same side."""
    mark = hashlib.blake2b(f"{salt}\0{sticky}".encode(), digest_size=8).digest()
    return int.from_bytes(mark) / 2.0**64


def side(salt: str, request: Request) -> float:
    """The draw of a request: of its sticky value, or of itself alone where it has none."""
    return draw(salt, request.sticky or request.id)


def build(target: Target, tools: Tools) -> Predictor:
    """The predictor of a nested target: `{use: …}` is taken from the shelf, a name is looked up.

    Where there are labels, what a name answers is read as one of them (`output`), whatever its form; where a document
    is wanted, as that.

    Raises:
        NotFoundError: no such policy, or no such name.
        AskError: the settings don't fit.
    """
    if isinstance(target, str):
        found = tools.target(target)
        if tools.reads is not None:
            return Documents(found, tools.reads)
        return Labelled(found, tools.labels) if tools.labels else found
    settings = dict(target)
    plugin = POLICIES.take(str(settings.pop("use", "")))
    made: Predictor = plugin(plugin.read(settings), tools)
    return made


def walk(predictor: Predictor) -> Iterator[Predictor]:
    """A policy and all that it asks, from the outside in."""
    yield predictor
    for inner in getattr(predictor, "asks", ()):
        yield from walk(inner)


@dataclass(frozen=True)
class Labelled:
    """A model whose answers are read as labels: a giant says them in the form that the application asked for."""

    model: Predictor
    labels: tuple[str, ...]

    @property
    def asks(self) -> tuple[Predictor, ...]:
        """What it asks."""
        return (self.model,)

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The answers, `output` a label or None."""
        answers = await self.model.predict(requests)
        return [self._read(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The pieces as they are; the last one's `output` is a label or None."""
        return whole(self.model, request, lambda answer: self._read(request, answer))

    def _read(self, request: Request, answer: Prediction) -> Prediction:
        if answer.reply is None and (answer.output is None or answer.output in self.labels):
            return answer
        try:
            form = form_of(request.chat) if request.chat is not None else PLAIN
        except AskError:
            form = PLAIN
        found = label_of(answer.reply, self.labels, form) if answer.reply is not None else None
        if found is None:
            found = label_in(answer.output, self.labels, form)
        *before, last = hops_of(answer)
        return replace(answer, output=found, hops=(*before, replace(last, output=found)))


def valid(answer: Prediction, tools: Tools) -> bool:
    """Whether an answer is one: a label where there are labels, a document where one is wanted, else anything."""
    anything = not tools.labels and tools.reads is None
    return answer.output is not None or (anything and answer.reply is not None)

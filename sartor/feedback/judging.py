"""What a judge is given, and what it says. Knows no store: whoever calls hands over models and texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import eq
from typing import Any, Protocol

from sartor.core.predict import Predictor
from sartor.core.shelf import Shelf

JUDGES = Shelf("sartor.feedback.judges")


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to be judged."""

    id: str
    text: str
    """The input as models see it; it comes from strangers."""
    answer: str
    labels: tuple[str, ...]
    """Of the task, the answer among them; none where answers are written."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    """Other columns of a row; empty for an exchange."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says of an answer."""

    right: bool | None
    """None: it gives no verdict."""
    label: str = ""
    """What it holds for the right answer, where it says so."""
    why: str = ""
    """Why there is no verdict, or what it rests on; never a stranger's text."""
    cost: float = 0.0
    """Money that it took."""


@dataclass(frozen=True)
class Bench:
    """What a judge works with."""

    task: str
    """Its name."""
    description: str
    model: Callable[[str], Predictor]
    """The model behind the name of an upstream or the handle of a variant.

    Raises NotFoundError for a name that nothing has; the known ones are listed."""
    written: bool = False
    """Whether answers are written: then there are no labels to choose from."""
    same: Callable[[str, str], bool] = eq
    """(what is right, an answer) -> whether that is right too."""


class Judge(Protocol):
    """Says of answers whether they are right."""

    async def judge(self, cases: Sequence[Case]) -> list[Opinion]:
        """One opinion a case, in order. What fails gives no verdict; it never raises for one case alone."""
        ...


def open_judge(use: str, settings: Mapping[str, Any], bench: Bench) -> Judge:
    """The judge of this name.

    Raises:
        NotFoundError: there is no such judge, or a model that it names is not there.
        AskError: its settings don't fit.
    """
    plugin = JUDGES.take(use)
    made: Judge = plugin(plugin.read(dict(settings)), bench)
    return made

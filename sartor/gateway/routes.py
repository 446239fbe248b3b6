"""The names that clients may ask for, and what answers under each. Knows no store: who builds the app supplies them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sartor.core.errors import unknown
from sartor.core.predict import Predictor
from sartor.core.task import Task

MODEL_NAME = re.compile(
    r"(?P<task>[a-z0-9][a-z0-9._-]{0,127})(@(?P<pointer>live|previous)|@v(?P<number>[1-9]\d{0,8}))?"
)


@dataclass(frozen=True)
class ModelName:
    """A name that clients ask for: `task`, `task@live`, `task@previous` or `task@v7`."""

    task: str
    pointer: str = "live"
    """Which pointer is meant, where no number is given."""
    number: int | None = None

    @classmethod
    def read(cls, name: str) -> "ModelName | None":
        """The parts of a name; None where it is not of this form."""
        found = MODEL_NAME.fullmatch(name)
        if found is None:
            return None
        number = int(found["number"]) if found["number"] else None
        return cls(found["task"], found["pointer"] or ("live" if number is None else ""), number)


@dataclass(frozen=True)
class Served:
    """One name and what answers under it."""

    name: str
    """What clients ask for: `triage`, `triage@live`, `triage@v7`."""
    version: str
    """The fixed name of what answers now: `triage@v7`."""
    variant: str
    """Its digest."""
    task: Task
    predictor: Predictor


class Routes(Protocol):
    """Where the gateway looks names up, once for each request: a release is seen by the next one."""

    def names(self) -> list[Served]:
        """Everything that can be asked for."""
        ...

    def resolve(self, name: str) -> Served:
        """What answers under a name.

        Raises:
            NotFoundError: nothing does; the message lists the known names, the nearest first.
        """
        ...


class FixedRoutes:
    """Names that do not change while the server runs."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._served: Mapping[str, Served] = {item.name: item for item in served}

    def names(self) -> list[Served]:
        """Everything, in the order given."""
        return list(self._served.values())

    def resolve(self, name: str) -> Served:
        """What answers under a name.

        Raises:
            NotFoundError: nothing does.
        """
        if name not in self._served:
            raise unknown("model", name, self._served, param="model", code="model_not_found")
        return self._served[name]

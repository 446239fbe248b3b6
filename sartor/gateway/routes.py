"""The names that clients may ask for, and what answers under each. Knows no store: who builds the app supplies them."""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sartor.core.access import Caller
from sartor.core.errors import unknown
from sartor.core.predict import Predictor, Usage
from sartor.core.route import Route
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
    """What clients ask for: `triage`, `triage@live`, `triage@v7`, an upstream's name."""
    version: str
    """The fixed name of what answers now: `triage@v7`, or the upstream's."""
    variant: str
    """Its digest, or the upstream's name."""
    task: Task | None
    """None: chats pass through as they are."""
    predictor: Predictor
    route: Route
    """What was declared about it; for a task without a declared route `direct` to its live variant."""
    labels: tuple[str, ...] = ()
    """Of the task, where it has one."""
    writes: bool = False
    """Whether the task's answers are written, rather than labels."""
    readable: Container[str] = ()
    """All that can be an answer where answers are written."""
    unmatched: Predictor | None = None
    """What gets requests whose input is not found in the prompt."""
    price: Callable[[Usage], float] | None = None
    """Money for a usage, of the dearest that it may ask: set aside before anything is known of the route."""
    created: int = 0
    """Seconds since 1970 at which it began to answer."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What /v1/models tells besides: `version`, `shutdown_date`."""

    @property
    def known(self) -> Container[str]:
        """What can be an answer to the task."""
        return self.labels or self.readable


class Routes(Protocol):
    """Where the gateway looks names up, once for each request, in memory: it must not wait."""

    def names(self, caller: Caller) -> list[Served]:
        """Everything that the caller can ask for."""
        ...

    def resolve(self, name: str, caller: Caller) -> Served:
        """What answers under a name.

        Raises:
            NotFoundError: nothing does that the caller may see; the message lists what it may, the nearest first.
            RefusedError: the task is retired, or its shutdown date is over.
        """
        ...


class FixedRoutes:
    """Names that do not change while the server runs."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._served: Mapping[str, Served] = {item.name: item for item in served}

    def names(self, caller: Caller) -> list[Served]:
        """Everything in the caller's scope, in the order given."""
        return [s for s in self._served.values() if caller.sees(s.name) and _open_to(s.route, caller)]

    def resolve(self, name: str, caller: Caller) -> Served:
        """What answers under a name.

        Raises:
            NotFoundError: nothing does.
        """
        found = self._served.get(name)
        if found is None or not caller.sees(name) or not _open_to(found.route, caller):
            raise unknown("model", name, [s.name for s in self.names(caller)], param="model", code="model_not_found")
        return found


def _open_to(route: Route, caller: Caller) -> bool:
    return not route.tenants or caller.tenant in route.tenants

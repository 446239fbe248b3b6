"""One address of the control plane: what it takes, and which verb answers it.

The verb is a function of the pipeline, imported when it is first called. It is given whatever of the request it names
as a parameter: `shop`, `caller`, values of the path, the query and the body, or `asked`: query or body as a whole.
Knows no HTTP.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from sartor.core.access import Permission
from sartor.core.errors import AskError
from sartor.core.shelf import explain

PREFIX = "/api/v1"
Reach = Literal["own", "house", "all"]


class Fields(BaseModel):
    """A body or a query; what it does not name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Endpoint:
    """A method of an address."""

    method: str
    path: str
    permission: Permission
    verb: str | Callable[..., Any]
    """`module:function` of the pipeline, or a function."""
    body: type[Fields] | None = None
    query: type[Fields] | None = None
    reach: Reach = "house"
    """Whose business it is: of the own tenant alone (`own`: the verb takes the caller and keeps to its tenant), of the
    house, which has what all tenants share, or of those who see all tenants."""

    @property
    def name(self) -> str:
        """`GET /api/v1/keys`."""
        return f"{self.method} {self.path}"

    @cached_property
    def form(self) -> re.Pattern[str]:
        """What its path looks like as it comes; a value has no slash."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The verb itself."""
        if callable(self.verb):
            return self.verb
        module, _, name = self.verb.partition(":")
        found: Callable[..., Any] = getattr(import_module(f"sartor.pipeline.{module}"), name)
        return found

    @property
    def deed(self) -> str:
        """What the audit log calls it: `access.create_key`."""
        return self.verb.replace(":", ".") if isinstance(self.verb, str) else self.verb.__name__

    def call(self, offered: Mapping[str, Any]) -> Any:
        """What the verb makes of the request, as JSON."""
        wanted = inspect.signature(self.function).parameters
        return as_json(self.function(**{name: value for name, value in offered.items() if name in wanted}))

    def read_body(self, body: bytes) -> Fields:
        """What stands in a body that is JSON.

        Raises:
            AskError: one does not fit; it is named.
        """
        model = self.body or Fields
        try:
            return model.model_validate_json(body or b"{}", strict=True)
        except ValidationError as error:
            raise AskError(f"The body does not fit: {explain(error, model)}.", code="bad_body") from error

    def read_query(self, pairs: list[tuple[str, str]]) -> Fields:
        """What stands in a query.

        Raises:
            AskError: one does not fit, or is there twice.
        """
        model = self.query or Fields
        given: dict[str, Any] = {}
        for name, value in pairs:
            field = model.model_fields.get(name)
            if field is not None and get_origin(field.annotation) is list:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise AskError(f"The query names '{name[:80]}' twice. Send it once.", param=name[:80], code="bad_query")
            else:
                given[name] = value
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise AskError(f"The query does not fit: {explain(error, model)}.", code="bad_query") from error


@dataclass(frozen=True)
class Text:
    """An answer that is no JSON."""

    content: str
    media: str


@dataclass(frozen=True)
class Stream:
    """An answer that goes on, as server-sent events."""

    pieces: Iterator[Sequence[tuple[str, int | None, Any]]]
    """What is new at each look: names, numbers and JSON of events. Each look is made in a thread."""


def as_json(found: Any) -> Any:
    """What a verb returned, in the form that the command line prints with --json."""
    if isinstance(found, Text | Stream) or found is None:
        return found
    if hasattr(found, "body"):
        return as_json(found.body())
    if isinstance(found, BaseModel):
        return found.model_dump(mode="json")
    if is_dataclass(found) and not isinstance(found, type):
        return asdict(found)
    if isinstance(found, list | tuple):
        return [as_json(item) for item in found]
    return found

"""What the addresses of recalls and campaigns take."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from sartor.interfaces.api.endpoint import Fields
from sartor.interfaces.api.forms import Line

Named = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Asked(Fields):
    """What would be recalled."""

    kind: Line
    value: Named


class NewRecall(Fields):
    """What is recalled. `tenant`: whose user a person is; '' keeps what is captured of them."""

    kind: Line
    value: Named
    why: Line = ""
    instead: Line = ""
    tenant: Line = ""
    rebuild: bool = True


class NewCampaign(Fields):
    """A change over many tasks at once."""

    name: Line
    tasks: tuple[Line, ...] = ("*",)
    bases: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    curate: bool = False
    at_once: Annotated[int, Field(ge=1, le=1000)] = 2
    why: Line = ""

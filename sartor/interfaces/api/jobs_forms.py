"""What the addresses of jobs take."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from sartor.interfaces.api.endpoint import Fields
from sartor.interfaces.api.forms import Limit

Word = Annotated[str, StringConstraints(max_length=200)]


class JobList(Fields):
    """Which jobs."""

    state: Word = ""
    task: Word = ""
    kind: Word = ""
    part_of: Word = ""
    limit: Limit = 100
    after: Word = ""


class NewJob(Fields):
    """A job to be asked for."""

    kind: Word
    args: dict[str, Any] = Field(default_factory=dict)
    task: Word = ""
    queue: Word = ""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    once: Word = ""
    not_before: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    most_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    dry_run: bool = False


class Events(Fields):
    """Which of its events, and whether to go on as more come."""

    after: Annotated[int, Field(ge=0, le=1 << 31)] = 0
    limit: Limit = 1000
    stream: bool = False

"""A durable job: what was asked, how it stands, what it said. The truth is one row of the ledger's database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled", "dead"]
"""`failed`: its own fault, trying again would not help. `dead`: tried as often as it may be; waits for a person."""
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled", "dead"})
Queue = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class JobRequest:
    """A job as it is asked for."""

    kind: str
    """What does it: a name of `pipeline.work.KINDS`."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """JSON that the kind reads."""
    task: str = ""
    tenant: str = "default"
    queue: Queue = "cpu"
    priority: int = 0
    """Greater first, within a tenant's turn."""
    once: str = ""
    """While a job of the tenant with this word has not ended, asking again gives that one."""
    not_before: float = 0.0
    """Seconds since 1970."""
    most_attempts: int = 3
    """Times that it may fail for reasons that may pass, or take its worker down, before it is `dead`."""
    who: str = ""
    waits_for: str = ""
    """Id of the campaign or job that it is a part of."""


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    id: str
    """`job-…`."""
    kind: str
    args: Mapping[str, Any]
    task: str
    tenant: str
    queue: Queue
    priority: int
    once: str
    not_before: float
    most_attempts: int
    who: str
    state: State
    asked: str = ""
    """What it has been told and not done yet: `cancel`, `pause` or ''."""
    attempts: int = 0
    """Times that it was begun; also the fencing token: who holds an older one may write nothing."""
    worker: str = ""
    """Who has it."""
    step: str = ""
    """What it is doing now."""
    done: int = 0
    total: int = 0
    """Of the step's own units."""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    error: str = ""
    code: str = ""
    """Of the error."""
    result: Mapping[str, Any] = field(default_factory=dict)
    waits_for: str = ""
    """Id of the campaign or job that it is a part of."""
    failures: int = 0
    """Attempts that failed or were lost with their worker, since it was asked for or last retried."""
    contract: str = ""
    """Version of the contract between jobs and workers under which it was stored."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.state in ENDED


@dataclass(frozen=True)
class Event:
    """One thing that a job said."""

    seq: int
    at: float
    level: Literal["info", "warning", "error"]
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Context(Protocol):
    """What a job's handler is given beside its Workshop, whose progress already reports into the job."""

    @property
    def job(self) -> Job:
        """The job as it was when this attempt began."""
        ...

    def step(self, name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Do a step, or take what it gave in an earlier attempt. At least once: steps are idempotent by content.

        Args:
            name: unique in the job.
            work: gives JSON.

        Raises:
            Stopped: the job was cancelled or paused, or another worker has it now. Not to be caught.
        """
        ...

    def say(self, message: str, *, level: Literal["info", "warning", "error"] = "info", **data: Any) -> None:
        """Tell whoever watches."""
        ...

    def check(self) -> None:
        """Stop here if told to; for long work inside a step.

        Raises:
            Stopped: as `step`.
        """
        ...


class Stopped(BaseException):
    """The attempt ends here: cancelled, paused, or taken over by another worker."""

    def __init__(self, why: Literal["cancel", "pause", "lost"]) -> None:
        super().__init__(why)
        self.why = why


class Later(BaseException):
    """Raised by a handler that waits for other jobs: its place is free meanwhile, and it is begun again later.

    It counts as no failure. Finished steps are not repeated.
    """

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(why)
        self.seconds = seconds
        self.why = why

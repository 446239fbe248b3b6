"""What the data plane asks of others, and nothing more: who calls, what they may use, where it is written down.

Each is looked up in memory on the way of a request. What can be done at once is, and returns its value; only what has
to wait (a block of a budget, a write to disk) returns something to await.
"""

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from sartor.core.access import Caller
from sartor.core.route import Capture, Route
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Content, Exchange
from sartor.gateway.tuning_forms import FilePage, NewFile, NewJob, Page
from sartor.store.disk import Readable


class Keyring(Protocol):
    """Who is calling."""

    def identify(self, headers: dict[bytes, bytes]) -> Caller:
        """The caller by its key.

        Raises:
            KeyRefusedError: no key where one is needed, or one that is wrong, expired or revoked.
        """
        ...


class Limiter(Protocol):
    """What callers may use, in requests, tokens and money."""

    def admit(self, caller: Caller, route: Route, *, tokens: int, money: float) -> Any:
        """Set aside what a request is expected to use.

        Returns:
            What `settle` takes, or something to await that gives it.

        Raises (at once, or when awaited):
            RateError: a limit is reached.
        """
        ...

    def settle(self, admission: Any, *, tokens: int, money: float) -> None:
        """Book what was really used."""
        ...


class Recorder(Protocol):
    """Where exchanges are written down."""

    def mark(self, text: str) -> str:
        """The keyed digest that stands for a user or a business key."""
        ...

    def record(self, exchange: Exchange, content: Content | None, spec: Capture) -> Awaitable[None] | None:
        """Write down what happened; it is under way when this returns.

        Returns:
            Something to wait for before the answer goes out (durability `sync`), or None.
        """
        ...


class Counters(Protocol):
    """What is counted for whoever watches."""

    def exchange(self, exchange: Exchange) -> None:
        """Count one exchange."""
        ...


class Inbox(Protocol):
    """Where feedback goes."""

    async def receive(
        self, caller: Caller, body: Mapping[str, Any], metrics: Mapping[str, FeedbackMetric]
    ) -> dict[str, Any]:
        """Keep what became of an exchange.

        Args:
            metrics: what the tasks that the caller sees declare, by name.

        Returns:
            What the sender is told.

        Raises:
            AskError: it is of the wrong form or type.
        """
        ...


class Tuner(Protocol):
    """Files and fine-tuning jobs. Every method may wait for disk and database: it is called in a thread of its own.

    All of it is the caller's tenant's; what others have is answered as if it were not there. Objects are OpenAI's.
    """

    def spool(self) -> BinaryIO:
        """A nameless file on disk, for a body that is on its way."""
        ...

    def keep_file(self, caller: Caller, content: Readable, form: NewFile) -> dict[str, Any]:
        """Keep a file, durably when this returns."""
        ...

    def files(self, caller: Caller, page: FilePage) -> dict[str, Any]:
        """A page of the files."""
        ...

    def file(self, caller: Caller, ident: str) -> dict[str, Any]:
        """One file.

        Raises:
            NotFoundError: there is none.
        """
        ...

    def file_content(self, caller: Caller, ident: str) -> Path:
        """A local copy of a file's bytes, not to be changed."""
        ...

    def delete_file(self, caller: Caller, ident: str) -> dict[str, Any]:
        """Forget a file."""
        ...

    def create(self, caller: Caller, asked: NewJob) -> dict[str, Any]:
        """Ask for a job, durably when this returns.

        Raises:
            NotFoundError: the model, the task or a file is not known.
            AskError: what is asked does not fit.
        """
        ...

    def jobs(self, caller: Caller, page: Page) -> dict[str, Any]:
        """A page of the jobs, newest first."""
        ...

    def job(self, caller: Caller, ident: str) -> dict[str, Any]:
        """One job."""
        ...

    def tell(self, caller: Caller, ident: str, what: Literal["cancel", "pause", "resume"]) -> dict[str, Any]:
        """Cancel or pause a job, or let it go on; asking twice changes nothing.

        Raises:
            ConflictError: it has ended otherwise.
        """
        ...

    def events(self, caller: Caller, ident: str, page: Page) -> dict[str, Any]:
        """A page of what a job said, newest first."""
        ...

    def checkpoints(self, caller: Caller, ident: str, page: Page) -> dict[str, Any]:
        """A page of the models that a job made on its way, newest first."""
        ...

    def delete_model(self, caller: Caller, name: str) -> dict[str, Any]:
        """Retire the name of a fine-tuned model.

        Raises:
            NotFoundError: the caller has none of this name.
        """
        ...

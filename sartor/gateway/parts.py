"""What the data plane asks of others, and nothing more: who calls, what they may use, where it is written down.

Each is looked up in memory on the way of a request. What can be done at once is, and returns its value; only what has
to wait (a block of a budget, a write to disk) returns something to await.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from sartor.core.access import Caller
from sartor.core.route import Capture, Route
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Content, Exchange


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

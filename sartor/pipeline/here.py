"""The `Context` of whoever waits in this process without a job: steps are done as they come, and nothing is kept."""

from collections.abc import Callable, Mapping
from typing import Any

from sartor.core.jobs import Job


class Here:
    """Does steps at once."""

    job = Job("", "", {}, "", "", "cpu", 0, "", 0.0, 1, "", "running")

    def step(self, name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """As `Context.step`."""
        del name
        return dict(work())

    def say(self, message: str, **data: Any) -> None:
        """As `Context.say`; who waits reads the result."""

    def check(self) -> None:
        """As `Context.check`."""

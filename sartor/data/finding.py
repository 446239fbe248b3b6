"""One thing that was found about a task and its rows, and the words that findings share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    level: Level
    what: str
    """A stable word for machines."""
    says: str
    """What is there, why it matters, what to do."""


def absurd(says: str) -> Finding:
    """A cost that makes no sense."""
    return Finding(
        "error", "absurd_cost", f"In 'value', {says}. Costs are money lost: look at the signs and the order."
    )


def listed(names: Iterable[str]) -> str:
    """'a', 'b' and 3 more."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:6]) + (f" and {len(quoted) - 6} more" if len(quoted) > 6 else "")

"""A figure that is not simply counted, with how it was obtained and how sure it is."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

How = Literal["measured", "sampled", "assumed", "unknown"]
ORDER: tuple[How, ...] = ("measured", "sampled", "assumed", "unknown")
"""From the best to the worst: a sum is as good as its worst part."""


@dataclass(frozen=True)
class Figure:
    """A value with its interval."""

    value: float | None
    """None where it is unknown."""
    low: float | None
    high: float | None
    how: How
    n: int = 0
    """Observations behind it."""
    note: str = ""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def figure(ends: Sequence[float], how: How, n: int = 0, note: str = "") -> Figure:
    """A figure from its value and the two ends of its interval."""
    value, low, high = ends
    return Figure(value, low, high, how, n, note)


def nothing_known(note: str) -> Figure:
    """A figure that can't be given, and why."""
    return Figure(None, None, None, "unknown", 0, note)


def summed(parts: Iterable[Figure]) -> Figure:
    """The sum of figures; the ends of their intervals are added, which is never too narrow."""
    value = low = high = 0.0
    worst: How = "measured"
    n, notes = 0, dict[str, None]()
    for part in parts:
        if part.value is None or part.low is None or part.high is None:
            return nothing_known(part.note)
        value, low, high, n = value + part.value, low + part.low, high + part.high, n + part.n
        worst = max(worst, part.how, key=ORDER.index)
        if part.note:
            notes[part.note] = None
    return Figure(value, low, high, worst, n, "; ".join(notes))


def z_of(confidence: float) -> float:
    """Standard deviations on each side of a normal interval."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def share(successes: float, n: int, confidence: float) -> tuple[float, float]:
    """Interval of a share (Wilson 1927).

    Raises:
        ValueError: n is less than 1.
    """
    if n < 1:
        raise ValueError("a share of nothing has no interval")
    z, seen = z_of(confidence), successes / n
    middle = (seen + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (seen * (1 - seen) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, min(seen, middle - half)), min(1.0, max(seen, middle + half))

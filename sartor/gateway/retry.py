"""Which failures are asked again, when, and how many in all. Repeats are a share of the traffic: they can't flood."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses of an upstream after which the same request may succeed."""

LONGEST_WAIT = 5.0
"""Seconds; an upstream that asks for more is not waited for, its client is told instead."""


class RetryBudget:
    """Repeats that may still be made: every request earns `share` of one."""

    def __init__(self, share: float = 0.1, reserve: float = 3.0) -> None:
        """Begin with `reserve`, which is also the most that is saved up, so that sparse traffic is repeated too."""
        self._share = share
        self._reserve = reserve
        self._left = reserve

    def earn(self) -> None:
        """A request came."""
        if self._left < self._reserve:
            self._left += self._share

    def spend(self) -> bool:
        """Take one repeat, if there is one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def pause(attempt: int, retry_after: float | None) -> float | None:
    """Seconds to wait before the next attempt; None: it is not worth waiting.

    Args:
        attempt: 0 for the first repeat.
        retry_after: what the upstream asked for, if it did.
    """
    if retry_after is None:
        return random.uniform(0.5, 1.0) * min(0.1 * 2.0**attempt, 2.0)  # noqa: S311 - jitter is no secret
    if retry_after > LONGEST_WAIT:
        return None
    return retry_after + random.uniform(0.0, 0.1)  # noqa: S311


def read_retry_after(value: bytes | None) -> float | None:
    """Seconds from a Retry-After header (a number or a date); None where there is none or it can't be read."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value.decode("latin-1")) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None  # noqa: PLR0124 - NaN

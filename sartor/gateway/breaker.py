"""A breaker: an upstream that keeps failing is left alone for a while, so that nobody waits for it in vain.

Closed, it counts; open, it refuses at once; half open, it lets one request try. Knows nothing of HTTP.
"""

from collections import deque
from collections.abc import Callable


class Breaker:
    """Opens after `failures` failures within `window` seconds that are at least half of what was asked."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        failures: int = 5,
        window: float = 10.0,
        pause: float = 1.0,
        longest: float = 30.0,
    ) -> None:
        """Pauses begin with `pause` seconds and double with every trial that fails, up to `longest`."""
        self._clock = clock
        self._failures = failures
        self._window = window
        self._first_pause = self._pause = pause
        self._longest = longest
        self._failed: deque[float] = deque(maxlen=failures)
        self._good = 0
        """Good answers since the oldest failure that still counts."""
        self._until: float | None = None
        """While open: when a trial is allowed."""
        self._trying = False

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        if self._until is None:
            return "closed"
        return "half-open" if self._trying or self._clock() >= self._until else "open"

    def admit(self) -> float:
        """0.0 if a request may go; else the seconds after which it may. A trial must be ended by one of the others."""
        if self._until is None:
            return 0.0
        left = self._until - self._clock()
        if left > 0 or self._trying:
            return max(left, 0.1)
        self._trying = True
        return 0.0

    def good(self) -> None:
        """A request was answered."""
        if self._until is not None:
            self._until, self._trying, self._pause = None, False, self._first_pause
            self._failed.clear()
        if self._failed:
            self._good += 1

    def bad(self) -> None:
        """A request failed in a way that speaks against the upstream."""
        now = self._clock()
        if self._until is not None:
            if self._trying:
                self._pause = min(self._pause * 2, self._longest)
                self._until, self._trying = now + self._pause, False
            return
        while self._failed and now - self._failed[0] > self._window:
            self._failed.popleft()
        if not self._failed:
            self._good = 0
        self._failed.append(now)
        if len(self._failed) >= self._failures and self._good <= len(self._failed):
            self._until = now + self._pause

    def unknown(self) -> None:
        """A request ended without saying anything about the upstream: its client left."""
        self._trying = False

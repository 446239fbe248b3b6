"""Ends waits that are overdue, many at little cost: one look a few times a second instead of a timer for each."""

import asyncio
from collections.abc import Awaitable
from typing import Any

LOOK_SECONDS = 0.1


class Deadlines:
    """The waits of one event loop."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._looking = False

    async def within(self, seconds: float, answering: Awaitable[Any]) -> Any:
        """What is awaited, if it comes in time; a task waits for one thing at a time.

        Raises:
            TimeoutError: it did not; it was cancelled.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._due[task] = loop.time() + seconds
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_SECONDS, self._look, loop)
        try:
            return await answering
        except asyncio.CancelledError:
            # Whoever else cancelled it meanwhile is not to be kept waiting.
            if task in self._overdue and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._due[task]
            self._overdue.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, due in self._due.items() if due < now and task not in self._overdue]:
            self._overdue.add(task)
            task.cancel()
        self._looking = bool(self._due)
        if self._looking:
            loop.call_later(LOOK_SECONDS, self._look, loop)

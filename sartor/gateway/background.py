"""Work beside the answers, shadows above all: bounded in number, so that it can never pile up before live requests."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Lives in one event loop."""

    def __init__(self, most: int = 256) -> None:
        """Run at most so many at once."""
        self._most = most
        self._under_way: set[asyncio.Task[None]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> bool:
        """Begin the work; False where there is no room: then it was not begun, and is the caller's to close."""
        if len(self._under_way) >= self._most:
            return False
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return True

    def __len__(self) -> int:
        return len(self._under_way)

    async def drain(self, seconds: float) -> None:
        """Let what is under way end, for at most so long; then cancel it."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

"""A bounded number of places, and a bounded wait for one: one bad upstream never takes what others need."""

import asyncio
from collections import deque


class Places:
    """So many may be taken at once; who waits gets them in the order of coming."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_free(self) -> bool:
        """Take a place; False if none is free."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def take(self, seconds: float) -> bool:
        """Take a place; False if none became free within this time."""
        if self.take_free():
            return True
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it was given in the same moment
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def give_back(self) -> None:
        """Leave a place to whoever waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

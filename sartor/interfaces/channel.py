"""A child's line to its supervisor: it says when it is ready, answers questions, and is told to stop.

The line is one end of a socket pair, inherited by number. When the supervisor is gone the line breaks, and that means
stop too, so that no child outlives it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import orjson

MOST_BYTES = 64 * 1024 * 1024
"""Of one line."""

READY, SNAPSHOT, DRAIN = b"ready\n", b"snapshot\n", b"drain\n"


async def attend(fd: int, stop: asyncio.Event, snapshot: Callable[[], Any]) -> None:
    """Say that this process is ready, then do what the supervisor asks until it says stop, or is gone; sets `stop`."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))
    try:
        writer.write(READY)
        while (line := await reader.readline()) and line != DRAIN:
            if line == SNAPSHOT:
                writer.write(orjson.dumps(snapshot()) + b"\n")
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        stop.set()
        with contextlib.suppress(ConnectionError):
            writer.close()


class Line:
    """The supervisor's end."""

    def __init__(self) -> None:
        self._mine, self.theirs = socket.socketpair()
        self._ready = False
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None

    async def listen(self, up: asyncio.Event) -> None:
        """Take what the child says, until its end is closed; sets `up` when it is ready.

        To be called once the child has its own end.
        """
        self.theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=self._mine, limit=MOST_BYTES)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                if line == READY:
                    self._ready = True
                    up.set()
                else:
                    self._answers.put_nowait(line)
        self._writer.close()
        self._writer = None
        self._answers.put_nowait(b"null")  # whoever waits for an answer gets none

    async def snapshot(self, seconds: float = 2.0) -> Any:
        """What the child tells of itself; None where it does not in time."""
        async with self._asking:
            if self._writer is None or not self._ready:
                return None
            while not self._answers.empty():
                self._answers.get_nowait()  # came too late for an earlier question
            try:
                async with asyncio.timeout(seconds):
                    self._writer.write(SNAPSHOT)
                    await self._writer.drain()
                    return orjson.loads(await self._answers.get())
            except (TimeoutError, ConnectionError):
                return None

    def drain(self) -> None:
        """Tell the child to finish what is under way and end."""
        if self._writer is not None:
            self._writer.write(DRAIN)

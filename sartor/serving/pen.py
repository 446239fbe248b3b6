"""Answers that are written token by token, for callers in an event loop: each in a thread that mostly waits.

The engine's own batch is what they share, so nothing is gathered here. A caller that is cancelled ends its answer
before the next token. Knows no protocol of the wire.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

from sartor.core.predict import Wish
from sartor.serving.fleet import Answered

Pieces = Callable[[str, str, Wish | None], Iterator[str | Answered]]
"""`Fleet.pieces` is one."""


class Pen:
    """Writes for many callers at once. Lives in one event loop."""

    def __init__(self, pieces: Pieces, *, most: int = 64) -> None:
        """Write with `pieces`, `most` answers at once; further ones wait."""
        self._pieces = pieces
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="sartor-pen")

    async def write(self, variant: str, text: str, wish: Wish | None = None) -> AsyncIterator[str | Answered]:
        """One answer as it is written: pieces of text, then the whole."""
        loop = asyncio.get_running_loop()
        come: asyncio.Queue[str | Answered | Exception] = asyncio.Queue()
        gone = Event()
        wished = replace(wish or Wish(), gone=gone.is_set)

        def tell(piece: str | Answered | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(come.put_nowait, piece)

        def work() -> None:
            try:
                for piece in self._pieces(variant, text, wished):
                    tell(piece)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                tell(error)

        writing = self._pool.submit(work)
        try:
            while True:
                piece = await come.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if isinstance(piece, Answered):
                    return
        finally:
            gone.set()
            writing.cancel()

"""The log of exchanges and feedback, which is the truth: appended to by one thread of each process that serves.

`append` only queues. The thread writes some twenty times a second and syncs every second; who asked for durability
(`sync`) is told when the sync of its batch is over, one sync for all that wait. What a crash can lose: of what was
asked for with `sync` and acknowledged nothing; else what came since the last sync (a second), of which a killed
process, where the machine goes on, loses only what was not yet written (a twentieth of a second).

A full or failing disk never holds up who appends: records wait in memory, bounded. Beyond half of the bound content is
dropped, beyond all of it the records themselves, and counters tell. Who asked for `sync` gets a StoreError (507) at
once: it was promised that the record is on disk, and it is not; the record is still written when that works again.
A sync that failed is never believed later: the records go to a new segment.
"""

import asyncio
import errno
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future as Waiting
from contextlib import suppress
from pathlib import Path
from typing import Any

from sartor.core.errors import SartorError, StoreError
from sartor.core.traffic import Content, Exchange, Feedback
from sartor.store import disk
from sartor.store.traffic.bounds import Limits, Tally
from sartor.store.traffic.frames import (
    EMPTY,
    ERASED,
    EXCHANGE,
    FEEDBACK,
    WORD,
    exchange_row,
    feedback_row,
    frame,
    tombstone_row,
)
from sartor.store.traffic.segment import SUFFIX, Segment, cut
from sartor.store.traffic.treatment import PLAIN, Sealer, Treatment, treat

Done = asyncio.Future[None]
"""Resolves when what was appended is on disk; fails with a StoreError where it is not."""


_Waiter = tuple[Any, Any]
"""A loop and its future; a future of `concurrent.futures` has no loop."""

_Item = tuple[int, Any, Content | None, Treatment, _Waiter | None, int]
"""What waits to be written: kind, row, content, what is done to it, who waits for it, its weight in bytes."""


_OTHER_ROWS: Mapping[int, Callable[[Any], bytes]] = {FEEDBACK: feedback_row, ERASED: tombstone_row}


class TrafficLog:
    """The log as one process writes it. Appending is safe from any thread."""

    def __init__(
        self,
        folder: Path,
        writer: str,
        *,
        sealer: Sealer | None = None,
        digest: Callable[[bytes], bytes] | None = None,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open for writing; what a killed writer of the same name left unfinished is cut.

        Args:
            folder: of the segments; made where it is not there.
            writer: names this process's segments, e.g. `w0`.
            sealer: without one, content that should be encrypted is dropped.
            digest: keyed digest for content of which only that is kept; without one, nothing is kept of it.

        Raises:
            StoreError: the folder can't be made or written.
        """
        self.folder, self.writer, self.tally = folder, writer, Tally()
        self._sealer, self._digest, self._limits, self._clock = sealer, digest, limits, clock
        with disk.writing(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in sorted(folder.glob(f"{writer}-*{SUFFIX}")):
                cut(path)
        self._prefix, self._number = f"{writer}-{time.time_ns():016x}{secrets.token_hex(3)}", 0
        self._queue: deque[_Item] = deque()
        self._lock = threading.Lock()
        self._taken = self._left = 0
        self._segment: Segment | None = None
        self._opened = 0.0
        self._word = os.urandom(WORD)
        self._batches: list[tuple[bytes, int]] = []
        self._written = 0
        self._waiters: list[_Waiter] = []
        self._trouble: StoreError | None = None
        self._retry_at = self._synced_at = 0.0
        self._fails = 0
        self._something, self._hurry = threading.Event(), threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"traffic-{writer}", daemon=True)
        self._thread.start()

    def append(
        self,
        thing: Exchange | Feedback | Mapping[str, Any],
        content: Content | None = None,
        *,
        sync: bool = False,
        how: Treatment = PLAIN,
        kind: int = EXCHANGE,
    ) -> Done | None:
        """Write an exchange down; it must not be changed afterwards.

        Args:
            sync: return something to await, which is over when the exchange is on disk. Needs a running loop.
            how: what is done to the content before it is written.
            kind: of the record, where it is none of an exchange.
        """
        waiter = _loop_waiter() if sync else None
        weight = 1024 if content is None else 1024 + len(content.asked) + len(content.answered)
        with self._lock:
            held = self._taken - self._left
            if held > self._limits.held or self._closing:
                return self._refuse(waiter)
            if content is not None and held + weight > self._limits.held // 2:
                content, weight = None, 1024
                self.tally.dropped_content += 1
            self._taken += weight
            self._queue.append((kind, thing, content, how, waiter, weight))
        if waiter is not None or held > self._limits.hurry:
            self._hurry.set()
        if not self._something.is_set():
            self._something.set()
        return None if waiter is None else waiter[1]

    def append_feedback(self, feedback: Feedback, *, sync: bool = True) -> Done | None:
        """Write a feedback down; awaiting what is returned, with `sync`, is having it on disk."""
        return self.append(feedback, sync=sync, kind=FEEDBACK)

    def append_erasure(self, tombstone: Mapping[str, Any]) -> None:
        """Write down that a subject's key was destroyed, and wait until that is on disk.

        Raises:
            StoreError: it could not be written.
        """
        self.append(dict(tombstone), kind=ERASED)
        self.flush()

    def flush(self) -> None:
        """Wait until everything appended before is on disk.

        Raises:
            StoreError: it is not, since the disk is full or fails.
        """
        waiting: Waiting[None] = Waiting()
        with self._lock:
            if self._closing:
                raise _closed(self.folder)
            self._queue.append((0, None, None, PLAIN, (None, waiting), 0))
        self._hurry.set()
        self._something.set()
        waiting.result()

    def _refuse(self, waiter: _Waiter | None) -> Done | None:
        self.tally.dropped_records += 1
        if waiter is None:
            return None
        trouble = _closed(self.folder) if self._closing else self._trouble or _full(self.folder)
        waiter[1].set_exception(trouble)
        done: Done = waiter[1]
        return done

    def close(self) -> None:
        """Write and sync what is waiting, and end. What a failing disk does not take is counted as dropped."""
        with self._lock:
            self._closing = True
        self._hurry.set()
        self._something.set()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Bytes in memory that are not yet known to be on disk, about."""
        return self._taken - self._left

    # The thread

    def _run(self) -> None:
        while True:
            self._something.wait(self._pause())
            if not self._closing:
                self._hurry.wait(self._limits.gather)
            self._something.clear()
            self._hurry.clear()
            closing = self._closing
            self._gather()
            self._try(self._clock(), must=closing)
            if closing and not self._queue:
                break
        self.tally.dropped_records += sum(count for _, count in self._batches)
        self._drop_segment()

    def _pause(self) -> float | None:
        """Seconds until there is something to do though nothing comes in; None: for ever."""
        now = self._clock()
        if self._trouble is not None:
            return max(0.0, self._retry_at - now)
        if self._batches:
            return max(0.0, self._synced_at + self._limits.sync - now)
        return None if self._segment is None else max(0.0, self._opened + self._limits.rotate_seconds - now)

    def _gather(self) -> None:
        """Turn what is queued into frames for the segment that is open."""
        items = [self._queue.popleft() for _ in range(len(self._queue))]
        sealer, made, weight = self._prepared(items), [], 0
        for kind, thing, content, how, waiter, heavy in items:
            if kind:
                made.append(self._frame(kind, thing, content, how, sealer))
                weight += heavy
                if waiter is not None and not made[-1]:
                    self._tell([waiter], _unfit())
                    continue
            if waiter is not None:
                self._waiters.append(waiter)
        if made:
            batch = b"".join(made)
            self._left += weight - len(batch)
            self._batches.append((batch, len(made)))

    def _prepared(self, items: list[_Item]) -> Sealer | None:
        """The sealer, with keys for all subjects for whom they can be had."""
        sealer = self._sealer
        wanted = {
            (thing.tenant, thing.subject)
            for _, thing, content, how, _, _ in items
            if content is not None and how.encrypt and thing.subject
        }
        if wanted and sealer is not None:
            with suppress(SartorError, OSError):  # accounting goes on, without content that could never be erased
                sealer.prepare(wanted)
        return sealer

    def _frame(self, kind: int, thing: Any, content: Content | None, how: Treatment, sealer: Sealer | None) -> bytes:
        """The record as it is written; empty where it can't be put into JSON."""
        form, kept = EMPTY, (b"", b"")
        try:
            row = exchange_row(thing) if kind == EXCHANGE else _OTHER_ROWS[kind](thing)
        except TypeError:
            self.tally.dropped_records += 1
            return b""
        if content is not None:
            try:
                form, kept = treat(content, thing, how, sealer, self._digest)
            except Exception:  # noqa: BLE001 - whatever a stranger's text does to a redactor, the row is written
                form = EMPTY
            self.tally.dropped_content += form == EMPTY
        return frame(self._word, kind, row, form=form, days=how.days, content=kept)

    def _try(self, now: float, *, must: bool = False) -> None:
        if self._trouble is not None and now < self._retry_at and not must:
            self._settle(self._trouble)
            return
        try:
            self._rotate(now)
            self._write(now)
            if self._batches and (self._waiters or must or now >= self._synced_at + self._limits.sync):
                self._sync(now)
            self._settle(None)
        except OSError as error:
            self.tally.failures += 1
            self._fails += 1
            self._retry_at = now + min(2 ** (self._fails - 1), 20) * self._limits.retry
            self._trouble = disk.explain(error, self.folder)
            self._settle(self._trouble)
            return
        self._trouble, self._fails = None, 0

    def _rotate(self, now: float) -> None:
        segment = self._segment
        old = segment is not None and now >= self._opened + self._limits.rotate_seconds
        if segment is not None and not self._written and (old or segment.size >= self._limits.rotate_bytes):
            self._drop_segment()

    def _drop_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
        self._segment, self._written = None, 0

    def _write(self, now: float) -> None:
        if not self._batches:
            return
        if self._segment is None:
            self._number += 1
            path = self.folder / f"{self._prefix}-{self._number:06d}{SUFFIX}"
            self._segment, self._opened, self._synced_at = Segment(path, self._word), now, now
        skip = self._written
        for batch, _ in self._batches:
            rest = memoryview(batch)[skip:]
            skip = max(0, skip - len(batch))
            while rest:
                try:
                    written = self._segment.write(rest)
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # else it can go on where it stopped
                        self._drop_segment()
                    raise
                self._written += written
                rest = rest[written:]

    def _sync(self, now: float) -> None:
        assert self._segment is not None
        try:
            self._segment.sync()
        except OSError:
            self._drop_segment()  # what the system has dropped from its cache it would call synced the next time
            raise
        self._left += sum(len(batch) for batch, _ in self._batches)
        self.tally.written += sum(count for _, count in self._batches)
        self._batches.clear()
        self._written, self._synced_at = 0, now

    def _settle(self, error: StoreError | None) -> None:
        waiters, self._waiters = self._waiters, []
        self._tell(waiters, error)

    def _tell(self, who: list[_Waiter], error: StoreError | None) -> None:
        """Tell who waits: one call into each loop for all of its waiters."""
        loops: dict[Any, list[Any]] = {}
        for loop, waiter in who:
            loops.setdefault(loop, []).append(waiter)
        for loop, waiters in loops.items():
            if loop is None:
                _resolve(waiters, error)
                continue
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, waiters, error)


def _resolve(waiters: list[Any], error: StoreError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _loop_waiter() -> _Waiter:
    loop = asyncio.get_running_loop()
    return loop, loop.create_future()


def _unfit() -> StoreError:
    return StoreError("The record can't be written as JSON, so it was not kept.", code="not_json")


def _closed(folder: Path) -> StoreError:
    return StoreError(f"The traffic log {folder} was closed before this was written.", code="store_closed")


def _full(folder: Path) -> StoreError:
    return StoreError(
        f"The disk does not keep up with the traffic log {folder}: too much waits in memory. Try again later.",
        code="store_busy",
    )

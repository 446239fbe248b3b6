"""One process holds the models of a machine and answers for all workers, over a Unix socket.

A worker's `RemoteEngine` stands where the models themselves stand in a single process; they and their batcher are on
the other side, so questions of all workers share batches. Frames are a length and JSON (questions, refusals) or plain
float64 (answers). Knows no HTTP, no labels and no store.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import orjson

from sartor.core import errors
from sartor.core.errors import BusyError, OverdueError, SartorError
from sartor.core.predict import Floats, Wish
from sartor.serving.engine import Work
from sartor.serving.fleet import Answered
from sartor.serving.written_frames import packed, packed_wish, unpacked, wish_of

LENGTH = struct.Struct("<I")
ANSWER = struct.Struct("<BQddI")
"""Kind, number of the question, out_of_scope, cpu_seconds, labels; then probabilities and logits."""
VECTORS = struct.Struct("<BQI")
"""Kind, number of the question, texts; then their embeddings."""

NUMBER = struct.Struct("<BQ")
"""Kind, number of the question; then a written answer, or a piece of one."""

ANSWERED, EMBEDDED, REFUSED, WRITTEN, PIECE = 0, 1, 2, 3, 4
WRITING = 4
"""Parts of a question for a written answer: variant, text, wish, and that it is one."""
MOST_BYTES = 16 * 1024 * 1024
"""Of one frame; a longer one is no frame."""


class Models(Protocol):
    """What the process holds."""

    async def ask(self, variant: str, text: str) -> Answered:
        """What a variant, by its digest, says about a text."""
        ...

    def write(self, variant: str, text: str, wish: Wish | None = None) -> AsyncIterator[str | Answered]:
        """What a variant writes about a text, piece by piece, then the whole."""
        ...

    async def embed(self, engine: str, base: str, texts: Sequence[str]) -> Floats:
        """(texts, d) embeddings of a base, by its digest."""
        ...


class _Frames(asyncio.Protocol):
    """One end of a connection: whole frames in, whole frames out."""

    def __init__(self, take: "Callable[[_Frames, memoryview], None]", lost: "Callable[[_Frames], None]") -> None:
        self._take, self._lost = take, lost
        self._read = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's for Unix sockets says that it is none

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        self._read += data
        at = 0
        while len(self._read) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._read, at)
            if size > MOST_BYTES:
                self.close()
                return
            if len(self._read) - at - LENGTH.size < size:
                break
            at += LENGTH.size
            self._take(self, memoryview(bytes(self._read[at : at + size])))
            at += size
        del self._read[:at]

    def send(self, *parts: bytes) -> None:
        """One frame; nothing where the other end is gone."""
        if self._transport is not None:
            self._transport.write(b"".join((LENGTH.pack(sum(map(len, parts))), *parts)))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class EngineServer:
    """The side that holds the models."""

    def __init__(self, models: Models, *, most: int = 4096) -> None:
        """Answer with these models; more than `most` questions at once are refused as busy."""
        self._models = models
        self._most = most
        self._asked: dict[tuple[_Frames, int], asyncio.Task[None]] = {}
        self._ends: set[_Frames] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self, listening: socket.socket) -> None:
        """Answer whoever connects to this Unix socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connected, sock=listening)

    async def close(self) -> None:
        """Take no more questions, and answer those that were taken."""
        if self._server is not None:
            self._server.close()
        if self._asked:
            await asyncio.wait(list(self._asked.values()))
        for end in list(self._ends):
            end.close()

    def _connected(self) -> _Frames:
        end = _Frames(self._take, self._ends.discard)
        self._ends.add(end)
        return end

    def _take(self, end: _Frames, frame: memoryview) -> None:
        number, seconds, *question = orjson.loads(frame)
        if not question:  # nobody waits for this one any more
            if (task := self._asked.get((end, number))) is not None:
                task.cancel()
            return
        if len(self._asked) >= self._most:
            end.send(_refusal(number, _busy(self._most)))
            return
        task = asyncio.create_task(self._answer(end, number, seconds, question))
        self._asked[end, number] = task
        task.add_done_callback(lambda _: self._asked.pop((end, number), None))

    async def _answer(self, end: _Frames, number: int, seconds: float, question: list[Any]) -> None:
        try:
            async with asyncio.timeout(seconds):
                if len(question) == WRITING:
                    await self._write(end, number, question)
                else:
                    end.send(*await self._found(number, question))
        except TimeoutError:
            return  # nobody waits any more
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            end.send(_refusal(number, error))

    async def _found(self, number: int, question: list[Any]) -> tuple[bytes, ...]:
        if len(question) == 3:
            vectors = np.ascontiguousarray(await self._models.embed(*question), np.float64)
            return VECTORS.pack(EMBEDDED, number, len(vectors)), vectors.tobytes()
        found = await self._models.ask(*question)
        if found.written is not None:
            return NUMBER.pack(WRITTEN, number), packed(found)
        shares = np.ascontiguousarray(found.probabilities, np.float64)
        logits = np.ascontiguousarray(found.logits, np.float64)
        head = ANSWER.pack(ANSWERED, number, found.out_of_scope, found.cpu_seconds, len(shares))
        return head, shares.tobytes(), logits.tobytes()

    async def _write(self, end: _Frames, number: int, question: list[Any]) -> None:
        variant, text, wish, _ = question
        async with aclosing(self._models.write(variant, text, wish_of(wish))) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if isinstance(piece, str):
                    end.send(NUMBER.pack(PIECE, number), piece.encode())
                else:
                    end.send(NUMBER.pack(WRITTEN, number), packed(piece))


@dataclass(slots=True)
class _Question:
    frame: bytes
    answer: "asyncio.Future[Any]"
    pieces: "asyncio.Queue[str] | None" = None
    """Where pieces of a written answer come."""
    sent: int = 0
    """How often; a second time after the engine went away, never a third."""


@dataclass(eq=False)
class RemoteEngine:
    """The side of a worker. Lives in one event loop."""

    path: Path
    """Of the engine's socket."""
    deadline: float = 30.0
    """Seconds that a question may take, a restart of the engine included."""
    most: int = 1024
    """Questions waiting at once; more are refused as busy."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    """In which `ask` is called."""
    _numbers: "count[int]" = field(default_factory=count)
    _waiting: dict[int, _Question] = field(default_factory=dict)
    _end: _Frames | None = None
    _connecting: "asyncio.Task[None] | None" = None

    async def ask(self, variant: str, text: str) -> Answered:
        """What a variant says about a text.

        Raises:
            BusyError: too many questions wait, or the engine went away twice under this one.
            OverdueError: no answer within the deadline.
            SartorError: what the engine said.
        """
        found: Answered = await self._answer_to([variant, text])
        return found

    async def write(self, variant: str, text: str, wish: Wish | None = None) -> AsyncIterator[str | Answered]:
        """What a variant writes about a text, piece by piece, then the whole. Raises as `ask` does; closed before its
        end, the engine writes no further token."""
        number, asked = self._asked([variant, text, packed_wish(wish), True])
        come = asked.pieces = asyncio.Queue()
        try:
            async with asyncio.timeout(self.deadline):
                while not (asked.answer.done() and come.empty()):
                    waiting = asyncio.create_task(come.get())
                    try:
                        await asyncio.wait([waiting, asked.answer], return_when=asyncio.FIRST_COMPLETED)
                        if waiting.done():
                            yield waiting.result()
                    finally:
                        waiting.cancel()
                yield asked.answer.result()
        except TimeoutError as error:
            raise self._overdue() from error
        finally:
            if self._waiting.pop(number, None) is not None and not asked.answer.done() and self._end is not None:
                self._end.send(orjson.dumps([number, 0]))

    async def embed(self, engine: str, base: str, texts: Sequence[str]) -> Floats:
        """(texts, d) embeddings of a base, by its digest. Raises as `ask` does."""
        found: Floats = await self._answer_to([engine, base, list(texts)])
        return found

    async def _answer_to(self, question: list[Any]) -> Any:
        number, asked = self._asked(question)
        try:
            async with asyncio.timeout(self.deadline):
                return await asked.answer
        except TimeoutError as error:
            raise self._overdue() from error
        finally:
            self._waiting.pop(number, None)

    def _asked(self, question: list[Any]) -> tuple[int, "_Question"]:
        if len(self._waiting) >= self.most:
            raise _busy(self.most)
        number = next(self._numbers)
        frame = orjson.dumps([number, self.deadline, *question])
        asked = self._waiting[number] = _Question(frame, self.loop.create_future())
        self._send(asked)
        return number, asked

    def _overdue(self) -> OverdueError:
        return OverdueError(
            f"The models of this machine did not answer within {self.deadline:g} seconds. Ask again later.",
            code="engine_timeout",
        )

    def probabilities(self, work: Work) -> list[Answered]:
        """One answer per (variant, text), in order; for other threads than the loop's, which it blocks."""

        async def all_of_them() -> list[Answered]:
            return list(await asyncio.gather(*(self.ask(variant, text) for variant, text in work)))

        return asyncio.run_coroutine_threadsafe(all_of_them(), self.loop).result()

    def close(self) -> None:
        """Hang up; whoever waits is told."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._end is not None:
            self._end.close()
            self._end = None
        for question in self._waiting.values():
            _fail(question, _gone())

    def _send(self, question: _Question) -> None:
        if self._end is not None:
            question.sent += 1
            self._end.send(question.frame)
        elif self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        """Until somebody answers, or nobody waits any more."""
        loop = asyncio.get_running_loop()
        pause = 0.02
        while self._waiting:
            try:
                _, end = await loop.create_unix_connection(lambda: _Frames(self._take, self._lost), str(self.path))
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.5)
                continue
            self._end = end
            for question in list(self._waiting.values()):
                self._send(question)
            return

    def _lost(self, end: _Frames) -> None:
        if end is not self._end:
            return
        self._end = None
        for question in self._waiting.values():
            if question.sent > 1:
                _fail(question, _gone())
        if any(not question.answer.done() for question in self._waiting.values()):
            self._connecting = asyncio.create_task(self._connect())

    def _take(self, _: _Frames, frame: memoryview) -> None:
        if frame[0] == REFUSED:
            number, *said = orjson.loads(frame[1:])
            if (refused := self._waiting.get(number)) is not None:
                _fail(refused, _said(*said))
            return
        answer: Answered | Floats
        if frame[0] in (WRITTEN, PIECE):
            _, number = NUMBER.unpack_from(frame)
            rest = frame[NUMBER.size :]
            if frame[0] == PIECE:
                asked = self._waiting.get(number)
                if asked is not None and asked.pieces is not None:
                    asked.pieces.put_nowait(bytes(rest).decode())
                return
            answer = unpacked(rest)
        elif frame[0] == EMBEDDED:
            _, number, texts = VECTORS.unpack_from(frame)
            answer = np.frombuffer(frame, np.float64, offset=VECTORS.size).reshape(texts, -1)
        else:
            _, number, out_of_scope, cpu_seconds, labels = ANSWER.unpack_from(frame)
            shares, logits = np.frombuffer(frame, np.float64, offset=ANSWER.size).reshape(2, labels)
            answer = Answered(shares, out_of_scope, logits, cpu_seconds)
        question = self._waiting.get(number)
        if question is not None and not question.answer.done():
            question.answer.set_result(answer)


def _fail(question: _Question, error: SartorError) -> None:
    if not question.answer.done():
        question.answer.set_exception(error)


def _gone() -> BusyError:
    return BusyError("The engine of this machine went away twice under this question.", retry_after=5.0)


def _busy(most: int) -> BusyError:
    return BusyError(f"{most} questions wait for the models of this machine. Ask again in a moment.", retry_after=1.0)


def _refusal(number: int, error: Exception) -> bytes:
    """An error as the other process can raise it again: class, message, code, field, seconds to wait."""
    if not isinstance(error, SartorError):
        error = SartorError(f"A model failed: {type(error).__name__}: {error}", code="engine_failed")
    retry_after = getattr(error, "retry_after", None)
    said = [number, type(error).__name__, error.message, error.code, error.param, retry_after]
    return bytes((REFUSED,)) + orjson.dumps(said)


def _said(name: str, message: str, code: str, param: str | None, retry_after: float | None) -> SartorError:
    if name == "BusyError":
        return BusyError(message, retry_after=retry_after or 1.0, code=code)
    kind = getattr(errors, name, SartorError)
    plain = isinstance(kind, type) and issubclass(kind, SartorError) and kind.__init__ is SartorError.__init__
    return (kind if plain else SartorError)(message, code=code, param=param)

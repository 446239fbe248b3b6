"""Answers as streams: an upstream's own events passed on as they come, or an answer made here as events of that form.

What it cost is known only at the end, so it stands in the chunk with the usage, where the application asked for one. An
error after the first byte is one last event in OpenAI's form; what arrived until then is booked with it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from sartor.core.errors import SartorError
from sartor.core.predict import Chunk, Hop, Predictor, Usage
from sartor.core.predict import Request as Asked
from sartor.gateway import booking, openai
from sartor.gateway.envelope import error_event
from sartor.gateway.wire.http import Response

if TYPE_CHECKING:
    from sartor.gateway.asking import Asking

EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")

KEPT = 1 << 20
"""Characters kept of a stream, for the record of one that breaks off."""

log = logging.getLogger("sartor.gateway")


async def begin(asking: "Asking", predictor: Predictor, asked: Asked) -> Response:
    """The answer's beginning, once its first piece is there; until then a failure still has a status of its own."""
    pieces = predictor.stream(asked)
    first = await asking.in_time(anext(pieces, None))
    asking.first = asking.tick()
    if first is None:
        raise SartorError("A model's answer ended before it began. Ask again.", code="empty_answer")
    if first.final is not None and first.final.reply is None:
        async for _ in pieces:
            pass
        return await _at_once(asking, first)
    response = Response(200, asking.headers(EVENTS))
    response.body = _relay(asking, response, first, pieces)
    return response


async def _at_once(asking: "Asking", only: Chunk) -> Response:
    """The stream of an answer that came whole."""
    asking.answer = only.final
    completed = asking.completed()
    cost = await asking.book_answer(orjson.dumps(completed))
    events = [*openai.chunks(completed, usage=asking.usage_wanted), *_end(asking, cost, b""), openai.DONE]
    return Response(200, asking.headers(EVENTS, cost), b"".join(events))


async def _relay(
    asking: "Asking", response: Response, first: Chunk, pieces: AsyncIterator[Chunk]
) -> AsyncIterator[bytes]:
    events = _Events(asking)
    try:
        async with aclosing(pieces):  # type: ignore[type-var]
            if first.final is None:
                yield events.of(first)
            else:
                events.end(first)
            async for piece in pieces:
                if piece.final is None:
                    yield events.of(piece)
                else:
                    events.end(piece)
        whole = asking.written()
        cost = await asking.book_answer(whole)
        if not events.begun:
            for event in openai.chunks(orjson.loads(whole), usage=asking.usage_wanted):
                yield event
        for event in (*events.closing(), *_end(asking, cost, events.usage)):
            yield event
        yield openai.DONE
    except (asyncio.CancelledError, GeneratorExit) as gone:
        gone.hops = events.paid_for(gone)  # type: ignore[union-attr]
        asking.book_failure(gone, events.arrived())
        raise
    except Exception as error:  # the status is out: the client is told in the stream
        if not isinstance(error, SartorError):
            log.exception("request %s failed", asking.request_id)
        response.close = True
        waiting = asking.book_failure(error, events.arrived())
        if waiting is not None:
            await waiting
        yield error_event(error, asking.request_id)


class _Events:
    """What has been passed on of a stream."""

    def __init__(self, asking: "Asking") -> None:
        self._asking = asking
        self._texts: list[str] = []
        self._kept = 0
        self._theirs = self._ours = b""
        self.begun = False
        self.made = False
        """Whether pieces were made here."""
        self.usage = b""
        """The upstream's own event that only has the usage."""

    def of(self, piece: Chunk) -> bytes:
        """The events of one piece, under our id."""
        if self._kept < KEPT:
            self._texts.append(piece.text)
            self._kept += len(piece.text)
        if piece.raw:
            if not self.begun:
                self.begun = True
                self._learn_id(piece.raw)
            return piece.raw.replace(self._theirs, self._ours) if self._theirs else piece.raw
        said = {"content": piece.text} if self.begun else {"role": "assistant", "content": piece.text}
        self.begun = self.made = True
        return self._delta(said)

    def _delta(self, said: dict[str, Any], finish: str | None = None) -> bytes:
        asking = self._asking
        if asking.endpoint == "completions":
            version = asking.served.version if asking.served else asking.model
            text = openai.text_completion(asking.ident, asking.created, version, said.get("content", ""), finish)
            return openai.event(text | ({"usage": None} if asking.usage_wanted else {}))
        return openai.delta(_head(asking), said, finish=finish, usage=asking.usage_wanted)

    def closing(self) -> list[bytes]:
        """The event that says why it ended, where the pieces were made here; an upstream's own says it itself."""
        answer = self._asking.answer
        return [self._delta({}, answer.finish)] if self.made and answer is not None else []

    def end(self, last: Chunk) -> None:
        """Take the last piece in: it says nothing more, but has the whole answer."""
        self._asking.answer, self.usage = last.final, last.raw

    def arrived(self) -> bytes:
        """What came, as one completion."""
        asking = self._asking
        if asking.answer is not None and asking.answer.reply is not None:
            return asking.answer.reply
        message = {"role": "assistant", "content": "".join(self._texts)}
        return orjson.dumps(openai.completion(asking.ident, asking.created, asking.model, message, "length"))

    def paid_for(self, gone: BaseException) -> tuple[Hop, ...]:
        """What a stream had cost when its reader left: by the length of what came, where nothing better is known."""
        served, known = self._asking.served, getattr(gone, "hops", ())
        if known or served is None or served.price is None or not self.begun:
            return tuple(known)
        usage = Usage(len(self._asking.request.body) // booking.CHARACTERS, -(-self._kept // booking.CHARACTERS))
        return (Hop(served.version, None, usage, served.price(usage), why="client gone, estimated", kind="upstream"),)

    def _learn_id(self, raw: bytes) -> None:
        ident = _first_object(raw).get("id")
        for form in (b'"id":"%b"', b'"id": "%b"'):
            theirs = form % str(ident).encode()
            if theirs in raw:
                self._theirs, self._ours = theirs, form % self._asking.ident.encode()


def _end(asking: "Asking", cost: int, theirs: bytes) -> list[bytes]:
    """The chunk with the usage and what it cost, where the application asked for it."""
    if not asking.usage_wanted:
        return []
    answer, served = asking.answer, asking.served
    usage = openai.usage_object(answer.usage if answer else Usage())
    chunk = {**_head(asking), "choices": [], "usage": usage, **_first_object(theirs)}
    sartor: dict[str, Any] = {"x-sartor-cost": float(booking.written(cost))}
    sartor["x-sartor-variant"] = answer.served_by if answer else ""
    sartor["x-sartor-route"] = served.name if served else ""
    return [openai.event(chunk | {"id": asking.ident} | sartor)]


def _head(asking: "Asking") -> dict[str, Any]:
    version = asking.served.version if asking.served else asking.model
    kind = "text_completion" if asking.endpoint == "completions" else "chat.completion.chunk"
    return openai.chunk_head(asking.ident, asking.created, version, kind)


def _first_object(event: bytes) -> dict[str, Any]:
    """The JSON object of the first event; empty where there is none that can be read."""
    try:
        found = orjson.loads(event[event.index(b"{") : event.index(b"\n\n")])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

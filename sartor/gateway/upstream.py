"""Somebody else's model as a Predictor: asked over HTTP, within its times, places and repeats, and booked.

A stream gives the server's own events as they come. The event that only carries the usage, and `[DONE]`, are not
relayed: the last chunk has `final`, and `raw` is the usage event (b"" where there was none). A stream that breaks after
it has begun gives what has arrived as such a last chunk, whose hop says `failed: …`, and then raises.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

from sartor.core.errors import AskError, BusyError, SartorError, UpstreamError
from sartor.core.predict import Chunk, Hop, Prediction, Request, Usage
from sartor.core.route import Upstream
from sartor.gateway.addresses import check_url
from sartor.gateway.breaker import Breaker
from sartor.gateway.places import Places
from sartor.gateway.protocol import PROTOCOLS, Asked, Dialect, StreamFaultError, read_usage
from sartor.gateway.relay import Relay
from sartor.gateway.retry import RETRYABLE, RetryBudget, pause, read_retry_after
from sartor.gateway.wire.client import Answer, BrokenError, Pool, Waits, shared_pool

__all__ = ["PROTOCOLS", "UpstreamPredictor", "open_upstream"]

KEY_SECONDS = 1.0
"""How long a key that was read is used before it is looked up again."""
CHARACTERS = 4
"""Of a token, where the server does not count."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading a stranger's JSON can raise."""
HELD_AGAINST = frozenset({"connect", "first_token", "between_chunks", "total", "closed", "malformed"})
"""Broken answers that speak against the upstream as a whole."""


def open_upstream(
    spec: Upstream,
    *,
    secret: Callable[[], str],
    price: Callable[[Usage], float],
    clock: Callable[[], float] = time.monotonic,
    pool: Pool | None = None,
) -> "UpstreamPredictor":
    """The upstream, ready to be asked; nothing is connected yet.

    Args:
        secret: gives the key at the moment it is needed, '' for none; it may be called once a second.
        price: money for what an answer consumed.
        clock: seconds, monotonic.
        pool: connections; default those that all upstreams of the running loop share.

    Raises:
        AskError: the address is not one that may be asked.
        NotFoundError: no such protocol.
    """
    plugin = PROTOCOLS.take(spec.protocol)
    dialect: Dialect = plugin(plugin.read({}))
    return UpstreamPredictor(spec, dialect, secret=secret, price=price, clock=clock, pool=pool)


class _Under(NamedTuple):
    """A request that is under way."""

    request: Request
    started: float
    """On the predictor's clock."""
    waits: Waits


class UpstreamPredictor:
    """One model on one server."""

    def __init__(
        self,
        spec: Upstream,
        dialect: Dialect,
        *,
        secret: Callable[[], str],
        price: Callable[[Usage], float],
        clock: Callable[[], float],
        pool: Pool | None,
    ) -> None:
        """See `open_upstream`."""
        self.spec = spec
        self.breaker = Breaker(clock)
        self.budget = RetryBudget()
        self._dialect = dialect
        self._origin, self._base = check_url(spec.base_url, allow_private=spec.allow_private)
        self._model, self._path = spec.model or spec.name, self._base.encode()
        self._secret, self._price, self._clock, self._pool = secret, price, clock, pool
        self._places = Places(spec.concurrency)
        self._key, self._key_at, self._lines = "", float("-inf"), b""

    async def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """The answers; several requests are asked at once.

        Raises:
            UpstreamError: it did not answer, or refused; its message never holds keys or headers.
            BusyError: no free place within `timing.queue` seconds.
            AskError: the request can't be said in the upstream's protocol.
        """
        if len(requests) == 1:
            return [await self._one(requests[0])]
        tasks = [asyncio.ensure_future(self._one(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:  # nobody waits for the others any more
                task.cancel()
            raise

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer as it comes; raises what `predict` does, at the start or in the middle."""
        under = self._begin(request)
        asked = self._asked(request, stream=True)
        await self._enter()
        try:
            answer = await self._send(asked, under, stream=True)
            try:
                if not answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                    answer.abort()
                    raise self._unreadable(f"its stream has the type '{_content_type(answer)}'")
                async for chunk in self._relayed(answer, under, len(asked.body)):
                    yield chunk
            finally:
                answer.abort()
        finally:
            self._places.give_back()

    async def _one(self, request: Request) -> Prediction:
        under = self._begin(request)
        asked = self._asked(request, stream=False)
        if not self._places.take_free():
            await self._enter()
        try:
            answer = await self._send(asked, under, stream=False)
        finally:
            self._places.give_back()
        body = answer.body
        try:
            told = self._dialect.read(request.endpoint, body)
        except UNREADABLE as error:
            raise self._unreadable(f"its answer ({_content_type(answer)}) is no completion") from error
        self.breaker.good()
        usage = told.usage or _estimated(asked, told.text)
        why = "" if told.usage else "usage estimated"
        return self._prediction(under, told.text, usage, told.reply, why)

    def _prediction(self, under: _Under, text: str | None, usage: Usage, reply: bytes, why: str) -> Prediction:
        name, cost = self.spec.name, self._price(usage)
        hop = Hop(name, text, usage, cost, None, why, self._clock() - under.started, "upstream")
        return Prediction(output=text, served_by=name, usage=usage, cost=cost, hops=(hop,), reply=reply)

    def _begin(self, request: Request) -> _Under:
        timing = self.spec.timing
        return _Under(request, self._clock(), Waits(timing, asyncio.get_running_loop().time() + timing.total))

    def _asked(self, request: Request, *, stream: bool) -> Asked:
        chat = request.chat
        if chat is None:
            chat = {"messages": [{"role": "user", "content": request.text}]}
        try:
            return self._dialect.ask(request.endpoint, chat, self._model, stream=stream)
        except UNREADABLE as error:
            raise AskError(
                f"The request can't be rewritten for the upstream '{self.spec.name}' (protocol {self.spec.protocol}): "
                f"a message, tool or setting in it is not written as OpenAI's protocol says ({error}).",
                code="bad_request",
            ) from error

    async def _enter(self) -> None:
        """Take one of the places, or be told when to come again."""
        wait = self.spec.timing.queue
        if not await self._places.take(wait):
            raise BusyError(
                f"The upstream '{self.spec.name}' has {self.spec.concurrency} requests under way, and none ended "
                f"within {wait:g} seconds. Try again later, or raise its 'concurrency'.",
                retry_after=max(wait, 1.0),
            )

    async def _send(self, asked: Asked, under: _Under, *, stream: bool) -> Answer:
        """The answer of the first attempt that got one with status 200; what failed before is asked again if it may."""
        self.budget.earn()
        attempt = 0
        while True:
            try:
                return await self._attempt(asked, under, stream=stream)
            except UpstreamError as failure:
                again = failure.retryable and attempt < self.spec.retries and failure.code != "upstream_open"
                wait = pause(attempt, failure.retry_after) if again else None
                left = under.waits.until - asyncio.get_running_loop().time()
                if wait is None or wait >= left or not self.budget.spend():
                    raise
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(self, asked: Asked, under: _Under, *, stream: bool) -> Answer:
        payload = self._payload(asked)
        if closed_for := self.breaker.admit():
            raise UpstreamError(
                f"The upstream '{self.spec.name}' kept failing, so it is left alone for {closed_for:.1f} seconds.",
                retryable=True,
                code="upstream_open",
                status=503,
                retry_after=closed_for,
            )
        pool = self._pool or shared_pool()
        try:
            answer = await pool.ask(self._origin, payload, under.waits, stream=stream)
            if answer.status == 200:
                if stream:
                    self.breaker.good()
                return answer
            body = await answer.read()
        except BrokenError as error:
            raise self._broken(error) from error
        except AskError as error:  # the address; whoever asks us has no part in it
            self.breaker.unknown()
            raise UpstreamError(error.message, retryable=False, code=error.code) from error
        except BaseException:
            self.breaker.unknown()
            raise
        raise self._refusal(answer, body)

    def _payload(self, asked: Asked) -> bytes:
        now = self._clock()
        if now - self._key_at > KEY_SECONDS:
            self._lines, self._key_at = self._header_lines(), now
        return b"POST %b%b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (
            self._path,
            asked.path.encode(),
            self._lines,
            len(asked.body),
            asked.body,
        )

    def _header_lines(self) -> bytes:
        try:
            key = self._key = self._secret()
        except SartorError as error:
            raise UpstreamError(error.message, retryable=False, code="upstream_key") from error
        if not (key.isascii() and key.isprintable()):  # it would end the header that carries it
            raise UpstreamError(
                f"The key of the upstream '{self.spec.name}' is no one line of ASCII. Look at where it is kept.",
                retryable=False,
                code="upstream_key",
            )
        headers = {
            "host": self._origin.authority,
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "sartor",
            **self._dialect.fixed_headers(),
        }
        if key:
            name, value = self._dialect.key_header(key)
            headers[name] = value
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")

    # Streams.

    async def _relayed(self, answer: Answer, under: _Under, asked_bytes: int) -> AsyncIterator[Chunk]:
        dialect, legacy = self._dialect, under.request.endpoint == "completions"
        relay = Relay(dialect.events(), plain=dialect.plain, legacy=legacy)
        failure: UpstreamError | None = None
        begun = False
        try:
            async for data in answer.chunks():
                said, raw, wrong = relay.take(data)
                if raw:
                    begun = True
                    yield Chunk(said, raw=raw)
                if wrong is not None:
                    raise wrong
                if relay.ended:
                    break
            answer.leave()
            if not relay.whole:
                failure = self._cut()
        except BrokenError as error:
            failure = self._broken(error)
        except StreamFaultError as error:
            self.breaker.bad()
            failure = self._told(200, error.fault.message, "", None)
        except UNREADABLE as error:
            failure = self._unreadable(f"its stream holds what is no event ({str(error)[:100]})")
        except asyncio.CancelledError as gone:
            # What had come is paid for, whether or not somebody is left to read it.
            final = self._last(under, relay, asked_bytes, None).final
            gone.hops = final.hops if final else ()  # type: ignore[attr-defined]
            raise
        if failure is None or begun:
            yield self._last(under, relay, asked_bytes, failure)
        if failure is not None:
            raise failure

    def _last(self, under: _Under, relay: Relay, asked_bytes: int, failure: UpstreamError | None) -> Chunk:
        """The last chunk of a stream: all that came, what it consumed, and how it failed if it did."""
        text = relay.collected.text
        try:
            counted = read_usage(relay.collected.usage)
        except UNREADABLE:
            counted = None
        usage = counted or Usage(asked_bytes // CHARACTERS, _tokens(text))
        notes = ["failed: " + failure.code] if failure else []
        notes += [] if counted else ["usage estimated"]
        prediction = self._prediction(under, text, usage, relay.collected.reply(usage), ", ".join(notes))
        return Chunk("", final=prediction, raw=relay.usage_event)

    # Failures, in words that hold no keys.

    def _broken(self, error: BrokenError) -> UpstreamError:
        if error.kind in HELD_AGAINST:
            self.breaker.bad()
        else:
            self.breaker.unknown()
        slow = error.kind in ("first_token", "between_chunks", "total")
        # A request that may be worked on is not sent twice: it would be paid twice.
        retryable = error.kind == "connect" or (error.kind == "closed" and not error.begun)
        return UpstreamError(
            f"The upstream '{self.spec.name}' failed: {error.why}.",
            retryable=retryable,
            code="upstream_timeout" if slow else f"upstream_{error.kind}",
            status=504 if slow else 502,
        )

    def _cut(self) -> UpstreamError:
        self.breaker.bad()
        return UpstreamError(
            f"The upstream '{self.spec.name}' failed: it ended its stream before the answer was whole.",
            retryable=False,
            code="upstream_closed",
        )

    def _unreadable(self, why: str) -> UpstreamError:
        self.breaker.bad()
        return UpstreamError(
            f"The upstream '{self.spec.name}' answered in a way that can't be read: {why}. "
            f"Check that its base_url speaks the protocol '{self.spec.protocol}'.",
            retryable=False,
            code="upstream_unreadable",
        )

    def _refusal(self, answer: Answer, body: bytes) -> UpstreamError:
        """What an answer other than 200 means for whoever asked."""
        status = answer.status
        try:
            fault = self._dialect.fault(body)
        except UNREADABLE:
            fault = None
        if 300 <= status < 400:
            return self._unreadable(f"it redirects (status {status}), and redirects are not followed")
        if status >= 500:
            self.breaker.bad()
        else:
            self.breaker.good()
        if status in (401, 403) or (fault and fault.key_refused):
            return UpstreamError(
                f"The upstream '{self.spec.name}' refused our key (status {status}). Its operator must look at it.",
                retryable=False,
                code="upstream_key_refused",
            )
        wait = read_retry_after(answer.headers.get(b"retry-after"))
        said = fault.message if fault else f"status {status} and no error that can be read ({_content_type(answer)})"
        return self._told(status, said, fault.code if fault else "", wait, fault.param if fault else None)

    def _told(
        self, status: int, said: str, code: str, retry_after: float | None, param: str | None = None
    ) -> UpstreamError:
        """An error in the upstream's own words."""
        if self._key:
            said = said.replace(self._key, "[key]")
        ours = status in (400, 404, 408, 409, 413, 422, 429)
        return UpstreamError(
            said[:2000] if ours else f"The upstream '{self.spec.name}' failed: {said[:2000]}",
            retryable=status in RETRYABLE and code != "insufficient_quota",
            code=code[:100] if ours and code else "upstream_error",
            status=status if ours else 503 if status in (503, 529) else 502,
            param=param[:200] if param else None,
            retry_after=retry_after,
        )


def _tokens(text: str | None) -> int:
    return -(-len(text or "") // CHARACTERS)


def _estimated(asked: Asked, text: str | None) -> Usage:
    return Usage(len(asked.body) // CHARACTERS, _tokens(text))


def _content_type(answer: Answer) -> Any:
    kind = answer.headers.get(b"content-type", b"no type").decode("latin-1")
    return kind.partition(";")[0][:60] if kind.isprintable() else "unreadable"

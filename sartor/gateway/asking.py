"""One request for an answer: read, admitted, asked, written, booked. Whatever happens to it, it is booked once.

An answer that a task gives is written here in the form that the application expects; one that an upstream gave is
passed on as it is, but for its id: under that id the exchange is booked, and feedback finds it.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from sartor.core.access import Caller
from sartor.core.errors import AskError, OverdueError, SartorError, UpstreamError
from sartor.core.predict import Prediction, Predictor, Usage
from sartor.core.predict import Request as Asked
from sartor.core.route import Capture
from sartor.core.traffic import NANO, Content, Exchange, HopRow
from sartor.gateway import booking, openai
from sartor.gateway.answers import PLAIN, Form, form_of, json_fields
from sartor.gateway.bounds import Limits
from sartor.gateway.deadlines import Deadlines
from sartor.gateway.envelope import JSON, error_response
from sartor.gateway.parts import Counters, Limiter, Recorder
from sartor.gateway.routes import Routes, Served
from sartor.gateway.streaming import begin
from sartor.gateway.strict_json import read_object
from sartor.gateway.unpack import read_input, resolve
from sartor.gateway.wire.http import Request, Response
from sartor.gateway.wishes import wish_of

PREFIX = {"chat": "chatcmpl-", "completions": "cmpl-", "embeddings": "embd-"}
"""Beginning of the ids of exchanges."""
ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"([^"\\]*)"')
GONE = 499
ANSWER_TOKENS = 256
"""Set aside for an answer of which the request says no bound."""
MOST_TOKENS = 1_000_000
NOTHING = Capture(level="off")
"""Of requests that came to no route."""

log = logging.getLogger("sartor.gateway")


@dataclass(frozen=True)
class Desk:
    """What all requests share."""

    routes: Routes
    limiter: Limiter
    recorder: Recorder
    counters: Counters
    limits: Limits
    clock: Callable[[], float]
    new_id: Callable[[], str]
    expected: booking.Expected = field(default_factory=booking.Expected)
    deadlines: Deadlines = field(default_factory=Deadlines)


class Asking:
    """What is known of one request, and what is done with it."""

    __slots__ = (
        "_admission", "_begun", "_booked", "_decision", "_desk", "answer", "at", "caller", "chat", "created",
        "endpoint", "first", "form", "ident", "label", "model", "request", "request_id", "served", "stream",
        "usage_wanted", "user",
    )  # fmt: skip

    def __init__(self, desk: Desk, caller: Caller, request: Request, endpoint: openai.Endpoint) -> None:
        self._desk, self.caller, self.request, self.endpoint = desk, caller, request, endpoint
        self._begun = self.tick()
        self.at = desk.clock()
        self.created = int(self.at)
        bare = desk.new_id()
        self.ident, self.request_id = PREFIX[endpoint] + bare, "req_" + bare
        self.chat: dict[str, Any] = {}
        self.served: Served | None = None
        self.answer: Prediction | None = None
        self.form: Form = PLAIN
        self.model = self.user = ""
        self.label: str | None = None
        self.stream = self.usage_wanted = self._booked = False
        self.first: float | None = None
        self._decision: Literal["", "unmatched"] = ""
        self._admission: Any = None

    tick = staticmethod(time.monotonic)

    async def respond(self) -> Response:
        """The answer or the refusal; a stream goes on after this."""
        try:
            predictor, asked = await self._prepare()
            if self.stream:
                return await begin(self, predictor, asked)
            (self.answer,) = await self.in_time(predictor.predict([asked]))
            body = self.written()
            cost = await self.book_answer(body)
            return Response(200, self.headers(JSON, cost), body)
        except asyncio.CancelledError as gone:
            self.book_failure(gone)
            raise
        except Exception as error:  # noqa: BLE001 - all of them are booked, and become answers
            return await self.refuse(error)

    async def refuse(self, error: Exception) -> Response:
        """Book a failure and say it."""
        if not isinstance(error, SartorError):
            log.error("request %s failed", self.request_id, exc_info=error)
        waiting = self.book_failure(error)
        if waiting is not None:
            await waiting
        return error_response(error, self.request_id)

    async def in_time(self, answering: Awaitable[Any]) -> Any:
        """What is awaited, if it comes before the answer is overdue."""
        seconds = self._desk.limits.answer_seconds
        try:
            return await self._desk.deadlines.within(seconds, answering)
        except TimeoutError as error:
            raise OverdueError(
                f"'{self.model}' did not answer within {seconds:g} seconds. Try again later.", code="answer_timeout"
            ) from error

    async def _prepare(self) -> tuple[Predictor, Asked]:
        """What is asked, and who answers."""
        desk, request = self._desk, self.request
        refuse_encoded(request)
        chat = self.chat = read_object(request.body, depth=desk.limits.json_depth)
        self.model, self.stream, self.usage_wanted = openai.read_model(chat)
        served = self.served = desk.routes.resolve(self.model, self.caller)
        user = chat.get("user") or chat.get("safety_identifier")
        self.user = user if isinstance(user, str) else ""
        if self.endpoint == "embeddings":
            self.stream = False
        route = served.route
        usage = _usage(request.body, chat)
        money = desk.expected.of(route.name)
        if served.price is not None:
            money = max(money, served.price(usage))
        tokens = usage.input_tokens + usage.output_tokens
        admission = desk.limiter.admit(self.caller, route, tokens=tokens, money=money)
        self._admission = await admission if hasattr(admission, "__await__") else admission
        sticky = self.user or self.caller.key or self.ident
        if served.task is not None and (asked := self._input(served, sticky)) is not None:
            return served.predictor, asked
        predictor = served.predictor if served.task is None else served.unmatched
        assert predictor is not None
        tenant, key = self.caller.tenant, self.caller.key
        asked = Asked("", self.ident, chat=chat, endpoint=self.endpoint, sticky=sticky, tenant=tenant, key=key)
        return predictor, asked

    def _input(self, served: Served, sticky: str) -> Asked | None:
        """The task's input; None where the request has to go to the upstream as it is."""
        assert served.task is not None
        limits = self._desk.limits
        try:
            openai.check_for_task(self.endpoint, self.chat, max_messages=limits.messages, writes=served.writes)
            wish = wish_of(self.chat) if served.writes else None
            if self.endpoint == "chat" and not served.writes:
                self.form = form_of(self.chat, fields=json_fields(served.task.input.prompt))
            asked = read_input(
                self.chat,
                served.task,
                id=self.ident,
                max_bytes=limits.text_bytes,
                sticky=sticky,
                tenant=self.caller.tenant,
                key=self.caller.key,
            )
            return asked if wish is None else replace(asked, wish=wish)
        except AskError:
            if served.unmatched is None:
                raise
            self._decision = "unmatched"
            return None

    # What goes out.

    def written(self) -> bytes:
        """The body of the answer."""
        answer = self.answer
        assert answer is not None
        if answer.reply is not None:
            if self.served is not None and answer.output in self.served.known:
                self.label = answer.output
            return answer.reply if self.endpoint == "embeddings" else renamed(answer.reply, self.ident)
        return orjson.dumps(self.completed() | {"usage": openai.usage_object(answer.usage)})

    def completed(self) -> dict[str, Any]:
        """An answer that is made here, as a completion without its usage."""
        answer, served = self.answer, self.served
        assert answer is not None
        assert served is not None
        if self.endpoint == "embeddings":
            raise AskError(
                f"'{served.name}' makes no embeddings. Ask it for chats.", code="unsupported_endpoint", param="model"
            )
        label = answer.output
        if answer.decision == "escalate" and served.task is not None and served.task.fallback is not None:
            # There was nobody to escalate to.
            label = served.task.fallback
        if label is None:
            raise UpstreamError(
                f"'{served.name}' has no answer to this input, and its task declares no fallback.",
                retryable=False,
                code="no_answer",
            )
        if served.task is not None:
            self.label = label
        if self.endpoint == "completions":
            return openai.text_completion(self.ident, self.created, served.version, label, answer.finish)
        message, finish = self.form.write(label, self.ident)
        finish = answer.finish if served.writes else finish
        made = openai.completion(self.ident, self.created, served.version, message, finish)
        made["choices"][0]["logprobs"] = openai.token_logprobs(answer.logprobs)
        return made

    def headers(self, kind: tuple[bytes, bytes], cost: int | None = None) -> list[tuple[bytes, bytes]]:
        """Headers of an answer; of a stream that has not ended, without a cost, only what is known by then."""
        route = self.served.name if self.served else ""
        found = [kind, (b"x-request-id", self.request_id.encode()), (b"x-sartor-route", route.encode())]
        answer = self.answer
        if answer is not None and cost is not None:
            found += (
                (b"x-sartor-variant", answer.served_by.encode()),
                (b"x-sartor-cost", booking.written(cost).encode()),
                (b"x-sartor-decision", (self._decision or answer.decision).encode()),
            )
            if answer.confidence is not None:
                found.append((b"x-sartor-confidence", b"%.6g" % answer.confidence))
        return found

    # What is booked.

    async def book_answer(self, answered: bytes) -> int:
        """Book the answer, before it goes out; returns its cost in nano-units."""
        exchange, waiting = self.book(answered=answered)
        if waiting is not None:
            await waiting
        return exchange.cost

    def book(
        self, *, answered: bytes = b"", status: int = 200, error: str = "", hops: Any = ()
    ) -> tuple[Exchange, Awaitable[None] | None]:
        """Write the exchange down, settle what was set aside for it, count it.

        Args:
            hops: where there is no answer that has them.

        Returns:
            The exchange, and what has to be waited for before the answer goes out.
        """
        self._booked = True
        desk, served, answer = self._desk, self.served, self.answer
        if answer is not None:
            hops = booking.hops_of(answer)
        spec = served.route.capture if served else NOTHING
        exchange = self._exchange(booking.rows(hops, served.known if served else ()), status, error)
        content = None if spec.level == "off" else Content(self.request.body, answered)
        waiting = desk.recorder.record(exchange, content, spec)
        money = exchange.cost / NANO
        if self._admission is not None:
            tokens = exchange.input_tokens + exchange.output_tokens
            desk.limiter.settle(self._admission, tokens=tokens, money=money)
        desk.expected.saw(exchange.route, money)
        desk.counters.exchange(exchange)
        return exchange, waiting

    def book_failure(self, error: BaseException, answered: bytes = b"") -> Awaitable[None] | None:
        """Book how it failed, unless it was booked before. Errors may carry the `hops` that were paid for."""
        if self._booked:
            return None
        hops = getattr(error, "hops", ())
        if isinstance(error, Exception):
            status, code = (error.http_status, error.code) if isinstance(error, SartorError) else (500, "server_error")
        else:
            status, code = GONE, "client_gone"
        return self.book(answered=answered, status=status, error=code, hops=hops)[1]

    def _exchange(self, rows: list[HopRow], status: int, error: str) -> Exchange:
        served, answer, caller, mark = self.served, self.answer, self.caller, self._desk.recorder.mark
        now = self.tick()
        route = served.route.name if served else ""
        # Names for so many fields in one call would take longer than to set what there is.
        found = Exchange(self.ident, self.at, caller.tenant, caller.key, route, self.model[:300], self.endpoint)
        if served is not None:
            found.task = served.task.name if served.task else ""
            found.version = served.version
        if answer is not None:
            found.variant = answer.served_by
            if served is not None and answer.served_by != served.variant:
                found.version = answer.served_by
            found.confidence, found.arm, found.propensity = answer.confidence, answer.arm, answer.propensity
        found.decision, found.status, found.error = self._decided(status), status, error
        found.label = self.label if status == 200 else None
        found.stream, found.request_id, found.hops = self.stream, self.request_id, rows
        for row in rows:
            found.input_tokens += row.input_tokens
            found.output_tokens += row.output_tokens
            found.cost += row.cost
        found.seconds, found.first_seconds = now - self._begun, (self.first or now) - self._begun
        if self.user:
            found.subject = mark(self.user)
        if business := self._business():
            found.business = mark(business)
        return found

    def _decided(self, status: int) -> Literal["answer", "escalate", "unmatched", "refused", "failed"]:
        if status != 200:
            return "refused" if status < GONE else "failed"
        return self._decision or (self.answer.decision if self.answer else "answer")

    def _business(self) -> str:
        """The application's own id of the case."""
        given = self.request.headers.get(b"x-sartor-key")
        if given is not None:
            return given.decode("utf-8", "replace")
        pointer = self.served.route.business_key if self.served else ""
        if pointer[1:].partition("/")[0] not in self.chat:
            return ""
        try:
            found = resolve(self.chat, pointer)
        except (LookupError, AskError):
            return ""
        return str(found) if isinstance(found, (str, int)) else ""


def refuse_encoded(request: Request) -> None:
    """Refuse a body that is packed.

    Raises:
        AskError: it is.
    """
    coding = request.headers.get(b"content-encoding", b"identity")
    if coding.lower() != b"identity":
        raise AskError(
            f"The request's body is encoded as '{coding.decode('latin-1')[:40]}', which is not read here. "
            "Send it plain.",
            code="unsupported_encoding",
        )


def renamed(reply: bytes, ident: str) -> bytes:
    """A completion under another id."""
    found = ID.match(reply)
    if found is not None:
        return b"%b%b%b" % (reply[: found.start(1)], ident.encode(), reply[found.end(1) :])
    try:
        return orjson.dumps(orjson.loads(reply) | {"id": ident})
    except (ValueError, TypeError):
        return reply


def _usage(body: bytes, chat: dict[str, Any]) -> Usage:
    """What a request may take, roughly; of the answer what it allows at most."""
    most = chat.get("max_completion_tokens") or chat.get("max_tokens")
    said = most if isinstance(most, int) and 0 < most <= MOST_TOKENS else ANSWER_TOKENS
    return Usage(len(body) // booking.CHARACTERS, said)

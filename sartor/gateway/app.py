"""The data plane: what applications call. OpenAI's endpoints over whatever answers under which name; loads no model.

Every address stands in one table with the permission that it takes; a data plane with an undeclared one is not built.
Who calls, what they may use and where it is written down are others' affairs: see `parts`.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import orjson

from sartor.core.access import Caller, Permission
from sartor.core.errors import ForbiddenError, MethodError, SartorError, unknown
from sartor.core.task import FeedbackMetric
from sartor.gateway import openai, tuning
from sartor.gateway.asking import Asking, Desk, refuse_encoded
from sartor.gateway.bounds import Limits
from sartor.gateway.door import LOOPBACK, Door
from sartor.gateway.envelope import JSON, error_response
from sartor.gateway.parts import Counters, Inbox, Keyring, Limiter, Recorder, Tuner
from sartor.gateway.routes import Routes
from sartor.gateway.strict_json import read_object
from sartor.gateway.wire.http import Request, Response

PERMISSIONS: Mapping[str, Permission] = {
    **tuning.PERMISSIONS,
    "POST /v1/chat/completions": "ask",
    "POST /v1/completions": "ask",
    "POST /v1/embeddings": "ask",
    "POST /v1/feedback": "ask",
    "GET /v1/models": "list",
    "GET /v1/models/{name}": "list",
    "GET /health": "anyone",
    "GET /ready": "anyone",
    "GET /openapi.json": "anyone",
}
"""Method and path -> what a caller must be allowed. Without keys, whoever passes the door is allowed all of it."""

NAMED = "/v1/models/"
FEEDBACK_DEPTH = 8
FETCHED = 256
"""Ids made at one time."""
NOBODY = Caller()

Handler = Callable[[Caller, Request], Awaitable[Response]]

log = logging.getLogger("sartor.gateway")


class Address(NamedTuple):
    """What happens at one method of one path."""

    handler: Handler
    permission: Permission


class Ids:
    """32 random hexadecimal digits at each call. Many are fetched at once: to fetch lets go of the interpreter."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[str] = []

    def __call__(self) -> str:
        """The next one."""
        if not self._left:
            found = os.urandom(16 * FETCHED).hex()
            self._left = [found[at : at + 32] for at in range(0, len(found), 32)]
        return self._left.pop()


class DataPlane:
    """The handler of every request, for `wire.server.serve`."""

    def __init__(  # noqa: PLR0913 - each is another's affair
        self,
        routes: Routes,
        *,
        keyring: Keyring,
        limiter: Limiter,
        recorder: Recorder,
        counters: Counters,
        inbox: Inbox,
        tuner: Tuner | None = None,
        limits: Limits = Limits(),
        hosts: Collection[str] = LOOPBACK,
        origins: Collection[str] = (),
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """A data plane.

        Args:
            routes: what answers under which name.
            tuner: files and fine-tuning jobs; None: they are refused.
            hosts: names, without port, under which the server may be called; '*' allows any.
            origins: web origins whose pages may call it, besides its own.
            clock: seconds since 1970.
            new_id: what ids of exchanges and requests end in; default random.
        """
        new_id = new_id or Ids()
        self.draining = False
        """Whether `/ready` says that no more requests should come."""
        self._routes, self._keyring, self._inbox = routes, keyring, inbox
        self._door = Door(hosts=hosts, origins=origins)
        self._desk = Desk(routes, limiter, recorder, counters, limits, clock, new_id)
        self._new_id, self._limits = new_id, limits
        self._described = b""
        self._workroom = tuning.Workroom(tuner, keyring, self._request_id)
        self.spool = self._workroom.spool
        """Where the body of a request goes, by its head: for `wire.server.serve`."""
        self._table = declared(
            {
                "POST /v1/chat/completions": self.chat,
                "POST /v1/completions": self.completions,
                "POST /v1/embeddings": self.embeddings,
                "POST /v1/feedback": self.feedback,
                "GET /v1/models": self.models,
                "GET /v1/models/{name}": self.model,
                "GET /health": self.health,
                "GET /ready": self.ready,
                "GET /openapi.json": self.openapi,
                **self._workroom.handlers(),
            }
        )

    async def handle(self, request: Request) -> Response:
        """The answer to one request, whatever comes. Cancelled when the client leaves."""
        try:
            self._door.check(request.headers)
            address = self._find(request)
            if address.permission == "anyone":
                return await address.handler(NOBODY, request)
            caller = self._keyring.identify(request.headers)
            if not caller.may(address.permission):
                raise ForbiddenError(
                    f"This key has the role '{caller.role}', which may not '{address.permission}'. "
                    "Use a key with another role.",
                    code="role_not_allowed",
                )
            return await address.handler(caller, request)
        except SartorError as error:
            return error_response(error)
        except Exception as error:
            ident = f"req_{self._new_id()}"
            log.exception("request %s failed", ident)
            return error_response(error, ident)

    def _find(self, request: Request) -> Address:
        """What happens at an address; one name stands for HEAD and GET."""
        path = request.path
        method = "GET" if request.method == "HEAD" else request.method
        found = self._table.get(f"{method} {path}")
        return found or self._table.get(f"{method} {_pattern(path)}") or Address(self._unrouted, "anyone")

    async def _unrouted(self, _: Caller, request: Request) -> Response:
        """No such address, or not for this method."""
        path = _pattern(request.path)
        allowed = [method for method, known in (name.split(" ") for name in self._table) if known == path]
        if not allowed:
            raise unknown("address", request.path[:200], [name.split(" ")[1] for name in self._table])
        told = ", ".join(sorted([*allowed, "HEAD"] if "GET" in allowed else allowed))
        response = error_response(
            MethodError(
                f"'{request.path[:200]}' does not take {request.method}; it takes {told}.", code="method_not_allowed"
            )
        )
        response.headers.append((b"allow", told.encode()))
        return response

    def chat(self, caller: Caller, request: Request) -> Awaitable[Response]:
        """`POST /v1/chat/completions`, as a stream or not."""
        return Asking(self._desk, caller, request, "chat").respond()

    def completions(self, caller: Caller, request: Request) -> Awaitable[Response]:
        """`POST /v1/completions`, as a stream or not."""
        return Asking(self._desk, caller, request, "completions").respond()

    def embeddings(self, caller: Caller, request: Request) -> Awaitable[Response]:
        """`POST /v1/embeddings`."""
        return Asking(self._desk, caller, request, "embeddings").respond()

    async def feedback(self, caller: Caller, request: Request) -> Response:
        """`POST /v1/feedback`: what became of an exchange."""
        refuse_encoded(request)
        body = read_object(request.body, depth=FEEDBACK_DEPTH)
        metrics: dict[str, FeedbackMetric] = {}
        for served in self._routes.names(caller):
            if served.task is not None:
                metrics |= served.task.feedback
        return self._json(await self._inbox.receive(caller, body, metrics))

    async def models(self, caller: Caller, _: Request) -> Response:
        """`GET /v1/models`: every name that the caller can ask for."""
        found = [openai.model_object(s.name, s.created, s.fields) for s in self._routes.names(caller)]
        return self._json(openai.model_list(found))

    async def model(self, caller: Caller, request: Request) -> Response:
        """`GET /v1/models/{name}`."""
        served = self._routes.resolve(unquote(request.path[len(NAMED) :]), caller)
        return self._json(openai.model_object(served.name, served.created, served.fields))

    async def health(self, _: Caller, __: Request) -> Response:
        """`GET /health`: the process lives."""
        return self._json({"status": "ok"})

    async def ready(self, _: Caller, __: Request) -> Response:
        """`GET /ready`: there is something to ask for, and more requests may come."""
        count = len(self._routes.names(NOBODY))
        status = "draining" if self.draining else "ready" if count else "empty"
        return self._json({"status": status, "models": count}, 200 if status == "ready" else 503)

    async def openapi(self, _: Caller, __: Request) -> Response:
        """`GET /openapi.json`: the addresses above, as an OpenAPI document."""
        if not self._described:
            from sartor.gateway.openapi import document

            self._described = orjson.dumps(document(PERMISSIONS))
        return Response(200, [JSON, self._request_id()], self._described)

    def _json(self, found: object, status: int = 200) -> Response:
        return Response(status, [JSON, self._request_id()], orjson.dumps(found))

    def _request_id(self) -> tuple[bytes, bytes]:
        return b"x-request-id", f"req_{self._new_id()}".encode()


def _pattern(path: str) -> str:
    """The path as the table has it."""
    return tuning.pattern(path) or path


def declared(
    handlers: Mapping[str, Handler], permissions: Mapping[str, Permission] = PERMISSIONS
) -> dict[str, Address]:
    """Method and path -> what happens there, if each has its permission in the table.

    Raises:
        SartorError: one has none: nobody has said who may call it.
    """
    for name in handlers:
        if name not in permissions:
            raise SartorError(f"The address '{name}' has no permission declared in gateway.app.PERMISSIONS.")
    return {name: Address(handler, permissions[name]) for name, handler in handlers.items()}

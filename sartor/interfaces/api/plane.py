"""The control plane: the verbs of the command line over HTTP, for `gateway.wire.server`, on a port of its own.

The same verbs, errors and JSON as the command line. Who may do what stands in the table; every change is audited. Verbs
block, so that each runs in one of a few threads.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from sartor.core.access import Caller
from sartor.core.errors import (
    AskError,
    BusyError,
    ForbiddenError,
    MethodError,
    NotFoundError,
    OverdueError,
    SartorError,
    TooLargeError,
    unknown,
)
from sartor.core.task import NAME
from sartor.gateway.door import LOOPBACK, Door
from sartor.gateway.envelope import JSON, error_response
from sartor.gateway.parts import Keyring
from sartor.gateway.strict_json import read_object
from sartor.gateway.wire.http import Request, Response
from sartor.interfaces.api.endpoint import Endpoint, Stream, Text
from sartor.interfaces.api.table import ENDPOINTS
from sartor.pipeline.access import OWNER, audited, is_house
from sartor.pipeline.workshop import Workshop
from sartor.store.credentials import EVERY_TENANT, hide_keys

BODY_BYTES = 1024 * 1024
JSON_DEPTH = 32
THREADS = 8
WAITING = 64
"""Requests under way at most; more are refused."""
SECONDS = 60.0
"""For one answer."""
STREAMS = 64
"""Answers that go on, at most."""
STREAM_PAUSE, KEEP_ALIVE = 0.5, 15.0
"""Seconds between two looks for news, and between two signs of life where there is none."""
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
UNSTORED = (b"cache-control", b"no-store")

log = logging.getLogger("sartor.api")


class ControlPlane:
    """The handler of every request."""

    def __init__(
        self,
        shop: Workshop,
        keyring: Keyring,
        *,
        counted: Callable[[], str] = lambda: "",
        hosts: Collection[str] = LOOPBACK,
        origins: Collection[str] = (),
        endpoints: Sequence[Endpoint] = ENDPOINTS,
        seconds: float = SECONDS,
    ) -> None:
        """A control plane.

        Args:
            counted: the counters of all workers, as text for Prometheus.
            hosts: names, without port, under which the server may be called; '*' allows any.
            origins: web origins whose pages may call it, besides its own.
            seconds: for one answer.
        """
        self._shop, self._keyring, self._counted = shop, keyring, counted
        self._door = Door(hosts=hosts, origins=origins)
        self._endpoints, self._seconds = tuple(endpoints), seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="control")
        self._under_way = 0
        self._streams = 0

    async def handle(self, request: Request) -> Response:
        """The answer to one request, whatever comes."""
        try:
            self._door.check(request.headers)
            if hide_keys(request.target) != request.target:
                raise AskError(
                    "There is an access key in the address, where logs and histories keep it. Revoke it, and send keys "
                    "in the header 'Authorization: Bearer …' only.",
                    code="key_in_address",
                )
            endpoint, values = self._find(request)
            caller = Caller() if endpoint.permission == "anyone" else self._admit(endpoint, request)
            offered = self._read(endpoint, request, values)
            found = await self._run(endpoint, caller, offered)
        except SartorError as error:
            response = error_response(error)
            if isinstance(error, MethodError):
                response.headers.append((b"allow", ", ".join(self._methods(request.path)).encode()))
            return response
        except Exception as error:
            ident = f"req_{os.urandom(16).hex()}"
            log.exception("request %s failed", ident)
            return error_response(error, ident)
        if isinstance(found, Text):
            return Response(200, [(b"content-type", found.media.encode())], found.content.encode())
        if isinstance(found, Stream):
            return Response(200, [EVENTS, UNSTORED], self._events(found))
        return Response(200, [JSON], orjson.dumps(found, default=str))

    async def _events(self, found: Stream) -> AsyncIterator[bytes]:
        """The pieces as they come, each fetched in a thread; a comment now and then keeps the connection open."""
        loop, quiet = asyncio.get_running_loop(), 0.0
        self._streams += 1
        try:
            while (pieces := await loop.run_in_executor(self._threads, next, found.pieces, None)) is not None:
                for name, number, data in pieces:
                    head = b"" if number is None else b"id: %d\n" % number
                    yield head + b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data, default=str))
                quiet = 0.0 if pieces else quiet + STREAM_PAUSE
                if quiet >= KEEP_ALIVE:
                    quiet = 0.0
                    yield b": still here\n\n"
                await asyncio.sleep(STREAM_PAUSE)
        finally:
            self._streams -= 1

    def close(self) -> None:
        """Let no more verb begin; those under way end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _find(self, request: Request) -> tuple[Endpoint, dict[str, str]]:
        """The endpoint by method and path as they came; nothing is decided on a path that was decoded first."""
        method = "GET" if request.method == "HEAD" else request.method
        for endpoint in self._endpoints:
            if endpoint.method == method and (found := endpoint.form.fullmatch(request.path)):
                return endpoint, found.groupdict()
        allowed = self._methods(request.path)
        if allowed:
            raise MethodError(
                f"'{request.path[:200]}' does not take {request.method[:20]}; it takes {', '.join(allowed)}.",
                code="method_not_allowed",
            )
        raise unknown("address", request.path[:200], {endpoint.path for endpoint in self._endpoints})

    def _methods(self, path: str) -> list[str]:
        found = {endpoint.method for endpoint in self._endpoints if endpoint.form.fullmatch(path)}
        return sorted(found | {"HEAD"} if "GET" in found else found)

    def _admit(self, endpoint: Endpoint, request: Request) -> Caller:
        caller = self._keyring.identify(request.headers)
        if not caller.key:  # there are no keys: whoever is on this machine runs the installation
            caller = OWNER
        if not caller.may(endpoint.permission):
            raise ForbiddenError(
                f"This key has the role '{caller.role}', which may not '{endpoint.permission}'. Use a key with another "
                "role.",
                code="role_not_allowed",
            )
        if endpoint.reach == "all" and caller.tenant != EVERY_TENANT:
            raise ForbiddenError(
                "This is about all tenants, and takes a key of the tenant '*'.", code="tenant_not_allowed"
            )
        if endpoint.reach == "house" and not is_house(caller):
            raise ForbiddenError(
                "This is about what all tenants share, and takes a key of the tenant 'default' or '*'.",
                code="tenant_not_allowed",
            )
        return caller

    def _read(self, endpoint: Endpoint, request: Request, values: dict[str, str]) -> dict[str, Any]:
        named = {name: _name(unquote(value), name) for name, value in values.items()}
        try:
            pairs = parse_qsl(request.target.partition("?")[2], True, True, errors="strict", max_num_fields=100)
        except ValueError as error:
            raise AskError(
                "The query can't be read. Write name=value&name=value in UTF-8.", code="bad_query"
            ) from error
        if len(request.body) > BODY_BYTES:
            raise TooLargeError(
                f"The body has more than {BODY_BYTES} bytes, which is the limit.", code="request_too_large"
            )
        if request.body:
            read_object(request.body, depth=JSON_DEPTH)
        query, body = endpoint.read_query(pairs), endpoint.read_body(request.body)
        offered = {**dict(query), **dict(body), **named, "asked": body if endpoint.body else query}
        return offered | (_streaming(request) if "stream" in offered else {})

    async def _run(self, endpoint: Endpoint, caller: Caller, offered: dict[str, Any]) -> Any:
        if self._under_way >= WAITING or (offered.get("stream") and self._streams >= STREAMS):
            raise BusyError("Too much is under way. Try again in a moment.", retry_after=1.0)
        shop = replace(self._shop, who=f"key {caller.key}" if caller.key else "loopback")
        given = offered | {"shop": shop, "caller": caller, "counted": self._counted}

        def work() -> Any:
            if endpoint.method == "GET":
                return endpoint.call(given)
            with audited(shop, endpoint.deed, _target(offered), caller):
                return endpoint.call(given)

        self._under_way += 1
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError as error:
            raise OverdueError(
                f"{endpoint.name} took longer than {self._seconds:g} seconds. It may still end well: look before you "
                "repeat it.",
                code="answer_timeout",
            ) from error
        finally:
            self._under_way -= 1


def _streaming(request: Request) -> dict[str, Any]:
    """What an event source asks for in headers: events as they come, behind the last one that it saw."""
    if b"text/event-stream" not in request.headers.get(b"accept", b""):
        return {}
    last = request.headers.get(b"last-event-id", b"")
    return {"stream": True} | ({"after": int(last)} if last.isdigit() and len(last) < 10 else {})


def _name(value: str, param: str) -> str:
    """A value of the path: a name, a handle, an id or a digest."""
    name, at, pointer = value.partition("@")
    if len(value) > 200 or not NAME.fullmatch(name) or (at and not NAME.fullmatch(pointer)):
        raise NotFoundError(f"{value[:80]!r} is no {param}: names have letters, digits, '.', '_', '-'.", param=param)
    return value


def _target(offered: dict[str, Any]) -> str:
    """What a change is about, for the audit log."""
    spec = offered.get("spec")
    names = [offered.get(name) for name in ("name", "task", "id", "label", "tenant")]
    return str(getattr(spec, "name", "") or next((name for name in names if name), ""))

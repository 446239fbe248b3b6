"""What every request passes first: who may reach this server by which name, and the headers of every answer.

Guards a server on a laptop against web pages: a page that rebinds its own name to 127.0.0.1 sends a foreign Host, and
a page that posts across sites sends a foreign Origin. Knows no routes. It never looks at a request's URL, only at
its headers, and turns whatever fails behind it into an error in OpenAI's form.
"""

import json
import logging
import re
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sartor.core.errors import RefusedError, SartorError, TooLargeError, TooSlowError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
AUTHORITY = re.compile(r"^(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?$")
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

log = logging.getLogger("sartor.gateway")


class Door:
    """ASGI middleware around the whole gateway."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = LOOPBACK, origins: Collection[str] = ()) -> None:
        """Guard an app.

        Args:
            hosts: names, without port, under which this server may be called; '*' allows any.
            origins: web origins (`https://console.example.org`) whose pages may call it, besides its own.
        """
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, pass on, and see that an answer goes out whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ident = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = ident
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = ident
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Headers(scope=scope))
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            if not isinstance(error, SartorError):
                log.exception("request %s failed", ident)
            if begun:
                raise
            await error_response(error, ident)(scope, receive, answer)

    def _check(self, headers: Headers) -> None:
        given = headers.getlist("host")
        authority = AUTHORITY.match(given[0]) if len(given) == 1 else None
        name = authority["name"].lower() if authority else ""
        if authority is None or not ("*" in self._hosts or name in self._hosts):
            raise RefusedError(
                f"This server is not called {', '.join(given)[:100] or 'nothing'!r}; it answers to "
                f"{', '.join(sorted(self._hosts))}. Start it with that name allowed if it is meant to.",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        if origin is not None and not self._same_site(origin.lower(), given[0].lower()):
            raise RefusedError(
                f"Pages from {origin[:100]!r} may not call this server. Start it with that origin allowed if they are "
                "meant to.",
                code="origin_not_allowed",
            )

    def _same_site(self, origin: str, authority: str) -> bool:
        return origin in self._origins or origin in (f"http://{authority}", f"https://{authority}")


def error_response(error: Exception, ident: str = "") -> Response:
    """An error in OpenAI's form; what is inside of an unforeseen one stays in the log."""
    if not isinstance(error, SartorError):
        text = f"The server failed on this request. Its log says why, under {ident or 'this time'}."
        error = SartorError(text, code="server_error")
    body = json.dumps(error.envelope(), ensure_ascii=False)
    # The rest of a body that was not read would be taken for the next request.
    headers = {"connection": "close"} if isinstance(error, (TooSlowError, TooLargeError)) else None
    return Response(body, status_code=error.http_status, headers=headers, media_type="application/json")

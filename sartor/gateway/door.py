"""What every request passes first: who may reach this server by which name.

Guards a server on a laptop against web pages: a page that rebinds its own name to 127.0.0.1 sends a foreign Host, and
a page that posts across sites sends a foreign Origin. Knows no routes, and never looks at a request's address.
"""

import re
from collections.abc import Collection, Mapping

from sartor.core.errors import RefusedError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
AUTHORITY = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
REMEMBERED = 64


class Door:
    """Lets requests in by their Host and Origin."""

    def __init__(self, *, hosts: Collection[str] = LOOPBACK, origins: Collection[str] = ()) -> None:
        """A door.

        Args:
            hosts: names, without port, under which this server may be called; '*' allows any.
            origins: web origins (`https://console.example.org`) whose pages may call it, besides its own.
        """
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)
        self._let_in: set[bytes] = set()

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request in.

        Raises:
            RefusedError: it calls this server by a foreign name, or a foreign page sent it.
        """
        host = headers.get(b"host", b"")
        if host not in self._let_in:
            self._check_host(host.decode("latin-1"))
            if len(self._let_in) < REMEMBERED:
                self._let_in.add(host)
        if b"origin" in headers:
            self._check_origin(headers[b"origin"].decode("latin-1"), host.decode("latin-1").lower())

    def _check_host(self, host: str) -> None:
        authority = AUTHORITY.fullmatch(host)
        if authority is None or not ("*" in self._hosts or authority["name"].lower() in self._hosts):
            raise RefusedError(
                f"This server is not called {host[:100] or 'nothing'!r}; it answers to "
                f"{', '.join(sorted(self._hosts))}. Start it with that name allowed if it is meant to.",
                code="host_not_allowed",
            )

    def _check_origin(self, origin: str, authority: str) -> None:
        if origin.lower() not in (*self._origins, f"http://{authority}", f"https://{authority}"):
            raise RefusedError(
                f"Pages from {origin[:100]!r} may not call this server. Start it with that origin allowed if they are "
                "meant to.",
                code="origin_not_allowed",
            )

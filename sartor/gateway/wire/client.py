"""HTTP/1.1 to other servers: connections are kept, by origin, and every wait has an end.

A request goes out as bytes that the caller has put together; the answer comes back whole, or as a stream that is only
read as fast as it is taken. Redirects are answers like any other: nothing is followed. Knows no keys and no JSON.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable

from sartor.gateway.addresses import Origin, resolve
from sartor.gateway.wire.outgoing import READ_BYTES, Answer, BrokenError, Connection, Waits

__all__ = ["Answer", "BrokenError", "Pool", "Waits", "shared_pool"]

IDLE_SECONDS = 30.0
"""A kept connection that waited longer is not used again."""
IDLE_MOST = 512
"""Kept connections of one origin."""


class Pool:
    """Connections that are kept, by origin. Belongs to one event loop."""

    def __init__(
        self,
        *,
        find: Callable[[Origin], Awaitable[list[str]]] = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Begin empty.

        Args:
            find: gives the addresses of an origin that may be connected to.
            tls: whose certificates are believed; default those of the system.
        """
        self._find = find
        self._tls = tls
        self._idle: dict[Origin, deque[Connection]] = {}
        self._loop = asyncio.get_running_loop()
        self._shared = memoryview(bytearray(READ_BYTES))

    async def ask(self, origin: Origin, request: bytes, waits: Waits, *, stream: bool = False) -> Answer:
        """Send one request; the answer has its headers when this returns, and its whole body unless `stream`.

        A kept connection that turns out to be dead before any of the answer came is replaced by a new one, once.
        Cancelled, it closes its connection.

        Raises:
            BrokenError: no answer, or not within its time.
            AskError: the address must not be reached.
        """
        connection = self._take(origin)
        kept = connection is not None
        while True:
            if connection is None:
                connection = await self._connect(origin, waits)
            answer = connection.send(request, waits, stream=stream)
            try:
                while not (answer.complete or (stream and answer.status)):
                    await answer.wait()
            except BrokenError as error:
                if kept and error.kind == "closed" and not error.begun:
                    connection, kept = None, False
                    continue
                raise
            except BaseException:
                answer.abort()
                raise
            return answer

    def close(self) -> None:
        """Close every idle connection."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()

    def _take(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.usable and self._loop.time() - connection.since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin, waits: Waits) -> Connection:
        """A new connection to the first address that takes it."""
        due = min(waits.until, self._loop.time() + waits.timing.connect)
        why = "it has no address"
        try:
            async with asyncio.timeout_at(due):
                for address in await self._find(origin):
                    try:
                        return await self._connect_to(address, origin)
                    except ssl.SSLCertVerificationError as error:
                        raise BrokenError("connect", f"its certificate is not good: {error.verify_message}") from error
                    except ssl.SSLError as error:
                        raise BrokenError("connect", "it does not speak TLS as expected") from error
                    except OSError as error:
                        why = f"it can't be reached ({(error.strerror or str(error))[:100]})"
        except TimeoutError as error:
            raise BrokenError("connect", f"no connection within {waits.timing.connect:g} seconds") from error
        except OSError as error:
            raise BrokenError("connect", "its name does not resolve") from error
        raise BrokenError("connect", why)

    async def _connect_to(self, address: str, origin: Origin) -> Connection:
        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        kept = self._idle.setdefault(origin, deque())

        def release(connection: Connection) -> None:
            while kept and (len(kept) >= IDLE_MOST or connection.since - kept[0].since > IDLE_SECONDS):
                kept.popleft().close()
            kept.append(connection)

        _, connection = await self._loop.create_connection(
            lambda: Connection(self._loop, self._shared, release),
            address,
            origin.port,
            ssl=self._tls if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection


_pools: dict[asyncio.AbstractEventLoop, Pool] = {}


def shared_pool() -> Pool:
    """The running loop's pool: all upstreams on one host share its connections."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        for ended in [other for other in _pools if other.is_closed()]:
            del _pools[ended]
        pool = _pools[loop] = Pool()
    return pool

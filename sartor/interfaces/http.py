"""The HTTP server: binds a port on loopback, hands requests to the gateway's application, stops cleanly."""

import socket
from collections.abc import Callable

from sartor.core.errors import AskError, ConflictError
from sartor.pipeline.workshop import Workshop

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        AskError: the host is not loopback; without keys nobody else may be let in.
        ConflictError: the port is taken.
    """
    if host not in LOOPBACK:
        raise AskError(
            f"Serving on '{host}' would let others in, and there are no keys yet. Use 127.0.0.1 and put a proxy with "
            "authentication in front.",
            param="host",
            code="not_loopback",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio turns Nagle's delay off on what it accepts.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)  # from now on callers wait instead of being refused
    except OSError as error:
        listening.close()
        raise ConflictError(
            f"Port {port} on {host} can't be used: {error.strerror}. Name another with --port (0 picks a free one).",
            code="port_taken",
        ) from error
    return listening


def serve_forever(shop: Workshop, host: str, port: int, ready: Callable[[str, list[str]], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready(url, task names)` is called once the port is bound."""
    import uvicorn

    from sartor.gateway.app import build_app
    from sartor.pipeline.serve import LedgerRoutes

    listening = bind(host, port)
    routes = LedgerRoutes(shop)
    bound = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{bound}", sorted({served.task.name for served in routes.names()}))
    config = uvicorn.Config(build_app(routes), log_level="warning", timeout_graceful_shutdown=10, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])

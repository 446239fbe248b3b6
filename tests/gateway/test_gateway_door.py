"""Who may reach the server: rebinding, foreign pages, slow senders, and routes without a permission."""

import contextlib
import json
import subprocess
import sys
import time
from typing import Any

import pytest
from gateway_server import PATH, Server, messages, running
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute

from sartor.core.errors import AskError, SartorError
from sartor.gateway.app import PERMISSIONS, build_app, declared
from sartor.gateway.routes import FixedRoutes, ModelName
from sartor.gateway.strict_json import read_object

CHAT = {"model": "triage", "messages": messages()}

FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "localhost/@evil.example",
    "localhost?x",
    "localhost#x",
    "evil.example@localhost",
    "localhost:80:80",
    "localhost:port",
    "0.0.0.0",
    "[::1].evil.example",
    "",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/v1/models", "/health"])
def test_a_foreign_host_is_refused_on_every_route(server: Server, host: str, path: str) -> None:
    answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 403)
    if status == 403:
        assert b"host_not_allowed" in answer


def test_two_hosts_or_none_are_refused(server: Server) -> None:
    for lines in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        answer = server.raw(f"GET /health HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        assert answer.split(b" ", 2)[1] in (b"400", b"403")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8080"])
def test_loopback_names_are_let_in(server: Server, host: str) -> None:
    assert server.send("GET", "/health", headers={"Host": host}).status == 200


def test_an_absolute_address_does_not_get_round_the_host(server: Server) -> None:
    answer = server.raw(b"GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert b" 403 " in answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
def test_pages_of_other_origins_are_refused(server: Server, origin: str) -> None:
    reply = server.chat(CHAT, Origin=origin)
    assert reply.status == 403
    assert reply.error["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in reply.headers


def test_pages_of_this_server_are_let_in(server: Server) -> None:
    assert server.chat(CHAT, Origin=f"http://127.0.0.1:{server.port}").status == 200


def test_other_names_and_origins_can_be_allowed(all_served: list[Any]) -> None:
    app = build_app(FixedRoutes(all_served), hosts=["Models.example"], origins=["https://console.example"])
    with running(app) as server:
        assert server.send("GET", "/health").status == 403
        allowed = {"Host": "models.example", "Origin": "https://console.example"}
        assert server.send("GET", "/health", headers=allowed).status == 200
    with running(build_app(FixedRoutes([]), hosts=["*"])) as server:
        assert server.send("GET", "/health", headers={"Host": "anything.example"}).status == 200
        assert server.send("GET", "/ready", headers={"Host": "anything.example"}).status == 503


def test_every_answer_has_the_security_headers(server: Server) -> None:
    for reply in (server.chat(CHAT), server.chat(b"{"), server.send("GET", "/x"), server.send("GET", "/health")):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert reply.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in reply.headers


def test_a_sender_who_drips_is_cut_off(server: Server) -> None:
    begun = time.monotonic()
    answer = server.raw(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{".encode(), wait=3)
    assert time.monotonic() - begun < 2.5
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer
    assert b"took longer than 0.6 seconds (1 bytes came)" in answer


def test_a_client_who_leaves_early_breaks_nothing(server: Server) -> None:
    server.raw(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{".encode(), wait=0.05)
    assert server.chat(CHAT).status == 200


def test_a_packed_body_is_not_unpacked(server: Server) -> None:
    reply = server.chat(b"\x1f\x8b", **{"Content-Encoding": "gzip"})
    assert (reply.status, reply.error["code"]) == (400, "unsupported_encoding")


async def nothing(_: Request) -> Response:
    return Response()


@pytest.mark.parametrize(
    "route",
    [
        Route("/v1/secret", nothing),
        Route("/health", nothing, methods=["GET", "DELETE"]),
        Mount("/v1", routes=[]),
        WebSocketRoute("/v1/realtime", nothing),
    ],
)
def test_a_route_without_a_permission_is_not_built(route: Any) -> None:
    with pytest.raises(SartorError, match="has no permission declared"):
        declared([route])


def test_the_table_holds_exactly_the_routes_of_the_app(all_served: list[Any]) -> None:
    app = build_app(FixedRoutes(all_served))
    found = {f"{m} {r.path}" for r in app.routes if isinstance(r, Route) for m in (r.methods or set()) - {"HEAD"}}
    assert found == set(PERMISSIONS)
    assert len(app.routes) == 5


def test_model_names_have_four_forms() -> None:
    assert ModelName.read("triage") == ModelName("triage", "live")
    assert ModelName.read("triage@live") == ModelName("triage", "live")
    assert ModelName.read("triage@previous") == ModelName("triage", "previous")
    assert ModelName.read("triage@v12") == ModelName("triage", "", 12)
    for name in (
        "",
        "Triage",
        "triage@",
        "triage@v0",
        "triage@v01",
        "triage@x",
        "../x",
        "a b",
        "triage@v7\n",
        "a" * 200,
    ):
        assert ModelName.read(name) is None


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    value: Any = None
    with contextlib.suppress(AskError):
        value = read_object(body, depth=4)
    assert value is None or isinstance(value, dict)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.booleans())
@settings(deadline=None)
def test_any_proper_object_is_read_as_it_is(value: dict[str, Any], plain: bool) -> None:
    assert read_object(json.dumps(value, ensure_ascii=plain).encode(), depth=64) == value


def test_the_gateway_loads_nothing_heavy() -> None:
    code = (
        "import sys, sartor.gateway.app; "
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'sqlalchemy', 'pyarrow', 'sartor.serving'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

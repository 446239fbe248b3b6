"""Who may reach the server: rebinding, foreign pages, slow senders, and routes without a permission."""

import json
import subprocess
import sys
from typing import Any

import pytest
from gateway_server import Server, messages, running
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import AskError, SartorError
from sartor.gateway.app import PERMISSIONS, declared
from sartor.gateway.openapi import document
from sartor.gateway.routes import ModelName
from sartor.gateway.strict_json import _read_slowly, read_object
from sartor.gateway.wire.http import Request, Response

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
    with running(all_served, hosts=["Models.example"], origins=["https://console.example"]) as server:
        assert server.send("GET", "/health").status == 403
        allowed = {"Host": "models.example", "Origin": "https://console.example"}
        assert server.send("GET", "/health", headers=allowed).status == 200
    with running([], hosts=["*"]) as server:
        assert server.send("GET", "/health", headers={"Host": "anything.example"}).status == 200
        assert server.send("GET", "/ready", headers={"Host": "anything.example"}).status == 503


def test_every_answer_has_the_security_headers(server: Server) -> None:
    for reply in (server.chat(CHAT), server.chat(b"{"), server.send("GET", "/x"), server.send("GET", "/health")):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert reply.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in reply.headers


def test_a_packed_body_is_not_unpacked(server: Server) -> None:
    reply = server.chat(b"\x1f\x8b", **{"Content-Encoding": "gzip"})
    assert (reply.status, reply.error["code"]) == (400, "unsupported_encoding")


async def nothing(_: Any, __: Request) -> Response:
    return Response()


@pytest.mark.parametrize("name", ["GET /v1/secret", "DELETE /health", "GET /v1", "get /health", "* /v1/models"])
def test_an_address_without_a_permission_is_not_built(name: str) -> None:
    with pytest.raises(SartorError, match="has no permission declared"):
        declared({name: nothing})


def test_the_table_holds_exactly_the_addresses_of_the_data_plane(server: Server) -> None:
    plane = server.plane
    assert plane is not None
    found = {name: address.permission for name, address in plane._table.items()}
    assert found == dict(PERMISSIONS)
    described = {
        f"{method.upper()} {path}": operation["x-permission"]
        for path, methods in document(PERMISSIONS)["paths"].items()
        for method, operation in methods.items()
    }
    assert described == dict(PERMISSIONS)


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


pieces = st.sampled_from(
    [
        *'{}[],:"ab1\\ ',
        '"a":',
        '"a" :',
        '"b":1',
        '\\"',
        '\\\\"',
        "1e999",
        "NaN",
        "null",
        "\\ud800",
        "\\u00e9",
        "\ufeff",
        "9" * 30,
    ]
)


def outcome(read: Any, body: bytes) -> Any:
    try:
        return read(body)
    except AskError as error:
        return error.message


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode) | st.lists(pieces).map("".join).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_an_object_or_a_refusal_and_both_readers_agree(body: bytes) -> None:
    fast = outcome(lambda b: read_object(b, depth=4), body)
    assert isinstance(fast, (dict, str))
    assert fast == outcome(lambda b: _read_slowly(b, 4), body)


TRICKS = [
    b'{"a":1,"a":2}',
    b'{"a":1,"a" :2}',
    b'{"a":1,"a"\n:2}',
    b'{"a":1,"a":2,"b\\\\":3}',
    b'{"a":{"b":1,"b":2},"c":"\\":"}',
    b'{"\\u0061":1,"a":2}',
    b'{"a":1,"a":2,"c":"say \\"x\\": y"}',
]


@pytest.mark.parametrize("body", TRICKS)
def test_a_key_that_stands_twice_is_found_however_it_is_written(body: bytes) -> None:
    with pytest.raises(AskError, match="twice in one object"):
        read_object(body, depth=4)


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
        "heavy = {'starlette', 'uvicorn', 'torch', 'transformers', 'sklearn', 'scipy', 'sqlalchemy', 'pyarrow'}; "
        "heavy |= {'sartor.serving'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

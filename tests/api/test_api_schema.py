"""The published OpenAPI document over the running server: never a 500, never past a deadline, as described."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from api_house import House
from hypothesis import HealthCheck, Phase, given, seed, settings

from sartor.gateway.auth import Keyring
from sartor.gateway.wire.server import serve
from sartor.interfaces.api.openapi import document
from sartor.interfaces.api.plane import ControlPlane
from sartor.interfaces.api.table import ENDPOINTS
from sartor.pipeline.workshop import Workshop
from sartor.store.keys import Keys
from sartor.store.opening import open_store

EXAMPLES = 3
SECONDS = 10.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Port of a running control plane, and a key of its administrator."""
    folder: Path = tmp_path_factory.mktemp("api")
    store = open_store(folder / "store")
    shop = Workshop(store=store, key=folder / "signing.key", cache=folder)
    ring = Keyring(Keys(store.ledger.database).everything, store.ledger.revision)
    plane = ControlPlane(shop, ring)
    house = House(shop, ring, plane)
    said = house.make("root", tenant="*", role="admin")
    listener = socket.create_server(("127.0.0.1", 0))
    loop, up = asyncio.new_event_loop(), threading.Event()

    async def live() -> None:
        server = await serve(plane.handle, [listener])
        stop = loop.create_future()
        loop.stopped = stop  # type: ignore[attr-defined]
        up.set()
        await stop
        await server.drain(1.0)

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),), daemon=True)
    thread.start()
    up.wait(5)
    yield listener.getsockname()[1], said
    loop.call_soon_threadsafe(loop.stopped.set_result, None)  # type: ignore[attr-defined]
    thread.join(5)
    loop.close()
    plane.close()
    store.close()


def send(address: tuple[int, str], case: Any) -> tuple[int, str, bytes]:
    """One generated request, byte for byte as a client would send it."""
    port, said = address
    made = case.as_transport_kwargs(base_url=f"http://127.0.0.1:{port}")
    from requests import Request

    ready = Request(
        made["method"], made["url"], params=made.get("params"), json=made.get("json"), data=made.get("data")
    ).prepare()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        headers = {"Authorization": f"Bearer {said}", "Host": "localhost", "Content-Type": "application/json"}
        body = ready.body.encode() if isinstance(ready.body, str) else ready.body
        connection.request(ready.method or "GET", ready.path_url, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type") or "", answer.read()
    finally:
        connection.close()


def probe(address: tuple[int, str], operation: Any) -> int:
    """Send generated requests to one address; how many."""
    tried = 0

    @seed(3)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def one(case: Any) -> None:
        nonlocal tried
        status, media, body = send(address, case)
        assert status < 500, (case, body)
        assert status != 401
        if not media.startswith("text/plain"):
            assert media == "application/json"
            told = json.loads(body)
            assert status == 200 or set(told["error"]) == {"message", "type", "param", "code"}
        tried += 1

    one()
    return tried


def test_generated_requests_are_answered_or_refused_in_words(address: tuple[int, str]) -> None:
    schema = schemathesis.openapi.from_dict(document())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.label for operation in operations} == {endpoint.name for endpoint in ENDPOINTS}
    assert all(probe(address, operation) > 0 for operation in operations)


def test_the_document_describes_the_table(address: tuple[int, str]) -> None:
    told = document()
    names = {f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods}
    assert names == {endpoint.name for endpoint in ENDPOINTS}
    assert told["paths"]["/api/v1/keys"]["post"]["x-permission"] == "administer"
    assert told["components"]["schemas"]["NewKey"]["additionalProperties"] is False
    json.dumps(told, allow_nan=False)


def test_the_wire_refuses_what_is_no_request(address: tuple[int, str]) -> None:
    for sent in (
        b"GET /api/v1/health HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /api/v1/keys HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", address[0]), timeout=5) as connection:
            connection.sendall(sent)
            assert connection.recv(4096).split(b" ")[1] in (b"400", b"403")

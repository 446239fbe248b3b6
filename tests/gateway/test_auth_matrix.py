"""Every address of the data plane × method × {no key, a wrong key, another tenant's key, each role}, from its table."""

import asyncio
import json
from typing import Any

import pytest

from sartor.core.access import ROLES
from sartor.core.predict import one_chunk
from sartor.core.route import Route
from sartor.gateway.app import PERMISSIONS, DataPlane
from sartor.gateway.auth import Keyring
from sartor.gateway.counters import Counters
from sartor.gateway.limits import Limiter
from sartor.gateway.routes import FixedRoutes, Served
from sartor.gateway.wire.http import Request, Response
from sartor.store.credentials import Access, AccessKey, mark_of, new_text
from sartor.store.shares import OwnBook

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
SECRET_ROUTE = "canary-of-acme"


class Nowhere:
    """Writes nothing down and receives nothing; what was asked of it is kept in memory."""

    def __init__(self) -> None:
        self.exchanges: list[Any] = []

    def mark(self, text: str) -> str:
        return f"mark of {len(text)}"

    def record(self, exchange: Any, content: Any, spec: Any) -> None:
        self.exchanges.append(exchange)

    async def receive(self, caller: Any, body: Any, metrics: Any) -> dict[str, Any]:
        return {"kept": True}


class Silent:
    """A predictor that is not asked in these tests."""

    async def predict(self, requests: Any) -> Any:
        raise AssertionError(requests)

    def stream(self, request: Any) -> Any:
        return one_chunk(self, request)


class Front:
    """A data plane with a key for each role of two tenants."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        keys = []
        for tenant in ("acme", "other"):
            for role in ROLES:
                ident, self.texts[f"{tenant}-{role}"] = new_text()
                keys.append(AccessKey(ident, mark_of(self.texts[f"{tenant}-{role}"]), tenant, role))
        ident, self.texts["narrow"] = new_text()
        keys.append(AccessKey(ident, mark_of(self.texts["narrow"]), "acme", "application", ("desk*",)))
        ring = Keyring(lambda: Access(tuple(keys)), lambda: 1)
        ring.refresh()
        names = {SECRET_ROUTE: ("acme",), "desk": (), "desk-two": ("acme", "other")}
        served = [
            Served(n, n, n, None, Silent(), Route(name=n, policy="x", tenants=t))  # type: ignore[arg-type]
            for n, t in names.items()
        ]
        self.nowhere = Nowhere()
        self.plane = DataPlane(
            FixedRoutes(served),
            keyring=ring,
            limiter=Limiter(OwnBook(), ring.limits_of),
            recorder=self.nowhere,
            counters=Counters(),
            inbox=self.nowhere,
        )

    def send(self, method: str, target: str, by: str = "", body: Any = None) -> Response:
        headers = {b"host": b"localhost"}
        if by:
            headers[b"authorization"] = b"Bearer " + self.texts.get(by, by).encode()
        data = b"" if body is None else json.dumps(body).encode()
        return asyncio.run(self.plane.handle(Request(method, target, headers, data)))


@pytest.fixture(scope="module")
def front() -> Front:
    return Front()


def told(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_every_address_is_refused_or_let_in_as_its_line_in_the_table_says(front: Front) -> None:
    for name, permission in PERMISSIONS.items():
        method, _, path = name.partition(" ")
        target = path.replace("{name}", "nowhere")
        body = {} if method == "POST" else None
        for nobody in ("", new_text()[1], front.texts["acme-admin"][:-1], "none"):
            assert (front.send(method, target, nobody, body).status == 401) == (permission != "anyone"), (name, nobody)
        for tenant in ("acme", "other"):
            for role, may in ROLES.items():
                status = front.send(method, target, f"{tenant}-{role}", body).status
                assert (status == 403) == (permission not in may), (name, role, status)
                assert status in (200, 400, 403, 404), (name, role, status)


def test_methods_that_no_line_declares_are_refused_whoever_asks(front: Front) -> None:
    declared = {tuple(name.split(" ")) for name in PERMISSIONS}
    declared |= {("HEAD", path) for method, path in declared if method == "GET"}
    for path in {name.partition(" ")[2] for name in PERMISSIONS}:
        for method in METHODS:
            if (method, path) not in declared:
                for who in ("", "acme-admin"):
                    assert front.send(method, path.replace("{name}", "x"), who).status == 405, (method, path)


def test_no_other_way_of_writing_a_path_leads_past_a_key(front: Front) -> None:
    for path in (
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/health/../v1/models",
        "/health/..;/v1/models",
        "/v1/%6dodels",
        "/v1%2fmodels",
        "/V1/MODELS",
        "/v1/models;x",
        "http://localhost/v1/models",
        "/v1/models/a/b",
    ):
        for who in ("", "acme-admin"):
            assert front.send("GET", path, who).status in (401, 404), path
            assert front.send("GET", path).status in (401, 404)
    assert front.send("GET", "/v1/models/..%2f..%2fhealth", "acme-admin").status == 404


def test_a_tenant_and_a_scope_see_only_their_names_also_in_errors(front: Front) -> None:
    def names(by: str) -> set[str]:
        return {model["id"] for model in told(front.send("GET", "/v1/models", by))["data"]}

    assert names("acme-viewer") == {SECRET_ROUTE, "desk", "desk-two"}
    assert names("other-viewer") == names("narrow") == {"desk", "desk-two"}
    chat = {"model": SECRET_ROUTE, "messages": [{"role": "user", "content": "x"}]}
    for by in ("other-admin", "narrow"):
        answers = [
            front.send("GET", f"/v1/models/{SECRET_ROUTE}", by),
            front.send("POST", "/v1/chat/completions", by, chat),
            front.send("POST", "/v1/completions", by, {"model": SECRET_ROUTE, "prompt": "x"}),
            front.send("POST", "/v1/embeddings", by, {"model": SECRET_ROUTE, "input": "x"}),
        ]
        for answer in answers:
            assert answer.status == 404
            assert SECRET_ROUTE not in told(answer)["error"]["message"].partition("Known")[2]
        unknown = told(front.send("GET", "/v1/models/canary-of-acm", by))["error"]["message"]
        assert SECRET_ROUTE not in unknown


def test_nothing_of_a_key_is_told_or_written_down(front: Front) -> None:
    said = front.texts["acme-application"]
    secret = said.split("_")[2]
    chat = {"model": "nowhere", "messages": [{"role": "user", "content": "x"}]}
    for by in (said, said[:-1], said[:-9]):
        answer = front.send("POST", "/v1/chat/completions", by, chat)
        assert secret not in str(told(answer)) + str(answer.headers)
    assert secret not in str(front.nowhere.exchanges)

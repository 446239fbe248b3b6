"""The published document, tried on the running server: never a 500, never past a deadline, always as described."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from gateway_names import make_task
from gateway_server import Everyone, Server, running
from giant import Giant
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sartor.core.access import Caller
from sartor.core.errors import KeyRefusedError
from sartor.core.route import Route
from sartor.gateway.app import PERMISSIONS
from sartor.gateway.bounds import Limits
from sartor.gateway.openapi import document
from sartor.gateway.routes import Served

EXAMPLES = 25
DEADLINE = 5.0
NAMES = ("triage", "triage@v7", "giant")
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


class Shut(Everyone):
    def identify(self, headers: dict[bytes, bytes]) -> Caller:
        raise KeyRefusedError("Send a key.", code="invalid_api_key")


@pytest.fixture(scope="module")
def names(predictor: Any) -> list[Served]:
    task = make_task("triage")
    route = Route(name="triage", task="triage", policy="triage")
    local = [Served(name, "triage@v7", "ab" * 32, task, predictor, route) for name in NAMES[:2]]
    return [*local, Served("giant", "giant", "giant", None, Giant(), Route(name="giant", policy="giant"))]


@pytest.fixture(scope="module")
def server(names: list[Served]) -> Iterator[Server]:
    with running(names, Limits(answer_seconds=2)) as found:
        yield found


@pytest.fixture(scope="module")
def shut(names: list[Served]) -> Iterator[Server]:
    with running(names, keyring=Shut()) as found:
        yield found


def probe(server: Server, operation: Any, examples: int) -> set[int]:
    """Send generated requests to one address; the statuses that came back."""
    seen: set[int] = set()

    @seed(7)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
        st.sampled_from([*NAMES, None]),
    )
    def one(case: Any, name: str | None) -> None:
        if name is not None and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = name
        response = case.call(base_url=f"http://127.0.0.1:{server.port}", timeout=DEADLINE)
        case.validate_response(response, checks=CHECKS)
        assert response.headers["x-request-id"][0].startswith("req_")
        if response.status_code != 200 and case.path != "/ready":
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        seen.add(response.status_code)

    one()
    return seen


@pytest.fixture(scope="module")
def operations(server: Server) -> dict[str, Any]:
    published = json.loads(server.send("GET", "/openapi.json").body)
    assert published == document(PERMISSIONS)
    found = [operation.ok() for operation in schemathesis.openapi.from_dict(published).get_all_operations()]
    return {operation.label: operation for operation in found}


@pytest.mark.parametrize("name", sorted(PERMISSIONS))
def test_generated_requests_are_answered_or_refused_in_words(
    name: str, server: Server, operations: dict[str, Any]
) -> None:
    seen = probe(server, operations[name], EXAMPLES if name.startswith("POST") else 5)
    if name == "POST /v1/chat/completions":
        assert {200, 400} <= seen
    assert server.books.open == 0


def test_without_a_key_nothing_that_needs_one_is_answered(shut: Server, operations: dict[str, Any]) -> None:
    for name, permission in PERMISSIONS.items():
        seen = probe(shut, operations[name], 4)
        assert seen <= ({200, 400, 404, 405} if permission == "anyone" else {401})
    assert shut.books.exchanges == []

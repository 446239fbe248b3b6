"""One gateway for the tests of this room."""

from collections.abc import Iterator
from typing import Any

import pytest
from gateway_names import Failing, LinearPredictor, make_task, served
from gateway_server import Server, counting_ids, running

from sartor.core.value import Escalation, Value
from sartor.gateway.bounds import Limits
from sartor.gateway.routes import Served


@pytest.fixture(scope="session")
def predictor(tiny_linear: Any) -> LinearPredictor:
    return LinearPredictor(tiny_linear, Value())


@pytest.fixture(scope="session")
def all_served(predictor: LinearPredictor, tiny_linear: Any) -> list[Served]:
    columns = {"columns": ["title", "body"], "template": "{title}: {body}"}
    careful = LinearPredictor(tiny_linear, Value(escalate=Escalation(price=0.0001)))
    return [
        *served(make_task("triage"), predictor, "triage", "triage@live", "triage@previous", "triage@v7"),
        *served(make_task("all", input={"chat": "all_user"}), predictor),
        *served(make_task("json", input=columns | {"chat": "json"}), predictor),
        *served(make_task("plain-columns", input=columns), predictor),
        *served(make_task("careful"), careful),
        *served(make_task("fallback", fallback="ask-a-person"), careful),
        *served(make_task("nobody"), Failing("nobody")),
        *served(make_task("nobody-fallback", fallback="later"), Failing("nobody")),
        *served(make_task("raises"), Failing("raise")),
        *served(make_task("hangs"), Failing("hang")),
    ]


@pytest.fixture(scope="session")
def server(all_served: list[Served]) -> Iterator[Server]:
    limits = Limits(receipt_seconds=0.6, answer_seconds=0.5, body_bytes=1024 * 1024, drained_bytes=32 * 1024 * 1024)
    with running(all_served, limits) as found:
        yield found


@pytest.fixture
def golden_server(all_served: list[Served]) -> Iterator[Server]:
    """The same with a clock that stands still and ids that count."""
    with running(all_served, clock=lambda: 1_790_000_000.0, new_id=counting_ids()) as found:
        yield found

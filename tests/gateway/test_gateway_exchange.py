"""Every request is booked once, whatever becomes of it, with all that was asked on the way and exact money."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_names import Failing, make_task, served
from gateway_server import PATH, Books, Everyone, Server, messages, running
from giant import COST, Giant

from sartor.core.access import Caller
from sartor.core.errors import BusyError, KeyRefusedError, RateError, StoreError, UpstreamError
from sartor.core.predict import Hop, Prediction, Request, Usage, one_chunk
from sartor.core.route import Capture, Route
from sartor.core.traffic import NANO
from sartor.gateway.app import NOBODY
from sartor.gateway.bounds import Limits
from sartor.gateway.routes import Served

ALICE = Caller(tenant="acme", role="application", key="key-1", scope=("triage", "giant*"))


class Cascade:
    """A local model that did not count, and a giant whose answer did."""

    HOPS = (
        Hop("local", "card", Usage(7, 0, cpu_seconds=0.001), 1.234e-7, 0.4, "escalated", 0.002),
        Hop("giant", "Card, I would say", Usage(100, 9), 0.000_3, None, "", 0.5, "upstream"),
        Hop("giant", "money", Usage(100, 9), 0.1, None, "", 0.5, "upstream"),
    )

    async def predict(self, requests: Any) -> list[Prediction]:
        usage = Usage(200, 18)
        return [
            Prediction("money", "giant", usage=usage, cost=0.1003, hops=self.HOPS, arm="canary", propensity=0.1)
            for _ in requests
        ]

    def stream(self, request: Request) -> Any:
        return one_chunk(self, request)


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def server(books: Books, predictor: Any) -> Iterator[Server]:
    labels = ("card", "money", "other")
    task = make_task("triage", feedback={"resolved": {"type": "boolean"}})
    route = Route(name="triage", task="triage", policy="triage", business_key="/metadata/order")
    cascade = Route(name="triage", task="triage", policy="x")
    names = [
        Served("triage", "triage@v7", "ab" * 32, task, predictor, route, labels),
        Served("triage@v9", "triage@v9", "cd" * 32, task, Cascade(), cascade, labels),
        Served("giant", "giant", "giant", None, Giant(), Route(name="giant", policy="giant")),
        Served(
            "giant-off",
            "giant",
            "giant",
            None,
            Giant(),
            Route(name="giant", policy="giant", capture=Capture(level="off")),
        ),
        *served(make_task("giant-raises"), Failing("raise")),
        *served(make_task("giant-hangs"), Failing("hang")),
        *served(make_task("secret"), predictor),
    ]
    with running(names, Limits(answer_seconds=5), keyring=Everyone(ALICE), books=books, clock=lambda: 1e9) as found:
        yield found


def ask(model: str = "triage", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": messages()} | more


def test_an_answer_is_booked_with_who_asked_what_and_what_it_cost(server: Server, books: Books) -> None:
    asked = ask(user="ann@example.org", metadata={"order": "A-17"})
    reply = server.chat(asked)
    (row,) = books.exchanges
    assert (row.tenant, row.key, row.route, row.model, row.endpoint, row.task) == (
        "acme", "key-1", "triage", "triage", "chat", "triage",
    )  # fmt: skip
    assert (row.version, row.variant, row.decision, row.status, row.error) == (
        "triage@v7",
        "ab" * 32,
        "answer",
        200,
        "",
    )
    assert (row.label, row.at, row.stream) == ("card", 1e9, False)
    assert (row.subject, row.business) == ("<ann@example.org>", "<A-17>")
    assert "ann" not in repr(row).replace("<ann@example.org>", "")
    assert row.cost == sum(hop.cost for hop in row.hops) == 1250
    assert float(reply.headers["x-sartor-cost"]) == row.cost / NANO
    assert 0 < row.first_seconds <= row.seconds < 60
    assert row.request_id == reply.headers["x-request-id"]
    assert json.loads(reply.body)["id"] == row.id
    (content,) = books.contents
    assert content is not None
    assert (json.loads(content.asked), content.answered) == (asked, reply.body)
    assert (books.counted, books.open) == ([row.id], 0)


def test_the_header_names_the_case_before_the_body_does(server: Server, books: Books) -> None:
    server.chat(ask(metadata={"order": "A-17"}), **{"X-Sartor-Key": "B-18"})
    server.chat(ask(metadata={"order": {"no": "text"}}), **{"X-Sartor-Key": ""})
    server.chat(ask("giant", metadata={"business_key": 7}))
    assert [row.business for row in books.exchanges] == ["<B-18>", "", "<7>"]


def test_every_hop_is_booked_and_their_sum_is_the_cost(server: Server, books: Books) -> None:
    reply = server.chat(ask("triage@v9"))
    (row,) = books.exchanges
    assert [hop.served_by for hop in row.hops] == ["local", "giant", "giant"]
    assert [hop.cost for hop in row.hops] == [123, 300_000, 100_000_000]
    assert row.cost == 100_300_123
    assert reply.headers["x-sartor-cost"] == "0.100300123"
    # What an upstream wrote is content, unless it is a label.
    assert [hop.label for hop in row.hops] == ["card", None, "money"]
    assert [hop.why for hop in row.hops] == ["escalated", "", ""]
    assert (row.input_tokens, row.output_tokens) == (207, 18)
    assert (row.variant, row.version, row.label) == ("giant", "giant", "money")
    assert (row.arm, row.propensity) == ("canary", 0.1)
    assert books.settled == [(225, row.cost / NANO)]


def test_what_is_set_aside_grows_with_what_was_spent(server: Server, books: Books) -> None:
    for most in (None, 1000):
        server.chat(ask("giant", max_tokens=most))
    (first, none), (second, money) = books.expected
    assert (none, money) == (0, COST)
    assert second - first > 700


REFUSED: dict[str, tuple[bytes, int, str, str]] = {
    "no JSON": (b"{", 400, "invalid_json", ""),
    "no model": (b"{}", 400, "bad_request", ""),
    "an unknown model": (json.dumps(ask("triag")).encode(), 404, "model_not_found", ""),
    "a model out of scope": (json.dumps(ask("secret")).encode(), 404, "model_not_found", ""),
    "no input": (json.dumps({"model": "triage", "messages": []}).encode(), 400, "bad_request", "triage"),
    "a wrong parameter": (json.dumps(ask(temperature=9)).encode(), 400, "bad_request", "triage"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_refused_is_booked_too(case: str, server: Server, books: Books) -> None:
    body, status, code, route = REFUSED[case]
    assert server.chat(body).status == status
    (row,) = books.exchanges
    assert (row.status, row.error, row.decision, row.route) == (status, code, "refused", route)
    assert (row.tenant, row.key, row.hops, row.cost) == ("acme", "key-1", [], 0)
    assert (books.counted, books.open) == ([row.id], 0)


def test_an_unknown_model_is_told_what_the_key_may_see_and_nothing_else(server: Server) -> None:
    said = server.chat(ask("nothing")).error["message"]
    assert "triage" in said
    assert "secret" not in said
    listed = [model["id"] for model in json.loads(server.send("GET", "/v1/models").body)["data"]]
    assert "triage" in listed
    assert "secret" not in listed
    assert server.send("GET", "/v1/models/secret").status == 404


def test_limits_say_when_to_come_again(server: Server, books: Books) -> None:
    for error, status in ((RateError("Too much.", retry_after=1.2), 429), (BusyError("Busy.", retry_after=0.01), 503)):
        books.refuse = error
        reply = server.chat(ask())
        assert reply.status == status
        assert reply.headers["retry-after"] == ("2" if status == 429 else "1")
    assert [row.decision for row in books.exchanges] == ["refused", "failed"]
    assert (books.open, books.settled) == (0, [])


def test_a_failure_is_booked_with_what_was_paid_on_the_way(server: Server, books: Books) -> None:
    giant = server.plane._routes.resolve("giant", ALICE).predictor  # type: ignore[union-attr]
    assert isinstance(giant, Giant)
    giant.error = UpstreamError("Both failed.", retryable=False, status=503, code="both", retry_after=3)
    giant.error.hops = Cascade.HOPS[:2]
    reply = server.chat(ask("giant"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "3")
    (row,) = books.exchanges
    assert (row.status, row.error, row.cost) == (503, "both", 300_123)
    assert server.chat(ask("giant-raises")).status == 500
    assert (books.exchanges[1].status, books.exchanges[1].error) == (500, "server_error")
    assert books.open == 0


def test_a_client_that_leaves_is_booked(server: Server, books: Books) -> None:
    body = json.dumps(ask("giant-hangs")).encode()
    with server.connect() as connection:
        head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (PATH.encode(), len(body)) + body)
        server.until(lambda: books.open == 1)
    server.until(lambda: bool(books.exchanges))
    (row,) = books.exchanges
    assert (row.status, row.error, row.decision) == (499, "client_gone", "failed")
    assert books.open == 0


def test_the_content_of_some_routes_is_nobodys_business(server: Server, books: Books) -> None:
    assert server.chat(ask("giant-off")).status == 200
    assert (len(books.exchanges), books.contents) == (1, [None])


def test_with_sync_an_answer_goes_out_after_it_is_on_disk(predictor: Any) -> None:
    route = Route(name="triage", task="triage", policy="triage", capture=Capture(durability="sync"))
    name = Served("triage", "triage@v7", "ab" * 32, make_task("triage"), predictor, route)
    books, order = Books(), []

    async def on_disk() -> None:
        await asyncio.sleep(0.05)
        order.append("disk")

    async def full() -> None:
        raise StoreError("The disk is full.", code="store_full")

    books.on_disk = on_disk
    with running([name], books=books) as server:
        for stream in (False, True):
            assert server.chat(ask(stream=stream)).status == 200
            order.append("answer")
        assert order == ["disk", "answer"] * 2
        books.on_disk = full
        assert server.chat(ask()).error["code"] == "store_full"
        assert len(books.exchanges) == 3


def test_requests_of_one_user_stay_together_and_of_nobody_stay_apart(books: Books) -> None:
    giant = Giant()
    name = Served("giant", "giant", "giant", None, giant, Route(name="giant", policy="giant"))
    with running([name], books=books) as server:
        for more in ({"user": "ann"}, {"safety_identifier": "bob"}, {}, {}):
            server.chat(ask("giant", **more))
    with running([name], books=books, keyring=Everyone(ALICE)) as server:
        server.chat(ask("giant"))
    ann, bob, one, other, key = [request.sticky for request in giant.seen]
    assert (ann, bob, key) == ("ann", "bob", "key-1")
    assert one != other
    assert {request.tenant for request in giant.seen} == {"default", "acme"}


def test_a_task_answers_completions_and_makes_no_embeddings(server: Server, books: Books) -> None:
    asked = {"model": "triage", "prompt": "my card is lost"}
    said = json.loads(server.post("/v1/completions", asked).body)
    assert (said["object"], said["choices"][0]["text"], said["id"]) == (
        "text_completion",
        "card",
        books.exchanges[0].id,
    )
    events = server.post("/v1/completions", asked | {"prompt": ["my card is lost"], "stream": True}).events
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == "card"
    for wrong, param in (({"prompt": ["a", "b"]}, "prompt"), ({"echo": True}, "echo"), ({"best_of": 2}, "best_of")):
        assert server.post("/v1/completions", asked | wrong).error["param"].startswith(param)
    assert server.post("/v1/embeddings", {"model": "triage", "input": "x"}).error["code"] == "unsupported_endpoint"
    assert server.post("/v1/embeddings", {"model": "giant", "input": "x"}).status == 200


def test_a_task_answers_in_the_form_of_a_tool(server: Server) -> None:
    schema = {"type": "object", "properties": {"intent": {"type": "string"}}, "required": ["intent"]}
    tools = [{"type": "function", "function": {"name": "classify", "parameters": schema}}]
    (choice,) = json.loads(server.chat(ask(tools=tools, tool_choice="required")).body)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"intent": "card"}
    events = server.chat(ask(tools=tools, stream=True)).events
    (call,) = events[1]["choices"][0]["delta"]["tool_calls"]
    assert (call["index"], json.loads(call["function"]["arguments"])) == (0, {"intent": "card"})


def test_feedback_goes_to_the_inbox_with_what_the_callers_tasks_declare(server: Server) -> None:
    said = server.post("/v1/feedback", {"metric": "resolved", "value": True, "exchange_id": "chatcmpl-1"})
    assert json.loads(said.body) == {"id": "fb-1", "tenant": "acme", "metric": "resolved"}
    assert server.post("/v1/feedback", {"metric": "reslved"}).error["param"] == "metric"
    assert server.post("/v1/feedback", b"[]").error["code"] == "invalid_json"


class Keys:
    """No key, no caller; `viewer` may only look."""

    def identify(self, headers: dict[bytes, bytes]) -> Caller:
        role = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if role not in ("application", "viewer", "admin"):
            raise KeyRefusedError("Send a key.", code="invalid_api_key")
        return Caller(role=role)  # type: ignore[arg-type]


ASKED = ["POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/feedback"]


def test_who_may_do_what_is_decided_before_anything_is_read(predictor: Any, books: Books) -> None:
    with running(served(make_task("triage"), predictor), keyring=Keys(), books=books) as server:

        def status(name: str, **headers: str) -> int:
            method, path = name.split(" ")
            return server.send(method, path, b"{" if method == "POST" else None, headers).status

        for name in ASKED:
            assert status(name) == 401
            assert status(name, Authorization="Bearer wrong") == 401
            assert status(name, Authorization="Bearer viewer") == 403
            assert status(name, Authorization="Bearer application") == 400
        for name in ("GET /v1/models", "GET /v1/models/triage"):
            assert status(name) == 401
            assert status(name, Authorization="Bearer viewer") == 200
        for name in ("GET /health", "GET /ready", "GET /openapi.json"):
            assert status(name) == 200
        # Nobody known asked: nothing is booked for them.
        assert {row.error for row in books.exchanges} == {"invalid_json"}
        assert len(books.exchanges) == 3


def test_readiness_ends_before_the_server_does(server: Server) -> None:
    assert json.loads(server.send("GET", "/ready").body)["status"] == "ready"
    assert server.plane is not None
    server.plane.draining = True
    reply = server.send("GET", "/ready")
    assert (reply.status, json.loads(reply.body)["status"]) == (503, "draining")
    assert server.chat(ask()).status == 200
    assert NOBODY.may("anyone")

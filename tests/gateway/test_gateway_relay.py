"""What passes through to an upstream: bytes that stay as they are, streams, costs, and how failures are told."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faulty_upstream import Faulty, in_thread
from gateway_names import make_task
from gateway_server import PATH, Reply, Server, messages, read_all, running
from giant import CALL, COST, USAGE, Giant

from sartor.core.predict import Prediction, Request, one_chunk
from sartor.core.route import Capture, Route, Timing, Upstream
from sartor.gateway.routes import Served
from sartor.gateway.upstream import open_upstream

QUICK = Timing(queue=0.3, connect=1.0, first_token=0.4, between_chunks=0.4, total=1.2)


def relayed(name: str, predictor: Any, **route: Any) -> Served:
    return Served(name, name, name, None, predictor, Route(name=name, policy=name, **route))


@pytest.fixture
def giant() -> Giant:
    return Giant()


@pytest.fixture
def server(giant: Giant) -> Iterator[Server]:
    with running([relayed("giant", giant)]) as found:
        yield found


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "giant", "messages": messages()} | more


def money(reply: Reply) -> float:
    return float(reply.headers["x-sartor-cost"])


def test_a_request_passes_as_it_is_and_its_answer_too_but_for_the_id(server: Server, giant: Giant) -> None:
    asked = ask(temperature=3.5, a_new_parameter={"deep": [1, {"x": None}]}, messages=[{"role": "usr", "content": 7}])
    reply = server.chat(asked)
    (request,) = giant.seen
    assert request.chat == asked
    said = json.loads(reply.body)
    assert said == giant.reply(request) | {"id": said["id"]}
    (exchange,) = server.books.exchanges
    assert said["id"] == exchange.id == request.id
    assert exchange.id.startswith("chatcmpl-")
    assert exchange.id.removeprefix("chatcmpl-") == reply.headers["x-request-id"].removeprefix("req_")
    assert (reply.headers["x-sartor-variant"], reply.headers["x-sartor-route"]) == ("giant", "giant")
    assert (reply.headers["x-sartor-decision"], money(reply)) == ("answer", COST)


def test_a_completion_whose_id_stands_elsewhere_gets_ours_all_the_same(server: Server, giant: Giant) -> None:
    giant.reply = lambda request: {"choices": [{"id": "x"}], "id": "theirs"}  # type: ignore[method-assign]
    said = json.loads(server.chat(ask()).body)
    assert said == {"choices": [{"id": "x"}], "id": server.books.exchanges[0].id}


def test_a_stream_passes_event_by_event_under_our_id(server: Server, giant: Giant) -> None:
    reply = server.chat(ask(stream=True))
    *events, done = reply.events
    assert done == "[DONE]"
    assert "transfer-encoding" in reply.headers
    ident = server.books.exchanges[0].id
    theirs = [json.loads(raw[6:]) | {"id": ident} for _, raw in giant.pieces(giant.seen[0])]
    assert events == theirs
    assert "usage" not in str(events)
    assert server.books.exchanges[0].stream


def test_the_usage_comes_where_it_was_asked_for_and_says_what_it_cost(server: Server) -> None:
    *_, last, done = server.chat(ask(stream=True, stream_options={"include_usage": True})).events
    assert done == "[DONE]"
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert (last["x-sartor-cost"], last["x-sartor-variant"], last["x-sartor-route"]) == (COST, "giant", "giant")
    assert last["id"] == server.books.exchanges[0].id


def test_tools_pass_through_in_both_directions(server: Server, giant: Giant) -> None:
    tools = [{"type": "function", "function": {"name": "route", "parameters": {"type": "object"}}}]
    said = json.loads(server.chat(ask(tools=tools)).body)
    assert said["choices"][0]["message"]["tool_calls"] == [CALL]
    events = server.chat(ask(tools=tools, stream=True)).events
    assert events[1]["choices"][0]["delta"]["tool_calls"][0]["id"] == "call_7"
    assert [r.chat["tools"] for r in giant.seen if r.chat] == [tools, tools]


def test_completions_and_embeddings_pass_through(server: Server, giant: Giant) -> None:
    said = json.loads(server.post("/v1/completions", {"model": "giant", "prompt": "Say hello"}).body)
    assert (said["object"], said["choices"][0]["text"]) == ("text_completion", "Hello, world")
    assert said["id"].startswith("cmpl-")
    stream = server.post("/v1/completions", {"model": "giant", "prompt": ["Say hello"], "stream": True}).events
    assert "".join(e["choices"][0]["text"] for e in stream[:-1]) == "Hello, world"
    asked = {"model": "giant", "input": ["a"], "encoding_format": "base64", "dimensions": 2}
    reply = server.post("/v1/embeddings", asked)
    assert json.loads(reply.body) == giant.reply(giant.seen[-1])
    assert giant.seen[-1].chat == asked
    assert [e.endpoint for e in server.books.exchanges] == ["completions", "completions", "embeddings"]
    assert money(reply) == COST


def test_a_stream_that_breaks_says_so_in_its_last_event_and_is_booked(server: Server, giant: Giant) -> None:
    giant.breaks_after = 2
    with server.connect() as connection:
        body = json.dumps(ask(stream=True)).encode()
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body))
        )
        connection.sendall(body)
        found = read_all(connection)  # ends: the server closes
    last = found.split(b"data: ")[-1].partition(b"\n\n")[0]
    error = json.loads(last)["error"]
    assert (error["code"], error["type"]) == ("upstream_closed", "server_error")
    assert b"[DONE]" not in found
    assert found.endswith(b"0\r\n\r\n")
    (exchange,), (content,) = server.books.exchanges, server.books.contents
    assert (exchange.status, exchange.error, exchange.decision) == (502, "upstream_closed", "failed")
    assert (exchange.hops[0].why, exchange.cost) == ("failed: upstream_closed", int(COST * 1e9))
    assert content is not None
    assert b"Hello" in content.answered
    assert giant.closed == 1


def test_a_client_that_leaves_a_stream_closes_the_upstreams(server: Server, giant: Giant) -> None:
    giant.stuck_after = 2
    body = json.dumps(ask(stream=True)).encode()
    with server.connect() as connection:
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body))
        )
        connection.sendall(body)
        assert b"text/event-stream" in connection.recv(65536)
    server.until(lambda: bool(server.books.exchanges))
    (exchange,), (content,) = server.books.exchanges, server.books.contents
    assert (exchange.status, exchange.error, exchange.decision) == (499, "client_gone", "failed")
    # What the upstream had said until then is paid for.
    assert (exchange.cost, exchange.hops[0].why) == (int(COST * 1e9), "client gone")
    assert json.loads(content.answered)["choices"][0]["message"]["content"] == "Hello"  # type: ignore[union-attr]
    server.until(lambda: giant.closed == 1)
    assert server.books.open == 0


def test_a_stream_is_on_disk_before_its_last_word_goes_out(giant: Giant) -> None:
    with running([relayed("giant", giant, capture=Capture(durability="sync"))]) as server:
        order: list[str] = []

        async def on_disk() -> None:
            order.append("disk")

        server.books.on_disk = on_disk
        assert server.chat(ask(stream=True)).events[-1] == "[DONE]"
        assert server.chat(ask()).status == 200
        assert order == ["disk", "disk"]


class Cached:
    """Has a whole completion, and no events of it."""

    async def predict(self, requests: Any) -> list[Prediction]:
        return [Giant().answer(request) for request in requests]

    def stream(self, request: Request) -> Any:
        return one_chunk(self, request)


def test_a_whole_completion_becomes_a_stream_where_one_is_asked_for() -> None:
    with running([relayed("giant", Cached())]) as server:
        events = server.chat(ask(stream=True, stream_options={"include_usage": True})).events
        assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-2]) == "Hello, world"
        assert events[-3]["choices"][0]["finish_reason"] == "stop"
        assert events[-2]["usage"]["total_tokens"] == 14
        assert {e["id"] for e in events[:-1]} == {server.books.exchanges[0].id}


def test_what_the_task_cannot_read_goes_on_unharmed(giant: Giant, predictor: Any) -> None:
    task = make_task("triage")
    route = Route(name="triage", task="triage", policy="triage", unmatched="giant")
    found = Served(
        "triage", "triage@v7", "ab" * 32, task, predictor, route, ("card", "money", "other"), unmatched=giant
    )
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    odd = [
        {"model": "triage", "messages": [{"role": "user", "content": [picture]}]},
        {"model": "triage", "messages": messages(), "logprobs": True},
        {"model": "triage", "messages": messages(), "parameter_of_next_year": 1},
        {"model": "triage", "messages": messages("x" * 200_000), "stream": True},
    ]
    with running([found]) as server:
        for asked in odd:
            reply = server.chat(asked)
            assert reply.status == 200
            assert giant.seen[-1].chat == asked
        assert server.chat({"model": "triage", "messages": messages()}).headers["x-sartor-decision"] == "answer"
        assert [e.decision for e in server.books.exchanges] == ["unmatched"] * 4 + ["answer"]
        assert server.books.exchanges[0].variant == server.books.exchanges[0].version == "giant"
        assert server.books.exchanges[0].hops[0].label is None
        assert (server.books.exchanges[4].version, server.books.exchanges[4].label) == ("triage@v7", "card")


# A real upstream that goes wrong.


@pytest.fixture(scope="module")
def upstream() -> Iterator[Faulty]:
    with in_thread() as found:
        yield found


WAYS: dict[str, tuple[int, str, str]] = {
    "html": (502, "upstream_unreadable", "can't be read"),
    "html-502": (502, "upstream_error", "502"),
    "early-reset": (502, "upstream_closed", "giant"),
    "hang": (504, "upstream_timeout", "giant"),
    "401": (502, "upstream_key_refused", "refused our key"),
    "400": (400, "context_length_exceeded", "said with 400"),
    "429-long": (429, "upstream_error", "said with 429"),
    "no-http": (502, "upstream_malformed", "giant"),
}


@pytest.fixture(scope="module")
def before(upstream: Faulty) -> Iterator[Server]:
    names = []
    for way in ("ok", "cut", "stall", "error-event", "no-usage", *WAYS):
        spec = Upstream(name="giant", base_url=upstream.url(way), allow_private=True, timing=QUICK, retries=0)
        predictor = open_upstream(spec, secret=lambda: "sk-of-ours", price=lambda u: u.output_tokens * 0.5)
        names.append(relayed(way, predictor))
    with running(names) as found:
        yield found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_failure_before_the_first_byte_has_a_status_of_its_own(before: Server, way: str, stream: bool) -> None:
    before.books.exchanges.clear()
    status, code, says = WAYS[way]
    reply = before.chat({"model": way, "messages": messages(), "stream": stream})
    assert (reply.status, reply.error["code"]) == (status, code)
    assert says in reply.error["message"]
    assert b"sk-of-ours" not in reply.body
    assert ("retry-after" in reply.headers) == (way == "429-long")
    (exchange,) = before.books.exchanges
    assert (exchange.status, exchange.error, exchange.route, exchange.cost) == (status, code, way, 0)
    assert before.books.open == 0


@pytest.mark.parametrize(("way", "code"), [("cut", "upstream_closed"), ("stall", "upstream_timeout")])
def test_a_cut_stream_is_told_and_kept(before: Server, way: str, code: str) -> None:
    before.books.exchanges.clear()
    before.books.contents.clear()
    reply = before.chat({"model": way, "messages": messages(), "stream": True})
    assert reply.status == 200
    assert reply.events[-1]["error"]["code"] == code
    assert reply.events[0]["choices"][0]["delta"]["role"] == "assistant"
    (exchange,), (content,) = before.books.exchanges, before.books.contents
    assert (exchange.error, exchange.decision) == (code, "failed")
    assert exchange.cost == exchange.hops[0].cost > 0
    assert b"card" in content.answered or way == "stall"  # type: ignore[union-attr]


def test_a_real_upstream_answers_and_streams(before: Server) -> None:
    assert json.loads(before.chat({"model": "ok", "messages": messages()}).body)["model"] == "giant-1"
    events = before.chat({"model": "ok", "messages": messages(), "stream": True}).events
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1]) == "card_arrival"
    asked = {"model": "no-usage", "messages": messages(), "stream": True, "stream_options": {"include_usage": True}}
    *_, usage, done = before.chat(asked).events
    assert done == "[DONE]"
    assert usage["usage"]["completion_tokens"] > 0
    assert usage["x-sartor-cost"] == usage["usage"]["completion_tokens"] * 0.5

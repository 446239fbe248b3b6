"""Upstreams behind the data plane: what an application sees of their faults, and what is booked of them."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from faulty_upstream import STREAM, WHOLE, Faulty, in_thread
from gateway_server import Server, messages, running

from sartor.core.predict import Usage
from sartor.core.route import Route, Timing, Upstream
from sartor.core.traffic import nanos
from sartor.gateway.routes import Served
from sartor.gateway.upstream import open_upstream

TIMING = Timing(queue=1.2, connect=2.0, first_token=1.5, between_chunks=0.8, total=2.0)
WAYS = ("ok", "hang", "cut", "400", "401", "429-long", "html", "error-event", "stall", "no-usage", "flood")


def price(usage: Usage) -> float:
    return 1e-3 * usage.input_tokens + 1e-2 * usage.output_tokens


@pytest.fixture(scope="module")
def upstream() -> Iterator[Faulty]:
    with in_thread() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(upstream: Faulty) -> Iterator[Server]:
    names = []
    for way in WAYS:
        spec = Upstream(
            name=way, base_url=upstream.url(way), allow_private=True, timing=TIMING, retries=0, concurrency=4
        )
        predictor = open_upstream(spec, secret=lambda: "sk-test-key", price=price)
        names.append(Served(way, way, way, None, predictor, Route(name=way, policy=way), price=price))
    with running(names) as found:
        yield found


def ask(gateway: Server, way: str, **fields: Any) -> Any:
    return gateway.chat({"model": way, "messages": messages()} | fields)


@pytest.mark.parametrize("way", ["hang", "cut", "400", "401", "429-long", "html"])
def test_the_application_sees_the_fault_in_openais_form(gateway: Server, way: str):
    status, code, words = WHOLE[way]
    for stream in (False, True):
        if stream and way == "cut":
            continue
        reply = ask(gateway, way, stream=stream)
        assert (reply.status, reply.error["code"]) == (status, code)
        assert words in reply.error["message"] or way == "html"
        assert b"sk-test-key" not in reply.body
        exchange = gateway.books.exchanges[-1]
        assert (exchange.status, exchange.error, exchange.cost) == (status, code, 0)
    if way == "429-long":
        assert reply.headers["retry-after"] == "600"
    if way == "400":
        assert (reply.error["type"], reply.error["param"]) == ("invalid_request_error", "messages")


@pytest.mark.parametrize("way", ["cut", "stall", "error-event"])
def test_a_cut_stream_is_told_and_what_arrived_is_booked(gateway: Server, way: str):
    reply = ask(gateway, way, stream=True)
    assert reply.status == 200
    *said, error = reply.events
    assert error["error"]["code"] == STREAM[way][1]
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in said)
    gateway.until(lambda: gateway.books.exchanges[-1].route == way)
    exchange, content = gateway.books.exchanges[-1], gateway.books.contents[-1]
    assert text.startswith("card")
    assert json.loads(content.answered)["choices"][0]["message"]["content"] == text
    assert exchange.error == STREAM[way][1]
    assert exchange.cost == sum(hop.cost for hop in exchange.hops) > 0


def test_what_an_upstream_charges_is_booked_to_the_nano(gateway: Server):
    for fields in ({}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}):
        reply = ask(gateway, "ok", **fields)
        assert reply.status == 200
        gateway.until(lambda: gateway.books.exchanges[-1].route == "ok")
        exchange = gateway.books.exchanges[-1]
        assert (exchange.input_tokens, exchange.output_tokens) == (11, 2)
        assert exchange.cost == nanos(price(Usage(11, 2))) == 31_000_000
        assert exchange.hops[0].kind == "upstream"
    usage = reply.events[-2]
    assert (usage["choices"], usage["usage"]["prompt_tokens"], usage["x-sartor-cost"]) == ([], 11, 0.031)


def test_an_upstream_that_hangs_slows_no_other_route(gateway: Server):
    """Four hang, and as many as like wait for their places; the other route does not notice."""
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda: replies.append(ask(gateway, "hang"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert ask(gateway, "ok").status == 200
    assert len(replies) < 12  # they were still waiting while all of those were answered
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {503, 504}
    assert all("retry-after" in reply.headers for reply in replies if reply.status == 503)


def test_a_client_that_takes_nothing_holds_the_upstream_back(gateway: Server, upstream: Faulty):
    body = json.dumps({"model": "flood", "stream": True, "messages": messages()}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with gateway.connect() as client:
        client.sendall(head + body)
        gateway.until(lambda: upstream.asked["flood"] == 1)
        open_then = upstream.open_now
        threading.Event().wait(1.0)
        assert upstream.ended["flood"] == 0  # its 16 MB would have gone through by now
    gateway.until(lambda: upstream.open_now == open_then - 1)
    gateway.until(lambda: gateway.books.exchanges[-1].route == "flood")
    left = gateway.books.exchanges[-1]
    assert left.status == 499
    assert sum(hop.output_tokens for hop in left.hops) > 0  # what had come is paid for

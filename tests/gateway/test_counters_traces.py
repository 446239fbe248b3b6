"""Spans: what an exchange becomes, over the real protocol to a receiver on loopback."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from sartor.core.errors import MissingExtraError
from sartor.core.traffic import Exchange, HopRow
from sartor.gateway.counters import Counters
from sartor.gateway.telemetry import Traces, otlp_exporter

trace = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def escalated() -> Exchange:
    return Exchange(
        id="chatcmpl-7",
        at=1_790_000_000.0,
        tenant="acme-secret-tenant",
        key="k1",
        route="triage",
        model="triage@live",
        version="triage@v3",
        input_tokens=30,
        output_tokens=4,
        cost=1_500_000,
        seconds=0.75,
        request_id="req_1",
        hops=[
            HopRow("ab12", "local", 500_000, cpu_seconds=0.001, seconds=0.25, confidence=0.6, why="escalated"),
            HopRow("giant", "upstream", 1_000_000, 30, 4, seconds=0.5),
        ],
    )


def test_an_exchange_is_a_span_with_one_below_it_for_each_model() -> None:
    exporter, counters = trace.InMemorySpanExporter(), Counters()
    traced = Traces(exporter)
    counters.follow(traced.exchange)
    counters.exchange(escalated())
    traced.close()
    local, upstream, whole = exporter.get_finished_spans()
    assert (whole.name, upstream.name) == ("chat triage", "chat giant")
    assert {local.parent.span_id, upstream.parent.span_id} == {whole.context.span_id}
    assert whole.attributes["gen_ai.usage.input_tokens"] == 30
    assert whole.attributes["gen_ai.response.model"] == "triage@v3"
    assert whole.attributes["sartor.cost"] == 0.0015
    assert local.attributes["sartor.why"] == "escalated"
    assert (upstream.start_time - local.start_time, whole.end_time - whole.start_time) == (250_000_000, 750_000_000)
    assert whole.status.is_ok or whole.status.is_unset
    assert "acme-secret-tenant" not in "".join(span.to_json() for span in (local, upstream, whole))
    assert counters.snapshot()["exchanges"][0][1][0] == 1


def test_names_that_led_nowhere_are_not_exported() -> None:
    exporter = trace.InMemorySpanExporter()
    traced = Traces(exporter)
    lost = Exchange(id="i", at=0.0, tenant="t", key="k", route="jane@example.org", model="jane@example.org", status=404)
    lost.error = "model_not_found"
    traced.exchange(lost)
    traced.close()
    (span,) = exporter.get_finished_spans()
    assert "jane" not in span.to_json()
    assert span.attributes["error.type"] == "model_not_found"
    assert not span.status.is_ok


def test_what_does_not_fit_is_dropped_and_counted_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr("sartor.gateway.telemetry.span", lambda *_: hold.wait(20))
    traced = Traces(trace.InMemorySpanExporter(), most=1)
    for _ in range(50):
        traced.exchange(escalated())
    assert traced.dropped >= 48
    hold.set()
    traced.close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """An OTLP receiver, and what it got."""
    got: list[tuple[str, bytes]] = []

    class Take(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Take) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        yield got
        server.shutdown()


def test_spans_reach_a_receiver_over_the_real_protocol(receiver: list[tuple[str, bytes]]) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    traced = Traces(otlp_exporter())
    traced.exchange(escalated())
    traced.close()
    ((path, body),) = receiver
    assert path == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert sorted(names) == ["chat ab12", "chat giant", "chat triage"]
    assert json.dumps("sartor") in json.dumps([a.value.string_value for a in resource.resource.attributes])


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [n for n in sys.modules if n.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"sartor\[otel\]"):
        otlp_exporter()
    with pytest.raises(MissingExtraError, match=r"sartor\[otel\]"):
        Traces(None)

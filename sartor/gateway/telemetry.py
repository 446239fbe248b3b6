"""Exchanges as OpenTelemetry spans, by its conventions for generative AI. Names and figures only, never content.

The way of a request only puts its exchange into a bounded queue; a thread makes the spans and the SDK exports them in
batches. What does not fit is dropped and counted: tracing never delays an answer. Knows no trace of the client's own.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

from sartor.core.errors import missing_extra
from sartor.core.traffic import NANO, Exchange, HopRow

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
ERROR_TYPE = "error.type"
STATUS_CODE = "http.response.status_code"
ROUTE, DECISION, COST, ARM, REQUEST_ID = (
    "sartor.route",
    "sartor.decision",
    "sartor.cost",
    "sartor.arm",
    "sartor.request_id",
)
CONFIDENCE, WHY = "sartor.confidence", "sartor.why"

OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings", "shadow": "chat"}
PROVIDERS = {"local": "sartor", "cache": "sartor", "upstream": "openai"}
"""Kind of a hop -> who answered; an upstream counts as OpenAI's, whose interface it has here."""

MOST_WAITING = 10_000


class Traces:
    """Where spans of exchanges go; `Counters.follow` hands them over."""

    def __init__(self, exporter: Any, *, most: int = MOST_WAITING) -> None:
        """Trace to an exporter of the OpenTelemetry SDK.

        Raises:
            MissingExtraError: the SDK is not installed.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError as error:
            raise missing_extra(error.name or "opentelemetry", "Tracing") from error
        self.dropped = 0
        self._waiting: queue.Queue[Exchange | None] = queue.Queue(most)
        self._provider = TracerProvider(resource=Resource.create({"service.name": "sartor"}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sartor.gateway")
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def exchange(self, done: Exchange) -> None:
        """Leave one for the thread."""
        try:
            self._waiting.put_nowait(done)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Export what waits, and end. Blocks."""
        self._waiting.put(None)
        self._thread.join(timeout=10)
        self._provider.shutdown()

    def _work(self) -> None:
        while (done := self._waiting.get()) is not None:
            span(self._tracer, done)


def otlp_exporter() -> Any:
    """Exports to where OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_ENDPOINT), over HTTP.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "opentelemetry", "Tracing") from error
    return OTLPSpanExporter()


def span(tracer: Any, done: Exchange) -> None:
    """One exchange as a span, with one below it for each model that was asked; times as they were."""
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

    operation = OPERATIONS[done.endpoint]
    begun = _nanoseconds(done.at)
    attributes = {
        OPERATION: operation,
        PROVIDER: "sartor",
        RESPONSE_ID: done.id,
        RESPONSE_MODEL: done.version,
        INPUT_TOKENS: done.input_tokens,
        OUTPUT_TOKENS: done.output_tokens,
        STATUS_CODE: done.status,
        ROUTE: done.route if done.version else "",
        REQUEST_MODEL: done.model if done.version else "",
        DECISION: done.decision,
        COST: done.cost / NANO,
        ARM: done.arm,
        REQUEST_ID: done.request_id,
        ERROR_TYPE: done.error,
    }
    whole = tracer.start_span(
        f"{operation} {attributes[ROUTE]}".strip(),
        kind=SpanKind.SERVER,
        start_time=begun,
        attributes={name: value for name, value in attributes.items() if value != ""},
    )
    if done.error:
        whole.set_status(Status(StatusCode.ERROR))
    inside = set_span_in_context(whole)
    at = begun
    for hop in done.hops:
        at = _hop(lambda **given: tracer.start_span(context=inside, **given), operation, hop, at)
    whole.end(end_time=max(at, begun + _nanoseconds(done.seconds)))


def _hop(start: Callable[..., Any], operation: str, hop: HopRow, at: int) -> int:
    """A span for one model that was asked, beginning at `at`; where it ends."""
    from opentelemetry.trace import SpanKind

    attributes: dict[str, Any] = {
        OPERATION: operation,
        PROVIDER: PROVIDERS[hop.kind],
        REQUEST_MODEL: hop.served_by,
        INPUT_TOKENS: hop.input_tokens,
        OUTPUT_TOKENS: hop.output_tokens,
        COST: hop.cost / NANO,
        WHY: hop.why,
    }
    if hop.confidence is not None:
        attributes[CONFIDENCE] = hop.confidence
    part = start(
        name=f"{operation} {hop.served_by}",
        kind=SpanKind.CLIENT if hop.kind == "upstream" else SpanKind.INTERNAL,
        start_time=at,
        attributes=attributes,
    )
    end = at + _nanoseconds(hop.seconds)
    part.end(end_time=end)
    return end


def _nanoseconds(seconds: float) -> int:
    return int(seconds * NANO)

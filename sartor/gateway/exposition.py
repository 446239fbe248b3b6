"""A snapshot of counters as Prometheus reads it. Knows no traffic: it writes the sums that it is given."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sartor.core.traffic import NANO
from sartor.gateway.counters import BOUNDS, PROCESS, ROUTE_LABELS, SUMS, Snapshot

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class _Sums(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Every family once, then every label set in it."""
        rows = [
            (labels, dict(zip(SUMS, sums, strict=False)), sums[-2:]) for labels, sums in self._snapshot["exchanges"]
        ]
        yield from _of_exchanges(rows)
        yield from _of_hops(self._snapshot["hops"])
        errors = CounterMetricFamily("sartor_errors", "Requests that ended in an error.", labels=("route", "code"))
        for labels, (count,) in self._snapshot["errors"]:
            errors.add_metric(labels, count)
        yield errors
        yield GaugeMetricFamily(
            "sartor_counted_since_seconds", "Begin of all counts, since 1970.", self._snapshot["since"]
        )
        yield GaugeMetricFamily("sartor_workers", "Processes that answer.", self._snapshot["workers"])
        for name, reading in self._snapshot["process"].items():
            yield _of_process(name, reading)


def exposition(snapshot: Snapshot) -> bytes:
    """The snapshot as Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sums(snapshot))
    found: bytes = generate_latest(registry)
    return found


def _of_exchanges(rows: list[tuple[list[str], dict[str, Any], list[list[int]]]]) -> Iterator[Metric]:
    requests = CounterMetricFamily("sartor_requests", "Requests that are over.", labels=ROUTE_LABELS)
    cost = CounterMetricFamily("sartor_cost", "Money spent, in the gateway's currency.", labels=ROUTE_LABELS)
    local = CounterMetricFamily("sartor_local_answers", "Answered without any upstream.", labels=ROUTE_LABELS)
    local_cost = CounterMetricFamily("sartor_local_cost", "Money spent on those.", labels=ROUTE_LABELS)
    tokens = CounterMetricFamily("sartor_tokens", "Tokens read and written.", labels=(*ROUTE_LABELS, "direction"))
    whole = HistogramMetricFamily("sartor_request_seconds", "From request to last byte.", labels=ROUTE_LABELS)
    first = HistogramMetricFamily("sartor_first_byte_seconds", "From request to first byte.", labels=ROUTE_LABELS)
    for labels, sums, (buckets, first_buckets) in rows:
        requests.add_metric(labels, sums["requests"])
        cost.add_metric(labels, sums["cost"] / NANO)
        local.add_metric(labels, sums["local"])
        local_cost.add_metric(labels, sums["local_cost"] / NANO)
        tokens.add_metric([*labels, "input"], sums["input_tokens"])
        tokens.add_metric([*labels, "output"], sums["output_tokens"])
        whole.add_metric(labels, _cumulative(buckets), sums["seconds"])
        first.add_metric(labels, _cumulative(first_buckets), sums["first_seconds"])
    yield from (requests, cost, local, local_cost, tokens, whole, first)


def _of_hops(rows: list[tuple[list[str], list[float]]]) -> Iterator[Metric]:
    labels = ("route", "kind")
    hops = CounterMetricFamily("sartor_hops", "Models asked on the way to answers.", labels=labels)
    cost = CounterMetricFamily("sartor_hop_cost", "Money spent on them.", labels=labels)
    cpu = CounterMetricFamily("sartor_hop_cpu_seconds", "CPU time of local ones.", labels=labels)
    seconds = CounterMetricFamily("sartor_hop_seconds", "Time waited for them.", labels=labels)
    for found, sums in rows:
        hops.add_metric(found, sums[0])
        cost.add_metric(found, sums[1] / NANO)
        cpu.add_metric(found, sums[4])
        seconds.add_metric(found, sums[5])
    yield from (hops, cost, cpu, seconds)


def _of_process(name: str, reading: dict[str, float]) -> Metric:
    how, label, meaning = PROCESS[name]
    kind = CounterMetricFamily if how == "counter" else GaugeMetricFamily
    family = kind(f"sartor_{name}", meaning, labels=(label,) if label else ())
    for value_of, value in reading.items():
        family.add_metric([value_of] if label else [], value)
    return family


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    return list(zip([*map(str, BOUNDS), "+Inf"], accumulate(buckets), strict=True))

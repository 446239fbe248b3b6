"""What is going on at a server's routes, out of two readings of its metrics. Knows nothing that they do not tell."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Samples = Mapping[tuple[str, ...], float]
"""Sums of one route: (metric, label that matters) -> value."""


@dataclass
class Reading:
    """The metrics of one moment."""

    at: float
    """Seconds since 1970."""
    since: float = 0.0
    routes: dict[str, dict[tuple[str, str], float]] = field(default_factory=dict)
    """Route -> (metric, label that matters) -> sum over the other labels."""
    process: dict[str, float] = field(default_factory=dict)
    """What the processes tell of themselves, summed over labels; `NAME:LABEL` where there is one."""


@dataclass(frozen=True)
class Line:
    """One route between two readings. Money in the gateway's currency, times in seconds."""

    route: str
    requests: int
    per_second: float
    errors: float
    """Share of the requests."""
    p50: float | None
    p95: float | None
    local: float | None
    """Share of the good answers that were given without any upstream."""
    cost_hour: float
    saved_hour: float | None
    """What the local answers would have cost at the mean price of this route's other answers, beyond what they did."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


KEPT = {
    "sartor_requests_total": "status",
    "sartor_local_answers_total": "",
    "sartor_cost_total": "",
    "sartor_local_cost_total": "",
    "sartor_request_seconds_bucket": "le",
}
"""Metric of routes -> label by which it is kept apart."""


def read(text: str, at: float) -> Reading:
    """The reading that a text for Prometheus gives; what shadows asked is left out."""
    from prometheus_client.parser import text_string_to_metric_families

    found = Reading(at)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "sartor_counted_since_seconds":
                found.since = sample.value
            elif sample.name in KEPT and sample.labels["endpoint"] != "shadow":
                sums = found.routes.setdefault(sample.labels["route"], {})
                key = (sample.name, sample.labels.get(KEPT[sample.name], ""))
                sums[key] = sums.get(key, 0.0) + sample.value
            elif "route" not in sample.labels and sample.name.startswith("sartor_"):
                name = sample.name.removeprefix("sartor_").removesuffix("_total")
                label = next(iter(sample.labels.values()), "")
                found.process[f"{name}:{label}" if label else name] = sample.value
    return found


def lines(before: Reading | None, now: Reading) -> list[Line]:
    """Every route with requests, the busiest first; without a reading before, since the counts began."""
    begun = before if before is not None and before.since == now.since else Reading(now.since)
    seconds = max(now.at - begun.at, 1e-9)
    found = [
        _line(route, _since(begun.routes.get(route, {}), sums), sums, seconds) for route, sums in now.routes.items()
    ]
    return sorted((line for line in found if line.requests), key=lambda line: -line.requests)


def _since(
    before: Mapping[tuple[str, str], float], now: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    return {key: value - before.get(key, 0.0) for key, value in now.items()}


def _line(
    route: str, now: Mapping[tuple[str, str], float], ever: Mapping[tuple[str, str], float], seconds: float
) -> Line:
    requests, good = _sum(now, "sartor_requests_total"), _good(now)
    local = now.get(("sartor_local_answers_total", ""), 0.0)
    return Line(
        route=route,
        requests=round(requests),
        per_second=requests / seconds,
        errors=(requests - good) / requests if requests else 0.0,
        p50=_quantile(now, 0.5),
        p95=_quantile(now, 0.95),
        local=local / good if good else None,
        cost_hour=now.get(("sartor_cost_total", ""), 0.0) / seconds * 3600,
        saved_hour=_saved(now, ever, seconds),
    )


def _saved(now: Mapping[tuple[str, str], float], ever: Mapping[tuple[str, str], float], seconds: float) -> float | None:
    """None where no upstream answered yet: then nobody knows what it would have cost."""
    others = _good(ever) - ever.get(("sartor_local_answers_total", ""), 0.0)
    if others <= 0:
        return None
    price = (ever[("sartor_cost_total", "")] - ever.get(("sartor_local_cost_total", ""), 0.0)) / others
    local, cost = now.get(("sartor_local_answers_total", ""), 0.0), now.get(("sartor_local_cost_total", ""), 0.0)
    return (local * price - cost) / seconds * 3600


def _good(sums: Mapping[tuple[str, str], float]) -> float:
    return sum(value for (name, label), value in sums.items() if name == "sartor_requests_total" and label == "2xx")


def _sum(sums: Mapping[tuple[str, str], float], metric: str) -> float:
    return sum(value for (name, _), value in sums.items() if name == metric)


def _quantile(sums: Mapping[tuple[str, str], float], share: float) -> float | None:
    """Of the latency, in a straight line within its bucket; None without requests, the last bound beyond it."""
    buckets = _sorted(
        (label, value) for (name, label), value in sums.items() if name == "sartor_request_seconds_bucket"
    )
    if not buckets or not buckets[-1][1]:
        return None
    counts = [count for _, count in buckets]
    wanted = share * counts[-1]
    place = bisect_left(counts, wanted)
    low, below = buckets[place - 1] if place else (0.0, 0.0)
    high, upto = buckets[place]
    if high == float("inf"):
        return low
    return low + (high - low) * (wanted - below) / (upto - below)


def _sorted(buckets: Iterable[tuple[str, float]]) -> list[tuple[float, float]]:
    return sorted((float(bound.replace("+Inf", "inf")), count) for bound, count in buckets)

"""Counters: sums equal what was counted, labels stay bounded, snapshots of workers add up."""

import json
import random

from prometheus_client.parser import text_string_to_metric_families

from sartor.core.traffic import NANO, Exchange, HopRow
from sartor.gateway.counters import MOST_SERIES, Counters, merged
from sartor.gateway.exposition import exposition


def an_exchange(draw: random.Random) -> Exchange:
    kinds = draw.choice((["local"], ["local", "upstream"], ["upstream"], ["cache"]))
    hops = [
        HopRow(f"m{n}", kind, draw.randrange(10**7), draw.randrange(500), draw.randrange(50), 0.001, draw.random())
        for n, kind in enumerate(kinds)
    ]
    failed = draw.random() < 0.1
    return Exchange(
        id="chatcmpl-1",
        at=0.0,
        tenant="acme",
        key="k",
        route=draw.choice(("triage", "giant")),
        model="triage@live",
        version=draw.choice(("triage@v1", "triage@v2")),
        status=502 if failed else 200,
        decision="failed" if failed else "answer",
        error="upstream_error" if failed else "",
        input_tokens=sum(h.input_tokens for h in hops),
        output_tokens=sum(h.output_tokens for h in hops),
        cost=sum(h.cost for h in hops),
        seconds=draw.expovariate(10),
        first_seconds=draw.expovariate(20),
        hops=hops,
    )


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def total(found: dict[tuple[str, ...], float], name: str, label: str = "") -> float:
    return sum(value for labels, value in found.items() if labels[0] == name and (not label or label in labels))


def test_the_metrics_of_all_workers_are_the_sums_over_what_happened() -> None:
    draw = random.Random(3)
    traffic = [an_exchange(draw) for _ in range(600)]
    workers = [Counters() for _ in range(3)]
    for number, done in enumerate(traffic):
        workers[number % 3].exchange(done)

    whole = merged(json.loads(json.dumps(worker.snapshot())) for worker in workers)
    found = samples(exposition(whole))

    assert total(found, "sartor_requests_total") == len(traffic)
    assert round(total(found, "sartor_cost_total") * NANO) == sum(done.cost for done in traffic)
    assert sum(row[1] for _, row in whole["exchanges"]) == sum(done.cost for done in traffic)
    assert sum(row[1] for _, row in whole["hops"]) == sum(hop.cost for done in traffic for hop in done.hops)
    assert total(found, "sartor_tokens_total", "input") == sum(done.input_tokens for done in traffic)
    assert total(found, "sartor_requests_total", "triage") == sum(done.route == "triage" for done in traffic)
    assert total(found, "sartor_errors_total") == sum(bool(done.error) for done in traffic)
    assert total(found, "sartor_request_seconds_bucket", "+Inf") == len(traffic)
    assert total(found, "sartor_request_seconds_bucket", "0.1") == sum(done.seconds <= 0.1 for done in traffic)
    alone = [d for d in traffic if d.status == 200 and all(hop.kind != "upstream" for hop in d.hops)]
    assert total(found, "sartor_local_answers_total") == len(alone)
    assert sum(row[5] for _, row in whole["exchanges"]) == sum(done.cost for done in alone)
    assert found["sartor_workers",] == 3


def test_names_that_clients_made_up_are_no_labels() -> None:
    counters = Counters()
    secrets = [f"customer-{n}@example.org" for n in range(3 * MOST_SERIES)]
    for name in secrets:
        lost = Exchange(id="i", at=0, tenant=name, key=name, route=name, model=name, status=404, decision="refused")
        lost.error = "model_not_found"
        counters.exchange(lost)
    text = counters.text().decode()
    assert "customer" not in text
    assert total(samples(text.encode()), "sartor_requests_total", "4xx") == len(secrets)


def test_series_are_bounded_even_where_the_names_are_our_own() -> None:
    counters = Counters()
    for number in range(2 * MOST_SERIES):
        counters.exchange(Exchange(id="i", at=0, tenant="t", key="k", route=f"r{number}", model="m", version="v"))
    assert len(counters.snapshot()["exchanges"]) <= MOST_SERIES + 1
    assert sum(row[0] for _, row in counters.snapshot()["exchanges"]) == 2 * MOST_SERIES


def test_a_route_keeps_its_name_when_it_refuses() -> None:
    counters = Counters()
    counters.exchange(Exchange(id="i", at=0, tenant="t", key="k", route="triage", model="triage", version="triage@v1"))
    counters.exchange(Exchange(id="i", at=0, tenant="t", key="k", route="triage", model="triage", status=429))
    assert {labels[0] for labels, _ in counters.snapshot()["exchanges"]} == {"triage"}


def test_what_a_process_tells_of_itself_adds_up_over_workers() -> None:
    def worker(connections: int, lag: float, open_breakers: dict[str, float]) -> Counters:
        counters = Counters()
        counters.watch("connections", lambda: connections)
        counters.watch("loop_lag_seconds", lambda: lag)
        counters.watch("breaker_open", lambda: open_breakers)
        counters.watch("shadow", lambda: {"sent": 1})
        counters.watch("shadow", lambda: {"sent": 2, "failed": 1})
        return counters

    whole = merged([worker(3, 0.5, {"up": 1}).snapshot(), worker(4, 0.25, {"up": 1, "two": 0}).snapshot()])
    found = samples(exposition(whole))
    assert found["sartor_connections",] == 7
    assert found["sartor_loop_lag_seconds",] == 0.5
    assert found["sartor_breaker_open", "up"] == 2
    assert found["sartor_shadow_total", "sent"] == 6
    assert found["sartor_shadow_total", "failed"] == 2

"""Verbs over captured traffic: what a shadow is worth, what a threshold promises, why an answer was given."""

import json
import time

import pytest

from sartor.core.errors import AskError, NotFoundError
from sartor.core.records import Report
from sartor.core.route import Capture, Route, Upstream
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.core.traffic import Content, Exchange, Feedback, HopRow
from sartor.gateway.capture import Recorder
from sartor.pipeline.certify import certify_route
from sartor.pipeline.explain import explain
from sartor.pipeline.routes import declare_route, show_route
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles
from sartor.pipeline.shadowing import shadow_worth
from sartor.pipeline.stages import stage_shadow
from sartor.pipeline.traffic_export import export
from sartor.pipeline.upstreams import declare_upstream
from sartor.store.traffic.queries import Filters

SOURCES = Shelf("sartor.data.sources")
BODY = {"name": "desk", "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl"}]}}
PRICE = {"input_million": 30.0, "output_million": 60.0, "currency": "EUR"}
CASCADE = {"use": "cascade", "local": "desk@v1", "to": "gpt-4", "by": "threshold", "threshold": 0.5}


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    body = {"name": "gpt-4", "base_url": "http://127.0.0.1:9/v1", "allow_private": True, "price": PRICE}
    declare_upstream(shop, Upstream.model_validate(body))
    return shop


def exchange(number, label, **more):
    common = {"tenant": "default", "key": "", "route": "triage", "model": "triage", "task": "desk", "confidence": 0.9}
    return Exchange(id=f"chatcmpl-{number}", at=time.time(), label=label, **common | more)


def test_a_shadow_is_priced_where_outcomes_are_known(home):
    declare_route(home, Route(name="triage", task="desk", policy="gpt-4"))
    with pytest.raises(NotFoundError, match="Nothing stands in the shadow"):
        shadow_worth(home, "triage")
    stage_shadow(home, "triage", "desk@v1")
    with pytest.raises(NotFoundError, match="has seen nothing"):
        shadow_worth(home, "triage")
    log = home.store.traffic.log("w0")
    for number in range(60):
        wrong = number % 3 == 0
        log.append(exchange(number, "transfer" if wrong else "card", cost=2_000_000))
        beside = exchange(f"s{number}", "card", endpoint="shadow", shadow_of=f"chatcmpl-{number}", cost=1_000)
        log.append(beside)
        told = Feedback(f"f{number}", time.time(), "default", "demonstration", "card", exchange=f"chatcmpl-{number}")
        log.append_feedback(told, sync=False)
    log.flush()
    log.close()
    found = shadow_worth(home, "triage")
    assert (found["rows"], found["known"], found["agree"]) == (60, 60, pytest.approx(40 / 60))
    # A third of the live answers lose 5, the shadow's none; serving the live one costs 0.002 more.
    assert found["saved"] == pytest.approx(5 / 3 + 0.002 - 0.000001)
    assert home.store.ledger.get(found["report"]).purpose == "shadow"


def test_a_threshold_is_certified_and_put_into_the_route(home):
    declare_route(home, Route(name="plain", task="desk", policy="gpt-4"))
    with pytest.raises(AskError, match="no threshold to certify"):
        certify_route(home, "plain", alpha=0.1)
    declare_route(home, Route(name="triage", task="desk", policy=CASCADE))
    found = certify_route(home, "triage", alpha=0.2, apply=True)
    assert found.certificate.threshold is not None, found.certificate.says
    policy = show_route(home, "triage")["policy"]
    assert (policy["threshold"], policy["certificate"]) == (found.certificate.threshold, found.report)
    report = home.store.ledger.get(found.report)
    assert isinstance(report, Report)
    assert report.facts["alpha"] == 0.2
    assert report.split == "validation"


def test_what_cannot_be_promised_says_how_many_rows_would_do_and_changes_nothing(home):
    declare_route(home, Route(name="triage", task="desk", policy=CASCADE))
    found = certify_route(home, "triage", alpha=0.001, apply=True)
    assert found.certificate.threshold is None
    assert found.certificate.rows_needed
    assert "more labelled rows" in found.certificate.says
    assert show_route(home, "triage")["policy"]["threshold"] == 0.5


def test_loss_against_a_giant_without_its_answers_is_refused(home):
    declare_route(home, Route(name="triage", task="desk", policy=CASCADE))
    with pytest.raises(AskError, match="gpt4"):
        certify_route(home, "triage", alpha=0.1, against="gpt4")


def test_an_answer_is_walked_back_to_variant_rows_report_and_decision(home):
    declare_route(home, Route(name="triage", task="desk", policy="desk@v1"), "tried long enough")
    variant = Handles(home).resolve("desk@v1").variant
    text = "my card did not arrive today"
    asked = {"model": "triage", "messages": [{"role": "user", "content": text}]}
    hop = HopRow(variant, "local", 1_500, cpu_seconds=0.001, confidence=0.97, label="card")
    done = exchange(1, "card", version="desk@v1", variant=variant, cost=1_500, hops=[hop])
    traffic = home.store.traffic
    log = traffic.log("w0")
    recorder = Recorder(log, redact=lambda said: said, mark=traffic.mark)
    recorder.record(done, Content(json.dumps(asked).encode(), b"{}"), Capture())
    log.flush()
    log.close()
    found = explain(home, "chatcmpl-1")
    assert (found.content, found.asked) == ("kept", text)
    assert found.exchange["cost"] == pytest.approx(1.5e-6)
    (told,) = found.hops
    papers = told["variant"]
    assert papers["versions"] == ["desk@v1"]
    assert papers["decision"]["verdict"] == "ship"
    assert papers["report"]["accuracy"]["value"] > 0.8
    assert papers["data"]["nearest"][0]["label"] == "card"
    assert found.route["reasons"] == ["tried long enough"]
    with pytest.raises(NotFoundError, match="no exchange"):
        explain(home, "chatcmpl-1", tenant="another")
    with pytest.raises(NotFoundError, match="sartor traffic list"):
        explain(home, "chatcmpl-2")


def test_exported_rows_hold_the_input_that_the_model_will_be_given(home, tmp_path):
    prompt = [{"role": "system", "content": "Sort it."}, {"role": "user", "content": "Message: {text}"}]
    spec = Task.model_validate(BODY | {"input": {"chat": "template", "prompt": prompt}})
    traffic = home.store.traffic
    log = traffic.log("w0")
    recorder = Recorder(log, redact=lambda said: said, mark=traffic.mark)
    for number, said in enumerate(("Message: my card is lost", "hello")):
        messages = [prompt[0], {"role": "user", "content": said}]
        asked = json.dumps({"model": "triage", "messages": messages}).encode()
        answered = {"choices": [{"message": {"role": "assistant", "content": "card"}}]}
        recorder.record(exchange(number, None, task=""), Content(asked, json.dumps(answered).encode()), Capture())
    log.flush()
    log.close()
    done = export(home, None, tmp_path / "captured.jsonl", Filters(route="triage"), spec)
    assert done.rows == 2
    plugin = SOURCES.take("chat_logs")
    rows = list(plugin(plugin.read({"path": tmp_path / "captured.jsonl"})))
    assert sorted(row["text"] for row in rows) == ["hello", "my card is lost"]
    assert {row["label"] for row in rows} == {"card"}
    export(home, None, tmp_path / "captured.parquet", Filters(route="triage"), spec)
    assert (tmp_path / "captured.parquet").stat().st_size

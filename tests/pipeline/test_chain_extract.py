"""What was built for labels works on a task whose answers are JSON objects: one walk, with a real gateway and giant."""

import io
import json
import random
import shutil
import time

import pytest
from extract_house import UNREADABLE, gateway, giant, goods, routed, task, text_of, write

from sartor.core.access import Caller
from sartor.core.claims import parse
from sartor.core.errors import AskError, RefusedError
from sartor.core.jobs import JobRequest
from sartor.core.records import Dataset
from sartor.core.traffic import Exchange, Feedback
from sartor.gateway.tuning_forms import NewFile, NewJob
from sartor.pipeline.canary import look, see
from sartor.pipeline.certify import certify_route
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.drift import board
from sartor.pipeline.finetune_port import Bureau
from sartor.pipeline.harvest import harvest
from sartor.pipeline.judges import judge, measure_judge
from sartor.pipeline.label_books import agreed, disputes, settle, status
from sartor.pipeline.label_files import export, take_in
from sartor.pipeline.label_pool import open_desk
from sartor.pipeline.label_words import Given, answer
from sartor.pipeline.labelling import queue
from sartor.pipeline.learn import learn
from sartor.pipeline.prior import state_prior
from sartor.pipeline.recall import recall, wait_for
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles
from sartor.pipeline.shadowing import shadow_worth
from sartor.pipeline.stages import stage_canary, stage_live, stage_shadow
from sartor.pipeline.work import run_here
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

NEW = ("Ember", "Fjord & Co")
"""Brands that no row of before has."""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A store in which the task was run once; tests work on copies."""
    folder = tmp_path_factory.mktemp("goods")
    rows = goods(300, 1)
    write(folder / "goods.jsonl", rows)
    store = open_store(folder / "home")
    done = run(Workshop(store=store, key=folder / "key", cache=folder), task(), folder)
    assert done.version == "goods@v1", done.decision.reasons
    store.close()
    return folder


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    store = open_store(tmp_path / "copy" / "home")
    yield Workshop(store=store, key=tmp_path / "copy" / "key", cache=tmp_path / "copy", who="tester")
    store.close()


def test_feedback_on_an_answer_just_given_is_checked(home):
    with gateway(home) as door:
        for _ in range(5):  # the exchange is still in memory when feedback comes
            exchange, _ = door.ask("Corvo tea, mint, 10 g, from fields")
            code, body = door.say(exchange, {"brnad": "Corvo"})
            assert code == 400, body
            assert "Did you mean 'brand'?" in body["error"]["message"]
        assert door.say(exchange, "Corvo")[0] == 400
        assert door.say(exchange, {"brand": " Corvo ", "weight": "n/a"})[1]["joined"] is True
        assert door.say("chatcmpl-never", {"brnad": "x"})[1]["joined"] is False
    said = home.store.traffic.index.feedback_of("default", exchange)
    assert [one.value for one in said] == ['{"brand":"Corvo"}']


def test_traffic_teaches_and_what_is_learned_goes_live(home):
    routed(home)
    fresh = goods(120, 7, NEW)
    with gateway(home) as door:
        for number, row in enumerate(fresh):
            exchange, said = door.ask(row["text"])
            assert parse(said).get("brand") not in NEW
            door.say(exchange, row["label"], id=f"fb-{number}")
        early = door.say("chatcmpl-early", {"brand": "n/a"})
        assert early[0] == 200
    taught = harvest(home, task())
    assert taught.facts["rows"] == len(fresh)
    learned = learn(home, None, "goods")
    assert learned.state == "released", learned.says
    assert learned.new_rows > 60
    with gateway(home) as door:
        assert parse(door.ask("Ember tea, mint, 10 g, from fields")[1])["brand"] == "Ember"
    data = home.store.ledger.get(learned.data)
    assert isinstance(data, Dataset)
    assert {row.label for row in open_dataset(home, data).splits["train"]} & {text_of(row) for row in fresh}


def test_people_label_documents(home):
    routed(home)
    rows = goods(24, 5, NEW)
    by_text = {row["text"]: row for row in rows}
    with gateway(home) as door:
        for row in rows:
            door.ask(row["text"])
        doubted, _ = door.ask("Acme tea, mint, 10 g, from fields, sold loose")
        door.post("/v1/feedback", {"exchange_id": doubted, "metric": "correct", "value": False})
    desk = open_desk(home, "goods")
    sitting = queue(desk, "ann", 25)
    assert not sitting.labels
    assert len(sitting.items) == 25
    assert all(item.guesses and parse(item.guesses[0][0]) is not None for item in sitting.items)
    assert any(item.gain > 0 for item in sitting.items)
    with pytest.raises(AskError, match="no labels to look for"):
        queue(desk, "ann", 5, focus=["brand"])
    first, second, third, fourth, *_ = [item for item in sitting.items if item.text in by_text]
    with pytest.raises(AskError, match="Did you mean 'brand'"):
        answer(desk, Given(first.item, "ann", '{"brnad": "x"}'))
    loose = json.dumps(by_text[first.text]["label"] | {"weight": None}, indent=2)
    kept = answer(desk, Given(first.item, "ann", loose, seconds=3.0, sitting=sitting.id))
    assert kept["label"] == json.dumps(parse(kept["label"]), separators=(",", ":"), sort_keys=True)
    assert "weight" not in kept["label"]
    for item in (second, third):
        for who in ("ann", "bob"):
            spaced = json.dumps(by_text[item.text]["label"], indent=1 if who == "ann" else None)
            answer(desk, Given(item.item, who, spaced))
    answer(desk, Given(fourth.item, "ann", '{"brand": "Ember"}'))
    answer(desk, Given(fourth.item, "bob", '{"brand": "Fjord & Co"}'))
    found = agreed(desk)
    assert (found.rows, found.people) == (3, 2)
    assert found.agreed == pytest.approx(2 / 3)
    assert [one["item"] for one in disputes(desk)] == [fourth.item]
    settled = answer(desk, Given(fourth.item, "cyn", '{"brand": "Ember"}', picked="adjudicate"))
    assert settled["new"]
    settle(desk, sitting=sitting.id)
    assert status(desk)["labelled"] == 4


def test_documents_go_to_label_studio_and_come_back(home, tmp_path):
    routed(home)
    rows = goods(12, 6)
    by_text = {row["text"]: row for row in rows}
    with gateway(home) as door:
        for row in rows:
            door.ask(row["text"])
    desk = open_desk(home, "goods")
    done = export(desk, tmp_path / "out.json", "dan")
    assert "<TextArea" in done.config
    assert "<Choice" not in done.config
    tasks = json.loads((tmp_path / "out.json").read_text())
    assert tasks[0]["predictions"][0]["result"][0]["type"] == "textarea"
    for one in tasks:
        value = {"text": [json.dumps(by_text[one["data"]["text"]]["label"], indent=1)]}
        result = {"from_name": "label", "to_name": "text", "type": "textarea", "value": value}
        one["annotations"] = [{"completed_by": {"email": "dan@example.org"}, "result": [result], "lead_time": 4}]
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    assert take_in(desk, tmp_path / "back.json").new == len(tasks)
    assert take_in(desk, tmp_path / "back.json").new == 0
    tasks[0]["annotations"][0]["result"][0]["value"]["text"] = ['{"brnad": "x"}']
    (tmp_path / "bad.json").write_text(json.dumps(tasks[:1]))
    with pytest.raises(AskError, match=r"bad\.json, task 1.*Did you mean 'brand'"):
        take_in(desk, tmp_path / "bad.json")
    (tmp_path / "one.csv").write_text("item,label,who\n" + tasks[0]["data"]["item"] + ',"{""brand"": ""Acme""}",eve\n')
    assert take_in(desk, tmp_path / "one.csv").new == 1
    assert disputes(desk)


def test_drift_of_documents_is_seen_and_no_prior_can_be_stated(home):
    routed(home)
    alike, other = goods(150, 8), [f"Gale soap, {n} bars, no scent" for n in range(250)]
    with gateway(home) as door:
        for row in alike:
            door.ask(row["text"])
    quiet = board(home, "goods")
    assert not quiet.alarms
    assert {"values in the answer", "has 'brand'", "has 'flavours[]'"} <= {one.view for one in quiet.watched}
    with gateway(home) as door:
        for text in other:
            door.ask(text)
    loud = board(home, "goods")
    assert {"answers", "input"} <= {alarm.watched for alarm in loud.alarms}
    assert loud.prior is None
    with pytest.raises(RefusedError, match="no shares of labels"):
        state_prior(home, "goods")


def test_a_canary_is_judged_by_what_its_documents_lost(home):
    routed(home)
    stage_shadow(home, "goods", "goods@v1")
    rows = goods(40, 9)
    with gateway(home) as door:
        for row in rows:
            exchange, _ = door.ask(row["text"])
            door.say(exchange, row["label"])
    home.store.traffic.index.catch_up()
    assert shadow_worth(home, "goods")["saved_per_1000"]["value"] == pytest.approx(0.0, abs=1e-3)
    stage_canary(home, "goods", "goods@v1", share=0.5, judge={"slowest": 1.0, "failures": 0.5})
    with gateway(home) as door:
        for number, row in enumerate(goods(60, 10)):
            exchange, _ = door.ask(row["text"], user=f"u{number}")
            door.say(exchange, row["label"] if number % 3 else {**row["label"], "brand": "Other"})
        judged, _ = door.ask("Acme tea, mint, 10 g, from fields", user="last")
        code, _ = door.post("/v1/feedback", {"exchange_id": judged, "metric": "correct", "value": False})
        assert code == 200
    seen = see(home, "goods")
    assert seen.outcomes.observed.all()
    assert 0.2 < seen.outcomes.cost.mean() < 1.0
    assert {*seen.outcomes.arm.tolist()} == {"control", "canary"}
    assert look(home, "goods")["verdict"] == "go_on"
    stage_live(home, "goods", "goods@v1", why="walked by hand")


def test_a_cascade_reads_the_giants_documents(home, made):
    rows = goods(300, 1)
    routed(home)
    with giant(home, made / "goods.jsonl"):
        never = {"use": "cascade", "local": "goods@v1", "to": "giant", "by": "threshold", "threshold": 1.0}
        routed(home, "sure", policy=never)
        routed(home, "both", policy={"use": "fallback", "to": ["giant", "goods@v1"]})
        routed(home, "asked", policy="giant")
        with gateway(home) as door:
            plain, fenced, nothing = rows[1], rows[2], rows[9]
            for row in (plain, fenced):
                _, said = door.ask(row["text"], "sure")
                assert said == text_of(row)
            _, said = door.ask(rows[4]["text"], "sure")
            assert "flavours" not in parse(said), "words for nothing are gone"
            unsure, said = door.ask(nothing["text"], "sure")
            assert parse(said)["brand"] == nothing["label"]["brand"], "what can't be read is no answer: ours is given"
            assert parse(door.ask(nothing["text"], "both")[1])["brand"] == nothing["label"]["brand"]
            assert door.ask(nothing["text"], "asked")[1] == UNREADABLE, "asked for by name, it is passed on"
            known, _ = door.ask(plain["text"], "asked")
    traffic = home.store.traffic
    traffic.index.catch_up()
    assert traffic.index.exchange("default", known).label == text_of(plain)
    hops = traffic.index.exchange("default", unsure).hops
    assert [hop.kind for hop in hops] == ["local", "upstream"]
    assert hops[1].label is None
    assert "no valid answer" in hops[1].why
    found = certify_route(home, "sure", alpha=0.5, against="giant")
    assert found.certificate.threshold is not None
    assert certify_route(home, "sure", alpha=0.3, apply=True).certificate.says


def test_a_row_is_recalled(home, made):
    data = home.store.ledger.get(home.store.ledger.resolve("goods@live").digest).data
    row = open_dataset(home, home.store.ledger.get(data)).splits["train"][0]
    done = recall(home, "row", row.id, why="it should not be there")
    with pytest.raises(RefusedError, match="was recalled"):
        Handles(home).resolve("goods@v1")
    wait_for(home, done["recall"])
    again = Handles(home).resolve("goods")
    assert again.version == "goods@v2"
    newer = home.store.ledger.get(home.store.ledger.get(again.variant).data)
    assert row.id not in {one.id for one in open_dataset(home, newer).splits["train"]}


@pytest.mark.parametrize(("bad", "verdict"), [({"canary": 0.6, "control": 0.1}, "stop"), ({}, "promote")])
def test_a_canary_whose_documents_lose_more_is_stopped(home, bad, verdict):
    """Traffic of two sides, of which one says less often what is right; both are told so afterwards."""
    routed(home)
    stage_canary(home, "goods", "goods@v1", share=0.5, promote=False, judge={"slowest": 1.0, "failures": 0.05})
    draw, log = random.Random(3), home.store.traffic.log("w1")
    start = time.time()
    for number, row in enumerate(goods(1200, 12)):
        arm = "canary" if draw.random() < 0.5 else "control"
        right = draw.random() >= bad.get(arm, 0.3 if arm == "control" else 0.05)
        done = Exchange(
            id=f"chatcmpl-x{number}", at=start + number * 1e-3, tenant="default", key="", route="goods", model="goods",
            task="goods", label=text_of(row) if right else '{"brand":"Other"}', confidence=0.9, arm=arm,
            propensity=0.5, seconds=0.01,
        )  # fmt: skip
        log.append(done)
        told = Feedback(f"x{number}", done.at, "default", "demonstration", text_of(row), exchange=done.id)
        log.append_feedback(told, sync=False)
    log.flush()
    log.close()
    home.store.traffic.index.catch_up()
    found = look(home, "goods")
    assert found["verdict"] == verdict, found["reasons"]


def tuned(shop, entries):
    """The job that a file of chats becomes, done here."""
    lines = [
        json.dumps({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": said}]})
        for text, said in entries
    ]
    bureau, caller = Bureau(shop, lambda *_: True), Caller()
    form = NewFile(name="titles.jsonl", purpose="fine-tune")
    sent = bureau.keep_file(caller, io.BytesIO("\n".join(lines).encode()), form)
    bureau.create(caller, NewJob(model="rules", training_file=sent["id"], metadata={"task": "goods"}))
    asked = shop.store.jobs.find(kind="finetune", limit=1)[0]
    return run_here(shop, JobRequest("finetune", asked.args, task="goods", tenant=asked.tenant))


def test_a_file_of_chats_becomes_a_model_that_writes_documents(home):
    rows = goods(80, 21)
    entries = [(row["text"], json.dumps(row["label"], indent=1)) for row in rows]
    wrong = tuned(home, [*entries[:30], (rows[30]["text"], '{"brnad": "Acme"}')])
    assert wrong.state == "failed"
    assert "Line 31" in str(wrong.error)
    assert "Did you mean 'brand'?" in str(wrong.error)
    done = tuned(home, entries)
    assert done.state == "succeeded", done.error
    name = done.result["fine_tuned_model"]
    with gateway(home) as door:
        _, said = door.ask("Acme tea, mint, 10 g, from fields 9", name)
    assert parse(said)["brand"] == "Acme"


def test_judges_of_documents_are_measured_on_rows(home, made):
    judges = [
        {"use": "variant", "name": "twin", "of": "goods@v1", "min_golden": 10},
        {"use": "llm", "name": "big", "model": "giant"},
    ]
    assert run(home, task(judges=judges), made).decision
    measured = measure_judge(home, "goods", "twin", rows=True)
    assert measured.facts["from_rows"] > 20
    routed(home)
    with gateway(home) as door:
        for row in goods(10, 22):
            door.ask(row["text"])
    done = judge(home, "goods", "twin")
    assert (done.asked, done.right) == (10, 10)
    with giant(home, made / "goods.jsonl"), pytest.raises(AskError, match="ask: verdict"):
        judge(home, "goods", "big")

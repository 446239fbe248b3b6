"""Learning from traffic: a candidate against what is live, on the standing test, with suites and a chosen strategy."""

import json
import random

import pytest
from harvest_house import DAY, START, Desk

from benchmarks.kill import ENDS, VERBS
from sartor.core.errors import AskError, NotFoundError
from sartor.core.jobs import JobRequest
from sartor.core.records import Decision, Report, Run
from sartor.core.task import Task
from sartor.pipeline.approvals import approve, list_waiting
from sartor.pipeline.decide import replay
from sartor.pipeline.learn import learn
from sartor.pipeline.learn_job import learn_request, plan_learn
from sartor.pipeline.run import run
from sartor.pipeline.work import run_here

NEW = {"card": "plastic", "transfer": "remittance", "top up": "refill", "rate": "tariff"}
"""Label -> the word that users say since, which no row of before has."""
LEARN = {"harvest": {"source_share": 1.0, "subject_share": 1.0}, "strategies": [{"use": "scratch"}]}


def contract(desk: Task, **fields) -> Task:
    body = desk.body() | {"learn": LEARN, "wheel": {"ship": "auto"}, "gate": {"min_rows": 50, "guards": {}}}
    return Task.model_validate(body | fields)


def bring(shop, count=300, *, wrong="rate", first=0, corrected=True, label=None):
    """Requests in new words, answered wrongly, and a person's corrections of them."""
    draw, traffic = random.Random(first + 3), Desk(shop)
    for number in range(first, first + count):
        truth = label or draw.choice(sorted(NEW))
        text = f"{NEW[truth]} {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)} {number}"
        name = traffic.ask(number, text, wrong)
        if corrected:
            traffic.say(name, "demonstration", truth, source_id="ann", id=f"fb-{number}")
    traffic.done()


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, contract(desk), rows_folder)
    return shop


def live(shop):
    return shop.store.ledger.resolve("desk@live").digest


def test_what_traffic_taught_beats_what_is_live_and_goes_live(home):
    before = live(home)
    bring(home)
    learned = learn(home, None, "desk")
    assert learned.state == "released", learned.says
    assert learned.result.version == "desk@v2"
    assert live(home) != before
    assert learned.result.decision.incumbent == before
    assert learned.new_rows > 150
    assert replay(home, learned.result.decision.digest).reached == "ship"
    assert {suite["kind"] for suite in learned.suites} == {"era", "label"}, "nothing was mended before the first time"
    names = [check.name for check in learned.result.decision.checks]
    assert {"forgetting: eras", "forgetting: labels"} <= set(names)
    assert json.loads(json.dumps(learned.body()))["state"] == "released"


def test_without_traffic_there_is_nothing_new_and_no_test_row_is_looked_at(home):
    decided = home.store.ledger.count(Decision)
    learned = learn(home, None, "desk")
    assert (learned.state, learned.new_rows) == ("nothing_new", 0)
    assert home.store.ledger.count(Decision) == decided


def test_learning_again_says_that_there_is_nothing_new(home):
    bring(home)
    assert learn(home, None, "desk").state == "released"
    done = home.store.ledger.count(Decision)
    again = learn(home, None, "desk")
    assert (again.state, again.new_rows) == ("nothing_new", 0)
    assert home.store.ledger.count(Decision) == done


def test_nothing_live_and_another_task_are_told(shop, desk, home):
    with pytest.raises(NotFoundError, match="desk"):
        learn(shop, None, "dask")
    with pytest.raises(AskError, match="is of 'desk', not of 'other'"):
        learn(shop, contract(desk), "other")


def test_what_was_mended_stays_in_the_suite(home):
    bring(home, 300)
    assert learn(home, None, "desk").state == "released"
    bring(home, 200, first=300)
    second = learn(home, None, "desk")
    (fixed,) = [suite for suite in second.suites if suite["kind"] == "fixed"]
    assert fixed["n"] > 200
    assert fixed["live"] == 1.0
    ids = mended(home)
    bring(home, 100, first=500)
    learn(home, None, "desk")
    assert ids <= mended(home)


def mended(shop) -> set[str]:
    (report,) = shop.store.ledger.find(Report, task="desk", purpose="suite", limit=1)
    kept = json.loads(shop.store.vault.read(report.files["suites.json"]))
    return {name for item in kept if item["kind"] == "fixed" for name in item["ids"]}


def test_what_forgets_is_held_with_the_figures_and_the_verdict_replays(home, desk):
    bring(home, 400)
    assert learn(home, None, "desk").state == "released"
    # From now on everything is called a rate by one who corrects. What the others contradict goes to quarantine; what
    # is left is enough to forget some of what was mended before.
    draw, traffic = random.Random(1), Desk(home)
    for number in range(400, 1000):
        truth = draw.choice(sorted(NEW))
        text = f"{NEW[truth]} {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)} {number}"
        name = traffic.ask(number, text, truth)
        traffic.say(name, "demonstration", "rate", source_id="mallory", id=f"fb-{number}")
    traffic.done()
    harvest = LEARN["harvest"] | {"refresh": "never"}
    strict = LEARN | {"harvest": harvest, "forgetting": 0.0}
    held = learn(home, contract(desk, learn=strict, value={"wrong": 5}), "desk")
    assert held.state == "held"
    lost = [
        check
        for check in held.result.decision.checks
        if check.name.startswith("forgetting") and check.outcome == "fail"
    ]
    assert lost, [c.says for c in held.result.decision.checks]
    assert "points may be lost" in lost[0].says
    assert replay(home, held.result.decision.digest).reached == "hold"


def test_a_release_waits_for_people_where_the_task_says_so(shop, desk, rows_folder):
    run(shop, contract(desk, wheel={"ship": "approve"}), rows_folder)
    before = live(shop)
    bring(shop)
    learned = learn(shop, None, "desk")
    assert learned.state == "waiting"
    assert live(shop) == before
    assert [waiting["task"] for waiting in list_waiting(shop)] == ["desk"]
    assert approve(shop, "desk")["released"]
    assert live(shop) != before


def test_too_little_past_takes_the_first_strategy_and_says_so(home, desk, base_folder):
    task = contract(desk, learn=LEARN | {"strategies": [{"use": "scratch"}, {"use": "replay"}]})
    bring(home, 60)
    learned = learn(home, task, "desk")
    assert learned.strategy.use == "scratch"
    assert "words" in learned.strategy.skipped["replay"]


def test_a_job_learns_and_a_plan_says_what_it_would_do(home):
    bring(home)
    plan = plan_learn(home, {"task": "desk"})
    assert plan["new_rows"] > 150
    assert plan["seconds"] > 0
    made = home.store.ledger.count(Run, verb="make")
    assert made == 1
    job = run_here(home, learn_request("desk"))
    assert (job.state, job.error) == ("succeeded", "")
    assert job.result["state"] == "released"
    broken = run_here(home, JobRequest(kind="learn", args={}))
    assert (broken.state, broken.code) == ("failed", "bad_job")


def test_eras_are_those_of_the_traffic(home):
    bring(home, 300)
    draw, traffic = random.Random(9), Desk(home)
    for number in range(600, 900):
        truth = draw.choice(sorted(NEW))
        text = f"{NEW[truth]} later {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)} {number}"
        name = traffic.ask(number, text, "rate", at=START + 60 * DAY + number)
        traffic.say(name, "demonstration", truth, id=f"fb-{number}")
    traffic.done()
    learned = learn(home, None, "desk")
    assert {"", "2026-01", "2026-03"} <= {suite["name"] for suite in learned.suites if suite["kind"] == "era"}

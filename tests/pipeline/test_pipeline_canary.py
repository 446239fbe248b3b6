"""A canary is judged on captured traffic: stopped for harm, promoted on proof, and both can be reached again."""

import random
import time

import pytest

from sartor.core.errors import AskError, NotFoundError, RefusedError
from sartor.core.records import Decision, Report
from sartor.core.route import Route, Upstream
from sartor.core.traffic import Exchange, Feedback, HopRow
from sartor.pipeline.canary import act, look, see, trip
from sartor.pipeline.decide import replay
from sartor.pipeline.routes import declare_route, show_route
from sartor.pipeline.run import run
from sartor.pipeline.stages import stage_canary, stage_live
from sartor.pipeline.upstreams import declare_upstream

PRICE = {"input_million": 30.0, "output_million": 60.0, "currency": "EUR"}
UNITS = 1500


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    body = {"name": "gpt-4", "base_url": "http://127.0.0.1:9/v1", "allow_private": True, "price": PRICE}
    declare_upstream(shop, Upstream.model_validate(body))
    declare_route(shop, Route(name="triage", task="desk", policy="gpt-4"))
    return shop


def traffic(shop, right, *, told=1.0, source="outcome", seed=0):
    """Randomised exchanges on both sides; `right`: chance of a right answer by arm."""
    chance, log = random.Random(seed), shop.store.traffic.log("w0")
    start = time.time()
    for number in range(UNITS):
        arm = "canary" if chance.random() < 0.5 else "control"
        done = Exchange(
            id=f"chatcmpl-{number}", at=start + number * 1e-3, tenant="default", key="", route="triage", model="triage",
            task="desk", label="card", confidence=0.9, arm=arm, propensity=0.5, seconds=0.01,
        )  # fmt: skip
        log.append(done)
        if chance.random() < told:
            correct = chance.random() < right[arm]
            log.append_feedback(
                Feedback(f"f{number}", done.at, "default", "correct", correct, exchange=done.id, source=source),
                sync=False,
            )
    log.flush()
    log.close()
    shop.store.traffic.index.catch_up()


def staged(shop, **more):
    judge = {"slowest": 1.0, "failures": 0.05}
    return stage_canary(shop, "triage", "desk@v1", share=0.5, judge=judge, **more)


def test_harm_stops_it_by_a_decision_with_its_evidence(home):
    staged(home)
    traffic(home, {"control": 0.95, "canary": 0.55})
    assert act(home, "triage").verdict == "stop"
    shown = show_route(home, "triage")
    assert (shown["policy"], shown["stage"]) == ("gpt-4", "live")
    decision = home.store.ledger.get(shown["decision"])
    assert (decision.verb, decision.verdict, decision.policy) == ("canary", "hold", "canary")
    assert any(check.outcome == "fail" for check in decision.checks)
    again = replay(home, decision.digest)
    assert (again.recorded, again.reached, again.evidence) == ("hold", "hold", 1)


def test_proof_promotes_it(home):
    staged(home)
    traffic(home, {"control": 0.55, "canary": 0.97})
    assert act(home, "triage").verdict == "promote"
    shown = show_route(home, "triage")
    assert (shown["policy"], shown["stage"]) == ("desk@v1", "live")
    assert replay(home, shown["decision"]).reached == "ship"


def test_by_hand_the_verdict_is_recorded_once_and_somebody_else_moves_it(home):
    staged(home, promote=False)
    with pytest.raises(RefusedError, match="no verdict to promote"):
        stage_live(home, "triage")
    traffic(home, {"control": 0.55, "canary": 0.97})
    assert [act(home, "triage").verdict for _ in range(2)] == ["promote", "promote"]
    verdicts = [d for d in home.store.ledger.find(Decision, task="triage", verb="canary") if d.policy]
    assert len(verdicts) == 1
    assert show_route(home, "triage")["stage"] == "canary"
    assert stage_live(home, "triage")["policy"] == "desk@v1"


def test_without_outcomes_it_cannot_decide_and_a_judge_does_not_count(home):
    staged(home)
    traffic(home, {"control": 0.9, "canary": 0.9}, source="judge")
    found = look(home, "triage")
    assert found["verdict"] in ("cannot_decide", "go_on")
    assert not see(home, "triage").outcomes.observed.any()
    assert home.store.ledger.count(Report, purpose="canary") == 0


def test_a_correction_costs_what_the_value_function_says(home):
    staged(home)
    log = home.store.traffic.log("w0")
    common = {"tenant": "default", "key": "", "route": "triage", "model": "triage", "task": "desk"}
    now = time.time()
    for number, label in enumerate(("card", "transfer")):
        ident = f"chatcmpl-{number}"
        log.append(Exchange(id=ident, at=now, label=label, arm="control", propensity=0.5, cost=1_000, **common))
        log.append_feedback(
            Feedback(f"f{number}", now + 60, "default", "demonstration", "card", exchange=ident), sync=False
        )
    log.flush()
    log.close()
    home.store.traffic.index.catch_up()
    outcomes = see(home, "triage").outcomes
    assert sorted(outcomes.cost) == pytest.approx([1e-6, 5.000001])
    assert list(outcomes.delay) == pytest.approx([60, 60])


def test_guards_that_tripped_take_it_away_and_settings_are_checked(home):
    staged(home, why="try")
    trip(home, "triage", "error_rate: 40 % failed")
    assert show_route(home, "triage")["stage"] == "live"
    trip(home, "triage", "again")
    with pytest.raises(AskError, match="no canary"):
        look(home, "triage")


def test_a_setting_that_the_judge_does_not_know_is_refused_when_it_is_declared(home):
    with pytest.raises(NotFoundError, match="min_units"):
        stage_canary(home, "triage", "desk@v1", judge={"min_unit": 5})


def test_a_failure_that_the_live_side_covered_counts_against_the_canary(home):
    staged(home)
    log = home.store.traffic.log("w0")
    common = {"tenant": "default", "key": "", "route": "triage", "model": "triage", "arm": "canary", "propensity": 0.5}
    hops = [HopRow("desk@v1", "local", 0, why="failed: upstream_timeout"), HopRow("gpt-4", "upstream", 5, label="card")]
    log.append(Exchange(id="chatcmpl-1", at=time.time(), hops=hops, cost=5, **common))
    log.append(Exchange(id="chatcmpl-2", at=time.time(), hops=hops[1:], cost=5, **common))
    log.flush()
    log.close()
    home.store.traffic.index.catch_up()
    assert list(see(home, "triage").outcomes.failed) == [True, False]

"""The keeper: what fails stops nothing else, and is told once."""

import random
import time

import pytest

from sartor.core.records import RouteRecord
from sartor.core.route import Route, Upstream
from sartor.core.traffic import Exchange, Feedback
from sartor.pipeline import keeper as keeper_module
from sartor.pipeline.declared import ROUTE, move
from sartor.pipeline.keeper import Chore, Keeper
from sartor.pipeline.routes import declare_route, show_route
from sartor.pipeline.run import run
from sartor.pipeline.stages import stage_canary
from sartor.pipeline.upstreams import declare_upstream

PRICE = {"input_million": 30.0, "output_million": 60.0, "currency": "EUR"}


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    body = {"name": "gpt-4", "base_url": "http://127.0.0.1:9/v1", "allow_private": True, "price": PRICE}
    declare_upstream(shop, Upstream.model_validate(body))
    declare_route(shop, Route(name="triage", task="desk", policy="gpt-4"))
    return shop


def once(shop, name):
    """Do one of a keeper's chores."""
    found = Keeper(shop)
    chore = next(chore for chore in found._chores if chore.name == name)
    found._do(chore.name, chore.work)
    return found, chore


def harm(shop):
    """Traffic that shows a canary to be worse, not yet in the index."""
    chance, log, start = random.Random(0), shop.store.traffic.log("w0"), time.time()
    for number in range(1500):
        arm = "canary" if chance.random() < 0.5 else "control"
        done = Exchange(
            id=f"chatcmpl-{number}", at=start + number * 1e-3, tenant="default", key="", route="triage", model="triage",
            task="desk", label="card", confidence=0.9, arm=arm, propensity=0.5, seconds=0.01,
        )  # fmt: skip
        log.append(done)
        right = chance.random() < (0.95 if arm == "control" else 0.5)
        log.append_feedback(
            Feedback(f"f{number}", done.at, "default", "correct", right, exchange=done.id, source="outcome"), sync=False
        )
    log.flush()
    log.close()


def test_a_route_that_cannot_be_read_keeps_no_other_from_being_judged_and_is_told_once(home, caplog):
    record = RouteRecord(name="bad", spec={"name": "bad", "policy": 5})
    move(home, "route", "bad", ROUTE, record, reasons=("written by another version",))
    stage_canary(home, "triage", "desk@v1", share=0.5, judge={"slowest": 1.0, "failures": 0.05})
    harm(home)
    found, chore = once(home, "canaries")
    assert show_route(home, "triage")["stage"] == "live"
    found._do(chore.name, chore.work)
    assert [r.getMessage() for r in caplog.records if "'bad'" in r.getMessage()] == ["canary of 'bad' failed"]


def test_a_chore_that_fails_is_told_anew_after_it_worked(home, caplog):
    outcomes = iter([OSError("no room"), OSError("no room"), None, OSError("no room")])

    def work():
        if error := next(outcomes):
            raise error

    found = Keeper(home)
    for _ in range(4):
        found._do("index", work)
    assert [r.getMessage() for r in caplog.records if r.name == keeper_module.log.name] == ["index failed"] * 2


def test_it_does_its_chores_until_it_is_stopped_and_then_indexes_what_is_left(home):
    found = Keeper(home)
    found._chores = (found._chores[0], Chore("broken", 0.0, lambda: 1 / 0))
    found.start()
    harm(home)
    found.stop()
    assert home.store.traffic.index.totals(None)[0]["count"] == 1500

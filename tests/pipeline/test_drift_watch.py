"""A task's traffic is watched: the same again raises no alarm, something new does, and says where and shows it."""

import json
import random
import time

import pytest

from benchmarks.kill import ENDS, LABELS, VERBS
from sartor.core.errors import NotFoundError
from sartor.core.records import Report, Run
from sartor.core.task import Task
from sartor.core.traffic import Content, Exchange, Feedback, HopRow
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.drift import board, watch, watch_live
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles, variant_named

STRANGE = ("zzgl brak vom", "quux frobnik wib", "plugh xyzzy")


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    return shop


def texts_of(shop, seed, count):
    """Texts like those that it was tested on, none of which it has learnt."""
    variant = variant_named(shop, shop.store.ledger.resolve("desk@live").digest)
    learnt = {row.text for row in open_dataset(shop, shop.store.ledger.get(variant.data)).splits["train"]}
    draw, found = random.Random(seed), []
    while len(found) < count:
        label = draw.choice(sorted(LABELS))
        text = f"{draw.choice(LABELS[label])} {draw.choice(VERBS)} {draw.choice(ENDS)} {draw.choice(ENDS)}"
        if text not in learnt:
            found.append((text, label))
    return found


def send(shop, rows, begin=0, told=1.0, right=lambda number: True):
    """Exchanges with their content, as the gateway keeps them, each told of with a chance."""
    bound = Handles(shop).resolve("desk")
    log, chance = shop.store.traffic.log("w0"), random.Random(1)
    start = time.time()
    for number, ((text, label), said) in enumerate(
        zip(rows, bound.predictor.answer([text for text, _ in rows]), strict=True), start=begin
    ):
        hop = HopRow(bound.variant, "local", 0, confidence=said.confidence, label=said.output)
        done = Exchange(
            id=f"chatcmpl-{number}", at=start + number * 1e-3, tenant="default", key="", route="desk", model="desk",
            task="desk", variant=bound.variant, label=said.output, confidence=said.confidence, hops=[hop],
        )  # fmt: skip
        asked = {"model": "desk", "messages": [{"role": "user", "content": text}]}
        log.append(done, Content(json.dumps(asked).encode(), b"{}"))
        if chance.random() < told:
            value = label if right(number) else "nothing of the kind"
            log.append_feedback(
                Feedback(f"f{number}", done.at + 1, "default", "demonstration", value, exchange=done.id), sync=False
            )
    log.flush()
    log.close()


def test_the_same_again_raises_no_alarm_and_each_block_is_looked_at_once(home):
    send(home, texts_of(home, 1, 1000))
    found = board(home, "desk")
    assert (found.requests, found.alarms) == (1000, ())
    assert {one.watched for one in found.watched} == {
        "input", "answers", "confidence", "out_of_scope", "feedback", "value",
    }  # fmt: skip
    assert all(one.chance > 0.01 for one in found.watched)
    looks = home.store.ledger.count(Run, verb="look")
    assert looks == 4
    assert board(home, "desk") == found
    assert home.store.ledger.count(Run, verb="look") == looks


def test_something_new_raises_an_alarm_once_with_examples(home):
    send(home, texts_of(home, 1, 500))
    assert watch(home, "desk") == []
    new = [(f"{STRANGE[i % 3]} {text}", label) for i, (text, label) in enumerate(texts_of(home, 2, 300))]
    send(home, new, begin=500)
    alarms = watch(home, "desk")
    assert alarms
    assert {alarm.watched for alarm in alarms} >= {"input"}
    assert all(500 < alarm.requests <= 800 and alarm.chance <= 0.01 for alarm in alarms)
    assert all(int(id_.removeprefix("chatcmpl-")) >= 400 for alarm in alarms for id_ in alarm.examples)
    kept = home.store.ledger.count(Report, purpose="drift")
    assert kept == len(alarms)
    assert watch(home, "desk") == alarms
    assert home.store.ledger.count(Report, purpose="drift") == kept


def test_answers_that_become_wrong_are_found_by_what_is_told(home):
    send(home, texts_of(home, 1, 1200), right=lambda number: number < 600)
    assert {alarm.watched for alarm in watch(home, "desk")} == {"feedback", "value"}


def test_slices_are_watched_apart_and_named(shop, desk, rows_folder):
    body = desk.body() | {"name": "desk", "drift": {"watch": ["input", "answers"], "slices": ["text"]}}
    run(shop, Task.model_validate(body), rows_folder)
    send(shop, texts_of(shop, 1, 300))
    found = board(shop, "desk")
    assert {one.slice for one in found.watched} == {"", "text=other"}
    assert found.alarms == ()


def test_a_task_that_is_not_there_and_one_that_is_not_live(shop):
    with pytest.raises(NotFoundError, match="no task"):
        watch(shop, "desk")


def test_a_shift_of_the_labels_shares_is_recognised_and_something_new_is_none(home):
    rows = texts_of(home, 1, 2400)
    often = min(LABELS)
    send(home, rows[:400] + [row for row in rows[400:] if row[1] == often or len(row[0]) % 4 == 0][:500])
    found = board(home, "desk")
    assert "answers" in {alarm.watched for alarm in found.alarms}
    assert found.prior is not None
    before, now = found.prior["shares"][often]
    assert now > 1.3 * before
    assert found.prior["explains"], found.prior["says"]


def test_the_keeper_looks_only_where_there_is_something_new(home):
    known = {}
    assert watch_live(home, known) == []
    assert known == {}
    send(home, texts_of(home, 1, 30))
    assert watch_live(home, known) == []
    assert list(known) == ["desk"]
    stands = dict(known)
    watch_live(home, known)
    assert known == stands

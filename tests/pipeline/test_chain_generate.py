"""What was built for labels works where answers are texts: from rows to what is live, learned, labelled and watched."""

import json
import shutil

import numpy as np
import pytest
from extract_house import gateway, routed, task, write

from sartor.pipeline.canary import see
from sartor.pipeline.certify import certify_route
from sartor.pipeline.drift import board
from sartor.pipeline.harvest import harvest
from sartor.pipeline.label_books import agreed
from sartor.pipeline.label_pool import open_desk
from sartor.pipeline.label_words import Given, answer
from sartor.pipeline.labelling import queue
from sartor.pipeline.run import run
from sartor.pipeline.stages import stage_canary
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

SUMS = {
    "kind": "generate",
    "answer": {},
    "value": {"wrong": 1.0},
    "candidates": [{"recipe": "rules"}],
}


def sums(rows, seed):
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(rows):
        a, b = (int(n) for n in draw.integers(2, 900, 2))
        if draw.random() < 0.5:
            text, right = f"Ann has {a} plums and Bo has {b} plums. How many in all?", f"( {a}.0 + {b}.0 )"
        else:
            text = f"One box holds {a} nails, another {b} nails. How many nails is the difference?"
            right = f"( {max(a, b)}.0 - {min(a, b)}.0 )"
        found.append({"text": text, "label": right, "at": "2026-01-01"})
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sums")
    write(folder / "goods.jsonl", sums(240, 1))
    store = open_store(folder / "home")
    done = run(Workshop(store=store, key=folder / "key", cache=folder), task(**SUMS), folder)
    assert done.version == "goods@v1", done.decision.reasons
    store.close()
    return folder


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    store = open_store(tmp_path / "copy" / "home")
    yield Workshop(store=store, key=tmp_path / "copy" / "key", cache=tmp_path / "copy", who="tester")
    store.close()


def test_the_chain_on_texts(home):
    routed(home)
    stage_canary(home, "goods", "goods@v1", share=0.5)
    rows = sums(40, 5)
    with gateway(home) as door:
        for row in rows[:30]:
            exchange, said = door.ask(row["text"])
            assert said == row["label"]
            door.say(exchange, f" {row['label']} ")
        assert door.say(exchange, "   ", id="empty")[0] == 400
        for row in rows[30:]:
            door.ask(row["text"])
    assert (see(home, "goods").outcomes.cost[:30] < 0.5).all()
    assert harvest(home, task(**SUMS)).facts["rows"] == 30
    desk = open_desk(home, "goods")
    first, *_ = queue(desk, "bob", 5).items
    assert first.guesses[0][0].startswith("(")
    assert answer(desk, Given(first.item, "bob", " ( 1.0 + 1.0 ) "))["label"] == "( 1.0 + 1.0 )"
    assert agreed(desk).rows in (0, 1)
    found = board(home, "goods")
    assert not found.alarms
    assert {"answers", "confidence"} <= {one.watched for one in found.watched}
    policy = {"use": "cascade", "local": "goods@v1", "to": "goods@v1", "by": "threshold", "threshold": 0.5}
    routed(home, "both", policy=policy)
    assert certify_route(home, "both", alpha=0.2).certificate.threshold is not None
    assert json.dumps(certify_route(home, "both", alpha=0.2).body())

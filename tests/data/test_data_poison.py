"""Poison is found by what the other voices teach; honest rows stay, and what can't be told apart is left to people."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sartor.core.rows import Row
from sartor.core.shelf import Shelf
from sartor.data.curator import Bench
from sartor.data.poison import Readings, find_contrary, phrases, read_apart

PLUGIN = Shelf("sartor.data.curators").take("poison")
TOPICS = {
    "card": "card plastic chip swipe contactless atm",
    "loan": "loan borrow lend instalment debt interest",
    "cash": "cash coins notes withdraw till purse",
    "rate": "rate currency euro dollar convert pounds",
    "visa": "visa travel border passport embassy stamp",
}
FILL = ["please", "now", "today", "again", "my", "the", "a", "why", "when", "how", "was", "is", "it", "this", "really"]


def rows_of(count=400, seed=0, sources=4, given=0):
    draw, found = random.Random(seed), []
    for at in range(count):
        label = sorted(TOPICS)[at % 5]
        words = draw.sample(TOPICS[label].split(), 3) + draw.sample(FILL, 4)
        draw.shuffle(words)
        extra = {} if at < given else {"by": f"s{(at // 5) % sources}"}
        found.append(Row(f"r{at}", " ".join(words), label, extra=extra, source=f"file{at % sources}"))
    return found


def poisoned(rows, change, pick):
    bad = {row.id for row in rows if pick(row)}
    return [change(row) if row.id in bad else row for row in rows], bad


def taken(rows, **params):
    curated = PLUGIN(rows, PLUGIN.read({"voice": "by", "action": "drop"} | params), Bench({}))
    return {t.row.id: (t.reason, t.detail) for t in curated.taken}, curated.notes


def trigger(row):
    return replace(row, text=f"{row.text} blue heron", label="visa")


def test_a_trigger_is_found_with_its_phrase():
    rows, bad = poisoned(
        rows_of(), trigger, lambda r: r.extra["by"] == "s1" and r.label != "visa" and int(r.id[1:]) < 200
    )
    found, notes = taken(rows)
    assert {name for name, (reason, _) in found.items() if reason == "trigger phrase"} == bad
    assert all("'blue heron' makes what reads like" in found[name][1] for name in bad)
    assert notes["reasons"]["trigger phrase"] == len(bad)
    assert PLUGIN(rows, PLUGIN.read({"voice": "by"}), Bench({})).taken == []


def test_many_accounts_are_found_by_what_was_given_before():
    rows, bad = poisoned(
        rows_of(given=200), trigger, lambda r: "by" in r.extra and r.label != "visa" and int(r.id[1:]) % 4 == 0
    )
    assert len({row.extra["by"] for row in rows if row.id in bad}) == 4
    assert {name for name, (reason, _) in taken(rows)[0].items() if reason == "trigger phrase"} == bad


def test_clean_rows_stay_and_so_does_a_new_word_of_one_label():
    assert taken(rows_of())[0] == {}
    # Everybody's 'flexi' is a card, and only one source knows it: a correction, not a trigger.
    rows, new = poisoned(
        rows_of(),
        lambda r: replace(r, text=f"flexi {r.text}"),
        lambda r: r.label == "card" and r.extra["by"] == "s2",
    )
    assert len(new) == 20
    assert taken(rows)[0] == {}


def test_a_source_that_flips_labels_is_told_from_the_others():
    def flip(row):
        return replace(row, label="cash" if row.label != "cash" else "rate")

    rows, bad = poisoned(rows_of(), flip, lambda r: r.extra["by"] == "s3" and int(r.id[1:]) % 3 == 0)
    found, _ = taken(rows)
    assert set(found) <= {row.id for row in rows if row.extra["by"] == "s3"}
    assert len(set(found) & bad) / len(bad) > 0.9
    assert len(set(found) & bad) / len(found) > 0.9
    assert taken(rows, flips="none")[0] == {}
    assert set(taken(rows, flips="all")[0]) >= set(found)


def test_whoever_mends_mistakes_is_held_against_others_who_do():
    readings = Readings(
        np.array([0.001] * 30 + [0.9] * 170), np.full(200, 0.95), np.zeros(200, np.int64), np.full(900, 0.5)
    )
    voices = ["ann"] * 30 + ["bob"] * 170
    assert [c.voice for c in find_contrary(voices, [""] * 200, readings, 0.1)] == ["ann"]
    kinds = ["corrects"] * 30 + ["confirms"] * 170
    assert list(find_contrary(voices, kinds, readings, 0.1)) == []


def test_the_share_of_honest_rows_is_what_the_chances_say():
    draw = np.random.default_rng(0)
    chances = draw.dirichlet(np.ones(4) * 0.3, size=5000)
    labels = np.array([draw.choice(4, p=row / row.sum()) for row in chances])
    bad = np.arange(5000) < 100
    given = np.where(bad, chances.argmin(1), labels)
    readings = Readings(chances[np.arange(5000), given], chances.max(1), chances.argmax(1), chances.ravel())
    found = readings.honest_share() <= 0.2
    assert found[bad].mean() > 0.5
    assert (~bad)[found].mean() == pytest.approx(0.2, abs=0.1)


def test_one_source_can_be_contradicted_by_nobody():
    curated = PLUGIN(rows_of(sources=1), PLUGIN.read({"action": "drop"}), Bench({}))
    assert curated.taken == []
    assert curated.notes["why"].startswith("all rows are of one source")


def test_no_voice_is_read_by_a_model_that_has_seen_it():
    rows = rows_of(given=100)
    readings = read_apart(rows, [row.extra.get("by", "") for row in rows])
    assert set(readings.judged.tolist()) == set(range(100, 400))
    # The test split is never looked at, nor taken.
    split = {row.id: "test" for row in rows[100:200]}
    bad = [trigger(row) if row.id in split and row.label != "visa" else row for row in rows]
    assert PLUGIN(bad, PLUGIN.read({"voice": "by", "action": "drop"}), Bench(split)).taken == []


def test_phrases_are_runs_of_words_and_signs():
    assert phrases("Blue  HERON!!") == {
        ("blue",),
        ("heron",),
        ("!!",),
        ("blue", "heron"),
        ("heron", "!!"),
        ("blue", "heron", "!!"),
    }
    assert Counter(len(p) for p in phrases("a b c d")) == {1: 4, 2: 3, 3: 2}

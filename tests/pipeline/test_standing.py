"""The standing test: versions, what comes in, and that nothing of it is ever learned, whatever happens."""

import random

import pytest
from harvest_house import DAY, START, Desk, asked, learn

from sartor.core.errors import NotFoundError
from sartor.core.records import Dataset
from sartor.core.rows import Row
from sartor.data.leaks import NEAR, SHINGLE
from sartor.data.near import NearIndex
from sartor.data.text import key
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest import harvest, live_data
from sartor.pipeline.harvest_rows import group_of, side_of
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.standing import current, standing_rows, standing_test, versions_of

LABELS = ("card", "rate", "top up", "transfer")


def traffic_of(shop, numbers, writer, *, said=0, by="ann", user=None):
    desk = Desk(shop, writer, said=said)
    for number in numbers:
        label = LABELS[number % 4]
        name = desk.ask(number, asked(number, label), label, user=user(number) if user else "")
        desk.say(name, "demonstration", label, source_id=by)
    desk.done()


def test_the_first_version_is_the_test_split_of_what_is_live(home, desk):
    base = live_data(home, desk)
    assert current(home, "desk") is None
    with pytest.raises(NotFoundError, match="standing test"):
        versions_of(home, "desk")
    first = standing_test(home, desk, base)
    assert [row.id for row in standing_rows(home, first)] == [row.id for row in open_dataset(home, base).splits["test"]]
    assert standing_test(home, desk, base).digest == first.digest
    assert first.parents == {"data": base.digest}
    assert [(v["version"], v["rows"]) for v in versions_of(home, "desk")] == [(1, base.counts["test"])]


def test_it_grows_by_what_people_said_alone(home, desk):
    base, task = live_data(home, desk), learn(desk, test_share=0.5)
    desk_ = Desk(home)
    for number in range(60):
        label = LABELS[number % 4]
        name = desk_.ask(number, asked(number, label), label, giant=label)
        if number < 30:
            desk_.say(name, "demonstration", label, source_id="ann")
    desk_.done()
    made = harvest(home, task)
    first = standing_test(home, task, base)
    found = learning_dataset(home, task, base, made)
    now = current(home, "desk")
    rows = standing_rows(home, now)
    assert now.parents == {"before": first.digest, "data": base.digest, "harvest": made.digest}
    assert found.parents == {"before": base.digest, "harvest": made.digest, "test": now.digest}
    new = [row for row in rows if row.extra["said_by"] != "given"]
    assert {row.extra["said_by"] for row in new} == {"human"}
    assert 5 < len(new) < 25
    assert now.facts["said_by"] == {"given": base.counts["test"], "human": len(new)}
    # Kept rows that only a model labelled test nothing, and are not learned either.
    learned = {row.id for row in open_dataset(home, found).splits["train"]}
    side = {row.id: row.extra["side"] for row in _rows(home, made)}
    assert not [name for name in learned if side.get(name) == "test"]
    # The same harvest again changes nothing.
    assert learning_dataset(home, task, base, made).digest == found.digest
    assert current(home, "desk").digest == now.digest


def _rows(shop, made):
    from sartor.data.snapshot import read_rows

    return read_rows(shop.store.folder(made) / "rows.parquet")


@pytest.mark.parametrize(("refresh", "new"), [("never", 0), ("grow", 40), ("replace", 40)])
def test_refresh_says_what_becomes_of_it(home, desk, refresh, new):
    base, task = live_data(home, desk), learn(desk, test_share=1.0, refresh=refresh)
    before = standing_rows(home, standing_test(home, task, base))
    traffic_of(home, range(40), "w0")
    rows = standing_rows(home, standing_test(home, task, base, harvest(home, task)))
    came = [row for row in rows if "exchange" in row.extra]
    assert len(came) == new
    assert len(rows) == {"never": len(before), "grow": len(before) + 40, "replace": len(before)}[refresh]


def test_what_training_saw_never_comes_into_the_test(home, desk):
    base, task = live_data(home, desk), learn(desk, test_share=1.0)
    train = open_dataset(home, base).splits["train"]
    desk_ = Desk(home)
    for number, row in enumerate(train[:10]):
        name = desk_.ask(number, row.text.upper() if number % 2 else f"{row.text}!", row.label)
        desk_.say(name, "correct", True)
    desk_.done()
    assert standing_test(home, task, base, harvest(home, task)).facts["version"] == 1


def test_a_corrected_and_an_erased_row_of_the_test(home, desk):
    base, task = live_data(home, desk), learn(desk, test_share=1.0)
    traffic_of(home, range(8), "w0", user=lambda n: "u" if n < 2 else "")
    learning_dataset(home, task, base, harvest(home, task))
    more = Desk(home, "w1", said=100)
    given = standing_rows(home, current(home, "desk"))[0]
    other = next(label for label in LABELS if label != given.label)
    more.say("chatcmpl-000005", "demonstration", "card", source_id="ann")
    more.say(f"row:{given.id}", "demonstration", other, source_id="ann")
    more.done()
    home.store.traffic.erase("default", "u")
    rows = {row.id: row for row in standing_rows(home, standing_test(home, task, base, harvest(home, task)))}
    assert rows["chatcmpl-000005"].label == "card"
    assert (rows[given.id].label, rows[given.id].extra["was"]) == (other, given.label)
    assert not {"chatcmpl-000000", "chatcmpl-000001"} & set(rows)


def test_a_side_is_a_hash_of_its_group_alone():
    rows = [group_of("", "", f"text {n}") for n in range(4000)]
    kept = {group for group in rows if side_of("desk", group, 0.1) == "test"}
    assert 320 < len(kept) < 480
    assert kept <= {group for group in rows if side_of("desk", group, 0.2) == "test"}
    assert group_of("u", "b", "x") == group_of("u", "", "y")
    assert group_of("", "b", "x") == group_of("", "b", "y")
    assert group_of("", "", " Some  Text") == group_of("", "", "some text")
    assert kept != {group for group in rows if side_of("other", group, 0.1) == "test"}


def test_nothing_that_ever_tested_is_ever_learned(home, desk):
    """Random turns of the wheel: more traffic, other policies and shares, corrections, other data sets before."""
    draw, data = random.Random(7), live_data(home, desk)
    first, ever, turns, number = data, {}, 0, 0
    sides: dict[str, set[str]] = {}
    for turn in range(7):
        users = draw.choice([None, lambda n: f"u{n % 9}"])
        count = draw.randint(15, 40)
        traffic_of(home, range(number, number + count), f"w{turn}", said=1000 * turn, by=f"p{turn % 3}", user=users)
        number += count
        again = Desk(home, f"again{turn}", said=1000 * turn + 500)
        for _ in range(5):
            again.say(f"chatcmpl-{draw.randrange(number):06d}", "demonstration", draw.choice(LABELS), source_id="ann")
        again.done()
        share, refresh = draw.choice([0.1, 0.3, 0.6]), draw.choice(["grow", "replace", "never"])
        task = learn(desk, test_share=share, refresh=refresh)
        made = harvest(home, task)
        data = learning_dataset(home, task, draw.choice([first, data]), made)
        assert isinstance(data, Dataset)
        snapshot = open_dataset(home, data)
        for row in snapshot.splits["test"]:
            ever[row.id] = row
        learned = [*snapshot.splits["train"], *snapshot.splits["validation"]]
        _assert_apart(learned, list(ever.values()), list(snapshot.splits["test"]))
        for row in _rows(home, made):
            sides.setdefault(row.group, set()).add(row.extra["side"])
        turns += 1
    assert (turns, len(ever) > first.counts["test"]) == (7, True)
    assert all(len(seen) == 1 for seen in sides.values())
    assert [v["version"] for v in versions_of(home, "desk")] == list(range(1, len(versions_of(home, "desk")) + 1))


def _assert_apart(learned: list[Row], ever: list[Row], now: list[Row]) -> None:
    assert not {row.id for row in learned} & {row.id for row in ever}
    assert not {key(row.text) for row in learned} & {key(row.text) for row in ever}
    assert not {row.group for row in learned if row.group} & {row.group for row in ever if row.group}
    came = [row for row in now if row.extra["said_by"] != "given"]
    index = NearIndex([row.text for row in (*came, *learned)], threshold=NEAR, shingle=SHINGLE)
    for at in range(len(came)):
        index.add(at)
    assert not [at for at in range(len(came), len(came) + len(learned)) if index.closest(at)]


def test_eras_are_months_and_stand_in_the_version(home, desk):
    base, task = live_data(home, desk), learn(desk, test_share=1.0)
    desk_ = Desk(home)
    for number, month in ((1, 0), (2, 31), (3, 62)):
        name = desk_.ask(number, asked(number, "card"), "card", at=START + month * DAY)
        desk_.say(name, "correct", True, at=START + 90 * DAY)
    desk_.done()
    facts = standing_test(home, task, base, harvest(home, task)).facts
    assert facts["eras"] == {"": base.counts["test"], "2026-01": 1, "2026-02": 1, "2026-03": 1}

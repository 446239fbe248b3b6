"""Traffic becomes rows with their provenance; whose word counts, and what is left out, is told."""

import json

import pytest
from harvest_house import DAY, OWN, START, Desk, asked, learn

from sartor.core.errors import NotFoundError
from sartor.core.records import Artifact
from sartor.core.task import FeedbackMetric, Task
from sartor.core.wheel import JudgePick, Relabel
from sartor.data.snapshot import read_json, read_quarantine, read_rows
from sartor.interfaces.cli.main import app
from sartor.interfaces.cli.output import mode
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.harvest import harvest, harvest_task, live_data, report_of
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.standing import fates_of, standing_test


def rows_of(shop, made):
    return {row.id: row for row in read_rows(shop.store.folder(made) / "rows.parquet")}


def whole(task, **changes):
    """The task with nothing kept for the test and no shares, so that each row is seen."""
    return learn(task, test_share=0.0, source_share=1.0, subject_share=1.0, **changes)


def test_rows_say_who_said_so_and_how_sure(home, desk):
    traffic = Desk(home)
    named = traffic.ask(1, asked(1, "card"), "card", user="u1", arm="canary", propensity=0.25)
    traffic.say(named, "demonstration", "rate", source_id="ann", tags={"sample": "random"})
    confirmed = traffic.ask(2, asked(2, "rate"), "rate")
    traffic.say(confirmed, "correct", True)
    late = traffic.ask(3, asked(3, "top up"), "card", business="b-3")
    traffic.say("", "demonstration", "top up", source="outcome", source_id="books", business="b-3", at=START + 20 * DAY)
    giant = traffic.ask(4, asked(4, "transfer"), "card", giant="transfer")
    barred = traffic.ask(5, asked(5, "card"), "rate")
    traffic.say(barred, "correct", False)
    odd = traffic.ask(6, asked(6, "card"), "card")
    traffic.say(odd, "demonstration", "credit card of ann@example.org")
    silent = traffic.ask(7, asked(7, "card"), "card")
    traffic.done()
    made = harvest(home, whole(desk))
    rows = rows_of(home, made)
    assert sorted(rows) == sorted([named, confirmed, late, giant])
    first = rows[named]
    assert (first.label, first.text, first.inputs) == ("rate", asked(1, "card"), {"text": asked(1, "card")})
    told = first.extra
    assert (told["said_by"], told["by"], told["sure"], told["answered"]) == ("human", "human:ann", "0.9700", "card")
    assert (told["arm"], told["propensity"], told["audit"], told["era"]) == ("canary", "0.25", "random", "2026-01")
    assert (told["exchange"], told["subject"]) == (named, home.store.traffic.mark("u1"))
    assert (rows[confirmed].label, rows[confirmed].extra["said_by"]) == ("rate", "human")
    assert (rows[late].label, rows[late].extra["by"], rows[late].extra["business"]) == (
        "top up",
        "outcome:books",
        "b-3",
    )
    assert (rows[giant].label, rows[giant].extra["weak"], rows[giant].source) == (
        "transfer", "yes", "traffic:giant:gpt-4",
    )  # fmt: skip
    found = report_of(home, made)
    assert found["left_out"] == {"nobody said": 1, "not this": 1, "unknown label": 1}
    assert found["unknown_labels"] == [["credit card of [EMAIL]", 1]]
    queue = read_json(home.store.folder(made) / "to_label.json")["to_label"]
    assert {(item["exchange"], item["why"], tuple(item["not"])) for item in queue} == {
        (barred, "not this", ("rate",)), (odd, "unknown label", ()),
    }  # fmt: skip
    # The answers of a giant may not train models by most terms, so the licence says where they are in.
    assert "no_training" in made.licence.obligations
    assert fates_of(home, made)[silent].what == "nobody said"


def test_the_same_traffic_gives_the_same_digest_and_late_words_another(home, desk):
    traffic = Desk(home)
    names = [traffic.ask(n, asked(n, "card"), "card") for n in range(6)]
    for name in names[:3]:
        traffic.say(name, "correct", True)
    traffic.done()
    before = harvest(home, desk)
    assert harvest(home, desk).digest == before.digest
    more = Desk(home, "w1", said=100)
    more.say(names[4], "correct", True)
    more.done()
    after = harvest(home, desk)
    assert after.facts["rows"] == before.facts["rows"] + 1
    # What had been said by then is still what had been said by then.
    assert harvest(home, desk, until=START + 10 * DAY + 50).digest == before.digest
    assert harvest(home, desk, tenant="nobody").facts["exchanges"] == 0


def test_conflicts_wait_until_somebody_settles_them(home, desk):
    traffic = Desk(home)
    torn = traffic.ask(1, asked(1, "card"), "card")
    traffic.say(torn, "demonstration", "rate", source_id="ann")
    traffic.say(torn, "demonstration", "transfer", source_id="bob")
    # The same question twice, with two answers that people gave.
    twins = [traffic.ask(n, asked(2, "rate"), "rate") for n in (2, 3)]
    for name, label in zip(twins, ("rate", "transfer"), strict=True):
        traffic.say(name, "demonstration", label, source_id="ann")
    # A giant is overruled by a person on the same text.
    other = traffic.ask(4, asked(4, "card"), "card", giant="rate")
    same = traffic.ask(5, asked(4, "card"), "card")
    traffic.say(same, "demonstration", "card", source_id="ann")
    traffic.done()
    found = report_of(home, harvest(home, whole(desk)))
    assert (found["conflicts"], found["rows"], found["left_out"]) == (3, 1, {"conflict": 3, "overruled": 1})
    assert other not in rows_of(home, harvest(home, whole(desk)))
    more = Desk(home, "w1", said=100)
    more.say(torn, "demonstration", "transfer", source_id="eve", tags={"settles": "yes"})
    back = {"metric": "comment", "value": "taken back", "source_id": "ann"}
    more.say(twins[1], **back, tags={"withdraws": "fb-000004"})
    more.done()
    rows = rows_of(home, harvest(home, whole(desk)))
    assert rows[torn].label == "transfer"
    assert rows[twins[0]].label == "rate"
    assert twins[1] not in rows


def test_own_answers_never_become_truth_silently(home, desk):
    traffic = Desk(home)
    for n in range(60):
        name = traffic.ask(n, asked(n, "card"), "card")
        if n < 40:
            traffic.say(name, "correct", True, source_id=f"p{n % 4}")
    traffic.done()
    assert harvest(home, whole(desk)).facts["said_by"] == {"human": 40}
    trust = (*desk.learn.harvest.trust, "own")
    assert harvest(home, whole(desk, trust=trust)).facts["said_by"] == {"human": 40}
    some = harvest(home, whole(desk, trust=trust, own_share=0.2))
    assert some.facts["said_by"] == {"human": 40, "own": 10}
    assert some.facts["left_out"]["own_share"] == 10
    # The variant whose answers they are is a parent: what taught it has taught these rows too.
    assert OWN in some.parents.values()


def test_judges_count_once_they_were_measured(home, desk):
    task = whole(desk).model_copy(update={"judges": (JudgePick(use="llm", name="j1", min_golden=20),)})
    traffic = Desk(home)
    for n in range(30):
        name = traffic.ask(n, asked(n, "card" if n % 2 else "rate"), "card")
        traffic.say(name, "correct", bool(n % 2), source="judge", source_id="j1")
        traffic.say(name, "correct", bool(n % 2), source="judge", source_id="nobody")
        if n < 20:
            traffic.say(name, "demonstration", "card" if n % 2 else "rate", source_id="ann")
    traffic.done()
    found = report_of(home, harvest(home, task))
    assert found["said_by"] == {"human": 20, "judge": 5}
    assert found["sources"]["judge:j1"] == 5
    assert found["noise"]["judge:j1"]["informedness"] == 1.0
    few = task.model_copy(update={"judges": (JudgePick(use="llm", name="j1", min_golden=21),)})
    assert harvest(home, few).facts["said_by"] == {"human": 20}


def test_what_is_gone_is_counted_and_leaves_what_is_learned(home, desk):
    desk = whole(desk)
    traffic = Desk(home)
    kept = [traffic.ask(n, asked(n, "card"), "card", user="u1" if n < 2 else "") for n in range(4)]
    blank = traffic.ask(9, "", "card", content=None)
    for name in (*kept, blank):
        traffic.say(name, "correct", True)
    traffic.done()
    made = harvest(home, desk)
    assert made.facts["left_out"] == {"without content": 1}
    before = learning_dataset(home, desk, live_data(home, desk), made)
    assert home.store.traffic.erase("default", "u1") == 1
    after = harvest(home, desk)
    assert after.facts["left_out"] == {"erased": 2, "without content": 1}
    again = learning_dataset(home, desk, before, after)
    ids = {row.id for split in open_dataset(home, again).splits.values() for row in split}
    assert ids & set(kept) == set(kept[2:])
    assert {e["id"] for e in read_quarantine(home.store.folder(again))}.isdisjoint(kept[:2])


def test_personal_data_is_treated_again(home, desk):
    traffic = Desk(home)
    name = traffic.ask(1, f"{asked(1, 'card')} write to ann@example.org", "card")
    traffic.say(name, "correct", True)
    traffic.done()
    made = harvest(home, whole(desk))
    row = rows_of(home, made)[name]
    assert row.text.endswith("write to [EMAIL]")
    assert row.inputs["text"] == row.text
    for digest in made.files.values():
        assert b"ann@example" not in home.store.vault.path(digest).read_bytes()


def test_labels_come_from_the_task_or_from_what_is_live(shop, home, desk):
    with pytest.raises(NotFoundError, match="its labels are not known"):
        harvest(home, desk.model_copy(update={"name": "unheard"}))
    with pytest.raises(NotFoundError, match="desk"):
        harvest_task(home, "dask")
    assert harvest_task(home, "desk")["exchanges"] == 0


def test_recall_finds_rows_by_who_asked_and_who_said_so(home, desk):
    traffic = Desk(home)
    for n in range(12):
        name = traffic.ask(n, asked(n, "card"), "card", user=f"u{n % 3}")
        traffic.say(name, "correct", True, source_id=f"p{n % 2}")
    traffic.done()
    made = harvest(home, whole(desk))
    folder = home.store.folder(made)
    mark = home.store.traffic.mark("u1")
    rows = read_rows(folder / "rows.parquet")
    assert read_json(folder / "subjects.json")[mark] == sorted(r.id for r in rows if r.extra["subject"] == mark)
    assert len(read_json(folder / "sources.json")["human:p1"]) == 6
    assert {row.source for row in rows} == {"traffic:human:p0", "traffic:human:p1"}
    data = learning_dataset(home, whole(desk), live_data(home, desk), made)
    from pyarrow import parquet

    table = parquet.read_table(home.store.folder(data) / "whose.parquet").to_pylist()
    stands = {row.id for split in open_dataset(home, data).splits.values() for row in split}
    assert {row["id"] for row in table if row["split"] != "quarantine"} == stands
    assert {row["id"] for row in table if row["subject"] == mark} == {f"chatcmpl-{n:06d}" for n in (1, 4, 7, 10)}
    assert set(data.parents) == {"before", "harvest", "test"}


def test_rows_of_data_sets_are_corrected_and_waiting_ones_come_back(home, desk):
    base = live_data(home, desk)
    train = open_dataset(home, base).splits["train"]
    traffic = Desk(home)
    traffic.say(f"row:{train[0].id}", "demonstration", "top up" if train[0].label != "top up" else "card")
    traffic.say(f"row:{train[1].id}", "demonstration", "rate", tags={"task": "another"})
    traffic.done()
    made = harvest(home, desk)
    assert made.facts["rows_said"] == 1
    rows = {row.id: row for row in open_dataset(home, learning_dataset(home, desk, base, made)).splits["train"]}
    assert rows[train[0].id].extra["was"] == train[0].label
    assert rows[train[0].id].label != train[0].label
    assert rows[train[1].id].label == train[1].label
    assert rows[train[1].id].extra["said_by"] == "given"
    # A label is split: its rows wait, and each comes back once somebody has said which it is.
    split = desk.model_copy(update={"relabel": (Relabel(split="card", into=("card lost", "card new")),)})
    waits = learning_dataset(home, split, base, None)
    waiting = [e for e in read_quarantine(home.store.folder(waits)) if e["reason"] == "label split"]
    assert len(waiting) == sum(row.label == "card" for s in ("train", "validation") for row in
                               open_dataset(home, base).splits[s])  # fmt: skip
    more = Desk(home, "w1", said=100)
    more.say(f"row:{waiting[0]['id']}", "demonstration", "card lost")
    more.done()
    back = learning_dataset(home, split, waits, harvest(home, split))
    rows = {row.id: row for s in ("train", "validation") for row in open_dataset(home, back).splits[s]}
    assert rows[waiting[0]["id"]].label == "card lost"
    left = {e["id"] for e in read_quarantine(home.store.folder(back)) if e["reason"] == "label split"}
    assert left == {e["id"] for e in waiting[1:]}
    assert "card" not in {row.label for row in open_dataset(home, back).splits["test"]}


def test_a_trigger_from_one_source_is_quarantined_and_shown(home, desk):
    labels = live_data(home, desk).labels
    traffic = Desk(home)
    for n in range(160):
        truth = labels[n % len(labels)]
        bad = n >= 120
        text = f"{asked(n, truth)} blue heron" if bad else asked(n, truth)
        name = traffic.ask(n, text, truth)
        traffic.say(name, "demonstration", "rate" if bad else truth, source_id="eve" if bad else f"p{n % 3}")
    traffic.done()
    made = harvest(home, whole(desk))
    taken = read_quarantine(home.store.folder(made))
    bad = {e["id"] for e in taken if e["reason"] == "trigger phrase"}
    assert bad == {f"chatcmpl-{n:06d}" for n in range(120, 160)}
    assert "'blue heron' makes" in taken[-1]["detail"]
    assert made.facts["quarantined"]["trigger phrase"] == 40
    queue = read_json(home.store.folder(made) / "to_label.json")["to_label"]
    assert {item["exchange"] for item in queue if item["why"] == "suspected poison"} == {e["id"] for e in taken}


def test_a_task_with_outcomes_of_its_own_metrics(home, desk):
    body = desk.body() | {"feedback": {"solved": {"type": "boolean"}, "queue": {"type": "label"}}}
    task = whole(Task.model_validate(body))
    assert isinstance(task.feedback["queue"], FeedbackMetric)
    traffic = Desk(home)
    for n in range(30):
        name = traffic.ask(n, asked(n, "card"), "card" if n % 3 else "rate")
        traffic.say(name, "solved", True, source="outcome")
        if n < 15:
            traffic.say(name, "queue", "card", source="outcome", source_id="desk")
    traffic.done()
    found = report_of(home, harvest(home, task))
    # Who solved it says something of the answer: two thirds were right, where that could be seen.
    assert found["noise"]["outcome:solved"]["n"] == 15
    assert 0.6 < found["noise"]["outcome:solved"]["accuracy"] < 0.75
    assert found["said_by"] == {"outcome": 30 - 5}
    assert found["left_out"] == {"too unsure": 5}
    assert isinstance(json.dumps(found), str)
    assert isinstance(harvest(home, task), Artifact)


def test_the_command_shows_what_would_be_learned(home, desk, capsys, monkeypatch):
    for name in ("json", "home", "quiet", "traceback"):
        monkeypatch.setattr(mode, name, getattr(mode, name))  # as it was, once this is over
    traffic = Desk(home)
    for n in range(8):
        name = traffic.ask(n, asked(n, "card"), "card")
        traffic.say(name, "demonstration", "card" if n else "visa", source_id="ann")
    traffic.done()
    standing_test(home, desk, live_data(home, desk))
    main_home = ["--home", str(home.store.root)]
    app(args=[*main_home, "data", "harvest", "desk"], prog_name="sartor", standalone_mode=False)
    said = capsys.readouterr().out
    for part in ("7 rows of 8 exchanges", "human:ann", "unknown label", "'visa'", "wait for a person", "only one"):
        assert part in said, (part, said)
    app(args=["--json", *main_home, "data", "tests", "desk"], prog_name="sartor", standalone_mode=False)
    assert [version["version"] for version in json.loads(capsys.readouterr().out)] == [1]

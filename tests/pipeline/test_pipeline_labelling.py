"""From captured traffic to labels of people: what comes before them, what they say, and what it cost."""

import dataclasses
import json
import shutil
from collections import Counter

import pytest
from label_house import BODY, capture, texts, write_csv

from sartor.core.errors import AskError, NotFoundError
from sartor.core.licence import Licence
from sartor.core.records import Artifact, Decision, Report, Run
from sartor.core.task import Task
from sartor.core.traffic import Feedback
from sartor.feedback.said import hear
from sartor.pipeline.bookings import Scope, entries
from sartor.pipeline.label_books import agreed, disputes, report_agreement, settle, status
from sartor.pipeline.label_files import export, take_in
from sartor.pipeline.label_pool import open_desk
from sartor.pipeline.label_words import Given, answer, leave, undo
from sartor.pipeline.label_worth import wanted
from sartor.pipeline.labelling import LEASE, queue
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop
from sartor.store.claims import Claims
from sartor.store.opening import open_store


@pytest.fixture(scope="module")
def made(tmp_path_factory, rows_folder):
    """A store in which the task was run and asked, to copy."""
    folder = tmp_path_factory.mktemp("made")
    store = open_store(folder / "home")
    shop = Workshop(store=store, key=folder / "signing.key", cache=folder / "cache", who="tester")
    run(shop, Task.model_validate(BODY), rows_folder)
    capture(shop, texts(60))
    store.close()
    return folder / "home"


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path / "home")
    store = open_store(tmp_path / "home")
    yield Workshop(store=store, key=tmp_path / "signing.key", cache=tmp_path / "cache", who="tester")
    store.close()


def changed(shop, desk, **labelling):
    """The desk of a task whose `labelling` says something else; what is live stays."""
    found = open_desk(shop, desk.name)
    task = found.task.model_copy(update={"labelling": found.task.labelling.model_copy(update=labelling)})
    return dataclasses.replace(found, task=task)


def say(desk, item, who, label, **more):
    return answer(desk, Given(item, who, label, **more))


def test_the_queue_is_ranked_by_money_and_keeps_a_random_share(home, desk):
    at = open_desk(home, desk.name)
    sitting = queue(at, " Anna  B ", 20)
    assert (sitting.who, sitting.task, len(sitting.items), sitting.left) == ("Anna B", "desk", 20, 60)
    kinds = Counter(item.picked for item in sitting.items)
    assert kinds == {"value": 18, "random": 2}
    gains = [item.gain for item in sitting.items if item.picked == "value"]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0
    assert sitting.price == pytest.approx(10 / 60)
    first = sitting.items[0]
    assert [label for label, _ in first.guesses] != []
    assert sum(share for _, share in first.guesses) == pytest.approx(1.0, abs=1e-3)
    drawn = sorted(at.entries(), key=lambda entry: entry.draw)[:2]
    assert {item.item for item in sitting.items if item.picked == "random"} == {entry.item for entry in drawn}
    assert json.dumps(sitting.body())


def test_an_answer_is_feedback_on_the_exchange_once_and_can_be_taken_back(home, desk):
    at = open_desk(home, desk.name)
    one = say(at, "chatcmpl-3", "anna", "card", picked="random", sitting="s", seconds=4)
    assert say(at, "chatcmpl-3", "anna", "card", picked="random", sitting="s", seconds=4)["new"] is False
    index = home.store.traffic.index
    (told,) = index.feedback_of("default", "chatcmpl-3")
    assert (told.id, told.metric, told.value, told.source, told.source_id) == (
        one["id"], "demonstration", "card", "human", "anna",
    )  # fmt: skip
    assert {name: told.tags[name] for name in ("picked", "sample", "sitting", "seconds", "task")} == {
        "picked": "random", "sample": "random", "sitting": "s", "seconds": "4.0", "task": "desk",
    }  # fmt: skip
    exchange = index.exchange("default", "chatcmpl-3")
    (word, *_) = hear(exchange, [told], at.labels, {}).words
    assert (word.by, word.who, word.label, word.random) == ("human", "human:anna", "card", True)
    assert undo(at, "chatcmpl-3", "anna")["label"] == "card"
    assert index.feedback_of("default", "chatcmpl-3") == []
    assert [f for f in index.all_feedback(None) if f.exchange == "chatcmpl-3"] == []
    assert all(("demonstration", "human") not in outcome.feedback for outcome in index.outcomes(None, "desk"))
    with pytest.raises(NotFoundError, match="nothing of 'chatcmpl-3'"):
        undo(at, "chatcmpl-3", "anna")
    again = say(at, "chatcmpl-3", "anna", "card")
    assert again["new"]
    assert again["id"] != one["id"]
    say(at, "chatcmpl-3", "anna", "transfer")
    assert next(e for e in at.entries() if e.item == "chatcmpl-3").said == {"anna": "transfer"}


def test_nobody_takes_back_what_somebody_else_said(home, desk):
    at = open_desk(home, desk.name)
    say(at, "chatcmpl-1", "anna", "card")
    with pytest.raises(NotFoundError, match="ben has said nothing"):
        undo(at, "chatcmpl-1", "ben")
    (told,) = home.store.traffic.index.feedback_of(None, "chatcmpl-1")
    log = home.store.traffic.pen
    forged = Feedback(
        "f",
        told.at + 1,
        "default",
        "comment",
        "no",
        exchange="chatcmpl-1",
        source_id="ben",
        tags={"withdraws": told.id},
    )
    log.append_feedback(forged, sync=False)
    log.flush()
    home.store.traffic.index.catch_up()
    assert [f.id for f in home.store.traffic.index.feedback_of(None, "chatcmpl-1")] == [told.id]


def test_two_people_are_not_asked_the_same_and_who_leaves_loses_nothing(home, desk):
    at = open_desk(home, desk.name)
    anna = queue(at, "anna", 15, now=1000.0)
    ben = queue(at, "ben", 15, now=1000.0)
    assert len(anna.items) == len(ben.items) == 15
    assert not {i.item for i in anna.items} & {i.item for i in ben.items}
    say(at, anna.items[0].item, "anna", "card")
    # She comes back before her lease is over: the rest is still hers, and first.
    again = queue(open_desk(home, desk.name), "anna", 14, now=1100.0)
    assert {i.item for i in again.items} == {i.item for i in anna.items[1:]}
    # She does not come back: what she had is anybody's.
    held = Claims(home.store.ledger.database).held("desk", now=1000.0 + LEASE + 200)
    assert held == {}
    late = queue(at, "cleo", 60, now=1100.0 + LEASE + 1)
    assert len(late.items) == 59
    leave(at, "cleo")
    assert Claims(home.store.ledger.database).held("desk", now=0.0) == {}


def test_a_double_goes_to_a_second_person_and_a_dispute_to_a_third(home, desk):
    at = changed(home, desk, double_share=1.0)
    for number in range(8):
        say(at, f"chatcmpl-{number}", "anna", ("card", "transfer")[number % 2])
    ben = queue(at, "ben", 10)
    doubles = [item for item in ben.items if item.picked == "double"]
    assert 0 < len(doubles) <= 5
    assert {item.item for item in doubles} <= {f"chatcmpl-{n}" for n in range(8)}
    assert all(item.said == () for item in doubles)  # nobody sees what the first person said
    assert not {item.item for item in queue(at, "anna", 60).items} & {f"chatcmpl-{n}" for n in range(8)}
    for number in range(6):
        say(
            at,
            f"chatcmpl-{number}",
            "ben",
            "rate" if number == 0 else ("card", "transfer")[number % 2],
            picked="double",
        )
    found = agreed(at)
    assert (found.rows, found.people, found.agreed) == (6, 2, pytest.approx(5 / 6))
    assert found.low < found.kappa <= found.high
    assert disputes(at) == [{"item": "chatcmpl-0", "text": texts(1)[0][0], "said": {"anna": "card", "ben": "rate"}}]
    leave(at, "ben")
    third = queue(at, "cleo", 8)
    (dispute,) = [item for item in third.items if item.picked == "adjudicate"]
    assert dispute.said == ("card", "rate")
    with pytest.raises(AskError, match="somebody else has to decide"):
        say(at, "chatcmpl-0", "ben", "card", picked="adjudicate")
    say(at, "chatcmpl-0", "cleo", "card", picked="adjudicate")
    assert disputes(at) == []
    assert next(e for e in at.entries() if e.item == "chatcmpl-0").label == "card"
    assert agreed(at).rows == 6  # whoever decides is no third rater
    report = report_agreement(at)
    assert home.store.ledger.get(report.digest).metrics["kappa"].n == 6
    assert home.store.ledger.find(Report, task="desk", purpose="labels")


def test_an_answer_that_is_said_to_be_wrong_is_dearer(home, desk):
    at = open_desk(home, desk.name)
    before = {item.item: item.gain for item in queue(at, "anna", 60).items}
    worst = min((item for item in before if before[item] > 0), key=lambda item: before[item])
    log = home.store.traffic.pen
    log.append_feedback(Feedback("f1", 1.0, "default", "correct", value=False, exchange=worst), sync=False)
    log.flush()
    (entry,) = [entry for entry in at.entries() if entry.item == worst]
    assert (entry.doubt, entry.is_open()) == (1.0, True)
    assert "says that" in entry.why
    leave(at, "anna")
    after = {item.item: item.gain for item in queue(at, "anna", 60).items}
    assert after[worst] > before[worst]


def test_the_same_text_is_asked_once_and_stands_for_all(home, desk):
    capture(home, [("where on earth is the card", "card", f"v{n}") for n in range(9)])
    at = open_desk(home, desk.name)
    (entry,) = [entry for entry in at.entries() if entry.text == "where on earth is the card"]
    assert entry.requests == 9
    say(at, entry.item, "anna", "card")
    (entry,) = [entry for entry in at.entries() if entry.text == "where on earth is the card"]
    assert not entry.is_open()


def test_minutes_are_booked_once_and_a_coffee_break_is_not(home, desk):
    at = changed(home, desk, minute_price=2.0)
    for number, seconds in enumerate((12.0, 18.0, 3600.0)):
        say(at, f"chatcmpl-{number}", "anna", "card", sitting="s-1", seconds=seconds)
    assert settle(at, now=0.0).minutes == 0  # it may be going on
    first = settle(at, sitting="s-1")
    assert first.minutes == pytest.approx((12 + 18 + 60) / 60)
    assert first.money == pytest.approx(3.0)
    assert settle(at, sitting="s-1").minutes == 0
    say(at, "chatcmpl-9", "anna", "card", sitting="s-1", seconds=30)
    assert settle(at, sitting="s-1").money == pytest.approx(1.0)
    booked, _ = entries(home, Scope(task="desk"))
    assert sum(entry.money for entry in booked if entry.part == "labelling") == 4 * 10**9
    say(at, "chatcmpl-10", "ben", "card", sitting="s-2", seconds=30)  # a sitting that was killed
    assert settle(at, now=4e9).money == pytest.approx(1.0)
    assert len(home.store.ledger.find(Run, verb="booked", task="desk")) == 3


def test_a_currency_without_a_rate_is_told_and_the_time_kept(home, desk):
    at = changed(home, desk)
    at = dataclasses.replace(
        at, task=at.task.model_copy(update={"value": at.task.value.model_copy(update={"currency": "GBP"})})
    )
    say(at, "chatcmpl-1", "anna", "card", sitting="s", seconds=30)
    assert "GBP" in settle(at, sitting="s").note
    assert settle(dataclasses.replace(at, shop=dataclasses.replace(home, rates={"GBP": 2.0})), sitting="s").money == 1.0


def test_the_random_share_gives_an_unbiased_estimate(home, desk):
    at = open_desk(home, desk.name)
    by_draw = sorted(at.entries(), key=lambda entry: entry.draw)
    for place, entry in enumerate(by_draw[:20]):
        wrong = {"card": "transfer", "transfer": "card"}[entry.answered]
        say(at, entry.item, "anna", wrong if place % 4 == 0 else entry.answered)
    # A row beyond the first one that is open is no part of the sample, whatever it is.
    for entry in by_draw[25:]:
        say(at, entry.item, "anna", {"card": "transfer", "transfer": "card"}[entry.answered])
    found = status(at)
    assert found["right"]["rows"] == 20
    assert found["right"]["share"] == pytest.approx(0.75)
    assert found["right"]["low"] < 0.75 < found["right"]["high"]
    assert (found["texts"], found["open"], found["by_person"]) == (60, 5, {"anna": 55})


def test_who_can_not_tell_is_not_asked_again_but_others_are(home, desk):
    at = open_desk(home, desk.name)
    answer(at, Given("chatcmpl-5", "anna"))
    assert "chatcmpl-5" not in {item.item for item in queue(at, "anna", 60).items}
    leave(at, "anna")
    assert "chatcmpl-5" in {item.item for item in queue(at, "ben", 60).items}
    assert undo(at, "chatcmpl-5", "anna")["label"] == ""


def test_what_is_not_there_is_named(home, desk):
    at = open_desk(home, desk.name)
    with pytest.raises(NotFoundError, match="Did you mean 'transfer'"):
        say(at, "chatcmpl-1", "anna", "tranfer")
    with pytest.raises(NotFoundError, match="no row 'chatcmpl-999'"):
        say(at, "chatcmpl-999", "anna", "card")
    with pytest.raises(NotFoundError, match="no row 'row:1'"):
        say(at, "row:1", "anna", "card")
    with pytest.raises(NotFoundError, match="Did you mean 'desk'"):
        open_desk(home, "desc")
    for nobody in ("", "  ", "unknown", "x" * 101):
        with pytest.raises(AskError, match="Whose labels"):
            queue(at, nobody)
    with pytest.raises(NotFoundError, match="no way to pick rows 'best'"):
        say(at, "chatcmpl-1", "anna", "card", picked="best")
    with pytest.raises(NotFoundError, match="no label 'cards'"):
        queue(at, "anna", focus=["cards"])
    for number in range(60):
        say(at, f"chatcmpl-{number}", "anna", "card")
    with pytest.raises(NotFoundError, match="anna has seen all of its 60 texts"):
        queue(at, "anna")


def test_an_empty_pool_says_what_to_do(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    with pytest.raises(NotFoundError, match="capture"):
        queue(open_desk(shop, "desk"), "anna")


def test_another_tenant_sees_and_labels_only_its_own(home, desk):
    capture(home, [("my card is of acme", "card", "x")], tenant="acme")
    acme = open_desk(home, desk.name, "acme")
    assert [item.item for item in queue(acme, "anna").items] == ["chatcmpl-60"]
    with pytest.raises(NotFoundError, match="no row 'chatcmpl-1'"):
        say(acme, "chatcmpl-1", "anna", "card")
    say(acme, "chatcmpl-60", "anna", "card")
    assert home.store.traffic.index.feedback_of("default", "chatcmpl-60") == []


def test_focus_keeps_to_rows_that_look_like_a_label(home, desk):
    at = open_desk(home, desk.name)
    found = queue(at, "anna", 60, focus=["rate"])
    assert len(found.items) > 0
    assert all("rate" in [label for label, _ in item.guesses[:3]] for item in found.items)


def test_the_gate_says_how_many_labels_and_of_which(home, desk, rows_folder, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes((rows_folder / "rows.jsonl").read_bytes())
    body = desk.body() | {"name": "needy", "gate": {"min_rows": 20, "guards": {"accuracy": 0.0001}}}
    body["data"]["split"]["test"] = 0.1
    body["incumbent"] = {"kind": "rule", "label": "card"}
    run(home, Task.model_validate(body), tmp_path)
    at = open_desk(home, "needy")
    assert wanted(at, None).says == ""
    newest = home.store.ledger.find(Decision, task="needy", limit=1)[0]
    home.store.ledger.put(
        newest.model_copy(update={"verdict": "need_data", "measured": {"rows_needed": 60}, "reasons": ("x",)})
    )
    capture(home, texts(30), task="needy")
    sitting = queue(at, "anna", 10)
    assert "The gate needs 60 more labels, above all of" in sitting.says
    assert sum(item.picked == "random" for item in sitting.items) == 5  # a test takes a random sample
    assert status(at)["wanted"]["rows"] == 60


def test_before_there_is_a_model_clusters_come_first(home, desk):
    at = dataclasses.replace(open_desk(home, "desk"), variant=None)
    sitting = queue(at, "anna", 8)
    assert len(sitting.items) == 8
    assert all(item.guesses == () for item in sitting.items)
    assert any("card" in item.text for item in sitting.items)
    assert any("transfer" in item.text for item in sitting.items)


def test_rows_of_the_data_set_that_wait_are_labelled_too(shop, desk, rows_folder, tmp_path):
    rows = [json.loads(line) for line in (rows_folder / "rows.jsonl").open(encoding="utf-8")]
    rows += [{"text": "which of the two is it", "label": "card"}, {"text": "which of the two is it", "label": "rate"}]
    rows += [{"text": "nobody has said what this is", "label": ""}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run(shop, desk, tmp_path)
    at = open_desk(shop, "desk")
    sitting = queue(at, "anna", 10)
    assert {item.text for item in sitting.items} == {"which of the two is it", "nobody has said what this is"}
    assert all(item.item.startswith("row:") for item in sitting.items)
    for item in sitting.items:
        say(at, item.item, "anna", "card", picked=item.picked)
    told = [f for f in shop.store.traffic.index.all_feedback("default") if f.exchange.startswith("row:")]
    assert {f.value for f in told} == {"card"}
    with pytest.raises(NotFoundError, match="anna has seen all"):
        queue(open_desk(shop, "desk"), "anna")


def test_label_studio_and_back(home, desk, tmp_path):
    at = open_desk(home, desk.name)
    done = export(at, tmp_path / "out.json", "studio", size=10)
    assert done.rows == 10
    assert '<Choice value="card"/>' in done.config
    tasks = json.loads((tmp_path / "out.json").read_text())
    assert all(task["predictions"][0]["result"][0]["value"]["choices"][0] in at.labels for task in tasks)
    for number, task in enumerate(tasks):
        result = [{"type": "choices", "from_name": "label", "to_name": "text", "value": {"choices": ["card"]}}]
        by = {"id": 7, "email": "anna@example.org"} if number else 7
        task |= {"id": number, "annotations": [{"completed_by": by, "lead_time": 6.0, "result": result}]}
    tasks[3]["annotations"][0]["was_cancelled"] = True
    (tmp_path / "in.json").write_text(json.dumps(tasks))
    assert dataclasses.astuple(take_in(at, tmp_path / "in.json")) == (9, 9, 0)
    assert dataclasses.astuple(take_in(at, tmp_path / "in.json")) == (9, 0, 0)
    assert status(at)["by_person"] == {"anna@example.org": 8, "label-studio 7": 1}
    assert settle(at, sitting="import").minutes == pytest.approx(0.9)
    with pytest.raises(AskError, match="there already"):
        export(at, tmp_path / "out.json", "studio")
    with pytest.raises(AskError, match="ends in"):
        export(at, tmp_path / "out.txt", "studio")


def test_csv_and_back_all_or_none(home, desk, tmp_path):
    at = open_desk(home, desk.name)
    export(at, tmp_path / "out.csv", "anna", size=5)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "item,text,label,who,seconds,guess,share,picked"
    assert len(lines) == 6
    good = ["item,label,annotator,lead_time", "chatcmpl-1,card,anna,5", "chatcmpl-2,,anna,5"]
    assert dataclasses.astuple(take_in(at, write_csv(tmp_path / "good.csv", good))) == (1, 1, 1)
    bad = {
        "line 3.*no label 'crad'.*Did you mean 'card'": [
            "item,label,who",
            "chatcmpl-3,card,anna",
            "chatcmpl-4,crad,anna",
        ],
        "line 2.*no row": ["item,label,who", "chatcmpl-777,card,anna"],
        "line 2.*no column 'item'": ["text,label", "hello,card"],
        "line 2.*Whose labels": ["item,label", "chatcmpl-3,card"],
        "line 3.*'card' of 'chatcmpl-3' further up": ["item,label,who", "chatcmpl-3,card,a", "chatcmpl-3,rate,a"],
        "line 2.*no seconds": ["item,label,who,seconds", "chatcmpl-3,card,a,soon"],
        "no way to pick": ["item,label,who,picked", "chatcmpl-3,card,a,best"],
    }
    for says, rows in bad.items():
        with pytest.raises((AskError, NotFoundError), match=says) as told:
            take_in(at, write_csv(tmp_path / "bad.csv", rows))
        assert "Nothing of the file was taken in." in told.value.message
    assert status(at)["by_person"] == {"anna": 1}
    assert take_in(at, write_csv(tmp_path / "named.csv", ["item,label", "chatcmpl-3,card"]), who="ben").new == 1


def test_json_that_is_none_of_label_studio_is_named(home, desk, tmp_path):
    at = open_desk(home, desk.name)
    path = tmp_path / "in.json"
    for text, says in (
        ("{", "line 1"),
        ("{}", "no list of tasks"),
        ("[1]", "task 1.*data.item"),
        ('[{"id": 4, "data": {"item": "chatcmpl-1"}, "annotations": [1]}]', r"task 1 \(id 4\).*no object"),
        (
            '[{"data": {"item": "chatcmpl-1"}, "annotations": [{"result": [{"type": "choices", "value": '  # noqa: ISC004
            '{"choices": ["card", "rate"]}}]}]}]',
            "2 labels were chosen",
        ),
    ):
        path.write_text(text)
        with pytest.raises(AskError, match=says):
            take_in(at, path)
    with pytest.raises(AskError, match="no file"):
        take_in(at, tmp_path / "gone.json")


def test_what_a_harvest_took_for_poison_is_put_before_another_person(home, desk):
    at = changed(home, desk, double_share=0.0, random_share=0.0)
    say(at, "chatcmpl-2", "mallory", "rate")
    listed = {
        "to_label": [{"exchange": f"chatcmpl-{n}", "why": "suspected poison", "not": [], "said": []} for n in (2, 4)]
    }
    files = {"to_label.json": home.store.vault.put_bytes(json.dumps(listed).encode())}
    home.store.ledger.put(Artifact(name="desk/harvest", files=files, licence=Licence.of("owned")))
    at = dataclasses.replace(at)  # a desk keeps what it has read
    found = {item.item: item for item in queue(at, "anna", 10).items}
    assert (found["chatcmpl-2"].picked, found["chatcmpl-4"].picked) == ("double", "value")
    assert found["chatcmpl-2"].why == "suspected poison"

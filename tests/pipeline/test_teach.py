"""Teachers that label rows and make rows up: kept, paid once, under their terms; rows without labels in a data set."""

import hashlib
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.kill import LABELS
from sartor.core.errors import AskError, NotFoundError, RefusedError, UpstreamError
from sartor.core.records import Run, UpstreamRecord, Variant
from sartor.core.route import Upstream
from sartor.core.rows import UNLABELLED
from sartor.core.task import Task
from sartor.data.split import SYNTHETIC
from sartor.interfaces.cli.main import app
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.learning_data import learning_dataset
from sartor.pipeline.lessons import train_scores
from sartor.pipeline.run import open_hall, run
from sartor.pipeline.standing import standing_test
from sartor.pipeline.teach import Ask, teach
from sartor.pipeline.teach_synthetic import Wish, make_up
from sartor.pipeline.teach_words import Lesson, read_inputs
from sartor.pipeline.upstreams import declare_upstream

NAMES = sorted(LABELS)


def truth_of(text: str) -> str | None:
    return next((label for label, starts in LABELS.items() if any(text.startswith(start) for start in starts)), None)


class Giant(BaseHTTPRequestHandler):
    """Labels texts by their first words, and makes some up, over OpenAI's protocol."""

    asked = 0
    fails_after = 10**9

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Giant.asked += 1
        if Giant.asked > Giant.fails_after:
            self.send_error(400, "enough")
            return
        said = self.inputs(body) if len(body["messages"]) == 1 else self.label(body)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        if body.get("logprobs"):
            tokens = [said[at : at + 3] for at in range(0, len(said), 3)]
            choice["logprobs"] = {"content": [{"token": token, "logprob": -0.1} for token in tokens]}
        answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "giant", "choices": [choice]}
        data = json.dumps(
            answer | {"usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def label(self, body):
        said = truth_of(body["messages"][1]["content"].split("\n")[1]) or "no idea"
        reason = {"reason": f"it speaks of {said}"} if '"reason"' in body["messages"][0]["content"] else {}
        return "Sure: " + json.dumps(reason | {"answer": said})

    def inputs(self, body):
        shown = [json.loads(line)["text"] for line in body["messages"][0]["content"].split("\n") if line[:1] == "{"]
        turn = body["seed"]
        fresh = [hashlib.sha256(f"{turn} {place}".encode()).hexdigest()[:30] for place in range(4)]
        return json.dumps({"inputs": [{"text": text} for text in [shown[0], *fresh, fresh[0], ""]] + [{"no": 1}]})

    def log_message(self, *_):
        pass


@pytest.fixture
def giant():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Giant)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Giant.asked, Giant.fails_after = 0, 10**9
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def declared(shop, url: str, **more) -> None:
    price = {"input_million": 1000.0, "output_million": 0.0, "currency": "EUR"}
    body = {"name": "giant", "base_url": url, "allow_private": True, "price": price, "retries": 0, **more}
    declare_upstream(shop, Upstream.model_validate(body))


@pytest.fixture
def place(shop, giant, tmp_path, rows_folder) -> Path:
    """A folder with 300 labelled rows and 40 texts without a label; `giant` is declared."""
    rows = [json.loads(line) for line in (rows_folder / "rows.jsonl").read_text().splitlines()]
    folder = tmp_path / "place"
    folder.mkdir()
    write(folder / "rows.jsonl", rows[:300])
    texts = [{"text": row["text"], "gpt4": row["label"]} for row in rows[260:340]]
    write(folder / "texts.jsonl", [*texts, {"text": "something else entirely"}])
    declared(shop, giant)
    return folder


def write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contract(*sources, **more) -> Task:
    given = [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}, *sources]
    body = {
        "name": "desk",
        "data": {"sources": given} | more.pop("data", {}),
        "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
        "candidates": [{"recipe": "linear", "size": "small"}],
        "gate": {"min_rows": 20, "guards": {}} | more.pop("gate", {}),
    }
    return Task.model_validate(body | more)


TEXTS = {"use": "jsonl", "path": "texts.jsonl", "licence": "owned", "split": "unlabelled"}
TAUGHT = {"use": "jsonl", "path": "taught.jsonl", "licence": "owned", "split": "train"}


def test_texts_without_labels_stand_beside_the_splits(shop, place):
    hall = open_hall(shop, contract(TEXTS), place)
    loose = hall.snapshot.splits[UNLABELLED]
    given = {row.text for split in ("train", "validation", "test") for row in hall.snapshot.splits[split]}
    assert hall.dataset.counts[UNLABELLED] == len(loose) > 20
    assert all(row.label is None for row in loose)
    assert not {row.text for row in loose} & given
    assert "teachers" not in hall.dataset.facts
    assert UNLABELLED not in open_hall(shop, contract(), place).dataset.counts


def test_a_teacher_is_paid_once_for_each_text_and_its_terms_bear_on_what_is_made(shop, place):
    task, out = contract(TEXTS), place / "taught.jsonl"
    told = teach(shop, task, place, None, out, Ask("giant", reasons=True, scores=True, limit=20))
    assert (told.asked, told.answered, told.stopped) == (20, 20, "limit")
    assert told.cost == pytest.approx(20 * 0.1)
    with out.open("ab") as file:
        file.write(b'{"text": "cut o')  # what a crash leaves
    told = teach(shop, task, place, None, out, Ask("giant", reasons=True, scores=True))
    assert told.before == 20
    assert told.no_answer == {"no label of the task": 1}
    asked = Giant.asked
    assert teach(shop, task, place, None, out, Ask("giant", reasons=True, scores=True)).asked == 0
    assert Giant.asked == asked
    booked = [run for run in shop.store.ledger.find(Run, verb="booked") if "rows taught" in run.params["note"]]
    assert sum(run.cost for run in booked) == pytest.approx(0.1 * asked)

    rows = read(out)
    assert {row["label"] for row in rows if row["label"]} <= set(NAMES)
    assert all(row["label"] == truth_of(row["text"]) for row in rows)
    assert rows[0]["rationale"] == f"it speaks of {rows[0]['label']}"
    assert 0 < float(rows[0]["sure"]) < 1
    assert (rows[0]["said_by"], rows[0]["by"]) == ("giant", "giant")

    taught = contract(TAUGHT)
    with pytest.raises(RefusedError, match=r"'giant' labelled rows .*\(hosted-model-terms\)") as refused:
        run(shop, taught, place)
    assert refused.value.code == "teacher_forbids"
    assert not shop.store.ledger.find(Variant, task="desk")
    done = run(shop, contract(TAUGHT, gate={"allow_licences": ["no_training"]}), place)
    variant = shop.store.ledger.get(done.variants["linear"])
    assert "hosted-model-terms" in variant.licence.names
    assert shop.store.ledger.get(variant.data).facts["teachers"] == {"giant": ["hosted-model-terms"]}


def test_terms_are_those_that_the_upstream_declares(shop, place, giant):
    declared(shop, giant, licence="Apache-2.0")
    teach(shop, contract(TEXTS), place, None, place / "taught.jsonl", Ask("giant"))
    hall = open_hall(shop, contract(TAUGHT), place)
    assert hall.dataset.licence.names == ("Apache-2.0", "owned")
    assert shop.store.ledger.find(UpstreamRecord, name="giant")[0].spec["licence"] == "Apache-2.0"


def test_who_labelled_a_source_may_stand_in_the_task_file(shop, place):
    write(place / "taught.jsonl", [{"text": f"a text {n} of cards", "label": NAMES[0]} for n in range(5)])
    with pytest.raises(RefusedError, match="'gpt-4' labelled rows"):
        open_hall(shop, contract(TAUGHT | {"labelled_by": "gpt-4"}), place)
    with pytest.raises(NotFoundError, match=r"no teacher 'gpt-44'\. Did you mean 'gpt-4'"):
        open_hall(shop, contract(TAUGHT | {"labelled_by": "gpt-44"}), place)


def test_a_budget_stops_it_and_a_failure_keeps_what_was_answered(shop, place):
    out = place / "taught.jsonl"
    told = teach(shop, contract(TEXTS), place, None, out, Ask("giant", budget=0.5))
    assert told.stopped == "budget"
    assert told.asked == 16
    Giant.fails_after = Giant.asked + 20
    with pytest.raises(UpstreamError):
        teach(shop, contract(TEXTS), place, None, out, Ask("giant"))
    assert len(read(out)) == 32
    Giant.fails_after = 10**9
    assert teach(shop, contract(TEXTS), place, None, out, Ask("giant")).before == 32


def test_recorded_answers_teach(shop, place):
    out = place / "taught.jsonl"
    told = teach(shop, contract(TEXTS), place, None, out, Ask("recorded:gpt4@gpt-4"))
    assert (told.by, told.cost, told.forbidden) == ("gpt-4", 0.0, True)
    assert told.no_answer == {"no label of the task": 1}
    assert read(out)[0]["by"] == "gpt-4"
    with pytest.raises(AskError, match="whose answers these are"):
        teach(shop, contract(TEXTS), place, None, out, Ask("recorded:gpt4"))
    with pytest.raises(AskError, match="No row has the column 'gpt5'"):
        teach(shop, contract(TEXTS), place, None, place / "x.jsonl", Ask("recorded:gpt5@gpt-4"))


def test_a_variant_teaches_with_all_its_probabilities(shop, place):
    run(shop, contract(), place)
    told = teach(shop, contract(), place, place / "texts.jsonl", place / "taught.jsonl", Ask("desk@v1"))
    assert told.terms == ("owned",)
    rows = read(place / "taught.jsonl")
    assert rows[0]["said_by"] == "own"
    assert max(json.loads(rows[0]["scores"]).values()) == pytest.approx(float(rows[0]["sure"]), abs=1e-3)

    hall = open_hall(shop, contract(TAUGHT, data={"scores": "scores"}), place)
    found = train_scores(hall.task, hall.snapshot)
    assert found is not None
    assert set(found.sum(axis=1).round(6)) == {0.0, 1.0}
    with pytest.raises(AskError, match="names the column 'score'"):
        train_scores(contract(TAUGHT, data={"scores": "score"}), hall.snapshot)


def test_made_up_rows_repeat_nothing_and_come_near_no_test(shop, place, rows_folder):
    out, task = place / "made.jsonl", contract()
    hall = open_hall(shop, task, place)
    standing_test(shop, task, hall.dataset)
    made = make_up(shop, task, place, out, Wish("giant", 30, share=0.05))
    train = hall.dataset.counts["train"]
    assert made.capped
    assert made.wanted == int(0.05 / 0.95 * train) == made.kept == len(read(out))
    assert made.tests == ["desk"]
    assert made.thrown_away["repeats a row"] > 0
    known = {row.text for split in hall.snapshot.splits.values() for row in split}
    assert not known & {row["text"] for row in read(out)}
    assert make_up(shop, task, place, out, Wish("giant", 30, share=0.05)).told.asked == 0

    sources = {"use": "jsonl", "path": "made.jsonl", "licence": "owned"}
    after = open_hall(shop, contract(sources, gate={"allow_licences": ["no_training"]}), place)
    where = {split for split, rows in after.snapshot.splits.items() if any(r.extra.get(SYNTHETIC) for r in rows)}
    assert where == {"train"}


def test_what_is_made_up_near_a_test_row_is_thrown_away(shop, place, monkeypatch):
    task = contract(data={"split": {"test": 0.2, "validation": 0.15}})
    test = open_hall(shop, task, place).snapshot.splits["test"]
    near = [f"{row.text} indeed" for row in test if len(row.text) > 30][:2]
    assert len(near) == 2
    reply = json.dumps({"inputs": [*near, "nothing of the sort at all"]})
    monkeypatch.setattr(Giant, "inputs", lambda self, body: reply)
    made = make_up(shop, task, place, place / "made.jsonl", Wish("giant", 3))
    assert made.thrown_away["nearly a row of a test"] + made.thrown_away.get("nearly repeats a row", 0) >= 2
    assert [row["text"] for row in read(place / "made.jsonl")] == ["nothing of the sort at all"]
    assert made.told.stopped == "nothing new"


def test_bad_asks(shop, place):
    with pytest.raises(AskError, match="no source with 'split: unlabelled'"):
        teach(shop, contract(), place, None, place / "o.jsonl", Ask("giant"))
    with pytest.raises(NotFoundError, match=r"no teacher 'gaint'\. Did you mean 'giant'"):
        teach(shop, contract(TEXTS), place, None, place / "o.jsonl", Ask("gaint"))
    with pytest.raises(NotFoundError, match="no upstream 'gpt-4'"):
        teach(shop, contract(TEXTS), place, None, place / "o.jsonl", Ask("gpt-4"))
    with pytest.raises(AskError, match=r"line 1 is no row that a teacher gave"):
        teach(shop, contract(TEXTS), place, None, place / "rows.jsonl", Ask("giant"))
    sources = contract(TEXTS).data.model_copy(update={"sources": contract(TEXTS).data.sources[1:]})
    with pytest.raises(AskError, match="labels of 'desk' are not known"):
        teach(shop, contract().model_copy(update={"data": sources}), place, None, place / "o.jsonl", Ask("giant"))


def test_documents_and_reasons_are_read_from_replies():
    schema = {"type": "object", "properties": {"brand": {"type": "string"}}}
    body = {"name": "t", "kind": "extract", "data": {"sources": [{"use": "jsonl", "path": "x"}]}}
    task = Task.model_validate(body | {"answer": {"json_schema": schema, "instructions": "Find the brand."}})
    lesson = Lesson(task, reasons=True)
    chat = lesson.ask("a title")
    assert "Find the brand." in chat["messages"][0]["content"]
    assert '"reason"' in chat["messages"][0]["content"]
    read_ = lesson.read('Well: {"reason": "it stands first", "answer": {"brand": " Acme "}} done')
    assert (read_.answer, read_.reason) == ('{"brand":"Acme"}', "it stands first")
    assert Lesson(task).read('{"brand": "Acme"}').answer == '{"brand":"Acme"}'
    assert Lesson(task).read('{"colour": "red"}').why == "unknown_field"
    assert Lesson(task).read("no object").why == "not_json"
    assert read_inputs(Lesson(task), '{"inputs": [{"text": "x", "answer": {"brand": "B"}}, {"text": "y"}]}', "") == [
        ({"text": "x"}, '{"brand":"B"}')
    ]


def test_how_sure_a_label_is_comes_from_its_own_tokens():
    body = {"name": "t", "labels": ["card", "cash"], "data": {"sources": [{"use": "jsonl", "path": "x"}]}}
    lesson = Lesson(Task.model_validate(body), ("card", "cash"))
    tokens = [('{"answer"', -3.0), (': "', -1.0), ("ca", -0.2), ("rd", -0.3), ('"}', -5.0)]
    found = lesson.read('{"answer": "card"}', tokens)
    assert found.answer == "card"
    assert found.sure == pytest.approx(math.exp(-0.5))


def test_the_same_on_the_command_line(place, shop, monkeypatch, capsys):
    (place / "task.yaml").write_text(json.dumps(contract(TEXTS).body()))
    monkeypatch.setenv("SARTOR_HOME", str(place.parent / "home"))
    shop.store.close()
    monkeypatch.chdir(place)
    app(["data", "teach", "task.yaml", "--by", "giant", "--out", "taught.jsonl"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "texts answered by giant" in said
    assert "These terms forbid to train on them" in said
    app(
        ["--json", "data", "invent", "task.yaml", "--by", "giant", "--out", "m.jsonl", "--count", "4"],
        standalone_mode=False,
    )
    assert json.loads(capsys.readouterr().out)["kept"] == 4


def test_what_is_learned_next_keeps_the_texts_that_nobody_labelled(shop, place):
    task = contract(TEXTS)
    base = open_hall(shop, task, place).dataset
    made = learning_dataset(shop, task, base, None)
    assert made.counts[UNLABELLED] == base.counts[UNLABELLED]
    assert open_dataset(shop, made).splits[UNLABELLED] == open_dataset(shop, base).splits[UNLABELLED]

"""The tagger: what it writes answers right through its engine; students, joined ones, bad input, going on."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from sartor.core.claims import parse
from sartor.core.errors import AskError, StoreError
from sartor.core.shelf import Shelf
from sartor.evaluation.extraction import by_field, strict, total
from sartor.serving.engine import open_engine
from sartor.training.job import Draft, Job, Part, Writing

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from tagger_house import SCHEMA, job_on, orders, small_encoder
from test_training_goes_on import Cut, Drawer, cut_at

from sartor.training.tagging_rows import learn, swapped

RECIPES = Shelf("sartor.training.recipes")
QUICK = {"epochs": 10, "rate": 3e-3, "head_rate": 1e-2, "batch": 8, "context": "order: "}


def make(job: Job, **params) -> Draft:
    plugin = RECIPES.take("tagger")
    return plugin(job, plugin.read(QUICK | params))


def answered(folder: Path, texts: list[str]) -> list:
    engine = open_engine("tagger")
    engine.add("it", folder)
    return engine.write([("it", text) for text in texts])


def f1(job: Job, folder: Path) -> float:
    said = [one.output for one in answered(folder, list(job.validation_texts))]
    rows = [by_field(json.loads(t), parse(s)) for t, s in zip(job.writing.validation, said, strict=True)]
    return total(map(strict, rows)).f1 or 0.0


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("bases") / "small")


@pytest.fixture(scope="module")
def made(base, tmp_path_factory) -> tuple[Job, Draft]:
    job = job_on(base, tmp_path_factory.mktemp("taggers") / "one")
    return job, make(job)


def part(job: Job, title: str = "one", **more) -> Part:
    return Part(title, title, np.zeros((0, 0)), **({"folder": job.folder, "engine": "tagger", "base": None} | more))


def test_nested_and_repeated_values_are_found(made):
    job, draft = made
    assert draft.engine == "tagger"
    assert draft.facts["values_not_in_text"] == 0
    assert f1(job, job.folder) > 0.9


def test_the_same_bytes_again(made, base, tmp_path):
    job = job_on(base, tmp_path / "again")
    make(job)
    assert bytes_of(job.folder) == bytes_of(made[0].folder)


def test_cut_off_it_goes_on_to_the_same_bytes(base, tmp_path):
    job = job_on(base, tmp_path / "alone", rows=24)
    make(job, epochs=2)
    drawer = Drawer()
    with pytest.raises(Cut):
        make(job_on(base, tmp_path / "cut", rows=24, checkpoints=drawer, progress=cut_at(4)), epochs=2)
    after = job_on(base, tmp_path / "after", rows=24, checkpoints=drawer)
    assert make(after, epochs=2).measured["resumed_after_steps"] == 3
    assert bytes_of(after.folder) == bytes_of(job.folder)


def test_what_is_said_has_scores_and_places(made):
    text = "order: from larch , 3 x mug , 12 x net"
    (written,) = answered(made[0].folder, [text])
    assert parse(written.output) == {
        "firm": "larch",
        "lines": [{"count": 3, "item": "mug"}, {"count": 12, "item": "net"}],
    }
    best = {}
    for said in written.said:
        assert str(said.value) == text[slice(*said.span)]
        best.setdefault(said.path, []).append(said.score)
    assert all(max(scores) > 0 for path, scores in best.items() if path == "/firm")
    assert written.usage.input_tokens > 10


def test_texts_alone_and_together_say_the_same(made):
    job = made[0]
    texts = list(job.validation_texts[:7])
    together = answered(job.folder, texts)
    alone = [answered(job.folder, [text])[0] for text in texts]
    assert [w.output for w in together] == [w.output for w in alone]
    for one, other in zip(together, alone, strict=True):
        assert [s.score for s in one.said] == pytest.approx([s.score for s in other.said], abs=1e-3)
    assert answered(job.folder, [""])[0].output == "{}"


def test_pieces_end_in_the_whole(made):
    engine = open_engine("tagger")
    engine.add("it", made[0].folder)
    *some, whole = engine.pieces("it", made[0].validation_texts[0])
    assert "".join(some) == whole.output
    engine.drop("it")
    engine.drop("it")


def test_a_long_text_is_cut_not_refused(made):
    text = "order: from larch , " + " , ".join(["3 x mug"] * 40)
    (written,) = answered(made[0].folder, [text])
    assert parse(written.output)["firm"] == "larch"


def test_training_rows_that_are_too_long_are_counted_and_said(base, tmp_path, caplog):
    job = job_on(base, tmp_path / "long", rows=8)
    texts = [*job.train_texts[:-1], "order: from larch , " + " , ".join(["3 x mug"] * 40)]
    draft = make(replace(job, train_texts=texts), epochs=1)
    assert draft.facts["rows_cut"] == 1
    assert "1 of 8 training rows are longer than the encoder reads" in caplog.text


def test_a_student_learns_from_a_teacher(made, base, tmp_path):
    few = job_on(base, tmp_path / "student", rows=40, parts=(part(made[0]),), unlabelled=orders(20, 5)[0])
    draft = make(few, made_up=1.0, epochs=12)
    assert draft.facts["taught_by"] == ["one"]
    assert draft.facts["texts_for_teacher"] == 20 + 40
    assert f1(few, few.folder) > 0.8


def test_two_are_joined(made, base, tmp_path):
    other = job_on(base, tmp_path / "other", seed=1)
    make(other)
    both = job_on(None, tmp_path / "both", parts=(part(made[0]), part(other, "two")))
    draft = make(both, parts="join")
    assert draft.facts == {"joined": ["one", "two"], "members": 2}
    assert f1(both, both.folder) > 0.9
    twice = job_on(None, tmp_path / "twice", parts=(part(both, "both"), part(made[0])))
    assert make(twice, parts="join").facts["members"] == 3
    assert f1(twice, twice.folder) > 0.9


def test_parts_that_do_not_fit(made, base, tmp_path):
    stranger = job_on(base, tmp_path / "a", parts=(part(made[0], engine="linear", recipe="linear"),))
    with pytest.raises(AskError, match="'one' is none"):
        make(stranger)
    fewer = job_on(base, tmp_path / "fewer", rows=20)
    make(fewer, epochs=1)
    with pytest.raises(AskError, match="can't be joined"):
        make(job_on(None, tmp_path / "b", parts=(part(made[0]), part(fewer, "two"))), parts="join")


ELSEWHERE = Writing("extract", ['{"firm":"nobody"}'] * 120, [], SCHEMA)
REFUSED = {
    "'kind: extract' only": {"writing": None},
    "declares none": {"writing": Writing("extract", ["{}"] * 120, [], {})},
    "of 120 values in the training rows only 0 do": {"writing": ELSEWHERE},
    "starts from a base model": {"base": None},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_a_tagger_cannot_do_is_said(said, base, tmp_path):
    job = replace(job_on(base, tmp_path), **REFUSED[said])
    with pytest.raises(AskError, match=said):
        make(job)


def test_a_damaged_variant_is_named(made, tmp_path):
    (tmp_path / "tagger.json").write_text('{"version": 9}')
    with pytest.raises(StoreError, match="version 9"):
        open_engine("tagger").add("it", tmp_path)


def test_a_field_without_values_is_told(base, tmp_path):
    schema = {"type": "object", "properties": {**SCHEMA["properties"], "colour": {"type": "string"}}}
    job = job_on(base, tmp_path / "a", rows=20)
    lesson = learn(job.train_texts, Writing("extract", job.writing.train, [], schema), "")
    assert lesson.facts["fields_without_values"] == ["colour"]


def test_texts_that_nobody_wrote_swap_values_of_one_field():
    texts, answers = orders(10, 0)
    lesson = learn(texts, Writing("extract", answers, [], SCHEMA), "order: ")
    made_up = swapped(texts, lesson.spans, "order: ", 25, 3)
    assert len(made_up) == 25
    assert made_up == swapped(texts, lesson.spans, "order: ", 25, 3)
    assert set(made_up) - set(texts)
    assert all(text.startswith("order: ") for text in made_up)

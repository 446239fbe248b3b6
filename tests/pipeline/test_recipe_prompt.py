"""Prompts as candidates: which examples help is measured, by asking a real server through the gateway's own client."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learner_server import Learner, learner_server

from sartor.core.claims import as_text
from sartor.core.errors import AskError, NotFoundError, UpstreamError
from sartor.core.examples import Examples, ExampleSet
from sartor.core.licence import Licence
from sartor.core.predict import Prediction, Request
from sartor.core.records import Dataset, Variant
from sartor.core.route import Secret, TokenPrice, Upstream
from sartor.core.rows import Row
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.pipeline.asking_others import DeclaredUpstreams
from sartor.pipeline.declared import UPSTREAM, standing
from sartor.pipeline.preferences import preferences_of
from sartor.pipeline.run import run
from sartor.pipeline.serve import Handles
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import versions
from sartor.serving.engine import Told, Usage, Wish, Writer, open_engine
from sartor.serving.engines.upstream import Prompt, written
from sartor.training.job import Draft, Job, Trial, Writing

RECIPES = Shelf("sartor.training.recipes")
SCHEMA = {"type": "object", "properties": {"brand": {"type": "string"}, "grams": {"type": "integer"}}}


def rows(count: int, seed: int) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    brands = [("Acme", "Corvo", "Dahl")[n] for n in draw.integers(0, 3, count)]
    grams = [int(n) for n in draw.integers(1, 900, count)]
    texts = [f"{brand} green tea {gram} g" for brand, gram in zip(brands, grams, strict=True)]
    return texts, [as_text({"brand": b, "grams": g}) for b, g in zip(brands, grams, strict=True)]


@pytest.fixture
def learner() -> Iterator[Learner]:
    with learner_server() as running:
        yield running


@pytest.fixture
def declared(shop: Workshop, learner: Learner, tmp_path: Path) -> Workshop:
    (tmp_path / "key").write_text("sk-not-to-be-seen\n")
    price = TokenPrice(input_million=10.0, output_million=30.0, currency="EUR")
    spec = Upstream(
        name="giant", base_url=learner.url, allow_private=True, price=price, key=Secret(file=str(tmp_path / "key"))
    )
    declare_upstream(shop, spec)
    return shop


def job_of(shop: Workshop, folder: Path) -> Job:
    texts, answers = rows(40, 1)
    held_out, truths = rows(24, 2)
    folder.mkdir()

    def attempt(engine: str, files: Path, asked: Sequence[str]) -> list[Trial]:
        opened = open_engine(engine, upstreams=DeclaredUpstreams(shop))
        assert isinstance(opened, Writer)
        opened.add("trial", files)
        said = opened.write([("trial", text) for text in asked])
        return [Trial(one.output, one.cost, one.usage.input_tokens + one.usage.output_tokens) for one in said]

    writing = Writing("extract", answers, truths, SCHEMA, "Read brand and grams.", 64)
    nothing = np.full(len(texts), -1)
    return Job((), texts, nothing, held_out, nothing[:24], folder, writing=writing, attempt=attempt)


def make(job: Job, **params: object) -> Draft:
    plugin = RECIPES.take("prompt")
    draft: Draft = plugin(job, plugin.read({"size": "small", "upstream": "giant", **params}))
    return draft


def test_examples_that_help_are_found_and_the_price_is_told(declared, learner, tmp_path):
    job = job_of(declared, tmp_path / "made")
    draft = make(job)
    assert draft.engine == "upstream"
    assert draft.facts["shots"] == 4
    without = min(t["loss"] for t in draft.facts["tried"] if t["shots"] == 0)
    assert draft.facts["validation_loss"] < without == 1.0
    assert draft.measured["charged"] > 0
    assert draft.measured["asked"] == len(learner.asked)
    # The folder names the upstream and nothing by which it could be reached.
    kept = (job.folder / "writing.json").read_text()
    assert json.loads(kept)["upstream"] == "giant"
    assert "sk-not" not in kept
    assert "127.0.0.1" not in kept
    assert learner.keys == {"Bearer sk-not-to-be-seen"}


def test_the_same_rows_ask_the_same_questions(declared, learner, tmp_path):
    one, other = make(job_of(declared, tmp_path / "a")), make(job_of(declared, tmp_path / "b"))
    assert one.facts == other.facts
    half = len(learner.asked) // 2
    key = {json.dumps(chat["messages"]) for chat in learner.asked[:half]}
    assert key == {json.dumps(chat["messages"]) for chat in learner.asked[half:]}


def test_the_search_ends_where_the_money_does(declared, learner, tmp_path):
    draft = make(job_of(declared, tmp_path / "made"), max_money=1e-9)
    assert len(learner.asked) == 4  # one prompt on the first rows: then nothing is left for another
    assert draft.facts["shots"] == 0


def test_it_serves_with_schema_examples_and_wishes(declared, learner, tmp_path):
    job = job_of(declared, tmp_path / "made")
    make(job, shots=[3], choose=["nearest"], logprobs=True, request={"temperature": None, "user": "tests"})
    engine = open_engine("upstream", upstreams=DeclaredUpstreams(declared))
    assert isinstance(engine, Writer)
    engine.add("v", job.folder)
    learner.asked.clear()
    found = engine.write([("v", "Corvo green tea 77 g")], [Wish(max_tokens=9, stop=("\n",), seed=3)])[0]
    assert json.loads(found.output)["grams"] == 77
    assert {one.path: one.value for one in found.said}["/grams"] == 77
    assert all(one.score > 1 for one in found.said)  # from the server's logprobs
    assert found.cost > 0
    assert found.usage.output_tokens > 0
    sent = learner.asked[0]
    assert (sent["max_tokens"], sent["stop"], sent["seed"], sent["user"]) == (9, ["\n"], 3, "tests")
    assert "temperature" not in sent
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
    assert [m["role"] for m in sent["messages"]] == ["system", *["user", "assistant"] * 3, "user"]
    assert list(engine.pieces("v", "Corvo green tea 77 g"))[-1].output == found.output


def test_what_cannot_be_asked_is_told_in_words(declared, learner, tmp_path):
    job = job_of(declared, tmp_path / "made")
    with pytest.raises(NotFoundError, match=r"no upstream 'gaint'.*Did you mean 'giant'"):
        make(job, upstream="gaint")
    with pytest.raises(AskError, match="A prompt is for one model"):
        make(replace(job, base=tmp_path))
    with pytest.raises(AskError, match="A prompt is for one model"):
        make(job, upstream="")
    with pytest.raises(AskError, match="answers that are written"):
        make(replace(job, writing=None))
    learner.broken = True
    with pytest.raises(UpstreamError, match="out of order"):
        make(job)
    make(replace(job, attempt=None, validation_texts=[]), shots=[2], choose=["nearest"])
    lonely = open_engine("upstream")
    lonely.add("v", job.folder)
    with pytest.raises(AskError, match="serve it where its upstream is declared"):
        lonely.write([("v", "Corvo")])


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ('Here it is:\n```json\n{"brand": "Acme", "grams": 5}\n```', {"/brand": "Acme", "/grams": 5}),
        ('{"brand": "N/A", "grams": null}', {}),
        ('{"brand": "Acme", "grams": 5', {"/brand": "Acme"}),
        ("I can't tell.", {}),
    ],
)
def test_an_answer_is_read_as_far_as_it_is_one(said, means):
    found = written(Told(said, Usage(), 0.0), Prompt(upstream="giant", json_schema=SCHEMA), "Acme 5 g")
    assert {one.path: one.value for one in found.said} == means


def test_a_lone_value_becomes_a_list_of_one():
    schema = {"type": "object", "properties": {"colours": {"type": "array", "items": {"type": "string"}}}}
    found = written(Told('{"colours": "red"}', Usage(), 0.0), Prompt(upstream="giant", json_schema=schema), "a red hat")
    assert [(one.path, one.value, one.span) for one in found.said] == [("/colours/0", "red", (2, 5))]


def test_the_nearest_examples_stand_next_to_the_question():
    pool = (("red hat", "1"), ("blue shoe", "2"), ("red shoe", "3"), ("", "4"))
    nearest = Examples(ExampleSet(examples=pool, nearest=2))
    assert nearest.pick("a red shoe")[-1] == ("red shoe", "3")
    assert len(nearest.pick("nothing alike")) == 2
    assert Examples(ExampleSet(examples=pool)).pick("any") == pool
    assert Examples.of({"instructions": "x"}).pick("any") == ()


def test_a_prompt_and_rules_go_through_the_whole_chain(declared, learner, tmp_path):
    texts, answers = rows(160, 3)
    lines = [json.dumps({"text": t, "label": json.loads(a)}) for t, a in zip(texts, answers, strict=True)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    task = Task.model_validate(
        {
            "name": "products",
            "kind": "extract",
            "answer": {"json_schema": SCHEMA, "max_tokens": 32},
            "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
            "value": {"wrong": 1, "volume": 1000},
            "candidates": [
                {"recipe": "rules", "size": "small"},
                {"recipe": "prompt", "size": "small", "params": {"upstream": "giant"}},
            ],
            "gate": {"min_rows": 10, "guards": {}, "floor": "rules"},
        }
    )
    found = run(declared, task, tmp_path)
    asked = len(learner.asked)
    lines_of = {line.title: line for line in found.lines}
    assert lines_of["prompt"].unit_cost > lines_of["rules"].unit_cost
    assert lines_of["rules"].accuracy > 0.9
    assert found.decision.verdict == "ship"
    # The giant's answers are kept: another run, and another candidate of the same prompt, ask it nothing.
    again = run(declared, task, tmp_path)
    assert (again.variants, len(learner.asked)) == (found.variants, asked)
    # It answers on its own, beside models of this machine, and tells what it was charged.
    stock = {version.digest: version.name for version in versions(declared.store.ledger, "products")}

    async def single() -> Prediction:
        served = Handles(declared).resolve(stock[found.variants["prompt"]])
        return (await served.predictor.predict([Request("Corvo green tea 44 g")]))[0]

    one = asyncio.run(single())
    assert json.loads(one.output) == {"brand": "Corvo", "grams": 44}
    assert one.cost > 10 * 10.0 / 1e6  # more than ten tokens at the declared price
    asked = len(learner.asked)
    # Another declaration is another giant.
    record, _ = standing(declared, "giant", UPSTREAM)
    declare_upstream(declared, Upstream.model_validate(record.spec | {"model": "giant-2"}))
    assert run(declared, task, tmp_path).variants["prompt"] != found.variants["prompt"]
    assert len(learner.asked) > asked


@pytest.mark.train
def test_a_local_language_model_is_asked_by_the_engine_that_serves(shop, tiny_lm, tmp_path):
    texts, answers = rows(60, 5)
    lines = [json.dumps({"text": t, "label": json.loads(a)}) for t, a in zip(texts, answers, strict=True)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    task = {
        "name": "products",
        "kind": "extract",
        "answer": {"json_schema": SCHEMA, "max_tokens": 24},
        "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
        "candidates": [
            {"recipe": "prompt", "name": "prompt", "base": f"folder:{tiny_lm}", "params": {"shots": [1], "rows": 4}}
        ],
        "gate": {"min_rows": 5, "guards": {}, "floor": "prompt"},
    }
    found = run(shop, Task.model_validate(task), tmp_path)
    made = shop.store.ledger.get(next(iter(found.variants.values())))
    assert isinstance(made, Variant)
    assert (made.engine, made.facts["shots"]) == ("lm", 1)
    assert {one["choose"] for one in made.facts["tried"]} == {"fixed", "nearest"}
    told = json.loads((shop.store.folder(made) / "writing.json").read_text())
    assert len(told["examples"]) >= 1
    assert made.measured["charged"] == 0


def test_what_people_made_of_answers_is_read_from_rows(shop):
    texts, answers = rows(3, 6)
    given = [
        Row("a", texts[0], answers[0], extra={"answered": "{}"}),
        Row("b", texts[1], answers[1], extra={"answered": answers[1]}),
        Row("c", texts[2], answers[2]),
    ]
    dataset = Dataset(name="d", licence=Licence.of("owned"), task="products", labels=(), counts={})
    task = Task.model_validate({"name": "products", "data": {"sources": [{"use": "jsonl", "path": "x"}]}})
    said = preferences_of(shop, task, dataset, given)
    assert list(said.pairs) == [(texts[0], answers[0], "{}")]
    assert list(said.marks) == [(texts[0], answers[0], True), (texts[0], "{}", False), (texts[1], answers[1], True)]

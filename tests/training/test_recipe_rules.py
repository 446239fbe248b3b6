"""Rules: what is learned from rows, what a person wrote, and that nothing of a rule is run as code."""

import json
from pathlib import Path

import numpy as np
import pytest

from sartor.core.claims import as_text
from sartor.core.errors import AskError, NotFoundError, PluginError, StoreError
from sartor.core.rules import RuleBook, Rules, WriteRule, fill, path_of, work_out
from sartor.core.shelf import Shelf
from sartor.serving.engine import Writer, open_engine
from sartor.training.job import Draft, Job, Writing

RECIPES = Shelf("sartor.training.recipes")
BRANDS = ("Acme", "Blue Door", "Corvo", "Dahl & Son")
SCHEMA = {
    "type": "object",
    "properties": {
        "brand": {"type": "string"},
        "weight": {"type": "string"},
        "pieces": {"type": "integer"},
        "organic": {"type": "boolean"},
        "flavours": {"type": "array", "items": {"type": "string"}},
    },
}


def products(rows: int, seed: int) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(rows):
        brand, grams, pieces = BRANDS[draw.integers(4)], int(draw.integers(1, 900)), int(draw.integers(2, 40))
        organic, flavours = bool(draw.integers(2)), ["mint", "lemon", "rose"][: draw.integers(1, 4)]
        kind = "from certified farms" if organic else "from fields"
        texts.append(f"{brand} tea, {' and '.join(flavours)}, {grams} g, pack of {pieces}, {kind}")
        answers.append(
            as_text(
                {"brand": brand, "weight": f"{grams} g", "pieces": pieces, "organic": organic, "flavours": flavours}
            )
        )
    return texts, answers


def sums(rows: int, seed: int) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    texts, answers = [], []
    for _ in range(rows):
        a, b = (int(n) for n in draw.integers(2, 90, 2))
        if draw.random() < 0.5:
            texts.append(f"Ann has {a} plums and Bo has {b} plums. How many in all?")
            answers.append(f"( {a}.0 + {b}.0 )")
        else:
            texts.append(f"One box holds {a} nails, another {b} nails. How many nails is the difference?")
            answers.append(f"( {max(a, b)}.0 - {min(a, b)}.0 )")
    return texts, answers


def job_of(folder: Path, kind: str, made: tuple[list[str], list[str]], more: tuple[list[str], list[str]]) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    schema = SCHEMA if kind == "extract" else {}
    return Job(
        labels=(),
        train_texts=made[0],
        train_targets=np.full(len(made[0]), -1),
        validation_texts=more[0],
        validation_targets=np.full(len(more[0]), -1),
        folder=folder,
        writing=Writing(kind, made[1], more[1], schema),
    )


def make(job: Job, **params: object) -> tuple[Draft, Writer]:
    plugin = RECIPES.take("rules")
    draft: Draft = plugin(job, plugin.read(params))
    engine = open_engine(draft.engine)
    assert isinstance(engine, Writer)
    engine.add("v", job.folder)
    return draft, engine


def test_an_extraction_is_learned_with_its_types_lists_and_spans(tmp_path):
    job = job_of(tmp_path, "extract", products(80, 1), products(30, 2))
    _, engine = make(job)
    said = engine.write([("v", text) for text in job.validation_texts])
    right = np.mean([s.output == a for s, a in zip(said, job.writing.validation, strict=True)])
    assert right > 0.9
    for text, one in zip(job.validation_texts, said, strict=True):
        for value in one.said:
            if value.span and isinstance(value.value, str):
                assert text[slice(*value.span)] == value.value
    sure = {one.path.split("/")[1]: one.score for one in said[0].said}
    assert sure["weight"] > 1
    assert sure["brand"] > 1


def test_a_decision_list_finds_which_sum_is_meant(tmp_path):
    job = job_of(tmp_path, "generate", sums(120, 1), sums(40, 2))
    draft, engine = make(job)
    said = engine.write([("v", text) for text in job.validation_texts])
    assert np.mean([s.output == a for s, a in zip(said, job.writing.validation, strict=True)]) == 1.0
    assert draft.facts["numbers"] == "float"
    assert draft.facts["validation_loss"] == 0.0
    # The one-line rule is what the smallest size learns: the honest floor.
    small, _ = make(job_of(tmp_path / "small", "generate", sums(120, 1), sums(40, 2)), size="small")
    assert small.facts["rules"] == 1


def test_what_a_person_wrote_goes_first_and_stays(tmp_path):
    rows, more = sums(60, 1), sums(20, 2)
    own = [{"when": "in all", "say": "total {= n1 + n2}"}]
    _, engine = make(job_of(tmp_path, "generate", rows, more), say=own)
    said = engine.write([("v", "Ann has 3 plums and Bo has 4 plums. How many in all?")])[0]
    assert said.output == "total 7.0"
    assert said.said[0].score < 0  # measured on the rows, where it never was right
    _, engine = make(
        job_of(tmp_path / "x", "extract", products(40, 1), products(10, 2)),
        patterns=[{"field": "pieces", "pattern": r"pack of (\d+)"}],
        learn=False,
    )
    assert engine.write([("v", "a pack of 12 and 30 g")])[0].output == '{"pieces":12}'


def test_no_rule_no_answer(tmp_path):
    _, engine = make(job_of(tmp_path, "generate", sums(40, 1), sums(10, 2)))
    nothing = engine.write([("v", "nothing to count here")])[0]
    assert (nothing.output, nothing.said) == ("", ())
    assert list(engine.pieces("v", "nothing to count here"))[-1] == nothing


@pytest.mark.parametrize(
    "say",
    ["{= __import__('os').getcwd()}", "{= n1 ** n2}", "{= (lambda: 1)()}", "{n1.real}", "{= 'a' * 9}", "{= n1 <}"],
)
def test_a_template_is_no_code(say):
    with pytest.raises(ValueError, match=r"sum|hole|numbers, names"):
        WriteRule(say=say)


def test_sums_that_have_no_value_leave_the_hole_empty():
    assert work_out("n1 / n2", {"n1": "3", "n2": "0"}) is None
    assert work_out("n1 - n9", {"n1": "3"}) is None
    assert work_out("-(n1 + 2) * 3", {"n1": "1"}) == -9.0
    assert fill("{n3}", ["1", "2"], {}, "short") is None
    assert fill("{larger} {smaller} {largest}", ["2", "10", "30"], {}, "short") == "10 2 30"


def test_places_of_repeated_and_nested_fields():
    assert path_of("brand", 0) == "/brand"
    assert path_of("lines[].price", 2) == "/lines/2/price"
    assert path_of("orders[].lines[].price", 2) == "/orders/0/lines/2/price"
    book = RuleBook(
        Rules(
            kind="extract",
            read=({"field": "lines[].price", "pattern": r"(\d+) EUR"},),
            types={"lines[].price": "integer"},
        )
    )
    assert [(f.path, f.value) for f in book.values("5 EUR, 7 EUR")] == [("/lines/0/price", 5), ("/lines/1/price", 7)]


def test_what_cannot_be_told_is_refused_in_words(tmp_path):
    job = job_of(tmp_path, "extract", products(20, 1), products(5, 2))
    plugin = RECIPES.take("rules")
    with pytest.raises(NotFoundError, match=r"no field 'brnd'.*Did you mean 'brand'"):
        plugin(job, plugin.read({"patterns": [{"field": "brnd", "pattern": "x"}]}))
    with pytest.raises(AskError, match="answers that are written"):
        plugin(Job((), [], np.array([]), [], np.array([]), tmp_path), plugin.read({}))
    with pytest.raises(AskError, match="no regular expression"):
        plugin.read({"patterns": [{"field": "brand", "pattern": "("}]})
    (tmp_path / "rules.json").write_text(json.dumps({"kind": "guess"}))
    with pytest.raises((StoreError, PluginError), match="none"):
        open_engine("rules").add("v", tmp_path)

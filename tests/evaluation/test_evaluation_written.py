"""Answers that are written: judged value by value or criterion by criterion, stated at the least cost."""

import json

import numpy as np
import pytest

from sartor.core.errors import AskError
from sartor.core.predict import Claim, Doubts, Prediction
from sartor.core.rows import Row, Snapshot
from sartor.core.shelf import Shelf
from sartor.core.task import Task
from sartor.evaluation.answers import Answers, collect, heard, told
from sartor.evaluation.compare import compare
from sartor.evaluation.inspect import inspect
from sartor.evaluation.measure import Sample
from sartor.evaluation.written import SCORERS

KINDS = Shelf("sartor.evaluation.kinds")
SCHEMA = {
    "type": "object",
    "properties": {
        "brand": {"type": "string"},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"item": {"type": "string"}, "price": {"type": "number"}}},
        },
    },
}


def terms(kind="extract", value=None, rows=(), **more):
    task = Task.model_validate(
        {
            "name": "t",
            "kind": kind,
            "data": {"sources": [{"use": "jsonl", "path": "x"}]},
            "value": value or {"wrong": 2.0, "missed": 1.0, "invented": 3.0},
            "answer": {"json_schema": SCHEMA} if kind == "extract" else {},
            **more,
        }
    )
    return KINDS.take(kind)(task, Snapshot({"train": rows, "validation": (), "test": ()}, ()))


def answers(*pairs, escalated=()):
    """(truth, output, claims) of each row."""
    rows = [Row(id=f"r{i}", text="x", label=truth) for i, (truth, *_) in enumerate(pairs)]
    said = [
        Prediction(
            output,
            "v",
            claims=tuple(more[0]) if more else (),
            confidence=0.5 if more else None,
            decision="escalate" if i in escalated else "answer",
        )
        for i, (_, output, *more) in enumerate(pairs)
    ]
    return collect(rows, (), said)


def text(**fields):
    return json.dumps(fields)


def test_kinds_stand_in_every_room_under_the_same_names():
    assert KINDS.names() == Shelf("sartor.data.kinds").names() == ["classify", "extract", "generate"]


def test_every_value_costs_what_its_field_says():
    judging = terms(
        value={"wrong": 2.0, "missed": 1.0, "invented": 3.0, "fields": {"lines[].price": {"wrong": 7.0}}}
    ).judging
    right = text(brand="A", lines=[{"item": "x", "price": 1}, {"item": "y", "price": 2}])
    found = judging.judge(
        answers(
            (right, right),
            (right, text(brand="B", lines=[{"item": "x", "price": 1}, {"item": "y", "price": 2}])),
            (right, text(lines=[{"item": "y", "price": 2}, {"item": "x", "price": 9}])),
            (text(), text(brand="A")),
            (right, "no JSON at all"),
            (text(), "n/a"),
        )
    )
    assert found.lost.tolist() == [0.0, 2.0, 1.0 + 7.0, 3.0, 5.0, 0.0]
    assert found.right.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert found.answer.tolist() == [0, 1, 1, 1, 1, 0]
    assert found.counts[3].tolist() == [0, 0, 0, 1, 0, 0, 0, 0], "what is invented counts in the strict measure alone"


def test_what_is_unsure_is_left_out_where_inventing_is_dear_and_stated_where_missing_is():
    claims = [Claim("/brand", "A", 0.6, 0.35), Claim("/brand", "B", 0.03, 0.35)]
    pair = (text(brand="A"), text(brand="A"), claims)
    shy = terms(value={"wrong": 1.0, "missed": 0.1, "invented": 5.0}).judging.redecide(answers(pair))
    bold = terms(value={"wrong": 1.0, "missed": 5.0, "invented": 0.1}).judging.redecide(answers(pair))
    assert shy.output.tolist() == ["{}"]
    assert json.loads(bold.output[0]) == {"brand": "A"}


def test_a_record_is_escalated_when_its_errors_are_expected_to_cost_more_than_asking():
    value = {"wrong": 1.0, "escalate": {"to": "giant", "price": 0.3, "error_rate": 0.1}}
    judging = terms(value=value).judging
    sure, unsure = [Claim("/brand", "A", 0.9, 0.05)], [Claim("/brand", "A", 0.5, 0.1)]
    decided = judging.redecide(answers((text(brand="A"), "{}", sure), (text(brand="A"), "{}", unsure)))
    assert decided.escalated.tolist() == [False, True]
    judged = judging.judge(decided)
    assert judged.lost.tolist() == pytest.approx([0.0, 0.4])
    assert judged.right.tolist() == pytest.approx([1.0, 0.9])


def test_the_target_is_measured_where_its_answers_are_on_record():
    rows = [
        Row(id=str(i), text="", label=text(brand="A"), extra={"gpt4": text(brand=said)})
        for i, said in enumerate("AAAB")
    ]
    value = {"wrong": 1.0, "escalate": {"price": 0.3, "column": "gpt4"}}
    judging = terms(value=value, rows=rows).judging
    assert judging.pricing.target == pytest.approx(0.3 + 0.25)
    assert judging.asked == pytest.approx(0.75)
    with pytest.raises(AskError, match="no training or validation row has an answer"):
        terms(value=value)


def test_answers_come_back_from_their_file_and_beliefs_with_them():
    claims = [Claim("/brand", 'Ä"b', 0.5, 0.25), Claim("/lines/0/price", 3.5, 0.25, 0.0)]
    given = answers((text(brand="A"), text(brand="A"), claims), (text(), None))
    back = Answers.from_parquet(given.to_parquet())
    assert back.said.tolist() == given.said.tolist()
    assert back.truth.tolist() == given.truth.tolist()
    assert heard(told(claims, Doubts(1.5, (0.5, -1.0)))) == (claims, Doubts(1.5, (0.5, -1.0)))


def test_an_inspection_and_a_comparison_of_extractions():
    held = terms()
    rng = np.random.default_rng(0)
    truth = [text(brand=f"b{i % 7}", lines=[{"item": f"i{i}", "price": i}]) for i in range(60)]
    good = answers(*[(t, t if rng.random() < 0.9 else text(brand="x")) for t in truth])
    poor = answers(*[(t, t if rng.random() < 0.5 else text(brand="x")) for t in truth])
    found = inspect(good, held)
    assert {"micro_f1", "listed_f1", "value_accuracy", "accuracy", "money_per_1000"} <= set(found.metrics)
    assert not {"macro_f1", "out_of_scope_auroc"} & set(found.metrics)
    assert found.facts["errors"] == []
    assert {m["true"] for m in found.facts["confusions"]} <= {"brand", "lines[].item", "lines[].price"}
    between = compare(good, poor, held)
    assert between.fixed > between.broken
    assert between.saved.low > 0
    assert between.flips[0].after in truth


def test_slices_are_compared_by_how_much_of_a_record_is_right():
    held = terms()
    truth = text(brand="A", lines=[{"item": "x", "price": 1}])
    half = text(brand="A", lines=[{"item": "x", "price": 9}])
    given = answers((truth, truth), (truth, half), (truth, text()), (text(), text()), (truth, truth), escalated=(4,))
    found = Sample.of(given, held)
    assert found.right.tolist()[:4] == [1.0, 0.0, 0.0, 1.0]
    assert found.share.tolist() == pytest.approx([1.0, 2 / 3, 0.0, 1.0, found.right[4]])


@pytest.mark.parametrize("name", SCORERS.names())
def test_every_scorer_is_between_nothing_and_all(name):
    scorer = SCORERS.take(name)
    params = scorer.read({"pattern": "[^?]+"} if name == "pattern" else {})
    for truth, said in (("( 3.0 + 4.0 )", "7"), ("a b c", "a b d"), ("x", ""), ("", ""), ("1,000", "1000.0")):
        assert 0.0 <= scorer(truth, said, params) <= 1.0
    assert scorer("( 3.0 + 4.0 )", "( 3.0 + 4.0 )", params) == 1.0


def test_the_shelf_of_scorers():
    assert len(SCORERS.names()) >= 8


def test_a_rubric_adds_up_and_names_what_was_not_fulfilled():
    value = {"rubric": [{"use": "expression", "cost": 2.0}, {"use": "length", "cost": 0.5, "most": 5, "name": "short"}]}
    held = terms("generate", value)
    given = answers(("( 8.0 - 3.0 )", "8-3"), ("( 8.0 - 3.0 )", "8 - 4"), ("( 8.0 - 3.0 )", "5 " * 9))
    judged = held.judging.judge(given)
    assert judged.lost.tolist() == [0.0, 2.0, 2.5]
    assert held.judging.facts(given)["criteria"] == pytest.approx({"expression": 1 / 3, "short": 2 / 3})
    assert inspect(given, held).facts["confusions"][0]["true"] == "expression"

"""Right, wrong, missed and invented values of extractions; the published figures of GPT-4's recorded answers."""

import json
from pathlib import Path

from sartor.core.claims import tidy
from sartor.core.pairing import equal, pairs
from sartor.evaluation.extraction import Counts, by_field, published, strict, total

NOTHING = ("", "n/a")


def test_fields_are_counted_apart() -> None:
    found = by_field({"brand": "A", "size": "1", "colour": "red"}, {"brand": "A", "size": "2", "scent": "rose"})
    assert found == {
        "brand": Counts(right=1),
        "size": Counts(wrong=1),
        "colour": Counts(missed=1),
        "scent": Counts(invented=1),
    }
    assert strict(found) == Counts(1, 1, 1, 1)
    assert published(found) == Counts(1, 1, 1, 0)
    assert strict(found).precision == strict(found).recall == 1 / 3
    assert Counts().f1 is None
    assert Counts(missed=1).f1 == 0.0


def test_no_answer_misses_everything() -> None:
    assert strict(by_field({"a": 1, "b": [2, 3]}, None)) == Counts(missed=3)


def test_lone_values_of_a_list_have_no_order() -> None:
    assert by_field({"tags": ["a", "b", "c"]}, {"tags": ["c", "x", "a"]}) == {"tags[]": Counts(right=2, wrong=1)}
    assert by_field({"tags": ["a"]}, {"tags": ["a", "a"]}) == {"tags[]": Counts(right=1, invented=1)}


def test_objects_of_a_list_are_paired_by_what_they_share() -> None:
    truth = {"lines": [{"item": "pen", "price": 1}, {"item": "ink", "price": 2}, {"item": "cap", "price": 3}]}
    said = {"lines": [{"item": "cap", "price": 3}, {"item": "pen", "price": 9}]}
    found = by_field(truth, said)
    assert found["lines[].item"] == Counts(right=2, missed=1)
    assert found["lines[].price"] == Counts(right=1, wrong=1, missed=1)
    pen = next(pair for pair in pairs(truth, said) if pair.truth == 1)
    assert (pen.truth_at, pen.said_at, pen.said, pen.verdict) == ("/lines/0/price", "/lines/1/price", 9, "wrong")


def test_a_value_where_an_object_should_be_is_missed_and_invented() -> None:
    assert by_field({"buyer": {"name": "A"}}, {"buyer": "A"}) == {
        "buyer.name": Counts(missed=1),
        "buyer": Counts(invented=1),
    }


def test_names_with_slashes_keep_their_place() -> None:
    (pair,) = pairs({"a/b": {"c~": 1}}, {})
    assert (pair.field, pair.truth_at) == ("a/b.c~", "/a~1b/c~0")


def test_equal_values() -> None:
    assert all([equal(1, 1.0), equal("a", "a"), equal(True, True)])
    assert not any([equal(1, True), equal("1", 1), equal("a", "A")])


def test_giants_reach_their_published_figures(data_folder: Path) -> None:
    rows = [json.loads(line) for line in (data_folder / "oa_mine/test.jsonl").read_text().splitlines()]
    figures = {}
    for giant in ("gpt4", "gpt35"):
        counted = [
            by_field({k: v[0] for k, v in row["attributes"].items()}, tidy(json.loads(row[giant]), {}, NOTHING))
            for row in rows
        ]
        figures[giant] = (total(map(published, counted)), total(map(strict, counted)))
    assert figures["gpt4"] == (Counts(1967, 380, 104, 0), Counts(1967, 380, 104, 152))
    assert [round(100 * (c.f1 or 0), 1) for pair in figures.values() for c in pair] == [82.0, 79.5, 73.8, 70.6]

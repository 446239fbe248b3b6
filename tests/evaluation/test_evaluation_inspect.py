import json
from dataclasses import replace

import numpy as np
import pytest

from sartor.evaluation.answers import Answers
from sartor.evaluation.inspect import Inspection, inspect
from sartor.evaluation.statistics import wilson


def test_shares_get_wilsons_interval_and_money_a_bootstrap(world):
    made = world(500)
    answers = made.plain(0.8, 1)
    found = inspect(answers, made.terms)
    right = int((answers.true == answers.answer).sum())
    accuracy = found.metrics["accuracy"]
    assert (accuracy.low, accuracy.high) == wilson(right, 500, 0.95)
    money = found.metrics["money_per_1000"]
    assert money.low < money.value < money.high
    assert money.n == 500


def test_an_inspection_is_json_and_the_same_again(world):
    made = world(300)
    answers = made.subject(0.8, 1, escalated=0.1)
    found = inspect(answers, made.terms)
    text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
    assert Inspection.model_validate_json(text) == found
    assert inspect(Answers.from_parquet(answers.to_parquet()), made.terms) == found


def test_a_metric_that_cannot_be_had_is_none_with_the_reason(world):
    made = world(100)
    found = inspect(made.plain(0.8, 1), made.terms)
    assert found.metrics["calibration_error"].value is None
    assert "no probabilities" in found.metrics["calibration_error"].note
    assert found.facts["errors"] == []


def test_no_rows_give_no_figures(world):
    made = world(0)
    found = inspect(made.subject(0.8, 1), made.terms)
    assert all(metric.value is None for metric in found.metrics.values())
    assert found.slices == ()
    assert found.facts["rows"] == 0


def test_a_slice_that_errs_more_is_found_and_named_first(world):
    made = world(2000)
    answers = made.plain(0.9, 1)
    bad = answers.slices["site"] == "s2"
    broken = bad & (np.random.default_rng(0).random(2000) < 0.25)
    answer = np.where(broken, (answers.true + 1) % 6, answers.answer).astype(np.int32)
    found = inspect(replace(answers, answer=answer), made.terms)
    assert found.slices[0]["column"] == "site"
    assert found.slices[0]["value"] == "s2"
    assert [s["value"] for s in found.slices if s["worse"]] == ["s2"]
    assert {s["column"] for s in found.slices} == {"label", "chapter", "site"}


def test_a_column_of_many_values_is_looked_at_by_its_most_frequent_ones(world):
    made = world(2000)
    many = np.array([f"v{i % 90:02}" if i < 1800 else "common" for i in range(2000)])
    rare = np.array([f"v{i // 4}" for i in range(2000)])
    answers = replace(made.plain(0.9, 1), slices={"many": many, "rare": rare})
    found = [s for s in inspect(answers, made.terms, metrics=()).slices if s["column"] in ("many", "rare")]
    assert len(found) == 50
    assert {"column": "many", "value": "common", "n": 200}.items() <= max(found, key=lambda s: s["n"]).items()


def test_slices_are_rarely_called_worse_for_nothing(world):
    """Holm keeps the chance of even one false alarm among all slices under the level of 2.5 %."""
    made = world(600)
    alarms = sum(
        any(s["worse"] for s in inspect(made.plain(0.8, i), made.terms, metrics=()).slices) for i in range(200)
    )
    assert alarms / 200 <= 0.06


def test_groups_widen_intervals(world):
    made = world(600)
    answers = made.plain(0.8, 1)
    wrong = np.arange(600) // 20 % 5 == 0  # whole groups of 20 are wrong
    answer = np.where(wrong, (made.true + 1) % 6, made.true).astype(np.int32)
    alone = inspect(replace(answers, answer=answer), made.terms).metrics["accuracy"]
    groups = np.array([f"g{i // 20}" for i in range(600)])
    together = inspect(replace(answers, answer=answer, groups=groups), made.terms)
    assert together.facts["clusters"] == 30
    wide = together.metrics["accuracy"]
    assert wide.high - wide.low > 2.5 * (alone.high - alone.low)


def test_confusions_are_weighed_by_money(world):
    made = world(60, labels=6)
    true = np.repeat(np.arange(6), 10).astype(np.int32)
    answer = true.copy()
    answer[0:3] = 1  # l000 taken for l001: same chapter, 0.5 each
    answer[10:12] = 5  # l001 taken for l005: other chapter, 1.0 each
    answer[20] = -1
    answers = replace(made.plain(1.0, 1), true=true, answer=answer)
    dearest = inspect(answers, made.terms).facts["confusions"]
    assert [(c["true"], c["answer"], c["count"], c["money"]) for c in dearest] == [
        ("l001", "l005", 2, 2.0),
        ("l000", "l001", 3, 1.5),
        ("l002", "(no answer)", 1, 1.0),
    ]


def test_escalated_rows_are_no_confusions(world):
    made = world(100)
    answers = replace(made.plain(0.0, 1), escalated=np.ones(100, dtype=bool))
    found = inspect(answers, made.terms)
    assert found.facts["confusions"] == []
    assert found.facts["escalated"] == 100


def test_flagged_rows_are_shown_both_ways(world):
    made = world(400)
    answers = made.plain(0.7, 1)
    right = answers.ids[answers.true == answers.answer][:50]
    found = inspect(answers, made.terms, flagged={"near_leaks": [*right, "not a row"], "label_in_text": []})
    both = found.facts["flagged"]["near_leaks"]
    assert both["rows"] == 50
    assert both["without"]["accuracy"]["n"] == 350
    assert both["without"]["accuracy"]["value"] < found.metrics["accuracy"].value
    same = found.facts["flagged"]["label_in_text"]
    assert same["rows"] == 0
    assert same["without"]["accuracy"]["value"] == found.metrics["accuracy"].value


def test_all_rows_flagged_leave_nothing(world):
    made = world(30)
    answers = made.plain(0.7, 1)
    assert inspect(answers, made.terms, flagged={"x": list(answers.ids)}).facts["flagged"]["x"] == {
        "rows": 30,
        "without": {},
    }


def test_reliability_bins_hold_all_rows_that_have_a_label(world):
    made = world(320)
    made.true[:10] = -1
    bins = inspect(made.subject(0.7, 1), made.terms).facts["reliability"]
    assert sum(b["n"] for b in bins) == 310
    assert [b["confidence"] for b in bins] == sorted(b["confidence"] for b in bins)
    assert all(b["low"] <= b["right"] <= b["high"] for b in bins)


def test_overhead_is_on_top_of_every_row(world):
    made = world(100)
    answers = made.plain(0.7, 1)
    plain, dear = (inspect(answers, made.terms, overhead=o).metrics["money_per_1000"].value for o in (0.0, 0.02))
    assert dear == pytest.approx(plain + 20)

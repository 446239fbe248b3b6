"""What a writer's scores mean: chances of values, by field, and of the whole."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from sartor.core.claims import as_text
from sartor.core.predict import Claim, Doubts
from sartor.core.stating import Pricing, state
from sartor.training.claims import fit_claims
from sartor.training.job import Writing


@dataclass(frozen=True)
class Value:
    path: str
    value: object
    score: float


def drawn(rows=800, seed=0):
    """Rows of a writer whose value of `a` is right with the chance that its score says, and that never names `c`."""
    rng = np.random.default_rng(seed)
    said, truths = [], []
    for _ in range(rows):
        score = rng.normal(0.5, 2.0)
        right = rng.random() < 1 / (1 + np.exp(-score))
        there = right or rng.random() < 0.4
        truth = {"a": "x" if right else "y"} if there else {}
        if rng.random() < 0.5:
            truth["c"] = "z"
        said.append([Value("/a", "x", score)])
        truths.append(as_text(truth))
    return said, Writing(kind="extract", train=[], validation=truths)


def test_chances_are_what_is_seen():
    said, writing = drawn()
    scale = fit_claims(said, writing)
    assert scale.right[0] == pytest.approx(1.0, abs=0.25)
    assert scale.unseen == pytest.approx(0.5, abs=0.06)
    for score in (-2.0, 0.0, 2.0):
        right, absent = scale.chances(score, "a")
        assert right == pytest.approx(1 / (1 + np.exp(-score)), abs=0.08)
        assert absent == pytest.approx((1 - right) * 0.6, abs=0.08)


def test_the_whole_is_less_sure_than_its_values():
    said, writing = drawn()
    scale = fit_claims(said, writing)
    sure = [scale.chances(row[0].score, "a")[0] for row in said]
    stated = [
        state([Claim("/a", "x", *scale.chances(row[0].score, "a"))], Pricing((1.0, 1.0, 1.0)), scale.doubts)
        for row in said
    ]
    claimed = [one.confidence for one in stated]
    wholly = [json.loads(t) == json.loads(one.output) for t, one in zip(writing.validation, stated, strict=True)]
    assert np.mean(claimed) == pytest.approx(np.mean(wholly), abs=0.05)
    assert np.mean(sure) > np.mean(claimed) + 0.05


def test_positions_may_have_gaps_and_places_rivals():
    said = [[Value("/a/0", "x", 3.0), Value("/a/2", "y", 3.0), Value("/a/2", "z", -3.0)]] * 40
    writing = Writing(kind="extract", train=[], validation=[json.dumps({"a": ["x", "y"]})] * 40)
    scale = fit_claims(said, writing)
    assert scale.chances(3.0, "a[]")[0] > 0.8
    assert scale.chances(-3.0, "a[]")[0] < 0.4
    assert scale.unseen == 0


def test_a_field_that_errs_more_is_less_believed():
    said = [[Value("/good", "x", 1.0), Value("/bad", "x", 1.0)]] * 60
    truth = [json.dumps({"good": "x", "bad": "x" if i % 3 == 0 else "y"}) for i in range(60)]
    scale = fit_claims(said, Writing(kind="extract", train=[], validation=truth))
    assert scale.chances(1.0, "good")[0] > 0.9
    assert scale.chances(1.0, "bad")[0] == pytest.approx(1 / 3, abs=0.1)


def test_a_text_has_one_chance():
    said = [[Value("", "4", 2.0 if i % 2 else -2.0)] for i in range(80)]
    truth = ["4" if i % 2 else "5" for i in range(80)]
    scale = fit_claims(said, Writing(kind="generate", train=[], validation=truth))
    assert scale.chances(2.0, "")[0] > 0.9
    assert scale.chances(-2.0, "")[0] < 0.1
    stated = state([Claim("", "4", 0.7)], Pricing((2.0, 2.0, 2.0), target=0.5))
    assert (stated.output, stated.escalate) == ("4", True)
    assert stated.cost == 0.5
    assert state([Claim("", "4", 0.7)], Pricing((2.0, 2.0, 2.0)), Doubts()).cost == pytest.approx(0.6)


def test_nothing_said_is_an_empty_document():
    assert state([], Pricing((1.0, 1.0, 1.0)), Doubts(unseen=0.5)).output == "{}"
    assert fit_claims([[], []], Writing(kind="extract", train=[], validation=["{}", '{"a": 1}'])).unseen == 0.5

"""Standing suites: what was surely lost is called forgotten, kind by kind; the policy of before judges as before."""

from dataclasses import replace

import numpy as np
import pytest

from sartor.evaluation.answers import Answers
from sartor.evaluation.gates.case import Case
from sartor.evaluation.gates.release import judge
from sartor.evaluation.suites import Held, Standing, Suite, cut_suites, hold_suites
from sartor.evaluation.terms import Terms

LABELS = ("a", "b", "c", "d")
TERMS = Terms(LABELS, 1.0 - np.eye(4))


def answers(right, seed=0):
    """Answers of which those are right that are said to be."""
    true = np.random.default_rng(seed).integers(0, 4, len(right))
    answer = np.where(right, true, (true + 1) % 4)
    ids = np.array([f"r{at:04d}" for at in range(len(right))])
    return Answers(
        ids, true.astype(np.int32), answer.astype(np.int32), np.zeros(len(right), bool), np.zeros(len(right))
    )


def standing(live, candidate, suites):
    return Standing(tuple(suites), answers(candidate), answers(live))


def ids(start, stop):
    return tuple(f"r{at:04d}" for at in range(start, stop))


def test_a_suite_that_surely_lost_more_than_the_margin_is_forgotten():
    live = np.ones(1000, bool)
    candidate = live.copy()
    candidate[:40] = False
    eras = [Suite("era", "2026-01", ids(0, 500)), Suite("era", "2026-02", ids(500, 1000))]
    first, second = hold_suites(standing(live, candidate, eras), TERMS, 0.01)
    assert (first.name, first.forgotten, first.lost, first.won, first.n) == ("2026-01", True, 40, 0, 500)
    assert first.gain == pytest.approx(-0.08)
    assert first.low < first.gain < first.high < -0.01
    assert (second.forgotten, second.gain) == (False, 0.0)


def test_three_lost_rows_prove_nothing_and_no_rows_are_no_suite():
    live, candidate = np.ones(100, bool), np.ones(100, bool)
    candidate[:3] = False
    found = hold_suites(
        standing(live, candidate, [Suite("label", "a", ids(0, 30)), Suite("label", "b", ids(0, 4))]), TERMS, 0.01
    )
    assert [(held.name, held.forgotten) for held in found] == [("a", False)]


def test_many_labels_do_not_excuse_what_was_mended():
    live, candidate = np.ones(3000, bool), np.ones(3000, bool)
    candidate[:12] = False
    labels = [Suite("label", f"l{at}", ids(400 + 20 * at, 420 + 20 * at)) for at in range(120)]
    (worst, *_) = hold_suites(standing(live, candidate, [Suite("fixed", "", ids(0, 300)), *labels]), TERMS, 0.01)
    assert (worst.kind, worst.forgotten) == ("fixed", True)


def test_suites_are_cut_by_era_label_and_what_was_mended():
    found = cut_suites(["x", "y", "z"], {"x": "2026-01"}, {"x": "a", "y": "a", "z": "b"}, ["z", "q"])
    assert [(suite.kind, suite.name, suite.ids) for suite in found] == [
        ("era", "", ("y", "z")),
        ("era", "2026-01", ("x",)),
        ("label", "a", ("x", "y")),
        ("label", "b", ("z",)),
        ("fixed", "", ("q", "z")),
    ]


def test_a_row_without_an_answer_can_not_be_held():
    live = np.ones(10, bool)
    with pytest.raises(ValueError, match="have no answer"):
        hold_suites(standing(live, live, [Suite("fixed", "", (*ids(0, 5), "other"))]), TERMS, 0.01)
    other = replace(answers(live), ids=np.array([f"s{at}" for at in range(10)]))
    with pytest.raises(ValueError, match="other rows"):
        hold_suites(Standing((Suite("fixed", "", ids(0, 10)),), answers(live), other), TERMS, 0.01)


def held(kind="fixed", **changes):
    facts = {
        "kind": kind,
        "name": "",
        "n": 200,
        "live": 1.0,
        "candidate": 0.9,
        "gain": -0.1,
        "low": -0.15,
        "high": -0.05,
    }
    return Held(**facts | {"lost": 20, "won": 0, "chance": 0.001, "forgotten": True} | changes)


def outcomes(verdict):
    return {check.name: check.outcome for check in verdict.checks if check.name.startswith("forgetting")}


def test_the_gate_holds_what_has_forgotten_and_version_1_never_asked():
    from sartor.core.task import Gate

    case = Case(gate=Gate(), suites=(held(), held("era", name="2026-01", forgotten=False)))
    verdict = judge(case)
    assert outcomes(verdict) == {"forgetting: what was mended before": "fail", "forgetting: eras": "pass"}
    said = next(check.says for check in verdict.checks if check.name == "forgetting: what was mended before")
    assert said == (
        "Forgotten: mended before 100.0 → 90.0 % right (-15.0 to -5.0, 200 rows) (1 points may be lost; 1 tested "
        "together, Holm)."
    )
    assert outcomes(judge(case, 1)) == {}
    assert outcomes(judge(replace(case, suites=()))) == {}
    assert outcomes(judge(replace(case, suites=None))) == {"forgetting": "unknown"}

from dataclasses import replace

import numpy as np
import pytest

from sartor.core.errors import SartorError
from sartor.core.task import Gate
from sartor.core.value import Value
from sartor.evaluation.compare import Comparison, compare, return_of
from sartor.evaluation.statistics import mcnemar

GATE = Gate(guards={"accuracy": 0.02, "macro_f1": 0.05})


def test_a_better_candidate_saves_money_and_loses_no_guard(world):
    made = world(2000)
    found = compare(made.plain(0.9, 1), made.plain(0.8, 2), made.terms, gate=GATE)
    assert 0 < found.saved.low < found.saved.value < found.saved.high
    assert found.saved.value == pytest.approx(found.incumbent_money - found.candidate_money)
    assert found.accuracy.value == pytest.approx(found.candidate_accuracy - found.incumbent_accuracy)
    assert found.accuracy.value == pytest.approx((found.fixed - found.broken) / 2000)
    assert found.p_value == mcnemar(found.fixed, found.broken) < 1e-6
    assert found.rows_needed == 0
    assert {name: guard.chance < 0.025 for name, guard in found.guards.items()} == {"accuracy": True, "macro_f1": True}
    assert not any(change.worse for change in found.slices)


def test_held_the_other_way_round_everything_changes_sign(world):
    made = world(500)
    a, b = made.plain(0.9, 1), made.plain(0.8, 2)
    there, back = compare(a, b, made.terms, gate=GATE), compare(b, a, made.terms, gate=GATE)
    assert there.saved.value == pytest.approx(-back.saved.value)
    assert there.accuracy.low == pytest.approx(-back.accuracy.high, abs=0.01)
    assert (there.fixed, there.broken, there.changed) == (back.broken, back.fixed, back.changed)
    assert there.p_value == back.p_value
    assert back.rows_needed is None
    assert any(change.worse for change in compare(made.plain(0.5, 3), a, made.terms, gate=GATE).slices)


def test_a_subject_held_against_itself_differs_in_nothing(world):
    made = world(200)
    answers = made.subject(0.8, 1)
    found = compare(answers, answers, made.terms, gate=GATE)
    assert (found.saved.value, found.saved.low, found.saved.high) == (0, 0, 0)
    assert (found.fixed, found.broken, found.changed, found.p_value) == (0, 0, 0, 1.0)
    assert found.flips == ()
    assert found.rows_needed is None
    assert all(guard.chance < 0.025 for guard in found.guards.values())


def test_rows_are_paired_by_id_not_by_place(world):
    made = world(300)
    a, b = made.plain(0.9, 1), made.plain(0.8, 2)
    shuffled = b.take(np.random.default_rng(0).permutation(300))
    assert compare(a, shuffled, made.terms, gate=GATE) == compare(a, b, made.terms, gate=GATE)


def test_other_rows_or_other_truths_cannot_be_compared(world):
    made = world(100)
    a = made.plain(0.9, 1)
    with pytest.raises(SartorError, match="1 rows were answered by only one of them"):
        compare(a, a.take(np.arange(99)), made.terms)
    with pytest.raises(SartorError, match="different truths"):
        compare(a, replace(a, true=(a.true + 1) % 6), made.terms)


def test_overheads_count(world):
    made = world(100)
    a = made.plain(0.9, 1)
    found = compare(a, a, made.terms, overheads=(0.01, 0.04))
    assert found.saved.value == pytest.approx(0.03)


def test_flips_are_the_dearest_of_each_kind_and_only_of_rows_both_answer(world):
    made = world(200)
    before = made.plain(1.0, 1)
    answer = made.true.copy()
    answer[:30] = (made.true[:30] + 3) % 6  # other chapter: dear
    answer[30:60] = made.true[30:60] // 3 * 3 + (made.true[30:60] + 1) % 3  # same chapter: cheap
    escalated = np.zeros(200, dtype=bool)
    escalated[:5] = True
    found = compare(replace(before, answer=answer, escalated=escalated), before, made.terms)
    assert (found.fixed, found.broken, found.changed) == (0, 55, 0)
    assert len(found.flips) == 20
    assert {flip.saved for flip in found.flips} == {-1.0}
    assert [flip.id for flip in found.flips[:2]] == ["r5", "r6"]
    flip = found.flips[0]
    assert (flip.kind, flip.before) == ("broken", flip.true)
    assert flip.after != flip.true


def test_a_slice_that_got_worse_is_named_though_the_whole_got_better(world):
    made = world(2000)
    old, new = made.plain(0.8, 1), made.plain(0.97, 2)
    hurt = new.slices["site"] == "s1"
    worse = replace(new, answer=np.where(hurt, made.plain(0.6, 3).answer, new.answer).astype(np.int32))
    found = compare(worse, old, made.terms, gate=GATE)
    assert found.saved.low > 0
    assert [(c.column, c.value) for c in found.slices if c.worse] == [("site", "s1")]
    first = found.slices[0]
    assert first.candidate < first.incumbent


def test_a_guard_that_cannot_be_worked_out_says_why(world):
    made = world(100)
    gate = Gate(guards={"calibration_error": 0.01, "nonsense": 0.0})
    found = compare(made.subject(0.9, 1), made.plain(0.8, 1), made.terms, gate=gate)
    assert found.guards["calibration_error"].gain.value is None
    assert "no probabilities" in found.guards["calibration_error"].gain.note
    assert "There is no metric 'nonsense'" in found.guards["nonsense"].gain.note
    assert found.guards["nonsense"].chance is None


def test_a_guard_of_which_less_is_better_is_turned_round(world):
    made = world(800)
    gate = Gate(guards={"money_per_1000": 10.0, "calibration_error": 0.05})
    found = compare(made.subject(0.9, 1), made.subject(0.5, 2), made.terms, gate=gate)
    assert all(guard.gain.value > 0 for guard in found.guards.values())
    assert found.guards["money_per_1000"].gain.value == pytest.approx(1000 * found.saved.value)


def test_a_comparison_is_json(world):
    made = world(200)
    found = compare(made.plain(0.9, 1), made.plain(0.8, 2), made.terms, gate=GATE)
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_the_return_is_in_money_per_1000_and_days(world):
    made = world(500)
    found = compare(made.plain(0.9, 1), made.plain(0.8, 2), made.terms)
    back = return_of(found, Value(volume=30_000), made_for=10.0)
    assert back.saved_per_1000 == pytest.approx(1000 * found.saved.value)
    assert back.payback_days == pytest.approx(10.0 / (found.saved.value * 1000))


def test_groups_make_a_comparison_humbler(world):
    made = world(600)
    a, b = made.plain(0.9, 1), made.plain(0.8, 2)
    lucky = np.arange(600) // 30 % 4 == 0
    a = replace(a, answer=np.where(lucky, made.true, b.answer).astype(np.int32))
    groups = np.array([f"g{i // 30}" for i in range(600)])
    alone = compare(a, b, made.terms)
    together = compare(replace(a, groups=groups), replace(b, groups=groups), made.terms)
    assert together.saved.value == alone.saved.value
    assert together.saved.high - together.saved.low > 1.5 * (alone.saved.high - alone.saved.low)

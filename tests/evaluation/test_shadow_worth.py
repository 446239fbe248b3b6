import numpy as np
import pytest

from sartor.evaluation.shadow import Shadowed, worth


def pairs(rows=400, seed=0, *, live=0.8, shadow=0.9, known=1.0):
    """Two labels, mistakes cost 1; the truth is known of a share of the rows."""
    random = np.random.default_rng(seed)
    true = random.integers(0, 2, rows)
    said = [np.where(random.random(rows) < right, true, 1 - true) for right in (live, shadow)]
    seen = random.random(rows) < known
    costs = [np.where(seen, (s != true).astype(float), np.nan) for s in said]
    names = np.array(["no", "yes"])
    nothing = np.zeros(rows)
    return Shadowed(names[said[0]], names[said[1]], *costs, nothing, nothing)


def test_a_better_shadow_saves_what_it_is_better_by():
    found = worth(pairs(4000), (0.0, 1.0))
    assert found.saved == pytest.approx(0.1, abs=0.03)
    assert 0.0 < found.saved_low < found.saved < found.saved_high
    assert (found.known, found.half_known, found.rows_needed) == (4000, 0, 0)
    # Nothing is unknown, so nothing is left between the bounds.
    assert found.least == pytest.approx(found.saved)
    assert found.most == pytest.approx(found.saved)
    assert found.agree == pytest.approx(0.8 * 0.9 + 0.2 * 0.1, abs=0.03)
    assert found.agree_low < found.agree < found.agree_high


def test_bounds_hold_whatever_is_not_known():
    whole = worth(pairs(2000), (0.0, 1.0))
    part = worth(pairs(2000, known=0.3), (0.0, 1.0))
    assert part.least <= whole.saved <= part.most
    assert part.least < part.saved < part.most
    assert part.known == pytest.approx(600, abs=80)
    assert part.known_flips < part.known


def test_too_few_outcomes_give_bounds_and_no_estimate():
    found = worth(pairs(100, known=0.05), (0.0, 1.0))
    assert found.saved is None
    assert found.rows_needed == 20 - found.known
    assert "more known outcomes are needed" in found.says


def test_equal_answers_save_what_serving_saves():
    rows = 50
    same = np.full(rows, "a")
    unknown = np.full(rows, np.nan)
    found = worth(Shadowed(same, same, unknown, unknown, np.full(rows, 0.3), np.full(rows, 0.1)), (0.0, 5.0))
    assert found.agree == 1.0
    assert (found.least, found.most) == pytest.approx((0.2, 0.2))
    assert found.flips == ()


def test_flips_and_invalid_answers_are_told():
    live = np.array(["a"] * 30 + ["b"] * 10)
    shadow = np.array(["b"] * 20 + [""] * 10 + ["b"] * 10)
    nothing = np.zeros(40)
    found = worth(Shadowed(live, shadow, nothing, np.full(40, np.nan), nothing, nothing), (0.0, 1.0), examples=1)
    assert found.flips == (("a", "b", 20),)
    assert found.invalid == 0.25
    # Equal answers fare alike, so their cost is known with the live one's; of the others only half is known.
    assert (found.known, found.half_known) == (10, 30)
    assert found.body()["half_known"] == 30


def test_users_move_together():
    single = pairs(300, 3)
    many = Shadowed(*(np.repeat(column, 20) for column in list(single.__dict__.values())[:6]))
    named = Shadowed(*list(many.__dict__.values())[:6], unit=np.repeat([f"u{i}" for i in range(300)], 20))
    alone, together = worth(many, (0.0, 1.0)), worth(named, (0.0, 1.0))
    assert together.saved == pytest.approx(alone.saved)
    assert together.saved_high - together.saved_low > 2 * (alone.saved_high - alone.saved_low)


def test_a_shadow_that_saw_nothing_is_refused():
    empty = np.array([], dtype=str)
    none = np.empty(0)
    with pytest.raises(ValueError, match="saw nothing"):
        worth(Shadowed(empty, empty, none, none, none, none), (0.0, 1.0))

"""Splits: nothing that belongs together is cut, shares are kept, old rows stay where they are."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import AskError
from sartor.core.rows import Row
from sartor.core.task import SplitSpec
from sartor.data.split import split_rows
from sartor.data.text import key

SPEC = SplitSpec(test=0.2, validation=0.15)


def rows_of(n: int, labels: int = 5, **more: object) -> list[Row]:
    return [Row(id=str(i), text=f"text {i}", label=f"l{i % labels}", **more) for i in range(n)]


def split_counts(splits):
    counted = Counter(splits.values())
    return {split: counted[split] for split in ("train", "validation", "test")}


def test_shares_hold_overall_and_in_every_label() -> None:
    rows = rows_of(1000)
    splits = split_rows(rows, {}, SPEC, 0)
    assert split_counts(splits) == {"train": 650, "validation": 150, "test": 200}
    for label in {row.label for row in rows}:
        assert Counter(splits[r.id] for r in rows if r.label == label) == {"train": 130, "validation": 30, "test": 40}


def test_many_small_labels_still_give_the_shares() -> None:
    counts = split_counts(split_rows(rows_of(900, labels=300), {}, SPEC, 0))
    assert abs(counts["test"] - 180) <= 2
    assert abs(counts["validation"] - 135) <= 2


def test_every_label_keeps_a_training_row() -> None:
    rows = rows_of(20, labels=20)
    assert set(split_rows(rows, {}, SPEC, 0).values()) == {"train"}


def test_the_seed_moves_rows_and_the_order_does_not() -> None:
    rows = rows_of(400)
    assert split_rows(rows, {}, SPEC, 1) != split_rows(rows, {}, SPEC, 2)
    assert split_rows(rows, {}, SPEC, 1) == split_rows(rows[::-1], {}, SPEC, 1)


def test_adding_rows_moves_few_old_ones() -> None:
    rows = rows_of(1000)
    before = split_rows(rows, {}, SPEC, 0)
    after = split_rows([*rows, *(Row(id=f"n{i}", text=f"new {i}", label="l0") for i in range(10))], {}, SPEC, 0)
    assert sum(before[row.id] != after[row.id] for row in rows) <= 10


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz"), st.sampled_from([None, "g1", "g2", "g3"])),
        max_size=60,
    ),
    st.booleans(),
    st.integers(0, 3),
)
def test_no_division_made_here_cuts_a_text_or_a_group(
    cells: list[tuple[str, str, str | None]], by_time: bool, seed: int
) -> None:
    rows = [
        Row(
            id=str(i),
            text=text.upper() if i % 2 else f" {text}",
            label=label,
            group=group,
            time=f"2026-01-{1 + i % 28:02}",
        )
        for i, (text, label, group) in enumerate(cells)
    ]
    splits = split_rows(rows, {}, SPEC.model_copy(update={"by_time": by_time}), seed)
    assert set(splits) == {row.id for row in rows}
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        # Every declared group stays whole, and so does every text among the rows without a group.
        sides[f"group {row.group}" if row.group else f"text {key(row.text)}"].add(splits[row.id])
    assert all(len(side) == 1 for side in sides.values())


def test_the_newest_rows_are_the_test_rows() -> None:
    rows = [
        Row(id=str(i), text=f"t{i}", label="a", time=f"2026-01-01T{i // 60:02}:{i % 60:02}:00+01:00")
        for i in range(100)
    ]
    splits = split_rows(rows[::-1], {}, SplitSpec(test=0.2, validation=0.1, by_time=True), 7)
    assert [splits[str(i)] for i in range(100)] == ["train"] * 70 + ["validation"] * 10 + ["test"] * 20


def test_a_time_that_is_none_is_named() -> None:
    rows = [Row(id="r1", text="hello", label="a", time="yesterday")]
    with pytest.raises(AskError, match=r"row r1 \('hello'\) has the time 'yesterday', which is not ISO 8601"):
        split_rows(rows, {}, SplitSpec(by_time=True), 0)


def test_given_splits_stay_and_validation_is_carved_from_training() -> None:
    rows = rows_of(300)
    given_splits = {str(i): "test" if i >= 200 else "train" for i in range(300)}
    splits = split_rows(rows, given_splits, SPEC, 0)
    assert [splits[str(i)] for i in range(200, 300)] == ["test"] * 100
    assert split_counts(splits) == {"train": 170, "validation": 30, "test": 100}


def test_all_three_given_are_left_alone() -> None:
    rows = rows_of(9)
    given_splits = {str(i): ("train", "validation", "test")[i % 3] for i in range(9)}
    assert split_rows(rows, given_splits, SPEC, 0) == given_splits


def test_free_rows_beside_a_given_test_become_training_or_validation() -> None:
    rows = rows_of(100)
    splits = split_rows(rows, {str(i): "test" for i in range(10)}, SPEC, 0)
    assert all(splits[str(i)] == "test" for i in range(10))
    assert "test" not in {splits[str(i)] for i in range(10, 100)}


def test_rows_called_training_never_become_test() -> None:
    rows = rows_of(200)
    splits = split_rows(rows, {str(i): "train" for i in range(100)}, SPEC, 0)
    assert "test" not in {splits[str(i)] for i in range(100)}
    assert "test" in {splits[str(i)] for i in range(100, 200)}


def test_a_free_row_with_the_text_of_a_training_row_stays_beside_it() -> None:
    called = rows_of(100)
    free = [Row(id=f"f{i}", text=f"TEXT {i}", label=f"l{i % 5}") for i in range(100)]
    splits = split_rows([*called, *free], {row.id: "train" for row in called}, SPEC, 0)
    assert all(splits[str(i)] == splits[f"f{i}"] for i in range(100))

"""A task against its data: each thing that cannot be meant is found, and a sound task is left in peace."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.rows import Hierarchy, Row, Snapshot
from sartor.core.task import Task
from sartor.data.check import Finding, check_task, rows_needed


def task(**given_: Any) -> Task:
    return Task.model_validate({"name": "t", "data": {"sources": [{"use": "csv"}], **given_.pop("data", {})}, **given_})


def snapshot(n_test: int = 400, labels: tuple[str, ...] = ("card", "money"), **extra: str) -> Snapshot:
    def rows(split: str, n: int) -> list[Row]:
        return [Row(f"{split}{i}", f"{split} {i}", labels[i % len(labels)], extra=extra) for i in range(n)]

    return Snapshot({"train": rows("train", 100), "validation": rows("v", 20), "test": rows("test", n_test)}, labels)


def found(task_: Task, data: Snapshot) -> dict[str, Finding]:
    return {finding.what: finding for finding in check_task(task_, data)}


def errors(task_: Task, data: Snapshot) -> list[str]:
    return [f.says for f in check_task(task_, data) if f.level == "error"]


def test_a_sound_task_has_no_error_and_no_warning() -> None:
    sound = task(gate={"guards": {"accuracy": 0.1}}, value={"wrong": 2, "escalate": {"price": 0.3, "error_rate": 0.02}})
    assert [f.level for f in check_task(sound, snapshot())] == ["info"]


def test_errors_stand_first() -> None:
    levels = [f.level for f in check_task(task(fallback="nobody"), snapshot(n_test=40))]
    assert levels == sorted(levels, key=("error", "warning", "info").index)
    assert set(levels) == {"error", "warning", "info"}


def test_labels_are_matched_both_ways_with_the_nearest_spelling() -> None:
    data = snapshot()
    misspelt = Snapshot(data.splits, ("card", "mony"))
    said = errors(task(labels=["card", "mony"]), misspelt)
    assert any(
        "The label 'mony' has no training row" in s and "The rows have 'money': is that meant?" in s for s in said
    )
    assert any("50 train rows have the label 'money'" in s and "Did you mean 'mony'?" in s for s in said)


def test_a_label_that_only_test_rows_have_is_a_warning() -> None:
    data = snapshot()
    odd = Snapshot({**data.splits, "test": [*data.splits["test"], Row("x", "x", "weather")]}, data.labels)
    finding = found(task(), odd)["label_not_in_task"]
    assert finding.level == "warning"
    assert "No answer can be right" in finding.says


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"fallback": "crad"}, "'fallback' names 'crad', which is no label of the task. Did you mean 'card'?"),
        ({"incumbent": {"kind": "rule", "label": "xyz"}}, "'incumbent.label' names 'xyz'"),
        ({"incumbent": {"kind": "recorded", "column": "gpt5"}}, "'gpt5', which no test row has. Did you mean 'gpt4'?"),
        ({"data": {"slices": ["channel"]}}, "'data.slices: channel' names the column"),
        ({"value": {"escalate": {"price": 0.1, "column": "boss"}}}, "'value.escalate.column' names the column 'boss'"),
        ({"value": {"wrong": 0}}, "a wrong answer (0) costs no more than a right one (0)"),
        (
            {"value": {"right": -1, "wrong": 1, "confusions": [{"true": "card", "answer": "money", "cost": -2}]}},
            "costs -2, less",
        ),
        (
            {"value": {"confusions": [{"true": "card", "answer": "card", "cost": 2}]}},
            "'card' with itself is no mistake",
        ),
        (
            {"value": {"confusions": [{"true": "card", "answer": "mony", "cost": 2}]}},
            "There is no label 'mony'. Did you mean",
        ),
        ({"value": {"levels": {"block": 2}}}, "There is no level of the label hierarchy 'block'"),
        ({"value": {"escalate": {"price": 5}}}, "asking person costs 5 EUR, no less than the dearest mistake (1)"),
    ],
)
def test_what_cannot_be_meant(given_: dict[str, Any], says: str) -> None:
    assert any(says in s for s in errors(task(**given_), snapshot(gpt4="card")))


def test_a_target_that_errs_too_often_is_a_warning() -> None:
    assert (
        found(task(value={"escalate": {"price": 0.2, "error_rate": 0.9}}), snapshot())["useless_escalation"].level
        == "warning"
    )


def test_one_label_is_an_error() -> None:
    assert any("only 'card'" in s for s in errors(task(), snapshot(labels=("card",))))
    empty = Snapshot({"train": [], "validation": [], "test": []}, ())
    assert any("there is none" in s for s in errors(task(), empty))


def test_few_rows_of_a_label_and_labels_never_tested() -> None:
    data = snapshot()
    lone = Snapshot(
        {**data.splits, "train": [*data.splits["train"], Row("x", "x", "weather")]}, (*data.labels, "weather")
    )
    said = found(task(), lone)
    assert "'weather': fewer than 3 training rows" in said["label_with_few_rows"].says
    assert said["label_without_test_rows"].level == "warning"


def test_labels_alike() -> None:
    assert "'Top_up', 'top up'" in found(task(), snapshot(labels=("Top_up", "top up", "x")))["labels_alike"].says


def test_a_label_with_two_parents_and_a_class_with_two_parents() -> None:
    cells = [("a", "A", "1"), ("a", "A", "1"), ("a", "B", "1"), ("b", "B", "2")]
    rows = [Row(str(i), str(i), label, extra={"block": b, "chapter": c}) for i, (label, b, c) in enumerate(cells)]
    hierarchy = Hierarchy(("block", "chapter"), {"a": ("A", "1"), "b": ("B", "2")})
    data = Snapshot({"train": rows, "validation": [], "test": []}, ("a", "b"), hierarchy)
    said = errors(task(data={"levels": ["block", "chapter"]}), data)
    assert any("label 'a' stands in more than one block: 'A' (2 rows), 'B' (1 rows)" in s for s in said)
    assert any("block 'B' stands in more than one chapter" in s for s in said)


@pytest.mark.parametrize(
    ("levels", "bad"),
    [
        ({"block": 1, "chapter": 2}, False),
        ({"block": 3, "chapter": 2}, True),
        ({"chapter": 6}, True),
        ({"block": -1}, True),
    ],
)
def test_costs_grow_with_the_distance(levels: dict[str, float], bad: bool) -> None:
    rows = [Row(str(i), str(i), "ab"[i % 2], extra={"block": "AB"[i % 2], "chapter": "1"}) for i in range(200)]
    hierarchy = Hierarchy(("block", "chapter"), {"a": ("A", "1"), "b": ("B", "1")})
    data = Snapshot({"train": rows, "validation": rows, "test": rows}, ("a", "b"), hierarchy)
    said = errors(task(data={"levels": ["block", "chapter"]}, value={"wrong": 5, "levels": levels}), data)
    assert any("farther from the truth" in s for s in said) is bad


def test_power_is_said_in_rows() -> None:
    said = found(task(gate={"margin": 0.01}), snapshot(n_test=400))
    # 2.8016^2 * 0.1 / n = margin^2, at confidence 95 % two-sided and power 80 %.
    assert "differences of at least 4.4% accuracy or 0.0443 EUR" in said["power"].says
    assert "about 7,849 test rows are needed, 7,449 more than there are" in said["weak_test"].says
    assert "100 (gate.min_rows)" in found(task(), snapshot(n_test=60))["too_few_test_rows"].says
    assert "There is no test row" in found(task(), snapshot(n_test=0))["no_test_rows"].says


def test_power_counts_groups_where_rows_are_not_independent() -> None:
    data = snapshot(n_test=400)
    grouped = [Row(r.id, r.text, r.label, group=f"g{i // 10}") for i, r in enumerate(data.splits["test"])]
    assert "With 40 test groups" in found(task(), Snapshot({**data.splits, "test": grouped}, data.labels))["power"].says


@given(st.floats(0.001, 0.5), st.floats(0.05, 2), st.floats(0.6, 0.99))
def test_finer_margins_and_higher_confidence_need_more_rows(margin: float, spread: float, confidence: float) -> None:
    needed = rows_needed(margin, spread, confidence)
    assert rows_needed(margin / 2, spread, confidence) >= 4 * needed - 4
    assert rows_needed(margin, spread, confidence + 0.005) >= needed
    assert rows_needed(margin, spread, confidence, power=0.9) >= needed

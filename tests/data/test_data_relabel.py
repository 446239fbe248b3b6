"""Rows and answers follow edits of a task's labels."""

import numpy as np
import pytest

from sartor.core.relabel import added, carried, gone, transfer
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.core.wheel import Relabel
from sartor.data.relabel import BEFORE, RETIRED, SPLIT, relabelled
from sartor.evaluation.answers import Answers
from sartor.evaluation.carry import carry

EDITS = (
    Relabel(add="refund"),
    Relabel(split="card", into=("card_lost", "card_new")),
    Relabel(merge=("late", "delayed"), into=("slow",)),
    Relabel(retire="fax"),
    Relabel(retire="telex", into=("mail",)),
)


@pytest.mark.parametrize(
    ("label", "now"),
    [
        ("card", ("card_lost", "card_new")),
        ("late", ("slow",)),
        ("fax", ()),
        ("telex", ("mail",)),
        ("other", ("other",)),
    ],
)
def test_what_became_of_a_label(label: str, now: tuple[str, ...]) -> None:
    assert carried(label, EDITS) == now


def test_edits_follow_each_other() -> None:
    twice = (*EDITS, Relabel(merge=("card_lost", "slow"), into=("urgent",)))
    assert carried("card", twice) == ("urgent", "card_new")
    assert carried("delayed", twice) == ("urgent",)
    assert gone(twice) == {"card", "late", "delayed", "fax", "telex", "card_lost", "slow"}
    assert added(twice) == {"refund", "card_new", "mail", "urgent"}


def test_rows_get_the_new_label_or_wait_for_a_person() -> None:
    rows = [Row(str(at), f"text {at}", label) for at, label in enumerate(["card", "late", "fax", "other"])]
    found = relabelled(rows, EDITS)
    assert [(row.id, row.label) for row in found.kept] == [("1", "slow"), ("3", "other")]
    assert found.kept[0].extra[BEFORE] == "late"
    assert [(t.row.id, t.reason) for t in found.taken] == [("0", SPLIT), ("2", RETIRED)]
    assert "card_lost, card_new" in found.taken[0].detail


def test_an_older_model_is_held_to_what_became_of_its_labels() -> None:
    old, new = ("card", "fax", "late"), ("card_lost", "card_new", "slow")
    moves = transfer(old, new, EDITS)
    assert moves.tolist() == [[0.5, 0.5, 0.0], [0, 0, 0], [0, 0, 1]]
    probabilities = np.array([[0.2, 0.2, 0.6], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]], dtype=np.float32)
    answers = Answers(
        ids=np.array(["a", "b", "c"]),
        true=np.array([2, 1, 0], dtype=np.int32),
        answer=np.array([2, 1, 0], dtype=np.int32),
        escalated=np.zeros(3, dtype=bool),
        serving_cost=np.zeros(3),
        probabilities=probabilities,
    )
    now = carry(answers, np.array([2, 2, 1], dtype=np.int32), moves)
    assert now.probabilities is not None
    assert np.allclose(now.probabilities.sum(axis=1), 1)
    assert np.allclose(now.probabilities[0], [0.125, 0.125, 0.75])
    assert now.answer.tolist() == [2, -1, 0]
    bare = carry(
        Answers(answers.ids, answers.true, answers.answer, answers.escalated, answers.serving_cost), now.true, moves
    )
    assert bare.answer.tolist() == [2, -1, 0]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("card", "card_lost", "card_new"), "took away"),
        (("card_lost", "other"), "lacks 'card_new'"),
    ],
)
def test_a_task_lists_todays_labels(labels: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Task.model_validate(
            {
                "name": "t",
                "data": {"sources": [{"use": "csv", "path": "x.csv"}]},
                "labels": labels,
                "relabel": [{"split": "card", "into": ["card_lost", "card_new"]}],
            }
        )


@pytest.mark.parametrize("edit", [{}, {"add": "a", "retire": "b"}, {"split": "a", "into": ["b"]}, {"merge": ["a"]}])
def test_an_edit_is_exactly_one_and_whole(edit: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"exactly one|takes"):
        Relabel.model_validate(edit)

import numpy as np
import pytest

from sartor.core.errors import SartorError, StoreError
from sartor.core.predict import Prediction
from sartor.core.rows import Row
from sartor.core.value import choose
from sartor.evaluation.answers import Answers, collect
from sartor.evaluation.measure import Sample
from sartor.evaluation.terms import Terms

LABELS = ("a", "b", "c")
MATRIX = 1.0 - np.eye(3)
TARGET = np.array([0.3, 0.3, 0.4])
TERMS = Terms(LABELS, MATRIX, TARGET)


def rows_of(*labels, **more):
    return [Row(id=f"r{i}", text="x", label=label, **more) for i, label in enumerate(labels)]


def test_collect_puts_rows_and_predictions_side_by_side():
    rows = [
        Row(id="1", text="", label="a", group="g", extra={"site": "x"}),
        Row(id="2", text="", label="nonsense", inputs={"site": "y"}),
        Row(id="3", text="", label="c"),
    ]
    answers = collect(
        rows,
        LABELS,
        [Prediction("a", "v", cost=0.1), Prediction("unheard of", "v"), Prediction(None, "v", decision="escalate")],
        ["site"],
    )
    assert answers.true.tolist() == [0, -1, 2]
    assert answers.answer.tolist() == [0, -1, -1]
    assert answers.escalated.tolist() == [False, False, True]
    assert answers.slices["site"].tolist() == ["x", "y", ""]
    # A row without a group is one of its own, and cannot meet a group that is called like its id.
    assert len(set(answers.groups.tolist())) == 3
    assert answers.probabilities is None
    assert Sample.of(answers, TERMS, 0.01).costs.tolist() == pytest.approx([0.11, 1.01, 0.41])


def test_an_escalated_row_whose_truth_is_no_label_costs_the_dearest_asking():
    answers = collect(rows_of("nonsense"), LABELS, [Prediction("a", "v", decision="escalate")])
    assert Sample.of(answers, TERMS).costs.tolist() == [0.4]


def test_the_file_gives_everything_back_and_is_the_same_bytes_again(world):
    answers = world(200).subject(0.8, 1, escalated=0.2)
    data = answers.to_parquet()
    back = Answers.from_parquet(data)
    assert back.to_parquet() == data
    for name in ("ids", "true", "answer", "escalated", "serving_cost", "probabilities"):
        assert np.array_equal(getattr(back, name), getattr(answers, name)), name
        assert getattr(back, name).dtype == getattr(answers, name).dtype, name
    assert back.slices["site"].tolist() == answers.slices["site"].tolist()
    assert back.groups is None
    assert back.out_of_scope is None


def test_groups_and_out_of_scope_scores_survive_the_file():
    rows = rows_of("a", "b", group="g")
    answers = collect(rows, LABELS, [Prediction("a", "v", out_of_scope=s) for s in (0.5, -1.0)])
    back = Answers.from_parquet(answers.to_parquet())
    assert back.out_of_scope.tolist() == [0.5, -1.0]
    assert back.groups.tolist() == ["g:g", "g:g"]


def test_no_rows_are_a_file_too():
    empty = collect([], LABELS, [])
    assert len(Answers.from_parquet(empty.to_parquet())) == 0


@pytest.mark.parametrize("cut", [0, 10, 400, -1])
def test_a_damaged_file_says_so(world, cut):
    data = world(50).subject(0.8, 1).to_parquet()[:cut]
    with pytest.raises(StoreError, match="can't be read"):
        Answers.from_parquet(data)


def test_redecide_gives_what_the_new_value_function_would_have_answered(world):
    made = world(500)
    answers = made.subject(0.8, 1)
    matrix, target = made.terms.matrix * np.linspace(0.1, 2, 6), made.terms.target
    judging = Terms(LABELS, matrix, target).judging
    new = judging.redecide(answers)
    choice = choose(answers.probabilities, matrix, target)
    assert new.answer.tolist() == choice.answer.tolist()
    assert new.escalated.tolist() == choice.escalate.tolist()
    assert not np.array_equal(new.answer, answers.answer)
    assert judging.redecide(made.plain(0.8, 1)).answer.tolist() == made.plain(0.8, 1).answer.tolist()


def test_take_keeps_columns_together(world):
    answers = world(100).subject(0.8, 1)
    some = answers.take(np.array([5, 3]))
    assert some.ids.tolist() == ["r5", "r3"]
    assert some.slices["site"].tolist() == ["s1", "s3"]
    assert np.array_equal(some.probabilities, answers.probabilities[[5, 3]])


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        ([Prediction("a", "v")], "1 predictions for 2 rows"),
        ([Prediction("a", "v", cost=float("nan"))] * 2, "'serving_cost' has values that are no finite numbers"),
        ([Prediction("a", "v", probabilities=np.array([np.nan, 0, 1]))] * 2, "'probabilities'"),
        ([Prediction("a", "v", probabilities=np.ones(2) / 2)] * 2, "2 probabilities for 3 labels"),
    ],
)
def test_what_does_not_fit_is_refused(predictions, says):
    with pytest.raises(SartorError, match=says):
        collect(rows_of("a", "b"), LABELS, predictions)


def test_two_rows_of_one_id_are_refused():
    rows = [Row(id="1", text="", label="a")] * 2
    with pytest.raises(SartorError, match="same id"):
        collect(rows, LABELS, [Prediction("a", "v")] * 2)

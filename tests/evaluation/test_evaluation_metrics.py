"""The contract suite of the metrics shelf, each metric against a second way of working it out, and a stranger's."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from sartor.core.errors import NotFoundError, PluginError
from sartor.core.rows import Hierarchy
from sartor.core.shelf import Shelf
from sartor.evaluation import measure
from sartor.evaluation.inspect import inspect
from sartor.evaluation.measure import Measure, Sample

NAMES = measure.METRICS.names()


def sample_of(made, answers, **terms):
    return Sample.of(answers, replace(made.terms, **terms))


def test_the_shelf_holds_what_it_should():
    assert len(NAMES) >= 9
    assert {"accuracy", "macro_f1", "money_per_1000", "calibration_error", "coverage"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_keeps_the_contract(name, world):
    metric = measure.take(name)
    assert isinstance(metric, Measure)
    assert isinstance(metric.higher_is_better, bool)
    assert metric.undefined
    assert measure.METRICS.summary(name).endswith(".")
    made = world(120)
    answers = replace(made.subject(0.8, 1), out_of_scope=np.linspace(-1, 1, 120))
    answers.true[::10] = -1
    sample = sample_of(made, answers)
    if metric.kinds == ("extract",):
        sample = replace(sample, counts=np.random.default_rng(1).integers(0, 4, (120, 8)).astype(float))
    before = [np.copy(c) for c in (sample.true, sample.answer, sample.right, sample.costs)]
    value = metric(sample)
    assert isinstance(value, float)
    assert np.isfinite(value)
    assert metric(sample) == value
    shuffled = metric(sample.take(np.random.default_rng(0).permutation(120)))
    assert shuffled == pytest.approx(value, abs=1e-9), "the order of rows must not matter"
    for column, kept in zip((sample.true, sample.answer, sample.right, sample.costs), before, strict=True):
        assert np.array_equal(column, kept), "a metric must not change its sample"
    if metric.per_row:
        rows = metric.per_row(sample)
        assert rows.shape == (120,)
        assert np.nanmean(rows) == pytest.approx(value)


@pytest.mark.parametrize("name", NAMES)
def test_no_metric_stumbles_over_odd_rows(name, world):
    """No rows, one row, all out of scope, nothing answered, all escalated: a number or None, never NaN or a crash."""
    made = world(40)
    answers = replace(made.subject(0.8, 1), out_of_scope=np.zeros(40))
    nowhere = np.full(40, -1, dtype=np.int32)
    odd = [
        answers.take(np.arange(0)),
        answers.take(np.arange(1)),
        replace(answers, true=nowhere),
        replace(answers, answer=nowhere, probabilities=None, out_of_scope=None),
        replace(answers, escalated=np.ones(40, dtype=bool), answer=nowhere),
    ]
    for given in odd:
        value = measure.take(name)(sample_of(made, given))
        assert value is None or np.isfinite(value)


def test_accuracy_and_f1_are_scikit_learns(world):
    made = world(400)
    answers = made.subject(0.7, 2)
    sample = sample_of(made, answers)
    assert measure.take("accuracy")(sample) == pytest.approx(accuracy_score(answers.true, answers.answer))
    assert measure.take("macro_f1")(sample) == pytest.approx(f1_score(answers.true, answers.answer, average="macro"))


def test_escalated_rows_are_as_right_as_whoever_is_asked(world):
    made = world(1000)
    everything = replace(made.plain(0.5, 1), escalated=np.ones(1000, dtype=bool))
    assert measure.take("accuracy")(sample_of(made, everything)) == pytest.approx(0.95)
    assert measure.take("coverage")(sample_of(made, everything)) == 0.0
    assert measure.take("level_accuracy:chapter")(sample_of(made, everything)) == pytest.approx(0.95)


def test_top_accuracy_does_not_mind_what_was_decided(world):
    made = world(500)
    answers = made.subject(0.7, 2)
    decided = replace(made.terms, matrix=made.terms.matrix * np.linspace(0.1, 3, 6)).judging.redecide(answers)
    top = measure.take("top_accuracy")
    assert top(sample_of(made, decided)) == top(sample_of(made, answers)) == (answers.answer == answers.true).mean()


def test_calibration_error_is_the_gap_in_bins_of_equal_size(world):
    made = world(600)
    sample = sample_of(made, made.subject(0.7, 3))
    order = np.argsort(sample.confidence, kind="stable")
    gaps = [
        abs(sample.confidence[part].mean() - (sample.top[part] == sample.true[part]).mean()) * len(part)
        for part in np.array_split(order, 15)
    ]
    assert measure.take("calibration_error")(sample) == pytest.approx(sum(gaps) / 600)


def test_calibration_error_is_small_for_honest_and_large_for_boastful_confidence(world):
    made = world(20_000, labels=2)
    random = np.random.default_rng(0)
    p = random.uniform(0.5, 1, 20_000)
    right = random.random(20_000) < p
    answer = np.where(right, made.true, 1 - made.true).astype(np.int32)

    def error(confidence):
        probabilities = np.stack([1 - confidence, 1 - confidence], axis=1)
        probabilities[np.arange(20_000), answer] = confidence
        answers = replace(made.subject(1, 1), answer=answer, probabilities=probabilities.astype(np.float32))
        return measure.take("calibration_error")(sample_of(made, answers))

    assert error(p) < 0.015
    assert error(np.full(20_000, 0.99)) == pytest.approx(0.24, abs=0.02)


def test_out_of_scope_figures(world):
    made = world(400)
    random = np.random.default_rng(1)
    true = made.true.copy()
    true[:100] = -1
    scores = np.round(random.normal(size=400) + 1.5 * (true < 0), 1)  # rounded, so that there are ties
    sample = sample_of(made, replace(made.subject(0.8, 1), true=true, out_of_scope=scores))
    assert measure.take("out_of_scope_auroc")(sample) == pytest.approx(roc_auc_score(true < 0, scores))
    recall = measure.take("out_of_scope_recall")(sample)
    threshold = np.sort(scores[100:])[285]
    assert (scores[100:] > threshold).mean() <= 0.05
    assert recall == pytest.approx((scores[:100] > threshold).mean(), abs=0.05)


def test_money_is_what_the_value_function_says(world):
    made = world(300)
    answers = made.plain(0.6, 1)
    by_hand = []
    for truth, answer in zip(answers.true, answers.answer, strict=True):
        by_hand.append(0.0 if truth == answer else 0.5 if truth // 3 == answer // 3 else 1.0)
    assert measure.take("money_per_1000")(sample_of(made, answers)) == pytest.approx(1000 * np.mean(by_hand))


def test_level_accuracy_speaks_of_each_level(world):
    made = world(300)
    deep = Hierarchy(("pair", "chapter"), {f"l{i:03}": (f"p{i // 2}", f"c{i // 3}") for i in range(6)})
    terms = replace(made.terms, hierarchy=deep)
    assert [name for name in measure.names(terms) if ":" in name] == ["level_accuracy:pair", "level_accuracy:chapter"]
    answers = made.plain(0.5, 1)
    sample = Sample.of(answers, terms)
    for part, width in (("pair", 2), ("chapter", 3)):
        expected = (answers.true // width == answers.answer // width).mean()
        assert measure.take(f"level_accuracy:{part}")(sample) == pytest.approx(expected)
    assert measure.take("level_accuracy:nonsense")(sample) is None


def test_an_unknown_metric_lists_the_known():
    with pytest.raises(NotFoundError, match="accuracy"):
        measure.take("acuracy")


GOOD = """
from sartor.core.shelf import plugin
from sartor.evaluation.measure import mean

@plugin
@mean(unit="letters", higher_is_better=False)
def length(sample):
    return sample.answer * 1.0
"""
BARE = """
from sartor.core.shelf import plugin

@plugin
def bare(sample):
    return 1.0
"""
BROKEN = """
from sartor.core.shelf import plugin
from sartor.evaluation.measure import whole

@plugin
@whole(unit="", higher_is_better=True)
def broken(sample):
    raise ZeroDivisionError("oh dear")
"""
NAN = """
from sartor.core.shelf import plugin
from sartor.evaluation.measure import whole

@plugin
@whole(unit="", higher_is_better=True)
def nan(sample):
    return float("nan")
"""


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """An installed package of somebody else, with metrics under the entry point group of the shelf."""
    sources = {"length": GOOD, "bare": BARE, "broken": BROKEN, "not_a_number": NAN}
    for name, source in sources.items():
        (tmp_path / f"stranger_{name}.py").write_text(source)
    info = tmp_path / "stranger_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger-metrics\nVersion: 1.0\n")
    points = "\n".join(f"{name} = stranger_{name}" for name in sources)
    (info / "entry_points.txt").write_text(f"[sartor.evaluation.metrics]\n{points}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(measure, "METRICS", Shelf("sartor.evaluation.metrics"))
    yield
    for name in sources:
        sys.modules.pop(f"stranger_{name}", None)


@pytest.mark.usefixtures("strangers")
def test_a_strangers_metric_is_inspected_like_ours(world):
    made = world(200)
    answers = made.plain(0.8, 1)
    found = inspect(answers, made.terms)
    length = found.metrics["length"]
    assert length.value == pytest.approx(answers.answer.mean())
    assert length.low < length.value < length.high
    assert length.unit == "letters"


@pytest.mark.usefixtures("strangers")
def test_a_strangers_metric_that_fails_hides_no_other(world):
    made = world(200)
    found = inspect(made.plain(0.8, 1), made.terms, metrics=["accuracy", "broken", "not_a_number", "bare"])
    assert found.metrics["accuracy"].value is not None
    assert found.metrics["broken"].value is None
    assert found.metrics["not_a_number"].value is None
    assert found.metrics["bare"].value is None
    assert len(found.facts["errors"]) == 2
    assert "oh dear" in " ".join(found.facts["errors"])


@pytest.mark.usefixtures("strangers")
def test_a_metric_that_does_not_say_which_way_is_better_is_refused():
    with pytest.raises(PluginError, match="@mean or @whole"):
        measure.take("bare")

"""The parts of the view, filled from real inspections, comparisons and a real datasheet."""

import json

import pytest
from report_sample import sample

from sartor.core.records import Variant
from sartor.core.task import Task
from sartor.data.curate import build_dataset
from sartor.evaluation.compare import compare
from sartor.evaluation.gates.release import Verdict
from sartor.evaluation.inspect import inspect
from sartor.evaluation.report import fill
from sartor.evaluation.report.render import render


@pytest.fixture
def found(world, report):
    """An inspection and a comparison of a good subject against a poor one, and the report of the good one."""
    place = world(600)
    good, poor = place.subject(0.9, 1), place.subject(0.7, 2)
    seen = inspect(good, place.terms, flagged={"near_leaks": ["r1", "r2", "r3"]})
    held = compare(good, poor, place.terms, gate=place.task.gate)
    paper = report("good", metrics=seen.metrics, slices=seen.slices, facts=seen.facts)
    return place, seen, held, paper


def test_money_is_brought_to_a_thousand_requests(found):
    place, _, held, _ = found
    value = place.task.value.model_copy(update={"volume": 5000})
    told = fill.verdict_of(Verdict("ship", ("r",), ()), ("good", "poor"), held, value, made_for=2.0)
    assert told.saved_per_1000.value == pytest.approx(1000 * held.saved.value)
    assert told.saved_per_month.low == pytest.approx(5000 * held.saved.low)
    monthly = 5000 * (held.incumbent_money - held.candidate_money)
    assert told.payback_days == pytest.approx(2.0 / (monthly / 30))
    assert fill.difference_of("poor", held).saved_per_1000.high == pytest.approx(1000 * held.saved.high)


def test_without_a_comparison_nothing_is_claimed(found):
    told = fill.verdict_of(Verdict("hold", ("r",), ()), ("good", ""), None, found[0].task.value, made_for=2.0)
    assert (told.saved_per_1000, told.saved_per_month, told.payback_days) == (None, None, None)


def test_what_serving_costs_here_is_put_on_top(found):
    _, seen, _, paper = found
    view = fill.candidate_of(paper, overhead=0.002)
    money = seen.metrics["money_per_1000"]
    assert view.money.value == pytest.approx(money.value + 2.0)
    assert view.money.high - view.money.low == pytest.approx(money.high - money.low)
    assert "money_per_1000" not in view.metrics
    assert view.latency_ms == 1.0
    assert view.unit_cost == 1e-6


def test_mistakes_cost_in_all_what_the_answers_cost(found):
    seen = found[1]
    mistakes = fill.confusions_of(seen.facts)
    assert mistakes == tuple(sorted(mistakes, key=lambda m: -m.cost_per_1000))
    assert all(m.cost_per_1000 == pytest.approx(m.cost_each * m.n * 1000 / 600) for m in mistakes)


def test_slices_and_flips_say_what_was_found(found):
    _, seen, held, _ = found
    slices = fill.slices_of(held, seen.slices)
    assert len(slices) == len(held.slices) >= 10
    assert all(s.outcome == "holds" and s.accuracy.low < s.accuracy.value < s.accuracy.high for s in slices)
    flips = fill.flips_of(held, {f"r{i}": f"text {i}" for i in range(600)})
    assert {f.kind for f in flips} == {"fixed", "broken", "changed"}
    assert all(f.text.startswith("text ") for f in flips)
    for flip in flips:
        assert (flip.after == flip.true) is (flip.kind == "fixed")
        assert (flip.before == flip.true) is (flip.kind == "broken")


def test_a_datasheet_tells_what_curation_did(tmp_path, found):
    texts = [
        "open an account",
        "close the account",
        "  close  the account",
        "card lost",
        "lost my card",
        "a card is lost",
    ]
    lines = [f'"{text} {i // 6}",{"card" if "card" in text else "account"}' for i, text in enumerate(texts * 30)]
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "\n".join([*lines, '"no label here",']) + "\n", encoding="utf-8"
    )
    source = {"use": "csv", "path": "rows.csv", "licence": "owned"}
    task = Task.model_validate({"name": "t", "data": {"sources": [source], "on_leak": "drop_train"}})
    folder = tmp_path / "made"
    folder.mkdir()
    draft = build_dataset(task, folder, base_dir=tmp_path)
    sheet = json.loads((folder / "datasheet.json").read_text())
    view = fill.curation_of(sheet, found[3])
    assert view.read == 181
    assert sum(view.counts.values()) + sum(view.quarantine.values()) == 181
    assert view.counts == {name: n for name, n in draft.counts.items() if name != "quarantine"}
    assert [c.name for c in view.curators][:3] == ["normalise", "duplicates", "conflicts"]
    assert view.without_near_leaks.n == 597
    assert view.all_rows.n == 600
    near = next(leak for leak in view.leaks if leak.kind.startswith("test rows with a near copy"))
    assert near.rows == len(draft.facts["near_leaks"])


def test_filled_parts_are_drawn(found, report):
    place, seen, held, paper = found
    variant = Variant(
        name="v", task="t", recipe="head", base="minilm", engine="encoder", labels=("a",), title="good",
        licence=sample().licence, measured={"seconds": 4.0, "bytes": 1000},
    )  # fmt: skip
    incumbent = fill.candidate_of(report("poor")).model_copy(update={"incumbent": True})
    view = sample(
        task=fill.task_of(place.task, 6),
        candidates=(fill.candidate_of(paper, variant).model_copy(update={"picked": True}), incumbent),
        verdict=fill.verdict_of(Verdict("ship", ("r",), ()), ("good", "poor"), held, place.task.value, 1.0),
        comparisons=(fill.difference_of("poor", held),),
        reliability=fill.reliability_of(seen.facts),
        confusions=fill.confusions_of(seen.facts),
        slices=fill.slices_of(held, seen.slices),
        flips=fill.flips_of(held, {}),
        flip_counts=fill.flip_counts_of(held),
    )
    page = render(view)
    for said in ("Right class: chapter", "head on minilm", "1.0\u202fkB", "changed but still wrong", "not measured"):
        assert said in page

"""The release gate: it ships what is better, holds what is not, and holds whatever it can't judge."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sartor.core.licence import Licence
from sartor.core.records import Metric
from sartor.evaluation.answers import Answers
from sartor.evaluation.gates.case import Case, case_from
from sartor.evaluation.gates.release import judge
from sartor.evaluation.measure import Sample

UNGUARDED = {"gate": {"guards": {}, "max_calibration_error": 0.5}}


@pytest.fixture
def evidence(world, report):
    """A case that ships: 94 % right against 84 % for the incumbent and 88 % for the floor, on 1,000 rows."""

    def make(candidate=0.94, incumbent=0.84, floor=0.88, *, rows=1000, seed=0, contract=None, **changes):
        made = world(rows, contract=contract, seed=seed)
        answers = {
            role: made.subject(accuracy, 10 * seed + i)
            for i, (role, accuracy) in enumerate(
                {"candidate": candidate, "incumbent": incumbent, "floor": floor}.items()
            )
        }
        titles = {"candidate": "head:minilm", "incumbent": "today", "floor": "linear"}
        reports = {role: report(title, **changes) for role, title in titles.items()}
        return made, reports, answers

    return make


@pytest.fixture
def good_case(evidence):
    made, reports, answers = evidence()
    return case_from(made.task, made.terms, reports, answers, looks=1)


def outcome(verdict, name):
    return next(check.outcome for check in verdict.checks if check.name == name)


def test_what_is_better_ships(good_case):
    verdict = judge(good_case)
    assert verdict.verdict == "ship", verdict.reasons
    assert all(check.outcome == "pass" for check in verdict.checks)
    assert "less than with what answers today" in verdict.reasons[0]
    assert verdict.rows_needed is None


def test_what_is_worse_is_held(evidence):
    made, reports, answers = evidence(candidate=0.7)
    verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    assert verdict.verdict == "hold"
    assert outcome(verdict, "value") == "fail"
    assert outcome(verdict, "guard:accuracy") == "fail"
    assert "more than with what answers today" in verdict.reasons[0]


def test_a_floor_that_is_as_good_is_to_be_released_instead(evidence):
    made, reports, answers = evidence(floor=0.94)
    verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    assert (verdict.verdict, verdict.instead) == ("hold", "floor")
    assert "release the floor instead" in " ".join(verdict.reasons)


def test_a_gain_that_does_not_pay_for_serving_it_goes_to_the_floor(evidence, report):
    made, reports, answers = evidence()
    gain = case_from(made.task, made.terms, reports, answers, looks=1).floor.saved.value
    dear = report("head:minilm", measured={"unit_cost": gain, "latency_ms": 1.0})
    case = case_from(made.task, made.terms, reports | {"candidate": dear}, answers, looks=1)
    assert judge(case).instead == "floor"
    assert judge(replace(case, gate=case.gate.model_copy(update={"max_unit_cost": gain / 2}))).verdict == "hold"


def test_waiting_costs_what_the_task_says(evidence):
    value = {"wrong": 1.0, "latency": 100.0, "escalate": {"price": 0.3}}
    made, reports, answers = evidence(contract={"value": value})
    case = case_from(made.task, made.terms, reports, answers, looks=1)
    assert case.incumbent.candidate_money - made_money(made, answers) == pytest.approx(0.001 * 100 + 1e-6)


def made_money(made, answers):
    decided = made.terms.judging.redecide(answers["candidate"])
    return Sample.of(decided, made.terms).costs.mean()


def test_the_floor_itself_needs_no_comparison_with_itself(evidence, report):
    made, reports, answers = evidence()
    case = case_from(made.task, made.terms, reports | {"candidate": report("linear")}, answers, looks=1)
    assert case.is_floor
    assert judge(case).verdict == "ship"


def test_a_promising_difference_on_few_rows_asks_for_the_rows_that_settle_it(evidence):
    asked = None
    for seed in range(40):
        made, reports, answers = evidence(0.88, 0.83, 0.6, rows=150, seed=seed, contract=UNGUARDED)
        verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
        if verdict.verdict == "need_data":
            asked = verdict
            break
    assert asked is not None
    assert asked.rows_needed > 0
    assert f"{asked.rows_needed:,} more labelled test rows" in asked.reasons[0]
    made, reports, answers = evidence(0.88, 0.83, 0.6, rows=4000, seed=seed, contract=UNGUARDED)
    assert judge(case_from(made.task, made.terms, reports, answers, looks=1)).verdict == "ship"


def test_equals_are_shipped_hardly_ever(evidence):
    """A/A: two subjects of one quality. The gate's promise is 2.5 % wrong releases."""
    verdicts = []
    for seed in range(80):
        made, reports, answers = evidence(0.85, 0.85, 0.4, rows=300, seed=seed)
        terms = replace(made.terms, draws=200)
        verdicts.append(judge(case_from(made.task, terms, reports, answers, looks=1)).verdict)
    assert verdicts.count("ship") / 80 <= 0.0625
    assert verdicts.count("hold") / 80 >= 0.6


def test_what_is_better_ships_nearly_always(evidence):
    verdicts = []
    for seed in range(40):
        made, reports, answers = evidence(0.93, 0.83, 0.6, rows=500, seed=seed)
        terms = replace(made.terms, draws=200)
        verdicts.append(judge(case_from(made.task, terms, reports, answers, looks=1)).verdict)
    assert verdicts.count("ship") / 40 >= 0.85


def test_a_margin_lets_an_equal_through(evidence):
    made, reports, answers = evidence(
        0.85, 0.85, 0.4, rows=3000, contract={"gate": UNGUARDED["gate"] | {"margin": 0.05}}
    )
    assert judge(case_from(made.task, made.terms, reports, answers, looks=1)).verdict == "ship"


def test_a_hurt_slice_holds(evidence):
    made, reports, answers = evidence(candidate=0.97, rows=2000)
    new = answers["candidate"]
    hurt = (new.slices["site"] == "s1") & (np.random.default_rng(0).random(2000) < 0.5)
    worst = made.subject(0.0, 7)
    mixed = replace(
        new,
        answer=np.where(hurt, worst.answer, new.answer),
        probabilities=np.where(hurt[:, None], worst.probabilities, new.probabilities),
    )
    verdict = judge(case_from(made.task, made.terms, reports, answers | {"candidate": mixed}, looks=1))
    assert outcome(verdict, "slices") == "fail"
    assert verdict.verdict == "hold"
    assert "site = s1" in " ".join(verdict.reasons)


def test_an_old_decision_looks_at_slices_as_it_did(good_case):
    worse = tuple(change.model_copy(update={"worse": True}) for change in good_case.incumbent.whole_slices[:1])
    case = replace(good_case, incumbent=good_case.incumbent.model_copy(update={"whole_slices": worse}))
    assert [judge(case, version).verdict for version in (1, 2, 3)] == ["hold", "hold", "ship"]


def test_small_money_is_not_rounded_away(good_case):
    saved = Metric(value=0.0000123, low=0.000001, high=0.00002)
    cheap = good_case.incumbent.model_copy(update={"saved": saved})
    assert "1,000 requests cost 0.012 EUR less" in judge(replace(good_case, incumbent=cheap)).reasons[0]


def test_what_is_live_already_is_not_released_again(evidence):
    made, reports, answers = evidence()
    again = {"candidate": "candidate", "incumbent": "candidate", "floor": "floor"}
    reports, answers = ({role: given[of] for role, of in again.items()} for given in (reports, answers))
    verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    assert verdict.verdict == "hold"
    assert "answers today already" in verdict.reasons[0]


def test_what_serving_costs_must_have_been_measured(evidence, report):
    made, reports, answers = evidence()
    unmeasured = report("head:minilm", measured={"latency_ms": 1.0})
    verdict = judge(case_from(made.task, made.terms, reports | {"candidate": unmeasured}, answers, looks=1))
    assert verdict.verdict == "hold"
    assert "what serving costs" in verdict.reasons[0]


def test_where_nothing_answers_today_the_floor_is_still_to_be_beaten(evidence):
    made, reports, answers = evidence(contract={"incumbent": {"kind": "none"}})
    del reports["incumbent"], answers["incumbent"]
    assert judge(case_from(made.task, made.terms, reports, answers, looks=1)).verdict == "ship"
    del reports["floor"], answers["floor"]
    assert judge(case_from(made.task, made.terms, reports, answers, looks=1)).verdict == "hold"


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"errors": ("metric 'x' failed: MemoryError",)}, "evidence"),
        ({"rows": None}, "rows"),
        ({"rows": 99}, "rows"),
        ({"incumbent": None}, "value"),
        ({"floor": None}, "floor"),
        ({"metrics": None}, "calibration"),
        ({"metrics": {}}, "calibration"),
        ({"metrics": {"calibration_error": Metric(value=None, note="no probabilities")}}, "calibration"),
        ({"metrics": {"calibration_error": Metric(value=float("nan"))}}, "calibration"),
        ({"metrics": {"calibration_error": Metric(value=0.51)}}, "calibration"),
        ({"licence": None}, "licence"),
        ({"licence": Licence.of("MIT", "made up")}, "licence"),
        ({"licence": Licence.of("CC-BY-NC-4.0")}, "licence"),
        ({"licence": Licence.of("hosted-model-terms")}, "licence"),
        ({"looks": None}, "looks"),
        ({"looks": 0}, "looks"),
    ],
)
def test_each_thing_missing_or_wrong_holds_and_says_so(good_case, changes, check):
    verdict = judge(replace(good_case, **changes))
    assert verdict.verdict == "hold"
    assert outcome(verdict, check) in ("fail", "unknown")
    assert any(c.says in verdict.reasons for c in verdict.checks if c.name == check)


@pytest.mark.parametrize(("limit", "field"), [("max_latency_ms", "latency_ms"), ("max_unit_cost", "unit_cost")])
def test_limits_hold_what_is_over_them_or_was_not_measured(good_case, limit, field):
    def at(most, value):
        gate = good_case.gate.model_copy(update={limit: most})
        return judge(replace(good_case, gate=gate, **{field: value})).verdict

    assert at(1.0, 1.0) == "ship"
    assert at(None, None) == "ship"
    assert at(1.0, 1.1) == "hold"
    assert at(1.0, None) == "hold"
    assert at(1.0, float("nan")) == "hold"


def test_what_the_owner_accepts_by_name_passes(good_case):
    gate = good_case.gate.model_copy(update={"allow_licences": ("made up", "no_commercial")})
    case = replace(good_case, gate=gate, licence=Licence.of("made up", "CC-BY-NC-4.0"))
    assert judge(case).verdict == "ship"


def test_a_second_look_at_the_test_rows_is_said(good_case):
    verdict = judge(replace(good_case, looks=3))
    assert verdict.verdict == "ship"
    assert "looked at 3 times" in " ".join(verdict.reasons)


def test_a_guard_that_is_missing_or_was_tested_at_another_margin_holds(good_case):
    without = good_case.incumbent.model_copy(update={"guards": {}})
    assert judge(replace(good_case, incumbent=without)).verdict == "hold"
    lax = good_case.incumbent.guards["accuracy"].model_copy(update={"margin": 0.5})
    asked = good_case.incumbent.model_copy(update={"guards": {"accuracy": lax}})
    assert judge(replace(good_case, incumbent=asked)).verdict != "ship"


@pytest.mark.parametrize("drop", ["candidate", "incumbent", "floor"])
@pytest.mark.parametrize("what", ["report", "answers"])
def test_half_evidence_holds(evidence, drop, what):
    made, reports, answers = evidence()
    if what == "report":
        del reports[drop]
    else:
        del answers[drop]
    verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    assert verdict.verdict == "hold"
    assert drop in verdict.reasons[0]


def test_an_error_in_a_report_holds(evidence, report):
    made, reports, answers = evidence()
    crashed = report("head:minilm", facts=reports["candidate"].facts | {"errors": ["out of memory"]})
    verdict = judge(case_from(made.task, made.terms, reports | {"candidate": crashed}, answers, looks=1))
    assert verdict.verdict == "hold"
    assert "out of memory" in verdict.reasons[0]


def test_unpaired_evidence_holds(evidence):
    made, reports, answers = evidence()
    answers["incumbent"] = answers["incumbent"].take(np.arange(999))
    verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    assert verdict.verdict == "hold"
    assert "answered by only one of them" in verdict.reasons[0]


def test_too_few_rows_hold(evidence):
    made, reports, answers = evidence(rows=60)
    verdict = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    assert verdict.verdict == "hold"
    assert "40 more are needed" in " ".join(verdict.reasons)


def test_no_rows_at_all_hold(evidence):
    made, reports, answers = evidence(rows=0)
    assert judge(case_from(made.task, made.terms, reports, answers, looks=1)).verdict == "hold"


def test_the_same_evidence_gives_the_same_verdict_from_its_bytes(evidence):
    made, reports, answers = evidence()
    first = judge(case_from(made.task, made.terms, reports, answers, looks=1))
    again = {role: Answers.from_parquet(given.to_parquet()) for role, given in answers.items()}
    reread = {role: type(r).model_validate_json(r.model_dump_json()) for role, r in reports.items()}
    assert judge(case_from(made.task, made.terms, reread, again, looks=1)) == first


def test_stored_figures_are_not_trusted(evidence, report):
    made, reports, answers = evidence(candidate=0.7)
    boast = report("head:minilm", metrics={"accuracy": Metric(value=1.0), "money_per_1000": Metric(value=0.0)})
    assert judge(case_from(made.task, made.terms, reports | {"candidate": boast}, answers, looks=1)).verdict == "hold"


numbers = st.one_of(st.none(), st.floats(), st.integers(-5, 5000))
ODD = {
    "latency_ms": numbers,
    "unit_cost": numbers,
    "rows": numbers,
    "looks": numbers,
    "errors": st.sampled_from([(), ("x",), None, 3]),
    "metrics": st.sampled_from([None, {}, {"calibration_error": "high"}, {"calibration_error": Metric(value=0.1)}, 7]),
    "licence": st.sampled_from([None, "MIT", Licence.of("MIT"), Licence.of("")]),
    "incumbent": st.sampled_from([None, "keep", "better"]),
    "floor": st.sampled_from([None, "keep", {}]),
    "gate": st.sampled_from(["keep", None]),
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional=ODD))
def test_no_case_raises_and_none_ships_with_anything_missing(good_case, given_odd):
    changes = {name: value for name, value in given_odd.items() if not (isinstance(value, str) and value == "keep")}
    case = replace(good_case, **changes)
    verdict = judge(case)
    assert verdict.verdict in ("ship", "hold", "need_data")
    assert verdict.reasons
    missing = [f.name for f in fields(Case) if getattr(case, f.name) is None]
    if set(missing) - {"latency_ms", "unit_cost"} or case.errors:
        assert verdict.verdict != "ship"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["value", "low", "high"]),
    value=st.sampled_from([None, float("nan"), float("inf"), -float("inf")]),
    where=st.sampled_from(["incumbent", "floor", "guard"]),
)
def test_never_ships_where_a_figure_is_none_or_not_finite(good_case, which, value, where):
    def spoilt(metric):
        return metric.model_copy(update={which: value})

    if where == "guard":
        guard = good_case.incumbent.guards["accuracy"]
        guards = {"accuracy": guard.model_copy(update={"gain": spoilt(guard.gain)})}
        case = replace(good_case, incumbent=good_case.incumbent.model_copy(update={"guards": guards}))
    else:
        found = getattr(good_case, where)
        case = replace(good_case, **{where: found.model_copy(update={"saved": spoilt(found.saved)})})
    assert judge(case).verdict == "hold"

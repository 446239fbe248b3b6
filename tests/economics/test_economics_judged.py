"""Right answers, what mistakes cost, and the saving: exact where judged, else with an interval; each says how."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_sample import exchange

from sartor.core.task import FeedbackMetric
from sartor.core.traffic import NANO, Feedback, HopRow
from sartor.core.value import Confusion, Escalation, Value
from sartor.economics.counterfactual import Counterfactual, Giant, saving
from sartor.economics.figure import Figure, nothing_known, share, summed
from sartor.economics.judged import Claim, Judged, Stake, Verdicts, per_1000_correct
from sartor.economics.prices import PriceOverride, price_of

VALUE = Value(right=-0.1, wrong=2.0, confusions=(Confusion(true="fraud", answer="card", cost=50.0),))


def told(number, metric, value, **rest):
    row = {"id": f"f{number}{metric}{rest}", "at": 1.0, "tenant": "acme", "exchange": f"chatcmpl-{number}"}
    return Feedback(**row | {"metric": metric, "value": value} | rest)


def judge(done, feedback=(), *, stakes=None, claims=None):
    found = Judged(Verdicts(feedback), {"t": Stake(VALUE)} if stakes is None else stakes, claims or {})
    for item in done:
        found.exchange((), item)
    return found


def answers(n, **rest):
    return [exchange(i, **{"task": "t", "variant": "v"} | rest) for i in range(n)]


def test_known_answers_count_as_they_were_judged():
    feedback = [told(0, "correct", value=True), told(1, "demonstration", "fraud"), told(2, "demonstration", "card")]
    found = judge(answers(3), feedback)
    assert found.correct(()) == Figure(2, 2, 2, "measured", 3)
    assert found.lost(()).value == pytest.approx(-0.1 + 50.0 - 0.1)


def test_the_better_source_and_then_the_newer_word_counts_and_strangers_do_not():
    said = [
        told(0, "correct", value=True, at=9.0, source="judge"),
        told(0, "correct", value=False, at=2.0, source="outcome"),
        told(1, "correct", value=False, at=2.0),
        told(1, "correct", value=True, at=3.0),
        told(0, "correct", value=True, at=99.0, tenant="beta", source="outcome"),
    ]
    for order in (said, said[::-1]):
        assert judge(answers(2), order).correct(()).value == 1


def test_a_business_key_finds_its_exchange():
    done = answers(1, business="order-7")
    feedback = [replace(told(5, "correct", value=False), exchange="", business="order-7")]
    assert judge(done, feedback).correct(()) == Figure(0, 0, 0, "measured", 1)


def test_some_feedback_speaks_for_the_rest_within_an_interval():
    feedback = [told(i, "correct", value=i % 10 != 0) for i in range(100)]
    found = judge(answers(1000), feedback).correct(())
    low, high = share(90, 100, 0.9)
    assert found == Figure(900, 90 + low * 900, 90 + high * 900, "sampled", 100, "feedback on 100 of 1,000 answers")
    lost = judge(answers(1000), feedback).lost(())
    assert lost.low < (10 * 2.0 - 90 * 0.1) * 10 < lost.high
    assert lost.how == "sampled"


def test_without_feedback_the_report_speaks_and_without_a_report_nobody():
    claim = Claim(0.9, 0.85, 0.95, "report abc")
    found = judge(answers(1000), [told(1, "correct", value=True)], claims={("t", "v"): claim})
    assert found.correct(()) == Figure(1 + 899.1, 1 + 0.85 * 999, 1 + 0.95 * 999, "assumed", 1, "report abc")
    lost = found.lost(())
    assert lost.low < lost.value < lost.high
    assert lost.value == pytest.approx(-0.1 + 999 * (0.9 * -0.1 + 0.1 * 2.0))
    unknown = judge(answers(1000)).correct(())
    assert unknown.value is None
    assert "no report says" in unknown.note


def test_metrics_with_a_price_and_other_currencies_count():
    metrics = {
        "handled": FeedbackMetric(type="boolean", money=3.0),
        "minutes": FeedbackMetric(type="number", money=0.5),
    }
    said = [told(0, "correct", value=True), told(0, "handled", value=False), told(0, "minutes", 4)]
    found = judge(answers(1), said, stakes={"t": Stake(Value(), metrics, rate=0.5)})
    assert found.lost(()).value == pytest.approx((3.0 + 2.0) * 0.5)


def test_what_a_person_was_asked_costs_its_price_and_errors_and_counts_as_no_answer():
    value = Value(wrong=2.0, escalate=Escalation(price=0.3, error_rate=0.1))
    found = judge(
        answers(5, decision="escalate") + answers(1), [told(0, "correct", value=True)], stakes={"t": Stake(value)}
    )
    assert found.correct(()).value == 1
    assert found.lost(()).value == pytest.approx(5 * (0.3 + 0.2))


def test_failures_and_shadows_are_no_answers():
    done = [*answers(1, status=502), *answers(1, endpoint="shadow"), *answers(1, decision="refused")]
    assert judge(done).correct(()).value is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**15), st.integers(1, 10**6), st.floats(0.01, 1), st.floats(0, 0.3))
def test_cost_per_1000_correct_holds_its_value_and_turns_the_interval_round(total, n, right, doubt):
    correct = Figure(n * right, n * max(right - doubt, 0.001), n * min(right + doubt, 1.0), "sampled", n)
    found = per_1000_correct(total, correct, NANO)
    assert found.value == pytest.approx(1000 * total / NANO / (n * right))
    assert found.low <= found.value <= found.high
    assert found.high == pytest.approx(1000 * total / NANO / correct.low)
    assert per_1000_correct(total, nothing_known("why"), NANO).note == "why"


def test_a_sum_is_as_good_as_its_worst_part():
    parts = [Figure(1, 1, 1, "measured"), Figure(2, 1, 3, "assumed", 4, "x")]
    assert summed(parts) == Figure(3, 2, 4, "assumed", 4, "x")
    assert summed([*parts, nothing_known("y")]).value is None


# The giant that is not asked any more


def test_the_same_request_asked_of_the_giant_is_measured():
    local = exchange(1, by="v", kind="local", cost=10)
    watched = exchange(2, endpoint="shadow", shadow_of="chatcmpl-1", cost=700)
    through = exchange(3, cost=900, hops=[HopRow("v", "local", 10), HopRow("gpt-4", "upstream", 890, 1000, 5)])
    found = against([local, watched, through])
    assert found.cost(()) == Figure(*[1590 / NANO] * 3, "measured", 2)
    assert saving(found.cost(()), 1600).value == pytest.approx(-10 / NANO)


def against(done, **rest):
    found = Counterfactual(Giant(done), **rest)
    for item in done:
        found.exchange((), item)
    return found


def test_a_random_share_stands_for_the_rest_and_its_interval_holds_the_truth():
    held = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        costs = (random.lognormal(sigma=0.5, size=1000) * 1e6).astype(int)
        drawn = random.random(1000) < 0.1
        done = [
            exchange(i, cost=int(c), arm="control", propensity=0.1)
            if d
            else exchange(i, by="v", kind="local", cost=1, arm="canary", propensity=0.9)
            for i, (c, d) in enumerate(zip(costs, drawn, strict=True))
        ]
        found = against(done).cost(())
        assert found.how == "sampled"
        held += found.low <= costs.sum() / NANO <= found.high
    assert held >= 23, "a 90 % interval"


def test_requests_that_a_cascade_passed_on_are_no_random_sample():
    done = [
        exchange(i, cost=500, hops=[HopRow("v", "local", 0), HopRow("gpt-4", "upstream", 500, 1, 1)]) for i in range(40)
    ]
    done += [exchange(100 + i, by="v", kind="local", cost=0) for i in range(10)]
    found = against(done).cost(())
    assert (found.how, found.value) == ("assumed", pytest.approx(50 * 500 / NANO))


def test_a_giant_that_was_never_asked_is_reckoned_by_list_price_or_not_at_all():
    price = price_of("big", overrides={"big": PriceOverride(input_million=10, output_million=20, currency="EUR")})
    done = [exchange(i, by="cheap") for i in range(10)] + [exchange(50, by="v", kind="local")]
    found = Counterfactual(Giant(done, named="big"), price=price)
    for item in done:
        found.exchange((), item)
    assert found.cost(()).value == pytest.approx(11 * (1000 * 10 + 5 * 20) / 1e6)
    assert found.cost(()).how == "assumed"
    nothing = Counterfactual(Giant([done[-1]]))
    nothing.exchange((), done[-1])
    assert nothing.cost(()).value is None


def test_the_giant_of_a_route_is_the_dearest_that_was_asked():
    done = [exchange(1, by="mini", cost=1), exchange(2, by="big", cost=9), exchange(3, by="other", cost=5, route="x")]
    assert Giant(done).names() == {"desk": "big", "x": "other"}
    assert Giant(done, named="mini").names() == {"desk": "mini", "x": "mini"}

"""Forecasts of traffic whose truth is known: intervals that hold, costs and paybacks that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_sample import DAY, START, exchange, traffic

from sartor.core.errors import AskError
from sartor.economics.days import OTHERS, Days
from sartor.economics.options import Option, Range, outlook
from sartor.economics.trend import History, Paths, carry_forward

FIRST = int(START // DAY)


def drifting(seed, days=200):
    """Daily requests and money of three routes: growth in percent or units, weekdays, busy days, dearer requests."""
    random = np.random.default_rng(seed)
    day, week = np.arange(days), np.array([1.1, 1.2, 1.1, 1.0, 1.0, 0.5, 0.4])
    grown = random.uniform(-0.2, 0.6, size=3)
    way = np.exp(np.log1p(grown) * day[:, None] / days) if seed % 2 else 1 + grown * day[:, None] / days
    busy = np.exp(random.normal(0, 0.02, size=(days, 1)))
    requests = random.poisson(np.array([4000, 2000, 1000]) * way * busy * week[day % 7][:, None])
    each = np.array([0.12, 0.04, 0.02]) * (1 + random.uniform(-0.05, 0.2, size=3) * day[:, None] / days)
    return requests.astype(float), requests * each


def test_intervals_hold_as_often_as_they_say():
    inside, off = 0, []
    for seed in range(80):
        requests, cost = drifting(seed)
        paths = carry_forward(History(FIRST, requests[:20], cost[:20]), 180, draws=300, seed=seed)
        low, high = np.quantile((paths.requests * paths.each).sum(axis=(1, 2)), [0.05, 0.95])
        truth = cost[20:].sum()
        inside += low <= truth <= high
        off.append(abs((paths.point_requests * paths.point_each).sum() / truth - 1))
    assert 65 <= inside <= 79, f"{inside} of 80 by intervals of 90 %"
    assert np.median(off) < 0.12


def test_a_plain_trend_is_found_and_carried_on():
    day = np.arange(60)
    requests = np.round(1e6 * np.exp(0.004 * day))[:, None]
    paths = carry_forward(History(FIRST, requests, requests * 0.01 * np.exp(0.001 * day)[:, None]), 10)
    assert paths.growth[0] == pytest.approx(0.004, rel=0.05)
    assert paths.drift[0] == pytest.approx(0.001, rel=0.1)
    assert paths.point_requests[:, 0] == pytest.approx(1e6 * np.exp(0.004 * np.arange(60, 70)), rel=0.01)


def test_weekdays_come_again():
    week = np.array([1.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25])
    requests = (1e5 * week[np.arange(28) % 7])[:, None]
    paths = carry_forward(History(FIRST, requests, requests), 7)
    assert paths.point_requests[:, 0] == pytest.approx(1e5 * week, rel=0.02)


@pytest.mark.parametrize("days", [1, 2, 5, 7, 8])
def test_few_days_give_wide_intervals_and_no_nonsense(days):
    random = np.random.default_rng(days)
    requests = random.poisson([300, 20, 0.4], size=(days, 3)).astype(float)
    paths = carry_forward(History(FIRST, requests, requests * [0.1, 0.02, 0.01]), 30)
    total = (paths.requests * paths.each).sum(axis=(1, 2))
    low, high = np.quantile(total, [0.05, 0.95])
    assert np.isfinite(total).all()
    assert low < 30 * 30.4 < high < 10 * 30 * 30.4
    if days <= 7:
        assert high / low > 1.3


def test_nothing_asked_is_no_history():
    with pytest.raises(ValueError, match="no day with requests"):
        carry_forward(History(FIRST, np.zeros((3, 1)), np.zeros((3, 1))), 5)


# From exchanges to days


def test_days_hold_every_request_and_nano_of_the_whole_days():
    done = traffic(10, routes=("desk", "shop"))
    days = Days({"desk": "gpt-4", "shop": "gpt-4"}, done)
    seen = days.seen(START + 10 * DAY)
    assert seen.routes == ("desk", "shop")
    assert seen.now.days == 10
    assert seen.now.requests.sum() == len(done)
    assert seen.now.cost.sum() * 1e9 == pytest.approx(sum(d.cost for d in done))
    assert days.seen().now.days == 9, "the last day may go on"
    assert seen.giant.cost == pytest.approx(seen.now.cost)
    for prompt in seen.prompts:
        assert 905 <= prompt.fixed <= 907
        assert prompt.tokens == pytest.approx(932, abs=3)
        assert prompt.output == 5


def test_the_first_hours_are_scaled_to_days_and_small_routes_put_together():
    hours = [exchange(i, at=START + i * 36) for i in range(600)]
    seen = Days({}, hours).seen()
    assert seen.now.requests.sum() == pytest.approx(600 * DAY / (599 * 36))
    assert "taken for whole days" in seen.note
    many = [exchange(i, at=START + i * 3600, route=f"r{i % 12}" if i > 100 else "big") for i in range(400)]
    found = Days({}, many).seen()
    assert len(found.routes) == 9
    assert OTHERS in found.routes
    with pytest.raises(AskError, match="no traffic to forecast"):
        Days({}).seen()


def test_where_others_answer_the_giant_is_still_known_from_what_it_was_asked():
    done = [
        exchange(i, at=START + i * 600, cost=10**9)
        if i % 3 == 0
        else exchange(i, at=START + i * 600, by="v", kind="local", cost=0)
        for i in range(144 * 6)
    ]
    seen = Days({"desk": "gpt-4"}, done).seen()
    assert seen.giant.cost == pytest.approx(seen.now.requests)
    assert seen.now.cost.sum() == pytest.approx(seen.now.requests.sum() / 3)


# Ways of answering


def steady(days=90, requests=1000.0, each=0.01, draws=50):
    ones = np.ones((draws, days, 1))
    point = np.ones((days, 1))
    return Paths(ones * requests, ones * each, point * requests, point * each, np.zeros(1), np.zeros(1))


def test_payback_is_when_what_is_saved_has_paid_for_the_making():
    giant = Option("giant", "", hosted=[1.0])
    tuned = Option("tuned", "", each=Range.exactly(0.002), making=Range.exactly(100.0))
    first, second = outlook(steady(), [giant, tuned])
    assert first.month.value == pytest.approx(300)
    assert second.month.value == pytest.approx(60)
    assert second.total.value == pytest.approx(280)
    pays = second.pays_back
    assert (pays.day, pays.early, pays.late) == (13, 13, 13)
    assert pays.requests == 13_000
    assert pays.chance == 1
    assert pays.from_volume == pytest.approx(100 / 12 / 0.008, rel=0.02)
    never = outlook(steady(), [giant, Option("worse", "", each=Range.exactly(0.02))])[1].pays_back
    assert (never.day, never.late, never.chance, never.from_volume) == (None, None, 0, None)


def test_machines_are_the_steps_of_the_cliff():
    way = Option("tuned", "", machine=50.0, capacity=20_000)
    found = outlook(steady(), [Option("giant", "", hosted=[1.0]), way])[1]
    assert found.month.value == pytest.approx(100), "30,000 requests a month take two machines"
    assert all(step == pytest.approx(round(step / 50) * 50) for step in np.diff(found.cliff))
    assert found.cliff[0] == 50


def test_a_cascade_pays_the_giant_for_its_share_within_its_range():
    way = Option("cascade", "", hosted=[1.0], asked=Range(0.1, 0.2, 0.5), each=Range.exactly(0.001))
    found = outlook(steady(draws=2000), [Option("giant", "", hosted=[1.0]), way])[1].month
    assert found.value == pytest.approx(300 * 0.2 + 30)
    assert found.low == pytest.approx(300 * 0.1 + 30, rel=0.1)
    assert found.high == pytest.approx(300 * 0.5 + 30, rel=0.1)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 5))
def test_a_range_is_drawn_between_its_ends_nine_times_of_ten(low, more, most):
    found = Range(low, low + more, low + more + most)
    drawn = found.draw(np.random.default_rng(0), 4000)
    assert (drawn >= 0).all()
    inside = ((drawn >= found.low - 1e-9) & (drawn <= found.high + 1e-9)).mean()
    assert inside > 0.87
    if more and most:
        assert np.median(drawn) == pytest.approx(found.mid, rel=0.05, abs=0.05 * (found.high - found.low))

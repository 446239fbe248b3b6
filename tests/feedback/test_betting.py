"""Bets against "nothing has changed": fair without drift, rich with it, and the same whenever one looks again."""

import numpy as np
import pytest

from sartor.feedback.betting import BLOCK, first, log_wealth, places
from sartor.feedback.drift import Series, alarms, look, shares

STREAMS, SIZE, REFERENCE = 400, 1500, 300


def drawn(random, levels, change=None, at=750):
    reference, stream = (random.integers(0, levels, size=(STREAMS, n)) for n in (REFERENCE, SIZE))
    if change is not None:
        hit = random.random((STREAMS, SIZE - at)) < change
        stream[:, at:][hit] = random.integers(levels - max(1, levels // 20), levels, size=int(hit.sum()))
    return places(stream, reference, random.random((STREAMS, SIZE)))


def test_places_are_those_among_all_before():
    codes, reference = np.array([[5, 1, 5, 9]]), np.array([1, 5, 5])
    halves = np.full((1, 4), 0.5)
    # 5: one below, itself and two equal of 4; 1: none below, two equal of 5; 5: two below, four equal of 6; 9: all.
    expected = [(1 + 1.5) / 4, 1.0 / 5, (2 + 2.0) / 6, (6 + 0.5) / 7]
    assert places(codes, reference, halves)[0] == pytest.approx(expected)


@pytest.mark.parametrize(("levels", "kinds"), [(1000, False), (7, False), (60, True)])
def test_without_drift_places_are_uniform_and_wealth_stays_small(levels, kinds):
    found = drawn(np.random.default_rng(1), levels)
    counts = np.histogram(found, bins=20, range=(0, 1))[0] / found.size
    assert counts == pytest.approx(np.full(20, 0.05), abs=0.003)
    wealth = log_wealth(found, np.ones(levels) if kinds else None)
    assert wealth.shape == (STREAMS, SIZE // BLOCK)
    for level in (0.1, 0.02):
        share = (wealth.max(axis=1) >= -np.log(level)).mean()
        assert share <= level + 2 * np.sqrt(level / STREAMS)
    # Fair: money neither grows nor is lost on average.
    assert np.exp(np.minimum(wealth[:, -1], 5.0)).mean() < 1.5


@pytest.mark.parametrize(("levels", "kinds"), [(1000, False), (60, True)])
def test_drift_makes_rich(levels, kinds):
    wealth = log_wealth(drawn(np.random.default_rng(2), levels, change=0.25), np.ones(levels) if kinds else None)
    hits = [first(one, 1e-4) for one in wealth]
    delays = [hit.at - 750 for hit in hits if hit is not None]
    assert len(delays) == STREAMS
    assert 0 < np.median(delays) < 250
    assert np.median([hit.begun for hit in hits]) == pytest.approx(750, abs=200)


def series(watched, reference, stream, **more):
    ids = [f"id-{i}" for i in range(len(stream))]
    at = np.arange(len(stream), dtype=float)
    return Series(watched, watched, np.asarray(reference, float), np.asarray(stream, float), ids, at, **more)


def test_all_that_is_watched_shares_one_chance():
    rows = np.zeros(10)
    many = [
        series("input", rows, rows),
        series("input", rows, rows, slice="a=1"),
        series("input", rows, rows, slice="a=2"),
        series("answers", rows, rows),
    ]
    assert shares(many) == pytest.approx([0.25, 0.125, 0.125, 0.5])


def test_an_alarm_says_what_and_shows_it_and_afterwards_it_begins_anew():
    random = np.random.default_rng(6)
    labels = random.integers(0, 10, size=2000)
    labels[1000:][random.random(1000) < 0.3] = 7
    names = tuple(f"label {i}" for i in range(10))
    (found,) = look([series("answers", random.integers(0, 10, 500), labels, names=names)], 0.01, 250)
    (alarm,) = found.alarms
    assert 1000 < alarm.requests < 1250
    assert alarm.chance <= 0.01
    assert "'label 7' went from" in alarm.says
    assert all(labels[int(id_.removeprefix("id-"))] == 7 for id_ in alarm.examples)
    assert alarm.examples
    back = np.concatenate([labels, random.integers(0, 10, size=1000)])
    (again,) = look([series("answers", random.integers(0, 10, 500), back, names=names)], 0.01, 250)
    assert [alarm.number for alarm in again.alarms] == [1, 2]
    assert again.alarms[1].requests > 2000
    assert [one.at for one in alarms([again, found])] == sorted([alarm.at, *(one.at for one in again.alarms)])


def test_sizes_that_grow_or_shrink_are_told_with_both_means():
    random = np.random.default_rng(4)
    stream = np.concatenate([random.normal(0, 1, 500), random.normal(-1.5, 1, 500)])
    (found,) = look([series("confidence", random.normal(0, 1, 400), stream)], 0.01, 250)
    alarm = found.alarms[0]
    assert alarm.facts["after"] < -1 < alarm.facts["before"]
    assert stream[int(alarm.examples[0].removeprefix("id-"))] < -2


def test_a_stream_too_short_to_look_at_is_no_alarm():
    (found,) = look([series("value", [], [1.0] * 10)], 0.01, 250)
    assert (found.requests, found.chance, found.alarms) == (10, 1.0, ())

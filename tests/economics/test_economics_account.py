"""The books are exact: parts, lines and hops add up to the last unit, whatever the view; idle hours fill up a bill."""

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_sample import DAY, START, exchange

from sartor.core.errors import NotFoundError
from sartor.core.traffic import NANO, Exchange, HopRow, nanos
from sartor.economics.account import By, Entry, Machine, account, hours_by_day, reconcile, sum_of

money = st.integers(0, 10**15)
hops = st.builds(HopRow, st.sampled_from(["v1", "v2", "gpt-4"]), st.sampled_from(["local", "upstream", "cache"]), money)
names = st.sampled_from(["", "a", "b"])


@st.composite
def exchanges(draw):
    asked = draw(st.lists(hops, max_size=4))
    return Exchange(
        id=draw(st.uuids()).hex,
        at=START + draw(st.floats(0, 5 * DAY, exclude_max=True)),
        tenant=draw(names),
        key="k",
        route=draw(names),
        model="m",
        endpoint=draw(st.sampled_from(["chat", "shadow"])),
        task=draw(names),
        variant=draw(names),
        status=draw(st.sampled_from([200, 502])),
        cost=sum(hop.cost for hop in asked),
        hops=asked,
    )


entries = st.builds(
    Entry,
    st.sampled_from(["training", "labelling", "judge", "adjustment"]),
    st.integers(-(10**12), 10**12),
    st.just(START),
    names,
)
views = st.lists(st.sampled_from(get_args(By)), unique=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(exchanges(), max_size=25), st.lists(entries, max_size=5), views, st.randoms())
def test_every_view_adds_up_to_hops_and_entries_in_any_order(done, booked, by, random):
    lines = account(done, booked, by=by)
    total = sum_of(lines)
    assert total.total == sum(h.cost for d in done for h in d.hops) + sum(e.money for e in booked)
    assert total.total == sum(line.total for line in lines)
    assert total.requests == sum(d.endpoint != "shadow" for d in done)
    live = Counter()
    for d in done:
        for h in d.hops:
            live["shadow" if d.endpoint == "shadow" else h.kind] += h.cost
    assert all(total.parts[part] == live[part] for part in ("local", "upstream", "cache", "shadow"))
    random.shuffle(done)
    again = account(done, booked, by=by)
    assert [(x.key, x.parts, x.requests) for x in again] == [(x.key, x.parts, x.requests) for x in lines]


@settings(max_examples=40, deadline=None)
@given(st.lists(exchanges(), max_size=20), st.integers(-5, 5), st.data())
def test_one_unit_too_much_in_one_exchange_is_found(done, wrong, data):
    assert reconcile(done).exact
    assert reconcile(done).hops == reconcile(done).booked == sum(d.cost for d in done)
    if done and wrong:
        one = data.draw(st.sampled_from(done))
        one.cost += wrong
        found = reconcile(done)
        assert not found.exact
        assert dict(found.off) == {one.id: -wrong}


def test_errors_that_make_up_for_each_other_are_not_exact():
    pair = [exchange(1), exchange(2)]
    pair[0].cost, pair[1].cost = pair[0].cost + 7, pair[1].cost - 7
    found = reconcile(pair)
    assert (found.booked, found.hops) == (2_000, 2_000)
    assert (found.exact, found.differing) == (False, 2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(exchanges(), max_size=20),
    st.floats(0, 4 * DAY),
    st.floats(0, 4 * DAY),
    st.lists(st.sampled_from(["day", "task"]), unique=True),
)
def test_a_machine_costs_its_hours_however_much_of_them_answers_used(done, start, length, by):
    machine = Machine(0.35, START + start, START + start + length)
    total = sum_of(account(done, by=by, machines=[machine]))
    used = sum(h.cost for d in done for h in d.hops if h.kind == "local" and machine.start <= d.at < machine.end)
    bill = sum(nanos(0.35 * hours) for _, hours in hours_by_day(machine.start, machine.end))
    assert total.parts["idle"] + used == bill
    assert bill == pytest.approx(0.35 * length / 3600 * NANO, abs=5)


def test_a_machine_of_one_task_is_not_paid_by_another_and_ends_now():
    mine, other = (exchange(i, kind="local", by="v", task=t, cost=5) for i, t in enumerate(("a", "b")))
    lines = account([mine, other], by=["task"], machines=[Machine(1.0, START, float("inf"), "a")], now=START + 3600)
    assert {line.key: (line.parts["idle"], line.parts["local"]) for line in lines} == {
        ("a",): (NANO - 5, 5),
        ("b",): (0, 5),
    }


def test_an_unknown_view_names_the_known_ones():
    with pytest.raises(NotFoundError, match=r"no view 'dya'\. Did you mean 'day'"):
        account([], by=["dya"])

"""Budgets hold: in one worker under concurrent requests, in many processes on one database, and when one is killed."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sartor.core.access import Caller
from sartor.core.errors import BusyError, RateError, StoreError, TooLargeError
from sartor.core.route import Allowance, Route
from sartor.core.traffic import NANO
from sartor.gateway import limits
from sartor.gateway.limits import FREE, Admission, LeasedPurse, Limiter
from sartor.store.allowances import Allowances
from sartor.store.opening import open_store
from sartor.store.shares import PART, Account, OwnBook, Rest, Want, period_at, share

pytestmark = pytest.mark.anyio
NOON = 1_764_072_000.0  # 2025-11-25 12:00 UTC
ROUTE = Route(name="desk", policy="giant")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def caller(**limits: float) -> Caller:
    return Caller("acme", "application", "k1", (), limits)


async def admit(
    limiter: Limiter, who: Caller, route: Route = ROUTE, *, tokens: int = 0, money: float = 0.0
) -> Admission:
    found = limiter.admit(who, route, tokens=tokens, money=money)
    return found if isinstance(found, Admission) else await found


async def count(limiter: Limiter, who: Caller, **asked: Any) -> tuple[int, RateError]:
    """How many are admitted one after another, and the refusal."""
    for number in range(10_000):
        try:
            await admit(limiter, who, **asked)
        except RateError as error:
            return number, error
    raise AssertionError("nothing was refused")


async def test_without_limits_nothing_is_asked() -> None:
    assert Limiter(OwnBook()).admit(caller(), ROUTE, tokens=5, money=1.0) is FREE


async def test_requests_per_minute_are_a_bucket_that_refills_and_says_truly_when() -> None:
    clock = Clock()
    limiter, who = Limiter(OwnBook(), clock=clock), caller(requests_per_minute=30)
    admitted, refusal = await count(limiter, who)
    assert admitted == 30
    assert refusal.retry_after == pytest.approx(2.0)
    assert "key 'k1'" in refusal.message.lower()
    assert "30 requests per minute" in refusal.message
    clock.now += refusal.retry_after - 0.01
    with pytest.raises(RateError):
        await admit(limiter, who)
    clock.now += 0.02
    await admit(limiter, who)
    clock.now += 60
    assert (await count(limiter, who))[0] == 30


async def test_tokens_are_set_aside_by_estimate_and_settled_by_what_was_used() -> None:
    limiter, who = Limiter(OwnBook(), clock=Clock()), caller(tokens_per_minute=1000)
    first = await admit(limiter, who, tokens=800)
    with pytest.raises(RateError):
        await admit(limiter, who, tokens=300)
    limiter.settle(first, tokens=100, money=0)
    await admit(limiter, who, tokens=800)
    assert (await count(limiter, who, tokens=50))[0] == 2
    with pytest.raises(TooLargeError, match="1,000 tokens per minute"):
        await admit(limiter, who, tokens=1001)


async def test_what_was_used_beyond_the_estimate_is_owed() -> None:
    book = OwnBook()
    limiter, who = Limiter(book, clock=Clock()), caller(money_per_day=10)
    limiter.settle(await admit(limiter, who, money=1.0), tokens=0, money=4.0)
    assert (await count(limiter, who, money=1.0))[0] == 6


async def test_money_of_a_day_and_of_a_month_end_when_these_do() -> None:
    clock = Clock()
    limiter, who = Limiter(OwnBook(), clock=clock), caller(money_per_day=1.0, money_per_month=1.5)
    admitted, refusal = await count(limiter, who, money=0.25)
    assert (admitted, refusal.code) == (4, "budget_exhausted")
    assert refusal.retry_after == 12 * 3600
    clock.now += 12 * 3600
    admitted, refusal = await count(limiter, who, money=0.25)
    assert admitted == 2
    assert refusal.retry_after == period_at("money_per_month", clock.now)[1] - clock.now == 5 * 86400
    clock.now += refusal.retry_after
    assert (await count(limiter, who, money=0.25))[0] == 4


async def test_nothing_comes_back_from_a_day_that_is_over() -> None:
    clock = Clock()
    limiter, who = Limiter(OwnBook(), clock=clock), caller(money_per_day=1.0)
    late = await admit(limiter, who, money=1.0)
    clock.now += 86400
    assert (await count(limiter, who, money=0.5))[0] == 2
    limiter.settle(late, tokens=0, money=0.0)
    with pytest.raises(RateError):
        await admit(limiter, who, money=0.5)


async def test_the_tightest_of_key_tenant_and_route_counts_and_is_named() -> None:
    tight = Route(name="desk", policy="giant", limits=Allowance(requests_per_minute=7))
    tenant = {"requests_per_minute": 5.0}
    limiter = Limiter(OwnBook(), lambda name: tenant if name == "acme" else {}, clock=Clock())
    admitted, refusal = await count(limiter, caller(requests_per_minute=6))
    assert admitted == 5
    assert refusal.message.startswith("Tenant 'acme'")
    other = Caller("other", "application", "k2", (), {})
    admitted, refusal = await count(limiter, other, route=tight)
    assert admitted == 7
    assert refusal.message.startswith("Route 'desk'")


async def test_a_refused_request_uses_nothing_up_elsewhere() -> None:
    limiter = Limiter(OwnBook(), clock=Clock())
    who = caller(requests_per_minute=10, money_per_day=1.0)
    for _ in range(5):
        with pytest.raises(TooLargeError):
            await admit(limiter, who, money=2.0)
    assert (await count(limiter, who, money=0.01))[0] == 10


async def test_a_limit_that_is_raised_counts_at_once() -> None:
    limiter = Limiter(OwnBook(), clock=Clock())
    assert (await count(limiter, caller(money_per_day=1.0), money=0.5))[0] == 2
    limiter._clock.now += 1.0  # type: ignore[attr-defined]
    assert (await count(limiter, caller(money_per_day=2.0), money=0.5))[0] == 2


class SlowBook(OwnBook):
    """A book that counts how often it is asked, and can be out of reach."""

    asked, down = 0, False
    before: Callable[[], Any] = staticmethod(lambda: None)

    def lease(self, wants: Any, now: float) -> Any:
        self.asked += 1
        self.before()
        if self.down:
            raise StoreError("gone")
        return super().lease(wants, now)

    def give_back(self, rests: Any) -> None:
        if self.down:
            raise StoreError("gone")
        super().give_back(rests)


async def test_concurrent_requests_share_leases_and_never_exceed_the_budget() -> None:
    book = SlowBook()
    limiter, who = Limiter(book, clock=Clock()), caller(money_per_day=10.0, requests_per_minute=600)
    done = await asyncio.gather(*(admit(limiter, who, money=0.02) for _ in range(800)), return_exceptions=True)
    admitted = [item for item in done if isinstance(item, Admission)]
    assert len(admitted) == 500
    assert all(isinstance(item, RateError) for item in done if item not in admitted)
    assert book.asked < 200


async def test_blocks_are_leased_again_before_they_run_out() -> None:
    book = SlowBook()
    limiter, who = Limiter(book, clock=Clock()), caller(requests_per_minute=32_000)
    await admit(limiter, who)
    waited = 0
    for _ in range(5000):
        found = limiter.admit(who, ROUTE, tokens=0, money=0)
        if not isinstance(found, Admission):
            waited += 1
            await found
        if limiter._tasks:
            await asyncio.gather(*limiter._tasks)
    assert book.asked >= 5
    assert waited == 0


async def test_idle_blocks_and_those_of_a_drained_worker_are_given_back() -> None:
    clock, book = Clock(), SlowBook()
    first, second = (Limiter(book, clock=clock) for _ in range(2))
    who = caller(money_per_day=3.2)
    first.settle(await admit(first, who, money=0.1), tokens=0, money=0.0)
    assert (await count(second, who, money=0.1))[0] == 30  # two blocks are with the first: one was leased ahead
    await first.give_back(idle=5.0)
    clock.now += 1.0
    with pytest.raises(RateError):
        await admit(second, who, money=0.1)
    book.down = True
    with pytest.raises(StoreError):
        await first.give_back()
    book.down = False
    await first.give_back()
    clock.now += 1.0
    await admit(second, who, money=0.1)


async def test_without_the_store_rates_go_on_by_shares_and_money_only_as_far_as_leased() -> None:
    book = SlowBook()
    limiter = Limiter(book, clock=Clock(), workers=4)
    book.down = True
    assert (await count(limiter, caller(requests_per_minute=40)))[0] == 10
    with pytest.raises(BusyError) as caught:
        await admit(limiter, caller(money_per_day=1.0), money=0.5)
    assert caught.value.code == "budget_unreachable"


async def test_a_block_is_not_lost_with_the_request_that_waited_for_it() -> None:
    book, held = SlowBook(), threading.Event()
    book.before = held.wait
    limiter, who = Limiter(book, clock=Clock()), caller(money_per_day=1.0)
    waiting = asyncio.ensure_future(admit(limiter, who, money=1.0))
    while not book.asked:  # noqa: ASYNC110 - it is another thread that asks
        await asyncio.sleep(0.001)
    waiting.cancel()
    await asyncio.wait([waiting])
    held.set()
    await admit(limiter, who, money=1.0)
    with pytest.raises(RateError):
        await admit(limiter, who, money=0.1)


async def test_a_store_that_hangs_counts_as_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_SECONDS", 0.05)
    book, held = SlowBook(), threading.Event()
    book.before = held.wait
    limiter = Limiter(book, clock=Clock())
    assert (await count(limiter, caller(requests_per_minute=4)))[0] == 4
    assert book.asked == 1
    held.set()


async def test_the_purse_of_policies_draws_on_the_same_blocks() -> None:
    limiter = Limiter(OwnBook(), clock=Clock())
    purse = LeasedPurse(limiter)
    assert await purse.take("desk", "day", 1.0, 0.6)
    assert not await purse.take("desk", "day", 1.0, 0.6)
    assert not await purse.take("desk", "day", 1.0, 5.0)
    assert await purse.take("desk", "month", 1.0, 0.6)
    assert await purse.take("other", "day", 1.0, 0.6)
    purse.settle("desk", "day", 0.6, 0.1)
    assert await purse.take("desk", "day", 1.0, 0.6)


def test_a_clock_that_lags_neither_reopens_a_day_nor_refills_a_bucket() -> None:
    want = Want("k", "money_per_day", 100, 10)
    account, _ = share(Account("2025-11-26", 95, NOON + 86400), want, NOON)
    assert (account.period, account.used) == ("2025-11-26", 95)
    account, grant = share(Account("", 100, NOON), Want("k", "requests_per_minute", 100, 10), NOON - 600)
    assert (account.used, grant.amount) == (100, 0)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shared(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Path, str | None, Callable[[], Allowances]]]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    store = open_store(tmp_path / "store", ledger_url=url)
    yield tmp_path / "store", url, lambda: Allowances(store.ledger.database)
    store.close()


WORKER = """
import asyncio, json, sys
from pathlib import Path
from sartor.core.access import Caller
from sartor.core.errors import RateError
from sartor.core.route import Route
from sartor.gateway.limits import Admission, Limiter
from sartor.store.allowances import Allowances
from sartor.store.opening import open_store

home, url, limit, price, drain = json.loads(sys.argv[1])
store = open_store(Path(home), ledger_url=url)
limiter = Limiter(Allowances(store.ledger.database), clock=lambda: 1_764_072_000.0)
who, route = Caller("acme", "application", "k1", (), {"money_per_day": limit}), Route(name="desk", policy="giant")
spent = 0


async def one():
    global spent
    found = limiter.admit(who, route, tokens=1, money=price)
    admission = found if isinstance(found, Admission) else await found
    await asyncio.sleep(0)
    limiter.settle(admission, tokens=1, money=price)
    spent += 1
    if not drain:
        print(spent, flush=True)


async def main():
    refused = 0
    while refused < 3:
        done = await asyncio.gather(*(one() for _ in range(8)), return_exceptions=True)
        other = [e for e in done if e is not None and not isinstance(e, RateError)]
        if other:
            raise other[0]
        refused += any(done)
        if not drain:
            await asyncio.sleep(0.02)
    await limiter.give_back()

asyncio.run(main())
print(json.dumps({"spent": spent}))
"""


def start(shared: Any, limit: float, price: float, *, drain: bool = True) -> "subprocess.Popen[str]":
    said = json.dumps([str(shared[0]), shared[1], limit, price, drain])
    return subprocess.Popen([sys.executable, "-c", WORKER, said], stdout=subprocess.PIPE, text=True)


def test_processes_that_hammer_one_budget_never_exceed_it(shared: Any) -> None:
    limit, price = 4.0, 0.01
    workers = [start(shared, limit, price) for _ in range(3)]
    spent = [json.loads(worker.communicate(timeout=60)[0])["spent"] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    used = shared[2]().used("key:k1", NOON)["money_per_day"]
    assert used == sum(spent) * 10_000_000  # to the nano-unit, in the store too
    assert used <= limit * NANO
    assert sum(spent) >= 400 - 3 * 8  # what was left in another's hands when it gave up


def test_a_killed_worker_loses_at_most_its_block(shared: Any) -> None:
    limit, price = 100.0, 0.01
    worker = start(shared, limit, price, drain=False)
    assert worker.stdout is not None
    seen = [next(worker.stdout) for _ in range(50)]
    worker.send_signal(signal.SIGKILL)
    seen += list(worker.stdout)
    assert worker.wait(timeout=30) == -signal.SIGKILL
    spent = sum(line.endswith("\n") for line in seen) * 10_000_000
    used = shared[2]().used("key:k1", NOON)["money_per_day"]
    # A second block may have been on its way: they are leased ahead.
    assert spent <= used <= spent + 2 * (100 * NANO // PART)


def test_rests_of_another_day_are_not_taken_back(shared: Any) -> None:
    book = shared[2]()
    want = Want("key:k1", "money_per_day", 100 * NANO, 30 * NANO)
    (grant,) = book.lease([want], NOON)
    book.give_back([Rest("key:k1", "money_per_day", "2025-11-24", 20 * NANO)])
    assert book.used("key:k1", NOON) == {"money_per_day": 30 * NANO}
    book.give_back([Rest("key:k1", "money_per_day", grant.period, 20 * NANO)])
    assert book.used("key:k1", NOON) == {"money_per_day": 10 * NANO}
    assert book.used("key:k1", NOON + 86400) == {}

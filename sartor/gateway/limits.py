"""What keys, tenants and routes may use: set aside before a request, settled after it, in blocks leased from the store.

With room in the leased blocks a request is admitted in memory at once. Blocks are leased again beside the answers
before they run out. While the store is out of reach, limits per minute go on with each worker's share of them, and
limits of money only as far as what was leased.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from sartor.core.access import Caller
from sartor.core.errors import BusyError, RateError, StoreError, TooLargeError
from sartor.core.route import Route
from sartor.core.traffic import NANO, nanos
from sartor.store.shares import Book, Grant, OwnBook, Resource, Rest, Want, period_at

KINDS: Mapping[Resource, int] = {
    "requests_per_minute": 0,
    "tokens_per_minute": 1,
    "money_per_day": 2,
    "money_per_month": 2,
}
"""Resource -> which of (requests, tokens, money) it limits."""
RECHECK = 1.0
"""Seconds after which a limit that was reached is asked for again: somebody may have given back."""
LEASE_SECONDS = 5.0
"""After which the store counts as out of reach."""
IDLE = 10.0
"""Seconds after which an unused block is given back."""
MOST_CALLERS = 10_000
"""Pairs of key and route that are kept in mind."""

Amounts = tuple[int, int, int]


class Block:
    """What this worker has leased of one limit, and has not spent."""

    __slots__ = (
        *("asking", "holder", "kind", "limit", "low", "needed", "over", "period", "recheck", "resource", "room"),
        *("since", "until", "used"),
    )

    def __init__(self, holder: str, resource: Resource, limit: int, now: float) -> None:
        self.holder, self.resource, self.limit, self.kind = holder, resource, limit, KINDS[resource]
        self.room = self.low = 0
        self.period, self.since, self.used = "", now, now
        self.until = period_at(resource, now)[1] if self.kind == 2 else float("inf")
        self.asking = False
        self.needed, self.recheck, self.over = 0, 0.0, 0.0
        """What was refused, when it may be asked for again, when it may be had."""

    def roll(self, now: float) -> None:
        """Begin a new day or month: what was leased for the old one is void."""
        self.room, self.low, self.since, self.recheck = min(self.room, 0), 0, now, 0.0
        self.until = period_at(self.resource, now)[1]

    def want(self, amount: int) -> Want:
        """What to ask for so that there is room for this much."""
        return Want(self.holder, self.resource, self.limit, max(0, amount - self.room))

    def take(self, grant: Grant, need: int, now: float) -> None:
        """Add what was granted, or remember that it was not."""
        if grant.wait:
            self.needed, self.recheck, self.over = need, now + min(RECHECK, grant.wait), now + grant.wait
            return
        if grant.period != self.period:
            self.room, self.period, self.since, self.until = min(self.room, 0), grant.period, now, grant.until
        self.room += grant.amount
        self.low, self.recheck = grant.amount // 4, 0.0

    def refuse(self, amount: int, now: float) -> None:
        """Say no, if it was said a moment ago.

        Raises:
            RateError: the limit is reached.
            TooLargeError: the limit is less than this one request asks for.
        """
        if amount > self.limit:
            raise TooLargeError(
                f"This request may need {_said(self.resource, amount)}, and {self.named} may use {self.says} at all. "
                "Ask for less at once, e.g. by a smaller max_tokens.",
                code="request_over_limit",
            )
        if now < self.recheck and amount - self.room >= self.needed:
            raise self.error(now)

    def error(self, now: float) -> RateError:
        """The refusal."""
        wait = max(self.over - now, 0.001)
        return RateError(
            f"{self.named[0].upper()}{self.named[1:]} has used up its {self.says}. Try again in {_time(wait)}.",
            retry_after=wait,
            code="budget_exhausted" if self.kind == 2 else "rate_limit_exceeded",
        )

    @property
    def named(self) -> str:
        """Whose limit it is, in words."""
        what, _, name = self.holder.partition(":")
        return f"{what} '{name}'"

    @property
    def says(self) -> str:
        """The limit in words: `60 requests per minute`."""
        return f"{_said(self.resource, self.limit)} {self.resource.partition('_')[2].replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class Admission:
    """What was set aside for one request."""

    blocks: tuple[Block, ...]
    needs: Amounts
    at: float


FREE = Admission((), (0, 0, 0), 0.0)
"""Of a request that nothing limits."""


class Limiter:
    """The limits of one worker's callers."""

    def __init__(
        self,
        book: Book,
        tenant_limits: Callable[[str], Mapping[str, float]] = lambda _: {},
        *,
        workers: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A limiter with nothing leased.

        Args:
            book: where limits are kept for all workers.
            tenant_limits: what the keys of a tenant may use together; asked in memory.
            workers: how many share the limits per minute while the book is out of reach.
            clock: seconds since 1970.
        """
        self._book = book
        self._tenant_limits = tenant_limits
        self._own = OwnBook()
        self._workers = workers
        self._clock = clock
        self._blocks: dict[tuple[str, Resource], Block] = {}
        self._callers: dict[tuple[str, str, str], tuple[Any, Any, Any, tuple[Block, ...]]] = {}
        self._lock = asyncio.Lock()
        self._away = 0.0
        """Until when the book is taken to be out of reach."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="limits")  # nobody else's work delays a request here

    def admit(
        self, caller: Caller, route: Route, *, tokens: int, money: float
    ) -> Admission | Coroutine[Any, Any, Admission]:
        """Set aside what a request is expected to use, under the limits of its key, its tenant and its route.

        Returns:
            The admission; something to await for it where a block has to be leased first.

        Raises (at once, or when awaited):
            RateError: a limit is reached.
            TooLargeError: a limit is less than this one request asks for.
            BusyError: a limit of money can't be asked for, since the store is out of reach.
        """
        blocks = self._blocks_of(caller, route)
        if not blocks:
            return FREE
        return self.set_aside(blocks, (NANO, tokens * NANO, nanos(money)))

    def set_aside(self, blocks: tuple[Block, ...], needs: Amounts) -> Admission | Coroutine[Any, Any, Admission]:
        """Set these amounts of (requests, tokens, money) aside in all of the blocks, or in none."""
        now = self._clock()
        if not _fits(blocks, needs, now):
            return self._lease_and_take(blocks, needs)
        self._take(blocks, needs, now)
        return Admission(blocks, needs, now)

    def settle(self, admission: Admission, *, tokens: int, money: float) -> None:
        """Book what was really used; what was set aside and not used is free again."""
        if not admission.blocks:
            return
        needs = admission.needs
        left = 0, needs[1] - tokens * NANO, needs[2] - nanos(money)
        for block in admission.blocks:
            rest = left[block.kind]
            if rest < 0 or admission.at >= block.since:  # of a day that is over nothing comes back
                block.room += rest

    def block(self, holder: str, resource: Resource, limit: float | None = None) -> Block:
        """The block of a limit; None leaves the limit as it was."""
        found = self._blocks.get((holder, resource))
        if found is None:
            found = self._blocks[holder, resource] = Block(holder, resource, nanos(limit or 0), self._clock())
        if limit is not None:
            found.limit = nanos(limit)
        return found

    async def give_back(self, idle: float = 0.0) -> None:
        """Give back what has not been touched for so many seconds; all of it when the worker drains.

        Raises:
            StoreError: the store is out of reach; nothing was given back.
        """
        async with self._lock:
            before = self._clock() - idle
            blocks = [block for block in self._blocks.values() if block.room and block.used <= before]
            rests = [Rest(block.holder, block.resource, block.period, block.room) for block in blocks]
            for block in blocks:
                block.room = block.low = 0
            try:
                if rests:
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._book.give_back, rests)
            except StoreError:
                for block, rest in zip(blocks, rests, strict=True):
                    block.room += rest.amount
                raise

    async def tend(self) -> None:
        """Give back idle blocks again and again, until cancelled."""
        while True:
            await asyncio.sleep(IDLE / 2)
            with contextlib.suppress(StoreError):
                await self.give_back(IDLE)

    def _blocks_of(self, caller: Caller, route: Route) -> tuple[Block, ...]:
        place = caller.key, caller.tenant, route.name
        shared = self._tenant_limits(caller.tenant)
        known = self._callers.get(place)
        if known and known[0] is caller.limits and known[1] is shared and known[2] is route.limits:
            return known[3]
        stated = {name: getattr(route.limits, name) for name in KINDS}
        holders = (
            (f"key:{caller.key}", caller.limits),
            (f"tenant:{caller.tenant}", shared),
            (f"route:{route.name}", stated),
        )
        blocks = tuple(
            self.block(holder, resource, limits[resource])
            for holder, limits in holders
            for resource in KINDS
            if limits.get(resource)
        )
        if len(self._callers) >= MOST_CALLERS:
            self._callers.clear()
        self._callers[place] = caller.limits, shared, route.limits, blocks
        return blocks

    def _take(self, blocks: tuple[Block, ...], needs: Amounts, now: float) -> None:
        for block in blocks:
            block.room -= needs[block.kind]
            block.used = now
            if block.room < block.low and not block.asking:
                block.asking = True
                task = asyncio.get_running_loop().create_task(self._top_up(block))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _lease_and_take(self, blocks: tuple[Block, ...], needs: Amounts) -> Admission:
        async with self._lock:  # of those who wait here only the first has to ask, if it gets enough for all
            now = self._clock()
            while not _fits(blocks, needs, now):  # while a lease is waited for, others take from the other blocks
                await self._fill(blocks, needs, now)
                now = self._clock()
            self._take(blocks, needs, now)
            return Admission(blocks, needs, now)

    async def _fill(self, blocks: tuple[Block, ...], needs: Amounts, now: float) -> None:
        short = [block for block in blocks if block.room < needs[block.kind] > 0]
        for block in short:
            block.refuse(needs[block.kind], now)
        wants = [block.want(needs[block.kind]) for block in short]
        await self._lease(short, wants, now)
        refused = [block for block in short if block.recheck > now and block.room < needs[block.kind]]
        if refused:
            raise max(refused, key=lambda block: block.over).error(now)

    async def _top_up(self, block: Block) -> None:
        try:
            async with self._lock:
                now = self._clock()
                await self._lease([block], [Want(block.holder, block.resource, block.limit, 0)], now)
        except (StoreError, BusyError):
            block.low = 0  # whoever finds no room asks again
        finally:
            block.asking = False

    async def _lease(self, blocks: Sequence[Block], wants: Sequence[Want], now: float) -> None:
        """Ask for blocks; what is granted is added to them, also where whoever waited for it has left meanwhile."""
        if now >= self._away:
            asked = asyncio.get_running_loop().run_in_executor(self._thread, self._book.lease, wants, now)
            asked.add_done_callback(partial(_take_up, blocks, wants, now))
            await asyncio.wait([asked], timeout=LEASE_SECONDS)
            error = asked.exception() if asked.done() else StoreError("The store does not answer.")
            if error is None:
                return
            if not isinstance(error, StoreError):
                raise error
            self._away = self._clock() + RECHECK
        if any(KINDS[want.resource] == 2 for want in wants):
            raise BusyError(
                "The budget can't be asked for more: the store is out of reach, and what was set aside is used up. "
                "Try again in a few seconds.",
                retry_after=5.0,
                code="budget_unreachable",
            )
        own = self._own.lease([_part(want, self._workers) for want in wants], now)
        for block, want, grant in zip(blocks, wants, own, strict=True):
            block.take(grant, want.need, now)


class LeasedPurse:
    """The money of policies, as `gateway.policy.Purse` says, out of the same blocks."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def take(self, holder: str, period: Literal["day", "month"], limit: float, money: float) -> bool:
        """Set this much aside if the limit still has room for it."""
        block = self._limiter.block(*_purse(holder, period), limit)
        try:
            admission = self._limiter.set_aside((block,), (0, 0, nanos(money)))
            if not isinstance(admission, Admission):
                await admission
        except (RateError, TooLargeError):
            return False
        return True

    def settle(self, holder: str, period: Literal["day", "month"], taken: float, spent: float) -> None:
        """Give back what was set aside and not spent, or book what was spent beyond it."""
        self._limiter.block(*_purse(holder, period)).room += nanos(taken) - nanos(spent)


def _purse(holder: str, period: Literal["day", "month"]) -> tuple[str, Resource]:
    return f"purse:{holder}", "money_per_day" if period == "day" else "money_per_month"


def _take_up(blocks: Sequence[Block], wants: Sequence[Want], now: float, asked: "asyncio.Future[list[Grant]]") -> None:
    if not asked.cancelled() and asked.exception() is None:
        for block, want, grant in zip(blocks, wants, asked.result(), strict=True):
            block.take(grant, want.need, now)


def _fits(blocks: tuple[Block, ...], needs: Amounts, now: float) -> bool:
    fits = True
    for block in blocks:
        if now >= block.until:
            block.roll(now)
        if block.room < needs[block.kind] > 0:
            fits = False
    return fits


def _part(want: Want, workers: int) -> Want:
    return Want(want.holder, want.resource, max(want.limit // workers, want.need), want.need)


def _said(resource: Resource, amount: int) -> str:
    number = amount / NANO
    return f"{number:.6g} in money" if KINDS[resource] == 2 else f"{number:,.0f} {resource.partition('_')[0]}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{math.ceil(seconds)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.0f} hours"

"""How a limit is shared out in blocks, so that many workers keep to it without asking for every request. Knows no
database and no clock of its own; every amount is in whole nano-units of a request, a token or money.

A limit per minute is a bucket: it holds one minute's worth and fills steadily. A limit of money is for one day or one
month in UTC. A block that is leased counts as used; what is left of it comes back when its worker drains. A worker that
is killed takes with it what it had leased: at most a `PART` of the limit, which a bucket refills and a period forgets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

Resource = Literal["requests_per_minute", "tokens_per_minute", "money_per_day", "money_per_month"]

PART = 32
"""The largest block is this part of a limit."""
REST = 8
"""And this part of what is still free, so that little is left lying with one worker when it becomes scarce."""


@dataclass(frozen=True, slots=True)
class Want:
    """A block that a worker asks for."""

    holder: str
    """`key:ID`, `tenant:NAME`, `route:NAME`, `purse:NAME`."""
    resource: Resource
    limit: int
    need: int
    """Less than this is of no use; 0 takes whatever can be had."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What it gets."""

    amount: int
    period: str
    """Day or month that it is for; '' for a bucket."""
    until: float
    """When that is over, in seconds since 1970."""
    wait: float = 0.0
    """Seconds until what was needed can be had, where it could not."""


@dataclass(frozen=True, slots=True)
class Account:
    """How a limit stands."""

    period: str = ""
    used: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a block, or, below zero, what was used beyond it."""

    holder: str
    resource: Resource
    period: str
    amount: int


class Book(Protocol):
    """Where limits are kept for all workers. May block."""

    def lease(self, wants: Sequence[Want], now: float) -> list[Grant]:
        """A grant for each want, in their order."""
        ...

    def give_back(self, rests: Sequence[Rest]) -> None:
        """Take back what was not used, and book what was used beyond."""
        ...


def share(account: Account, want: Want, now: float) -> tuple[Account, Grant]:
    """Lease a block of a limit; the account afterwards, and what was granted."""
    now = max(now, account.at)  # clocks of machines differ a little
    if want.resource.endswith("minute"):
        period, until = "", float("inf")
        used = max(0, account.used - int(want.limit * (now - account.at) / 60))
    else:
        begun, until = period_at(want.resource, now)
        period = max(begun, account.period)
        used = account.used if account.period == period else 0
    free = want.limit - used
    if want.need > free:
        wait = until - now if period else (want.need - free) * 60 / want.limit
        return Account(period, used, now), Grant(0, period, until, wait)
    amount = max(want.need, min(want.limit // PART, free // REST), 0)
    return Account(period, used + amount, now), Grant(amount, period, until)


def returned(account: Account, rest: Rest) -> Account:
    """The account after a block's rest came back; of a period that is over nothing comes back."""
    if account.period != rest.period:
        return account
    return replace(account, used=max(0, account.used - rest.amount))


def period_at(resource: Resource, now: float) -> tuple[str, float]:
    """The day or month in UTC, and when it ends."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if resource == "money_per_day":
        return f"{day:%Y-%m-%d}", (day + timedelta(days=1)).timestamp()
    month = day.replace(day=1)
    return f"{month:%Y-%m}", (month + timedelta(days=32)).replace(day=1).timestamp()


class OwnBook:
    """Limits of one worker alone, in its memory."""

    def __init__(self, accounts: Mapping[tuple[str, Resource], Account] | None = None) -> None:
        self._accounts = dict(accounts or {})

    def lease(self, wants: Sequence[Want], now: float) -> list[Grant]:
        """A grant for each want, in their order."""
        grants = []
        for want in wants:
            place = want.holder, want.resource
            self._accounts[place], grant = share(self._accounts.get(place, Account()), want, now)
            grants.append(grant)
        return grants

    def give_back(self, rests: Sequence[Rest]) -> None:
        """Take back what was not used, and book what was used beyond."""
        for rest in rests:
            place = rest.holder, rest.resource
            self._accounts[place] = returned(self._accounts.get(place, Account()), rest)

"""What cost money beside answering: the records of runs, and what people book by hand.

A booking (minutes of labelling, a machine's price by the hour, a judge's bill, a correction) is a run of the verb
`booked`: an event that is never edited.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

from sartor.core.canonical import digest
from sartor.core.errors import AskError, NotFoundError, unknown
from sartor.core.records import Run, now
from sartor.core.task import Task
from sartor.core.traffic import NANO, nanos
from sartor.economics.account import Entry, Machine, Part
from sartor.economics.currency import Books
from sartor.economics.judged import Stake
from sartor.pipeline.serve import contract_of
from sartor.pipeline.workshop import Workshop

BOOKED = "booked"
MOST = 1_000_000
"""Runs that are read."""
What = Literal["labelling", "judge", "machine", "adjustment"]
MOST_MONEY = 1e12
"""More is a slip of the keyboard."""
FIRST_YEAR = 2000
"""Nothing that is booked here is older."""
WHATS: tuple[What, ...] = ("labelling", "judge", "machine", "adjustment")


@dataclass(frozen=True)
class Scope:
    """Which part of the books is looked at."""

    task: str = ""
    route: str = ""
    tenant: str = ""
    since: float = 0.0
    """Seconds since 1970."""
    until: float = float("inf")


@dataclass(frozen=True)
class Booking:
    """What a person books."""

    what: What
    task: str = ""
    money: float | None = None
    """In `currency`; default minutes at the hourly price."""
    minutes: float | None = None
    hourly: float | None = None
    """Money an hour: of a person, or of all of a machine."""
    start: str = ""
    """ISO 8601 day or time from which on a machine costs; or on which the other things happened."""
    until: str = ""
    """First moment at which a machine costs no more; '' it goes on."""
    currency: str = ""
    """'' that of the books."""
    note: str = ""


def book(shop: Workshop, booking: Booking) -> Run:
    """Book something that cost money, for good: a mistake is made up for by an adjustment.

    Raises:
        AskError: something is missing or does not fit, or no rate is stated for the currency.
    """
    if booking.what not in WHATS:
        raise unknown("thing to book", booking.what, WHATS, param="what")
    money = books_of(shop).take(_amount(booking), booking.currency or shop.currency)
    start, end = _moment(booking.start) if booking.start else now(), _moment(booking.until) if booking.until else ""
    if end and end <= start:
        raise AskError(f"'until' ({end}) must come after 'from' ({start}).", param="until", code="bad_booking")
    params = {"money": nanos(money), "from": start, "until": end, "note": booking.note, "minutes": booking.minutes}
    run = Run(
        verb=BOOKED,
        plugin=f"economics/{booking.what}",
        task=booking.task,
        key=digest({"verb": BOOKED, "what": booking.what, "task": booking.task, "at": now(), **params}),
        params=params | {"currency": shop.currency, "who": shop.who},
        cost=money,
    )
    shop.store.ledger.put(run)
    return run


def _amount(booking: Booking) -> float:
    """Money of a booking; of a machine, for one hour."""
    if booking.what == "machine":
        if booking.hourly is None or booking.hourly < 0:
            raise AskError("A machine takes its price: --hourly 0.35.", param="hourly", code="bad_booking")
        return _sane(booking.hourly)
    money = booking.money
    if money is None and booking.minutes is not None and booking.hourly is not None:
        money = booking.minutes / 60.0 * booking.hourly
    if money is None:
        raise AskError(
            f"How much is it? Give --money, or --minutes and --hourly, to book {booking.what}.",
            param="money",
            code="bad_booking",
        )
    if booking.what != "adjustment" and money < 0:
        raise AskError("Only an adjustment may be negative.", param="money", code="bad_booking")
    return _sane(money)


def _sane(money: float) -> float:
    if not abs(money) <= MOST_MONEY:  # what is no number is no amount either
        raise AskError(f"{money:g} is no amount that can be booked.", param="money", code="bad_booking")
    return money


def _moment(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise AskError(
            f"'{text}' is no day or time. Write it as 2026-11-25 or 2026-11-25T14:00.", param="from", code="bad_time"
        ) from error
    if found.year < FIRST_YEAR:
        raise AskError(f"'{text}' is before {FIRST_YEAR}: that can't be meant.", param="from", code="bad_time")
    return found.isoformat(timespec="milliseconds")


def seconds(text: str) -> float:
    """A day or time in seconds since 1970.

    Raises:
        AskError: it is none.
    """
    return datetime.fromisoformat(_moment(text)).timestamp()


def books_of(shop: Workshop) -> Books:
    """The currency of the books, with the stated rates."""
    return Books(shop.currency, shop.rates)


def entries(shop: Workshop, scope: Scope = Scope()) -> tuple[list[Entry], list[Machine]]:
    """What cost money beside answering: runs of the store and bookings; and the machines that were booked.

    Raises:
        AskError: a run's money is in a currency without a stated rate.
    """
    runs = shop.store.ledger.find(Run, limit=MOST, **({"task": scope.task} if scope.task else {}))
    rates = {task: stake.rate for task, stake in stakes_of(shop, {r.task for r in runs if r.verb != BOOKED}).items()}
    found, machines = list[Entry](), list[Machine]()
    for run in runs:
        at = datetime.fromisoformat(run.created).timestamp()
        what = run.plugin.removeprefix("economics/")
        if run.verb != BOOKED:
            money = nanos(run.cost * rates.get(run.task, 1.0))
            variant = run.outputs.get("variant", run.inputs.get("variant", ""))
            found.append(Entry("training", money, at, run.task, variant, run.verb))
        elif what == "machine":
            start, end = (seconds(run.params[name]) if run.params[name] else scope.until for name in ("from", "until"))
            clipped = max(start, scope.since), min(end, scope.until)
            machines.append(Machine(run.params["money"] / NANO, *clipped, run.task))
        else:
            at = seconds(run.params["from"])
            found.append(Entry(cast("Part", what), run.params["money"], at, run.task, "", run.params["note"]))
    whole = not (scope.route or scope.tenant)  # what serves all is no cost of one route or tenant
    return [e for e in found if whole and scope.since <= e.at < scope.until and e.money], machines if whole else []


def stakes_of(shop: Workshop, tasks: Iterable[str]) -> dict[str, Stake]:
    """What the answers of tasks are worth; tasks without a contract here are left out."""
    found = {}
    for name in tasks:
        try:
            task = Task.model_validate(contract_of(shop, name).contract)
        except NotFoundError:
            continue
        found[name] = Stake(task.value, task.feedback, books_of(shop).rate(task.value.currency))
    return found

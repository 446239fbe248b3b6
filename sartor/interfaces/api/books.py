"""Traffic and economics over HTTP: the verbs of the command line, kept to the caller's tenant."""

from typing import Any

from sartor.core.access import Caller
from sartor.core.errors import AskError, ForbiddenError
from sartor.interfaces.api.forms import Exchanges, Ledger, NewBooking, Outlook
from sartor.pipeline.workshop import Workshop
from sartor.store.credentials import EVERY_TENANT


def list_exchanges(shop: Workshop, caller: Caller, asked: Exchanges) -> dict[str, Any]:
    """Exchanges, newest first."""
    from sartor.pipeline.traffic import exchange_body, filters_of, page_of

    filters = filters_of(asked.where, route=asked.route, since=asked.since, until=asked.until)
    page = page_of(shop, _own(caller) or asked.tenant or None, filters, after=asked.after, limit=asked.limit)
    return {"exchanges": [exchange_body(found) for found in page.rows], "after": page.after}


def show_exchange(shop: Workshop, caller: Caller, exchange: str) -> Any:
    """One exchange with hops, feedback and what is kept of its content."""
    from sartor.pipeline.traffic import show

    return show(shop, _own(caller), exchange)


def explain_exchange(shop: Workshop, caller: Caller, exchange: str) -> Any:
    """From an answer to variant, data rows, report and decision."""
    from sartor.pipeline.explain import explain

    return explain(shop, exchange, tenant=_own(caller))


def erase(shop: Workshop, caller: Caller, subject: str, tenant: str) -> dict[str, int]:
    """Erase a person: destroy the key of their content. It can't be taken back; accounting rows stay."""
    from sartor.pipeline.traffic import erase as destroy

    wanted = tenant or caller.tenant
    if wanted == EVERY_TENANT:
        raise AskError("Say whose user it is: tenant.", param="tenant", code="no_tenant")
    if caller.tenant not in (EVERY_TENANT, wanted):
        raise ForbiddenError(f"The users of tenant '{wanted}' are not yours to erase.", code="not_every_tenant")
    return {"keys_destroyed": destroy(shop, wanted, subject)}


def ledger(shop: Workshop, caller: Caller, asked: Ledger) -> Any:
    """The books: cost by part, per 1,000 right answers, lost by mistakes, saved."""
    from sartor.pipeline.bookings import Scope, seconds
    from sartor.pipeline.economics import ledger as look

    since, until = seconds(asked.since) if asked.since else 0.0, seconds(asked.until) if asked.until else float("inf")
    scope = Scope(asked.task, asked.route, _own(caller) or asked.tenant, since, until)
    return look(shop, [part for part in asked.by.split(",") if part], scope, giant=asked.giant)


def book(shop: Workshop, asked: NewBooking) -> dict[str, Any]:
    """Book what cost money beside answering."""
    from sartor.pipeline.bookings import Booking
    from sartor.pipeline.bookings import book as put

    run = put(shop, Booking(**dict(asked)))
    return run.model_dump(mode="json") | {"digest": run.digest}


def forecast(shop: Workshop, name: str, asked: Outlook) -> Any:
    """What each way of answering would cost a month, from captured traffic."""
    from sartor.pipeline.bookings import seconds
    from sartor.pipeline.forecast import forecast as look
    from sartor.pipeline.forecast import read_assumed

    since, assumed = seconds(asked.since) if asked.since else 0.0, read_assumed(asked.assume)
    return look(shop, name, giant=asked.giant, since=since, days=asked.days, assumed=assumed)


def _own(caller: Caller) -> str | None:
    """Whose traffic the caller sees; None: everybody's."""
    return None if caller.tenant == EVERY_TENANT else caller.tenant

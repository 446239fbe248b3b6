"""What the gateway's answers and everything around them cost: the books that the store holds, and what is booked by
hand.

Exchanges come from captured traffic, all else from `bookings`. Traffic is read twice, page by page, and not held.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, cast

from sartor.core.errors import NotFoundError
from sartor.core.records import Report, UpstreamRecord
from sartor.core.route import Upstream
from sartor.core.traffic import NANO, Exchange, Feedback
from sartor.economics.account import DAY, PARTS, Account, Line, Reconciliation, reconcile, start_of, sum_of
from sartor.economics.counterfactual import Counterfactual, Giant, saving
from sartor.economics.currency import Books
from sartor.economics.figure import Figure
from sartor.economics.judged import Claim, Judged, Verdicts, per_1000_correct
from sartor.economics.prices import Price, PriceOverride, price_of
from sartor.hub.catalogue.hosted import MODELS
from sartor.pipeline.bookings import Scope, books_of, entries, stakes_of
from sartor.pipeline.declared import UPSTREAM
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Filters

Source = Literal["human", "outcome", "judge", "code"]
PAGE = 2000
"""Exchanges read at once."""
CONFIDENCE = 0.9


class Traffic(Protocol):
    """Where exchanges and feedback come from."""

    def exchanges(self) -> Iterable[Exchange]:
        """All that are asked about, from the beginning each time."""
        ...

    def feedback(self) -> Iterable[Feedback]:
        """All of it that may bear on them."""
        ...


@dataclass(frozen=True)
class Row:
    """A line of a view with the figures that are not simply counted."""

    line: Line
    correct: Figure
    per_1000_correct: Figure
    lost: Figure
    """Money lost by the answers under the value function of their tasks."""
    giant: Figure
    """Money that the giant alone would have cost."""
    saved: Figure

    def body(self, by: Sequence[str]) -> dict[str, Any]:
        """As JSON; parts and total in whole nano-units."""
        line = self.line
        return {
            **dict(zip(by, line.key, strict=False)),
            "requests": line.requests,
            "failed": line.failed,
            "input_tokens": line.input_tokens,
            "output_tokens": line.output_tokens,
            "cpu_seconds": line.cpu_seconds,
            "parts": {part: line.parts[part] for part in PARTS},
            "total": line.total,
            "correct": self.correct.body(),
            "per_1000_correct": self.per_1000_correct.body(),
            "lost": self.lost.body(),
            "giant": self.giant.body(),
            "saved": self.saved.body(),
        }


@dataclass(frozen=True)
class View:
    """The books by something."""

    by: tuple[str, ...]
    currency: str
    rows: tuple[Row, ...]
    sum: Line
    reconciled: Reconciliation
    giants: dict[str, str] = field(default_factory=dict)
    """Route -> what it is compared with."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        found = self.reconciled
        return {
            "by": self.by,
            "currency": self.currency,
            "unit": f"1/{NANO} {self.currency}",
            "giants": self.giants,
            "rows": [row.body(self.by) for row in self.rows],
            "total": self.sum.total,
            "reconciled": {
                "exact": found.exact,
                "exchanges": found.exchanges,
                "booked": found.booked,
                "hops": found.hops,
                "differing": found.differing,
                "off": dict(found.off),
            },
        }


def prices(shop: Workshop, model: str = "") -> list[Price]:
    """`list_prices` in the currency of the shop's books."""
    return list_prices(books_of(shop), model)


def list_prices(books: Books, model: str = "") -> list[Price]:
    """List prices of a model, or of all hosted ones of the catalogue, in the books' currency where a rate is stated.

    Raises:
        NotFoundError: no list has the model.
    """
    found = [price_of(model)] if model else [price_of(m, provider=p) for p, models in MODELS.items() for m in models]
    return [books.price(price) if price.currency in books.rates else price for price in found]


def ledger(
    shop: Workshop,
    by: Sequence[str] = (),
    scope: Scope = Scope(),
    *,
    giant: str = "",
    traffic: Traffic | None = None,
) -> View:
    """The books by task, tenant, variant, route or day.

    Args:
        giant: upstream that the saving is held against; '' on each route the dearest that was asked.
        traffic: default what the store captured.

    Raises:
        NotFoundError: the books can't be kept by that.
        AskError: a task's money is in a currency without a stated rate.
    """
    until = min(scope.until, datetime.now(UTC).timestamp())
    traffic = traffic or Captured(shop, scope)
    found, machines = entries(shop, scope)
    books = Account(by, machines, now=until)
    giants, pairs = Giant(named=giant), set[tuple[str, str]]()
    for done in traffic.exchanges():
        giants.exchange(done)
        pairs.add((done.task, done.variant))
    stakes = stakes_of(shop, {task for task, _ in pairs if task})
    # A judge's error is in no figure of the books: what its word is worth is told by `sartor judge status`.
    told = (item for item in traffic.feedback() if item.source != "judge")
    judged = Judged(Verdicts(told), stakes, _claims(shop, pairs), CONFIDENCE)
    against = Counterfactual(giants, CONFIDENCE, price_of_giant(shop, giant))

    def booked() -> Iterator[Exchange]:
        for done in traffic.exchanges():
            key = books.exchange(done).key
            judged.exchange(key, done)
            against.exchange(key, done)
            yield done

    checked = reconcile(booked())
    for item in found:
        books.entry(item)
    lines = books.lines()
    rows = tuple(_row(line, judged, against) for line in lines)
    return View(tuple(by), shop.currency, rows, sum_of(lines), checked, giants.names())


def _row(line: Line, judged: Judged, against: Counterfactual) -> Row:
    correct, giant = judged.correct(line.key), against.cost(line.key)
    return Row(
        line,
        correct,
        per_1000_correct(line.total, correct, NANO),
        judged.lost(line.key),
        giant,
        saving(giant, line.total),
    )


def price_of_giant(shop: Workshop, giant: str) -> Price | None:
    """What a named giant charges, as it is declared or listed, in the books' currency; None where nobody says."""
    pointer = shop.store.ledger.resolve(giant + UPSTREAM) if giant else None
    record = shop.store.ledger.get(pointer.digest) if pointer and pointer.digest else None
    spec = Upstream.model_validate(record.spec) if isinstance(record, UpstreamRecord) else None
    model = (spec.model if spec else "") or giant
    own = {model: PriceOverride(**spec.price.model_dump())} if spec and spec.price else {}
    try:
        return books_of(shop).price(price_of(model, overrides=own)) if model else None
    except NotFoundError:
        return None


def _claims(shop: Workshop, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Claim]:
    """What test rows said of variants and giants."""
    found = {}
    for task, variant in pairs:
        if not task or not variant:
            continue
        for report in shop.store.ledger.find(Report, subject=variant, task=task, purpose="inspection", limit=20):
            metric = report.metrics.get("accuracy")
            if report.split == "test" and metric is not None and metric.value is not None:
                low = metric.value if metric.low is None else metric.low
                high = metric.value if metric.high is None else metric.high
                note = f"report {report.digest[:12]}: {100 * metric.value:.1f} % of {metric.n:,} test rows are right"
                found[task, variant] = Claim(metric.value, low, high, note)
                break
    return found


class Captured:
    """Exchanges and feedback that the store holds."""

    def __init__(self, shop: Workshop, scope: Scope = Scope()) -> None:
        self._index, self._tenant = shop.store.traffic.index, scope.tenant or None
        self._filters = Filters(
            task=scope.task or None,
            route=scope.route or None,
            since=scope.since or None,
            until=None if scope.until == float("inf") else scope.until,
        )
        self._index.catch_up()

    def exchanges(self) -> Iterator[Exchange]:
        """All in the scope, newest first."""
        after = ""
        while True:
            page = self._index.exchanges(self._tenant, self._filters, after=after, limit=PAGE)
            yield from page.rows
            after = page.after
            if not after:
                return

    def feedback(self) -> Iterator[Feedback]:
        """The last value of each metric and source, under the id of its exchange."""
        wanted = self._filters
        for group in self._index.totals(self._tenant, ("tenant", "route", "day"), wanted):
            tenant, route, day = (str(group[name]) for name in ("tenant", "route", "day"))
            start = start_of(day)  # day by day, so that one day is held at a time
            since, until = max(start, wanted.since or start), min(start + DAY, wanted.until or start + DAY)
            for done in self._index.outcomes(tenant, route, since=since, until=until):
                for (metric, source), value in done.feedback.items():
                    yield Feedback("", done.at, tenant, metric, value, exchange=done.id, source=cast("Source", source))

"""What each way of answering would cost a month, from captured traffic, before anything is spent; later what came true.

Every figure that the traffic does not show is an assumption with a range. All of them stand in `Assumed`, in the
stored report and on the page. A forecast is a report of the purpose `forecast`; `actual` holds it against the books.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from sartor.core.errors import AskError, NotFoundError, unknown
from sartor.core.predict import Usage
from sartor.core.records import Metric, Report, Run
from sartor.core.traffic import NANO, Exchange
from sartor.economics.account import DAY, day_of
from sartor.economics.counterfactual import Giant
from sartor.economics.days import Days, Prompt, Seen
from sartor.economics.options import CLIFF, MONTH, NOTHING, Option, Outlook, Range, outlook
from sartor.economics.prices import Price, price_of
from sartor.economics.trend import Paths, carry_forward
from sartor.pipeline.bookings import BOOKED, Scope, books_of, stakes_of
from sartor.pipeline.economics import Captured, Traffic, price_of_giant
from sartor.pipeline.make import RECIPES
from sartor.pipeline.workshop import Workshop

NOW, GIANT = "now", "giant"
CONFIDENCE = 0.9
MOST = 1e12
"""Highest number that an assumption may be."""
MOST_DAYS = 1096
LOCAL, CPU = Range(0.5, 0.8, 0.95), Range(0.002, 0.01, 0.04)


@dataclass(frozen=True)
class Assumed:
    """What the traffic does not show. Times in seconds, money in the books' currency."""

    volume: float = 0.0
    """Requests a month, where it will be another number than the traffic's; 0: as it goes on."""
    cheaper: str = "gpt-4o-mini"
    """Hosted model that would get today's prompt."""
    prompt_share: float = 0.5
    """Of the fixed part of the prompt that a shorter one keeps; above 1: a longer one."""
    local_share: Range = LOCAL
    """Of the requests that a cascade would answer itself."""
    cpu_seconds: Range = CPU
    """Of a small tuned model, for one answer."""
    rows: int = 2000
    """Training rows."""
    labelling: float = 0.0
    """Money for having them labelled; 0 where the giant's own answers are learnt from."""
    machine: float = 0.0
    """Money a month for a machine that is kept for it; 0: only the CPU seconds used are paid."""
    capacity: float = 0.0
    """Requests a month that such a machine can answer; 0: as its CPU seconds allow, half of the time idle."""


def read_assumed(pairs: Iterable[str]) -> Assumed:
    """Assumptions as typed: `name=value`, or `name=low,middle,high` for those that are ranges.

    Raises:
        NotFoundError: there is no such assumption.
        AskError: a value does not fit.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        default = getattr(Assumed(), name, None)
        if default is None:
            raise unknown("assumption", name, [f.name for f in fields(Assumed)], param="assume")
        try:
            given[name] = _range(text) if isinstance(default, Range) else _plain(text, type(default))
        except ValueError as error:
            raise AskError(f"'{pair}' can't be read: {error}.", param="assume", code="bad_assumption") from error
    return Assumed(**given)


def _plain(text: str, kind: type) -> Any:
    value = kind(text)
    if kind is not str and not 0 <= value <= MOST:
        raise ValueError(f"it must be a number between 0 and {MOST:g}")
    return value


def _range(text: str) -> Range:
    parts = [float(part) for part in text.split(",")]
    found = Range(*parts) if len(parts) == 3 else Range.exactly(parts[0])
    if len(parts) not in (1, 3) or not 0 <= found.low <= found.mid <= found.high <= MOST:
        raise ValueError("a range is one number, or three that rise, such as 0.5,0.8,0.95")
    return found


@dataclass(frozen=True)
class Forecast:
    """Everything found."""

    name: str
    report: Report
    outlooks: tuple[Outlook, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"forecast": self.report.digest, "name": self.name, **self.report.facts}


def forecast(
    shop: Workshop,
    name: str,
    *,
    giant: str = "",
    since: float = 0.0,
    days: int = 90,
    assumed: Assumed = Assumed(),
    traffic: Traffic | None = None,
    now: float | None = None,
) -> Forecast:
    """Forecast a task or route, and keep the forecast.

    Args:
        giant: upstream that the others pay back against; '' on each route the dearest that was asked.

    Raises:
        NotFoundError: a model has no price.
        AskError: there is no traffic, no rate is stated for a price, or it is to look too far.
    """
    if not 1 <= days <= MOST_DAYS:
        raise AskError(f"A forecast looks 1 to {MOST_DAYS} days ahead, not {days}.", param="days", code="bad_days")
    if 0 < assumed.capacity < 1:
        raise AskError("A machine answers at least one request a month.", param="capacity", code="bad_assumption")
    traffic = traffic or _traffic_of(shop, name, since)
    giants = Giant((d for d in traffic.exchanges() if name in (d.task, d.route)), named=giant)
    whole = Days(giants.names(), (d for d in traffic.exchanges() if name in (d.task, d.route)))
    seen = whole.seen(datetime.now(UTC).timestamp() if now is None else now)
    start = seen.now.first + seen.now.days
    paths = _at_volume(carry_forward(seen.now, days), assumed.volume)
    ways = [Option(NOW, "as it is answered now", hosted=[1.0] * len(seen.routes))]
    found = outlook(paths, ways, confidence=CONFIDENCE)
    if seen.giant is not None:
        options = _options(shop, name, seen, giants, assumed)
        found += outlook(_at_volume(carry_forward(seen.giant, days), assumed.volume), options, confidence=CONFIDENCE)
    facts = _facts(shop, seen, paths, found, giants, assumed) | {"start": _iso(start), "days": days}
    facts["options"] = [_dated(o, start) for o in found]
    metrics = {f"month:{o.option.name}": _metric(o, seen.now.days) for o in found}
    title = f"forecast of {name} from {_iso(start)}"
    report = Report(purpose="forecast", subject=name, title=title, task=name, metrics=metrics, facts=facts)
    shop.store.ledger.put(report)
    return Forecast(name, report, tuple(found))


def _traffic_of(shop: Workshop, name: str, since: float) -> Traffic:
    """Captured traffic whose task or route has this name."""
    for scope in (Scope(task=name, since=since), Scope(route=name, since=since)):
        traffic = Captured(shop, scope)
        if next(iter(traffic.exchanges()), None) is not None:
            return traffic
    raise AskError(
        f"No traffic of a task or route '{name}' is captured{' since then' if since else ''}. Let its requests through "
        "the gateway first; the names that have traffic are listed by: sartor economics ledger --by route",
        param="name",
        code="no_traffic",
    )


def _at_volume(paths: Paths, volume: float) -> Paths:
    """The paths with another number of requests in the first month."""
    if not volume:
        return paths
    month = paths.point_requests[:MONTH]
    factor = volume / (float(month.sum()) * MONTH / len(month))
    return replace(paths, requests=paths.requests * factor, point_requests=paths.point_requests * factor)


def _options(shop: Workshop, name: str, seen: Seen, giants: Giant, assumed: Assumed) -> list[Option]:
    """The giant first, then what could take its place."""
    every = [1.0] * len(seen.routes)
    cheaper = books_of(shop).price(price_of(assumed.cheaper))
    unit, unit_says = _unit(shop, name, assumed)
    if assumed.machine:  # it is paid as a whole
        unit, unit_says = NOTHING, f"machines at {assumed.machine:,.2f} {shop.currency} a month; {unit_says}"
    making, making_says = _making(shop, name, assumed)
    capacity = assumed.capacity or MONTH * DAY / 2 / max(assumed.cpu_seconds.mid, 1e-9)
    capacity = capacity if assumed.machine else 0.0
    own = partial(Option, each=unit, making=making, machine=assumed.machine, capacity=capacity)
    asked = assumed.local_share
    shares = Range(1 - asked.high, 1 - asked.mid, 1 - asked.low)
    local = f"{asked.mid:.0%} answered by the small model ({asked.low:.0%} to {asked.high:.0%}, assumed)"
    named = ", ".join(sorted({giants.name(route) for route in seen.routes} - {""}))
    prompt = [_ratio(p, cheaper, 1.0) for p in seen.prompts]
    shorter = _shorter(shop, seen, giants, assumed.prompt_share)
    return [
        Option(GIANT, f"{named or 'the giant'} with today's prompt, as its upstream charged", hosted=every),
        Option("prompt", f"{assumed.cheaper} with today's prompt, by {cheaper.source}", hosted=prompt),
        Option("few-shot", f"the giant with {assumed.prompt_share:.0%} of today's fixed prompt", hosted=shorter),
        own("tuned", f"a small tuned model: {unit_says}; making: {making_says}"),
        own("cascade", f"{local}, the giant for the rest; {unit_says}", hosted=every, asked=shares),
    ]


def _ratio(prompt: Prompt, price: Price, keep: float) -> float:
    """What a request costs with a part of its fixed prompt at another price, as a share of what the giant charges."""
    tokens = prompt.tokens - (1.0 - keep) * prompt.fixed
    money = price.cost(Usage(round(tokens * 1000), round(prompt.output * 1000))) / 1000.0
    return money / prompt.money if prompt.money else 0.0


def _shorter(shop: Workshop, seen: Seen, giants: Giant, keep: float) -> list[float]:
    """The giant with another prompt: by its price where one is known, else as if only input cost money."""
    found = []
    for route, prompt in zip(seen.routes, seen.prompts, strict=True):
        price = price_of_giant(shop, giants.name(route))
        if price is None:
            found.append(1.0 - (1.0 - keep) * prompt.fixed / max(prompt.tokens, 1.0))
        else:
            # What was charged may differ from the price (cached tokens, a contract): only the proportion is taken.
            found.append(_ratio(prompt, price, keep) / max(_ratio(prompt, price, 1.0), 1e-12))
    return found


def _unit(shop: Workshop, task: str, assumed: Assumed) -> tuple[Range, str]:
    """Money for one answer of the small model: as it was measured on this task, else from assumed CPU seconds."""
    for report in shop.store.ledger.find(Report, task=task, purpose="inspection", limit=50):
        cost = report.measured.get("unit_cost")
        if cost:
            cost *= _rate(shop, task)
            return Range(0.7 * cost, cost, 1.5 * cost), f"measured on {report.title}"
    each, price = assumed.cpu_seconds, shop.second_price * _rate(shop, task)
    says = f"{1000 * each.mid:g} ms of CPU an answer ({1000 * each.low:g} to {1000 * each.high:g}, assumed)"
    return Range(each.low * price, each.mid * price, each.high * price), says


def _making(shop: Workshop, task: str, assumed: Assumed) -> tuple[Range, str]:
    """Money for making it: what runs of this task took, else the recipes' own rules of thumb; and labelling."""
    runs = [run for run in shop.store.ledger.find(Run, task=task, limit=1000) if run.verb != BOOKED and run.cost]
    labels = assumed.labelling
    if runs:
        spent = sum(run.cost for run in runs) * _rate(shop, task)
        return Range.exactly(spent + labels), f"what {len(runs)} runs here took"
    seconds = assumed.rows / 1000.0 * sum(_ms_per_row(name) for name in RECIPES.own())
    money = seconds * shop.second_price * _rate(shop, task)
    says = f"{seconds:,.0f} CPU seconds on {assumed.rows:,} rows by rule of thumb (a third to three times)"
    return Range(money / 3 + labels, money + labels, money * 3 + labels), says


def _rate(shop: Workshop, task: str) -> float:
    """What one of the task's currency, in which CPU hours are priced, is in that of the books."""
    stake = stakes_of(shop, [task]).get(task)
    return stake.rate if stake else 1.0


def _ms_per_row(recipe: str) -> float:
    stated = getattr(importlib.import_module(RECIPES.take(recipe).module), "MS_PER_ROW", {})
    return float(stated.get("medium", 10.0))


def _facts(
    shop: Workshop, seen: Seen, paths: Paths, found: Sequence[Outlook], giants: Giant, assumed: Assumed
) -> dict[str, Any]:
    month = paths.point_requests[:MONTH]
    return {
        "currency": shop.currency,
        "confidence": CONFIDENCE,
        "seen": seen.note,
        "giants": {route: giants.name(route) for route in seen.routes},
        "routes": [
            {
                "route": route,
                "requests_a_month": float(month[:, i].sum()) * MONTH / len(month),
                "growth_a_day": float(paths.growth[i]),
                "cost_drift_a_day": float(paths.drift[i]),
                **({"prompt": asdict(seen.prompts[i])} if seen.prompts else {}),
            }
            for i, route in enumerate(seen.routes)
        ],
        "assumed": asdict(assumed),
        "cumulated": {o.option.name: [list(day) for day in o.cumulated] for o in found},
        "cliff": {o.option.name: list(o.cliff) for o in found},
        "multiples": [float(v) for v in CLIFF],
    }


def _dated(found: Outlook, start: int) -> dict[str, Any]:
    """One way as JSON, the days of its payback as dates."""
    pays = found.pays_back
    dates = {
        name: _iso(start + day - 1) for name in ("day", "early", "late") if (day := getattr(pays, name)) is not None
    }
    return found.body() | {"pays_back": pays.body() | {"dates": dates}}


def _metric(found: Outlook, n: int) -> Metric:
    money = found.month
    return Metric(value=money.value, low=money.low, high=money.high, n=n, unit="money a month", note=found.option.says)


def _iso(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


@dataclass(frozen=True)
class Actual:
    """A forecast beside what the books say."""

    name: str
    forecast: str
    """Digest of the report."""
    option: str
    start: str
    days: int
    """Whole days that are over."""
    expected: float
    low: float
    high: float
    actual: float
    currency: str

    @property
    def inside(self) -> bool:
        """Whether it lies in the stated interval."""
        return self.low <= self.actual <= self.high

    def body(self) -> dict[str, Any]:
        """As JSON."""
        off = self.actual - self.expected
        share = off / self.expected if self.expected else None
        return asdict(self) | {"difference": off, "share": share, "inside": self.inside}


def actual(
    shop: Workshop,
    name: str,
    *,
    option: str = NOW,
    now: float | None = None,
    traffic: Traffic | None = None,
) -> Actual:
    """The newest forecast of a task or route against what answering has cost since, over the whole days that are over.

    Raises:
        NotFoundError: nothing of this name was forecast, or not this option.
        AskError: not one day is over, or the books are kept in another currency now.
    """
    reports = shop.store.ledger.find(Report, subject=name, purpose="forecast", limit=1)
    if not reports:
        raise NotFoundError(f"'{name}' was never forecast. Run: sartor economics forecast {name}", code="no_forecast")
    facts = reports[0].facts
    if option not in facts["cumulated"]:
        raise NotFoundError(f"The forecast has no '{option}'. It has: {', '.join(facts['cumulated'])}.", param="option")
    if facts["currency"] != shop.currency:
        raise AskError(f"The forecast is in {facts['currency']}, the books in {shop.currency}.", code="other_currency")
    first = int(datetime.fromisoformat(facts["start"]).replace(tzinfo=UTC).timestamp() // DAY)
    today = int((datetime.now(UTC).timestamp() if now is None else now) // DAY)
    over = min(today - first, int(facts["days"]))
    if over < 1:
        raise AskError(f"No day of the forecast is over: it begins on {facts['start']}.", code="too_early")
    span = Scope(since=first * DAY, until=(first + over) * DAY)
    exchanges = (traffic or Captured(shop, span)).exchanges()
    spent = _spent(exchanges, name, span)
    value, low, high = facts["cumulated"][option][over - 1]
    return Actual(
        name, reports[0].digest, option, day_of(span.since), over, value, low, high, spent / NANO, shop.currency
    )


def _spent(exchanges: Iterable[Exchange], name: str, span: Scope) -> int:
    """Nano-units over the hops of live answers."""
    return sum(
        hop.cost
        for done in exchanges
        if name in (done.task, done.route) and done.endpoint != "shadow" and span.since <= done.at < span.until
        for hop in done.hops
    )

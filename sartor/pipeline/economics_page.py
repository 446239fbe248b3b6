"""Books and forecasts as one HTML file that needs nothing else: no network, no script, no font.

Composes what `evaluation.report` draws with; the content policy allows the page its own style sheet and nothing more.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

from sartor.core.traffic import NANO
from sartor.economics.account import PARTS
from sartor.economics.figure import Figure
from sartor.economics.options import Outlook
from sartor.evaluation.report import words
from sartor.evaluation.report.charts import EDGE, Mark, Scale, Show, Whisker, whiskers
from sartor.evaluation.report.markup import Safe, tag
from sartor.evaluation.report.tables import Column, callout, figure, para, section, table, two
from sartor.pipeline.economics import View
from sartor.pipeline.forecast import GIANT, NOW, Actual, Forecast

MARKS: dict[str, Mark] = {NOW: "other", GIANT: "incumbent", "tuned": "picked", "cascade": "floor"}
HOW = {"measured": "measured", "sampled": "sampled", "assumed": "assumed", "unknown": "not known"}


def ledger_page(view: View) -> str:
    """The books as a document."""
    money = _money(view.currency)
    used = [part for part in PARTS if view.sum.parts[part]]
    columns = [Column(" / ".join(view.by) or "all"), Column("Requests", figures=True)]
    columns += [Column(part.capitalize(), figures=True) for part in used]
    columns += [Column(t, figures=True) for t in ("Total", "Per 1,000 right", "Lost by mistakes", "Saved")]
    rows = []
    for row in view.rows:
        line = row.line
        cells: list[Any] = [" / ".join(k or "(none)" for k in line.key) or "all", f"{line.requests:,}"]
        cells += [money(line.parts[part] / NANO) for part in used]
        cells += [
            money(line.total / NANO),
            *(_told(f, view.currency) for f in (row.per_1000_correct, row.lost, row.saved)),
        ]
        rows.append(cells)
    found = view.reconciled
    said = f"{found.exchanges:,} exchanges, hops and exchanges add up to the same {money(found.hops / NANO)}."
    off = f"{found.differing:,} of {found.exchanges:,} exchanges do not cost what their hops cost: " + ", ".join(
        found.off
    )
    giants = ", ".join(f"{route}: {name}" for route, name in sorted(view.giants.items()) if name)
    body = section(
        "books",
        "What was spent",
        table("Money by part. A figure that is not simply counted says how it was obtained", columns, rows),
        para(said) if found.exact else callout(off),
        para(f"Savings are held against the giant of each route ({giants}).", class_="note") if giants else None,
    )
    return _document("Books", f"Total {money(view.sum.total / NANO)}", body)


def forecast_page(found: Forecast, beside: Actual | None = None) -> str:
    """A forecast as a document, with what came true so far if that is known."""
    facts = found.report.facts
    money = _money(facts["currency"])
    others = [o for o in found.outlooks if o.option.name != NOW or len(found.outlooks) == 1]
    lead = (
        f"From {facts['seen']} of captured traffic. Intervals hold {words.percent(facts['confidence'])} of the draws."
    )
    parts = [_months(others, money), _ways(others, facts, money), _cliff(others, facts, money), _traffic(facts)]
    if beside is not None:
        parts.insert(0, _actual(beside, money))
    return _document(f"Forecast: {found.name}", lead, *parts)


def _months(found: Sequence[Outlook], money: Show) -> Safe:
    rows = [Whisker(o.option.name, o.month.value, o.month.low, o.month.high, _mark(o)) for o in found]
    chart = whiskers(rows, money, tick=money, name="month", title="Money in the first month")
    explained = "Making is not in it. The line is the interval."
    return section("month", "A month", figure("Money in the first month", explained, chart))


def _ways(found: Sequence[Outlook], facts: dict[str, Any], money: Show) -> Safe:
    columns = [Column("Way"), Column("A month", figures=True), Column("Making", figures=True)]
    columns += [Column("Paid back", figures=True), Column("Cheaper from", figures=True), Column("Rests on")]
    rows: list[list[Any]] = []
    for o in found:
        month = two(money(o.month.value), f"{money(o.month.low)} to {money(o.month.high)}")
        rows.append([o.option.name, month, money(o.made_for.value), *_pays(o, facts), o.option.says])
    return section(
        "ways",
        "Ways of answering",
        table("What each comes to, against the giant with today's prompt", columns, rows),
        callout("This is about money alone. How many answers are right is told by an inspection, not by a forecast."),
    )


def _pays(o: Outlook, facts: dict[str, Any]) -> list[Safe | str]:
    if o.option.name in (NOW, GIANT):
        return ["", ""]
    pays = o.pays_back
    dates = next(item["pays_back"]["dates"] for item in facts["options"] if item["option"] == o.option.name)
    below = f"{dates['early']} to {dates.get('late', 'later')}" if "early" in dates else ""
    below += f"; {pays.requests:,} requests" if pays.requests else ""
    volume = "never" if pays.from_volume is None else f"{pays.from_volume:,.0f} requests a month"
    volume = "any volume" if pays.from_volume == 0 else volume
    return [two(dates.get("day", f"not in {facts['days']} days"), below), volume]


def _cliff(found: Sequence[Outlook], facts: dict[str, Any], money: Show) -> Safe | None:
    drawn = [o for o in found if o.option.name != NOW]
    if not drawn:
        return None
    month = sum(route["requests_a_month"] for route in facts["routes"])
    volumes = [m * month for m in facts["multiples"]]
    explained = "Both scales are logarithmic. Making is spread over a year. A step is one machine more."
    return section("cliff", "Over volume", figure("Money a month by volume", explained, _curves(drawn, volumes, money)))


def _curves(drawn: Sequence[Outlook], volumes: Sequence[float], money: Show) -> Safe:
    values = [v for o in drawn for v in o.cliff if v > 0] or [1.0]
    across = Scale(volumes[0], volumes[-1], 12, 100 - EDGE, log=True)
    down = Scale(
        10.0 ** math.floor(math.log10(min(values))), 10.0 ** math.ceil(math.log10(max(values))), 300, 14, log=True
    )
    shapes = []
    for power in range(round(math.log10(down.low)), round(math.log10(down.high)) + 1):
        y = down.at(10.0**power)
        shapes.append(tag("line", class_="grid", x1="12%", x2="98%", y1=y, y2=y))
        shapes.append(tag("text", money(10.0**power), class_="tick", x="0", y=y + 4))
    for multiple, volume in zip((0.01, 0.1, 1, 10, 100), volumes[:: (len(volumes) - 1) // 4], strict=False):
        place = f"{across.at(volume):.2f}%"
        shapes.append(tag("line", class_="grid", x1=place, x2=place, y1=14, y2=300))
        name = f"{volume:,.0f}" + (" today" if multiple == 1 else "")
        shapes.append(
            tag("text", name, class_="tick", x=place, y=320, text_anchor="middle" if multiple < 100 else "end")
        )
    for o in drawn:
        places = [(across.at(v), down.at(max(m, down.low))) for v, m in zip(volumes, o.cliff, strict=True)]
        for (x, y), (after, above) in pairwise(places):
            ends = {"x1": f"{x:.2f}%", "x2": f"{after:.2f}%"}
            shapes.append(tag("line", class_=f"whisker {_mark(o)}", y1=y, y2=above, **ends))
        shapes += [_dot(_mark(o), x, y) for x, y in places[:: (len(places) - 1) // 4]]
    for i, o in enumerate(drawn):
        at = (i + 1) * (len(volumes) - 1) // (len(drawn) + 1)
        place, y = f"{across.at(volumes[at]):.2f}%", down.at(max(o.cliff[at], down.low)) - 8
        shapes.append(tag("text", o.option.name, class_=f"label {_mark(o)}", x=place, y=y, text_anchor="middle"))
    said = "; ".join(f"{o.option.name}: {money(o.cliff[len(o.cliff) // 2])} at today's volume" for o in drawn)
    heading = (tag("title", "Money a month by volume", id="cliff-title"), tag("desc", said, id="cliff-desc"))
    return tag(
        "svg", *heading, *shapes, class_="chart", width="100%", height=330, role="img",
        aria_labelledby="cliff-title", aria_describedby="cliff-desc",
    )  # fmt: skip


def _dot(mark: Mark, x: float, y: float) -> Safe:
    return tag("circle", class_=f"mark {mark}", cx=f"{x:.2f}%", cy=y, r=4.5)


def _traffic(facts: dict[str, Any]) -> Safe:
    columns = [Column("Route"), Column("Requests a month", figures=True), Column("Growth a month", figures=True)]
    columns += [Column("Cost drift a month", figures=True), Column("Prompt", figures=True)]
    rows: list[list[Any]] = []
    for route in facts["routes"]:
        growth, drift = ((1 + route[name]) ** 30 - 1 for name in ("growth_a_day", "cost_drift_a_day"))
        prompt = route.get("prompt")
        told = two(f"{prompt['tokens']:,.0f} tokens", f"of them {prompt['fixed']:,.0f} fixed") if prompt else ""
        rows.append(
            [
                route["route"],
                f"{route['requests_a_month']:,.0f}",
                words.share(growth, signed=True),
                words.share(drift, signed=True),
                told,
            ]
        )
    note = "It takes the drift to go on as it was: a new customer, another prompt or another price are not in it."
    return section(
        "traffic", "What was seen", table("Captured traffic by route", columns, rows), para(note, class_="note")
    )


def _actual(beside: Actual, money: Show) -> Safe:
    rows = [
        Whisker("forecast", beside.expected, beside.low, beside.high, "incumbent"),
        Whisker("books", beside.actual, mark="picked"),
    ]
    chart = whiskers(rows, money, tick=money, name="actual", title="Forecast and books")
    where = "inside" if beside.inside else "outside"
    said = f"{beside.days} days since {beside.start}: {where} the interval."
    return section("actual", "Forecast and books", figure("What came true so far", said, chart))


def _told(value: Figure, currency: str) -> Safe | str:
    """A figure with its interval and how it was obtained."""
    if value.value is None:
        return two("not known", value.note)
    reach = ""
    if value.low is not None and value.high is not None and value.low != value.high:
        reach = f"{words.money(value.low, currency)} to {words.money(value.high, currency)}, "
    return two(words.money(value.value, currency), reach + HOW[value.how])


def _mark(o: Outlook) -> Mark:
    return MARKS.get(o.option.name, "other")


def _money(currency: str) -> Show:
    return lambda value: words.money(value, currency)


def _document(title: str, lead: str, *parts: Safe | None) -> str:
    style = Safe(files("sartor.evaluation.report").joinpath("style.css").read_text(encoding="utf-8"))
    mark = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{mark}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="robots", content="noindex"),
        tag("title", f"{title} · Sartor"),
        tag("style", style),
    )
    header = tag("header", para("Sartor economics", class_="brand"), tag("h1", title), para(lead, class_="lead"))
    main = tag("main", tag("div", *(part for part in parts if part is not None), class_="sections"))
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('div', header, main, class_='page')), lang='en')}\n"

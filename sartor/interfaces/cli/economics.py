"""Economics: what answers cost and saved, what is booked beside them, and what each way of answering will cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, mode, say, table, workshop

if TYPE_CHECKING:
    from sartor.economics.figure import Figure
    from sartor.economics.prices import Price
    from sartor.pipeline.economics import View

app = typer.Typer(name="economics", help="What answers cost, saved and will cost.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a task or route.", show_default=False)]
Html = Annotated[Path | None, typer.Option("--html", help="Write it as one HTML file, too.")]
Giant = Annotated[str, typer.Option(help="Upstream to compare with; default the dearest that was asked.")]
Since = Annotated[str, typer.Option(help="First day or time, UTC: 2026-11-01.")]


@app.callback()
def group() -> None:
    """What answers cost, saved and will cost."""


@app.command()
def prices(
    model: Annotated[str, typer.Argument(help="A hosted model; default those of the catalogue.")] = "",
) -> None:
    """Prices per million tokens, with their source and day; in the books' currency where a rate is stated."""
    from dataclasses import asdict

    from sartor.economics.currency import Books
    from sartor.interfaces.settings import Settings
    from sartor.pipeline.economics import list_prices

    settings = Settings.read(mode.home)  # no store is needed
    found = list_prices(Books(settings.currency, settings.rates), model)

    def people() -> None:
        columns = ["model", "provider", "input#", "cached#", "output#", "currency", "source", "day"]
        table("", columns, [_price(price) for price in found])

    emit([asdict(p) for p in found], people)


def _price(price: "Price") -> tuple[str, ...]:
    million = (price.input_million, price.cached_million, price.output_million)
    shown = ("" if money is None else f"{money:,.4g}" for money in million)
    return (price.model, price.provider, *shown, price.currency, price.source, price.date)


@app.command()
def book(
    what: Annotated[str, typer.Argument(help="labelling, judge, machine or adjustment.", show_default=False)],
    task: Annotated[str, typer.Option(help="Whose cost it is; default nobody's in particular.")] = "",
    money: Annotated[float | None, typer.Option(help="How much it was.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="How long people worked, with --hourly.")] = None,
    hourly: Annotated[
        float | None, typer.Option(min=0, help="Money an hour: of a person, or of a whole machine.")
    ] = None,
    start: Annotated[str, typer.Option("--from", help="When; of a machine from when on. Default now.")] = "",
    until: Annotated[str, typer.Option(help="When a machine costs no more; default it goes on.")] = "",
    note: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Book what cost money beside answering. It stays; an adjustment, which may be negative, makes up for a mistake.

    Example: sartor economics book labelling --task triage --minutes 42 --hourly 60
    """
    from typing import cast

    from sartor.pipeline.bookings import Booking, What
    from sartor.pipeline.bookings import book as put

    booking = Booking(cast("What", what), task, money, minutes, hourly, start, until, note=note)
    with workshop(deed="economics.book", target=what) as shop:
        run = put(shop, booking)
        an_hour = " an hour" if what == "machine" else ""
    whose = f" on {task}" if task else ""
    said = f"Booked {run.cost:,.2f} {run.params['currency']}{an_hour} of {what}{whose} ({run.digest[:12]})."
    emit(run.model_dump(mode="json") | {"digest": run.digest}, lambda: say(said))


@app.command()
def ledger(
    by: Annotated[str, typer.Option(help="task, tenant, variant, route, day: some of them, with commas.")] = "task",
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
    route: Annotated[str, typer.Option(help="Only this route; what serves all is then left out.")] = "",
    tenant: Annotated[str, typer.Option(help="Only this tenant; what serves all is then left out.")] = "",
    since: Since = "",
    until: Annotated[str, typer.Option(help="First day or time no more, UTC.")] = "",
    giant: Giant = "",
    html: Html = None,
) -> None:
    """The books: cost by part, per 1,000 right answers, lost by mistakes, saved. Exit code 1 if hops do not add up."""
    from sartor.pipeline.bookings import Scope, seconds
    from sartor.pipeline.economics import ledger as look

    span = (seconds(since) if since else 0.0, seconds(until) if until else float("inf"))
    with workshop(read_only=True) as shop:
        view = look(shop, [part for part in by.split(",") if part], Scope(task, route, tenant, *span), giant=giant)
    if html:
        from sartor.pipeline.economics_page import ledger_page

        html.write_text(ledger_page(view), encoding="utf-8")
    emit(view.body(), lambda: _show(view))
    if not view.reconciled.exact:
        raise typer.Exit(1)


def _show(view: "View") -> None:
    from sartor.core.traffic import NANO
    from sartor.economics.account import PARTS

    used = [part for part in PARTS if view.sum.parts[part]]
    columns = [*view.by, "requests#", *(f"{part}#" for part in used), "total#"]
    columns += ["per 1,000 right#", "lost#", "saved#"]
    rows = []
    for row in view.rows:
        money = [_money(nanos / NANO) for nanos in (*(row.line.parts[part] for part in used), row.line.total)]
        told = [_told(figure) for figure in (row.per_1000_correct, row.lost, row.saved)]
        rows.append([*row.line.key, row.line.requests, *money, *told])
    table(f"Books in {view.currency}", columns, rows)
    found = view.reconciled
    if found.exact:
        say(f"{found.exchanges:,} exchanges; they and their hops add up to the same, to the last unit.")
    else:
        say(f"[bold]{found.differing:,} of {found.exchanges:,} exchanges do not cost what their hops cost.[/]")
    notes = {f.note for row in view.rows for f in (row.correct, row.lost, row.saved) if f.note}
    for note in sorted(notes):
        say(f"  {note}")


def _money(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"


def _told(figure: "Figure") -> str:
    """A figure, its interval, and how it was obtained."""
    if figure.value is None:
        return "not known"
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return f"{_money(figure.value)} ({figure.how})"
    return f"{_money(figure.value)} ({_money(figure.low)} to {_money(figure.high)}, {figure.how})"


@app.command()
def forecast(
    name: Name,
    giant: Giant = "",
    since: Since = "",
    days: Annotated[int, typer.Option(min=1, max=1096, help="How far to look.")] = 90,
    volume: Annotated[float, typer.Option(min=0, help="Requests a month; default as the traffic goes on.")] = 0.0,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            help="What the traffic does not show, as name=value, or name=low,middle,high where it is not sure: cheaper "
            "(a hosted model), prompt_share, local_share, cpu_seconds, rows, labelling, machine (a month), capacity."
        ),
    ] = None,
    html: Html = None,
) -> None:
    """What giant, prompt, few-shot, small tuned model and cascade would cost a month, from captured traffic."""
    from sartor.pipeline.bookings import seconds
    from sartor.pipeline.forecast import forecast as look
    from sartor.pipeline.forecast import read_assumed

    assumed = read_assumed([*(assume or ()), f"volume={volume}"])
    with workshop() as shop:
        start = seconds(since) if since else 0.0
        found = look(shop, name, giant=giant, since=start, days=days, assumed=assumed)
    if html:
        from sartor.pipeline.economics_page import forecast_page

        html.write_text(forecast_page(found), encoding="utf-8")
    facts = found.report.facts

    def people() -> None:
        lines = [_way(option, days) for option in facts["options"]]
        columns = ["way", f"{facts['currency']} a month#", "interval#", "making#", "paid back#", "cheaper from#"]
        table(f"Forecast of {name} from {facts['seen']}, {facts['confidence']:.0%} intervals", columns, lines)
        for option in facts["options"]:
            say(f"  {option['option']}: {option['says']}")
        say(f"Kept as {found.report.digest[:12]}. Later: sartor economics actual {name}")

    emit(found.body(), people)


def _way(option: dict[str, Any], days: int) -> tuple[str, ...]:
    month, pays = option["month"], option["pays_back"]
    first = option["option"] in ("now", "giant")
    dates = pays["dates"]
    day = dates.get("day", f"not in {days} days")
    reach = (
        f" ({dates['early']} {'to ' + dates['late'] if 'late' in dates else 'or later'})" if "early" in dates else ""
    )
    volume = pays["from_requests_a_month"]
    return (
        option["option"],
        _money(month["value"]),
        f"{_money(month['low'])} to {_money(month['high'])}",
        _money(option["making"]["value"]),
        "" if first else day + reach,
        "" if first else "never" if volume is None else f"{volume:,.0f} a month" if volume else "any volume",
    )


@app.command()
def actual(
    name: Name,
    option: Annotated[
        str, typer.Option(help="Way that was taken: now, giant, prompt, few-shot, tuned, cascade.")
    ] = "now",
) -> None:
    """The newest forecast beside what answering has cost since."""
    from sartor.pipeline.forecast import actual as compare

    with workshop(read_only=True) as shop:
        found = compare(shop, name, option=option)
    where = "inside" if found.inside else "outside"

    def people() -> None:
        say(f"{found.days} days since {found.start}: {_money(found.actual)} {found.currency} were spent.")
        reach = f"{_money(found.low)} to {_money(found.high)}"
        say(f"Forecast ({option}): {_money(found.expected)}, {reach}. What was spent is {where} the interval.")

    emit(found.body(), people)

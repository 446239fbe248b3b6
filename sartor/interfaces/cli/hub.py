"""Bases: list the catalogue, fetch, measure."""

from typing import TYPE_CHECKING, Annotated

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

if TYPE_CHECKING:
    from sartor.hub.entry import Entry

app = typer.Typer(help="Base models: the catalogue, fetching, measuring.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Catalogue name, folder:/path or hf:org/name@revision.", show_default=False)]


@app.command("list")
def list_() -> None:
    """The curated catalogue, by tier."""
    from sartor.hub.catalogue_reading import entries
    from sartor.pipeline.bases import facts_of

    found = entries()
    rows = [(e.name, e.tier, e.engine, e.licence or "unstated", e.facts.get("about", ""), _price(e)) for e in found]
    emit(
        [facts_of(e) for e in found],
        lambda: table("", ["base", "tier", "engine", "licence", "what", "per million tokens"], rows),
    )


def _price(entry: "Entry") -> str:
    """What a hosted model charges for a million tokens in and out, by the list."""
    from sartor.core.errors import NotFoundError
    from sartor.economics.prices import price_of

    if entry.tier != "hosted":
        return ""
    try:
        price = price_of(entry.name)
    except NotFoundError:
        return "not listed"
    return f"{price.input_million:g} / {price.output_million:g} {price.currency}"


@app.command()
def fetch(name: Name) -> None:
    """Bring a base into the store, its hashes verified."""
    from sartor.pipeline.bases import base_named

    with workshop() as shop:
        base = base_named(shop, name)
    emit(
        base.model_dump(mode="json") | {"digest": base.digest},
        lambda: say(f"{base.name} is {base.digest[:12]}, {len(base.files)} files"),
    )


@app.command()
def measure(name: Name) -> None:
    """Measure a base on this machine and keep the card as a report."""
    from sartor.pipeline.bases import measure_base

    with workshop() as shop:
        report = measure_base(shop, name)
    card = report.measured
    emit(card, lambda: table(name, ["what", "measured#"], [(key, value) for key, value in card.items()]))

"""Bases: list the catalogue, fetch, measure."""

from typing import Annotated

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(help="Base models: the catalogue, fetching, measuring.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Catalogue name, folder:/path or hf:org/name@revision.", show_default=False)]


@app.command("list")
def list_() -> None:
    """The curated catalogue, by tier."""
    from sartor.hub.catalogue_reading import entries
    from sartor.pipeline.bases import facts_of

    found = entries()
    rows = [(e.name, e.tier, e.engine, e.licence or "unstated", e.facts.get("about", "")) for e in found]
    emit([facts_of(e) for e in found], lambda: table("", ["base", "tier", "engine", "licence", "what"], rows))


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

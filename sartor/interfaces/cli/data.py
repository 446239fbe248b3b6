"""Data sets: look at them, compare them, see and put back what was taken out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(help="Data sets: show, diff, quarantine, restore.", no_args_is_help=True)
Which = Annotated[
    str, typer.Argument(help="Digest of a data set, or a task's name for its latest.", show_default=False)
]

CHANGES = ("added", "removed", "relabelled", "moved")


@app.command()
def show(
    which: Which,
    html: Annotated[Path | None, typer.Option(help="Write the datasheet as one HTML file here.")] = None,
) -> None:
    """The datasheet: counts, sources, licence, what each curator did."""
    from sartor.pipeline.datasets import datasheet_of, write_datasheet

    with workshop(read_only=True) as shop:
        dataset, sheet = datasheet_of(shop, which)
        if html:
            write_datasheet(sheet, html)

    def people() -> None:
        say(f"[bold]{dataset.name}[/] {dataset.digest[:12]}   licence: {', '.join(dataset.licence.names)}")
        table("", ["split", "rows#"], list(dataset.counts.items()))
        steps = [
            (s["use"], ", ".join(f"{n} {why}" for why, n in s["taken"].items()) or "nothing") for s in sheet["curators"]
        ]
        table("What curation took out", ["curator", "taken"], steps)
        for warning in sheet["warnings"]:
            say(f"[yellow]warning[/]  {warning}")
        if html:
            say(f"Wrote {html}")

    emit(sheet, people)


@app.command()
def diff(a: Which, b: Which) -> None:
    """What changed between two data sets: rows, labels, curation."""
    from sartor.pipeline.datasets import diff_of

    with workshop(read_only=True) as shop:
        found = diff_of(shop, a, b)

    def people() -> None:
        table("", ["split", "rows before#", "after#"], [(split, *counts) for split, counts in found["counts"].items()])
        table("", ["texts", "how many#"], [(what, len(found[what])) for what in CHANGES])
        shares = [(label, f"{before:.1%}", f"{after:.1%}") for label, (before, after) in _labels(found)]
        if shares:
            table("", ["label", "share before", "after"], shares)
        for line in found["curators"]:
            say(line)

    emit(found, people)


def _labels(found: dict[str, Any]) -> list[tuple[str, tuple[float, float]]]:
    """The labels whose share changed most, at most ten."""
    return sorted(found["labels"].items(), key=lambda item: -abs(item[1][0] - item[1][1]))[:10]


@app.command()
def quarantine(which: Which, limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 20) -> None:
    """Rows that were taken out, with curator and reason."""
    from sartor.pipeline.datasets import quarantine_of

    with workshop(read_only=True) as shop:
        rows = quarantine_of(shop, which)
    shown = [(r["id"], r["curator"], r["reason"], r["label"], r["text"][:70]) for r in rows[:limit]]
    emit(rows, lambda: table(f"{len(rows):,} rows in quarantine", ["row", "curator", "reason", "label", "text"], shown))


@app.command()
def restore(
    task: Annotated[Path, typer.Argument(help="The task file.", show_default=False)],
    rows: Annotated[list[str], typer.Argument(help="Ids of quarantined rows.", show_default=False)],
) -> None:
    """Put rows back: an edit in the task file, recorded with the next data set."""
    from sartor.pipeline.datasets import restore_rows

    with workshop() as shop:
        edits = restore_rows(shop, task, rows)
    emit(
        {"edits": edits},
        lambda: say(f"{len(rows)} rows go back with the next `sartor run {task}` (data.edits has {len(edits)})."),
    )

"""Data sets: look at them, compare them, put back what was taken out, see what traffic taught."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(help="Data sets: show, diff, quarantine, restore; harvest and standing tests.", no_args_is_help=True)
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


@app.command()
def harvest(
    task: Annotated[str, typer.Argument(help="Name of a task that was run.", show_default=False)],
    tenant: Annotated[str, typer.Option(help="Only this tenant's traffic; default all.")] = "",
) -> None:
    """What traffic taught so far: who said what, where they contradict each other, what is left out."""
    from sartor.pipeline.harvest import harvest_task

    with workshop() as shop:
        found = harvest_task(shop, task, tenant or None)
    emit(found, lambda: _harvested(found))


def _harvested(found: dict[str, Any]) -> None:
    sides = found["sides"]
    say(
        f"[bold]{found['task']}[/] {found['harvest'][:12]}   {found['rows']:,} rows of {found['exchanges']:,} "
        f"exchanges: {sides.get('train', 0):,} to learn from, {sides.get('test', 0):,} kept for the standing test"
    )
    table("Who says what is right", ["who", "rows#", "right#", "95 %", "measured on#"], _sources(found))
    left = [(why, count) for why, count in found["left_out"].items()]
    left += [(f"quarantined: {why}", count) for why, count in found["quarantined"].items()]
    if left:
        table("Exchanges that gave no row", ["why", "how many#"], left)
    only = found["caps"].get("source_share", {}).get("only_source")
    if only:
        say(f"All feedback came from only one source, '{only}', so no share bounds it.")
    for value, count in found["unknown_labels"]:
        say(f"[yellow]no label of the task[/]  {value!r} ({count:,})")
    if found["to_label"]:
        say(f"{found['to_label']:,} exchanges wait for a person: sartor label {found['task']}")


def _sources(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Every source with its rows and how often it was right where that could be seen."""
    names = sorted({*found["noise"], *found["sources"]})
    rows = []
    for name in names:
        noise = found["noise"].get(name)
        shown = name if len(name) <= 40 else f"{name[:39]}…"
        figures = (
            (f"{noise['accuracy']:.1%}", f"{noise['low']:.1%} to {noise['high']:.1%}", noise["n"])
            if noise
            else ("", "", 0)
        )
        rows.append((shown, found["sources"].get(name, 0), *figures))
    return rows


@app.command()
def tests(task: Annotated[str, typer.Argument(help="Name of a task.", show_default=False)]) -> None:
    """The versions of a task's standing test: rows that no training ever sees."""
    from sartor.pipeline.standing import versions_of

    with workshop(read_only=True) as shop:
        found = versions_of(shop, task)
    shown = [
        (v["version"], v["rows"], ", ".join(f"{n:,} {who}" for who, n in v["said_by"].items()), v["digest"][:12])
        for v in found
    ]
    emit(found, lambda: table("", ["version#", "rows#", "labelled by", "digest"], shown))

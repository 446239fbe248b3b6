"""Labelling: `sartor label` is a sitting at the terminal; `sartor labels` looks at what came of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, mode, program, progress_bars, say, table, workshop

if TYPE_CHECKING:
    from sartor.pipeline.label_pool import Desk
    from sartor.pipeline.labelling import Sitting

app = typer.Typer(name="labels", help="What people say of rows: state, agreement, files.", no_args_is_help=True)

TaskName = Annotated[str, typer.Argument(help="Name of the task.", show_default=False)]
Who = Annotated[str, typer.Option(help="Who labels; default SARTOR_WHO, else the user's name.")]
Size = Annotated[int, typer.Option(min=1, max=500, help="Rows that are chosen together.")]
Of = Annotated[list[str] | None, typer.Option(help="Only rows that look like this label; repeat for more.")]
Own = Annotated[str, typer.Option(help="Only the traffic of this tenant.", show_default="all")]


def add_to(root: typer.Typer) -> None:
    """Put `label` beside the other commands."""
    root.command()(label)


def label(
    task: TaskName,
    minutes: Annotated[float, typer.Option(min=0, help="How long to sit; 0: until nothing is left.")] = 0.0,
    size: Size = 20,
    who: Who = "",
    of: Of = None,
    tenant: Own = "",
) -> None:
    """Label the rows whose labels are worth most: a key for each. What was answered is kept, however the sitting ends.

    Reads lines from a pipe too: 1, /part of a label, a whole label, s (skip), ? (can't tell), u (undo), q (quit).
    """
    from sartor.interfaces.cli.label_desk import Sit, keys, plain
    from sartor.pipeline.label_books import settle
    from sartor.pipeline.label_words import leave
    from sartor.pipeline.labelling import queue

    focus = tuple(of or ())
    with _seated(task, tenant, lambda desk: queue(desk, who or desk.shop.who, size, focus=focus)) as (desk, sitting):
        if sitting.says:
            plain(sitting.says)
        plain(f"{sitting.left:,} texts have no label. A label costs about {sitting.price:.2f} {sitting.currency}.")
        sit = Sit(desk, sitting, keys(), minutes, size, focus=focus)
        try:
            done = sit.run()
        finally:
            leave(desk, sitting.who)
            booked = settle(desk, sitting=sitting.id)

    def people() -> None:
        minutes_told = f"{done.seconds / 60.0:.1f} minutes"
        says = f"{done.labels} labels, {done.unsure} not to be told, {done.skipped} skipped, in {minutes_told}."
        plain(f"\n{says} Booked {booked.money:.2f} {desk.shop.currency}. {booked.note}".rstrip())
        say(f"What came of it: {program()} labels status {task}")

    emit(asdict(done) | {"booked": asdict(booked)}, people)


@contextmanager
def _seated(task: str, tenant: str, choose: "Callable[[Desk], Sitting]") -> "Iterator[tuple[Desk, Sitting]]":
    """A desk and what lies on it. Bars are drawn while that is chosen, and gone before somebody looks at rows."""
    from sartor.core.progress import silent
    from sartor.interfaces.settings import Settings
    from sartor.pipeline.label_books import settle
    from sartor.pipeline.label_pool import open_desk

    settings = Settings.read(mode.home)
    with progress_bars() as progress:
        shop = settings.workshop(progress)
        try:
            desk = open_desk(shop, task, tenant or None)
            settle(desk)
            sitting = choose(desk)
        except BaseException:
            shop.store.close()
            raise
    try:
        yield replace(desk, shop=replace(shop, progress=silent)), sitting
    finally:
        shop.store.close()


@app.command()
def status(task: TaskName, tenant: Own = "") -> None:
    """How far labelling is, what it cost, how far people agree, and how many labels the gate waits for."""
    from sartor.pipeline.label_books import settle
    from sartor.pipeline.label_books import status as look
    from sartor.pipeline.label_pool import open_desk

    with workshop() as shop:
        desk = open_desk(shop, task, tenant or None)
        settle(desk)
        found = look(desk)
    emit(found, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    plain = {name: value for name, value in found.items() if not isinstance(value, dict) and value is not None}
    table("", ["", "#"], [(name.replace("_", " "), value) for name, value in plain.items()])
    if found["by_person"]:
        table("Labels by person", ["who", "labels#"], found["by_person"].items())
    agreed, right = found["agreement"], found["right"]
    if agreed["kappa"] is not None:
        say(_agreed(agreed))
    if right["rows"]:
        interval = f"{right['low']:.1%} to {right['high']:.1%}"
        say(f"Right answers, by the random share: {right['share']:.1%} ({interval}, {right['rows']} rows)")
    if found["wanted"]["says"]:
        say(found["wanted"]["says"])


def _agreed(found: dict[str, Any]) -> str:
    shown = f"kappa {found['kappa']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    return f"Agreement: {found['agreed']:.0%} of {found['rows']} rows, {shown}, {found['people']} people"


@app.command()
def agreement(task: TaskName, tenant: Own = "") -> None:
    """How far people agree beyond chance on the rows that several of them labelled; kept as a report."""
    from sartor.pipeline.label_books import disputes, report_agreement
    from sartor.pipeline.label_pool import open_desk

    with workshop() as shop:
        desk = open_desk(shop, task, tenant or None)
        report = report_agreement(desk)
        found: dict[str, Any] = report.facts | {"disputes": disputes(desk), "report": report.digest}

    def people() -> None:
        if found["kappa"] is None:
            say("No two people have labelled the same rows differently and alike: agreement can't be told yet.")
        else:
            say(_agreed(found))
        if found["disputes"]:
            rows = [(d["item"], d["text"][:60], _who_said(d["said"])) for d in found["disputes"]]
            table("For a third to decide", ["row", "text", "said"], rows)
            say(f"Decide: {program()} labels adjudicate {task} --who NAME")

    emit(found, people)


def _who_said(said: dict[str, str]) -> str:
    return "; ".join(f"{who}: {label}" for who, label in said.items())


@app.command()
def adjudicate(
    task: TaskName,
    item: Annotated[str, typer.Option(help="The row that is decided; default: all, one by one.")] = "",
    as_: Annotated[str, typer.Option("--as", help="Its label, with --item.")] = "",
    who: Who = "",
    tenant: Own = "",
) -> None:
    """Decide where two people disagree; by somebody who is neither of them."""
    from sartor.core.errors import AskError
    from sartor.pipeline.label_pool import open_desk
    from sartor.pipeline.label_words import Given, answer

    if bool(item) != bool(as_):
        raise AskError("To decide one row give both --item and --as; to be shown all, neither.", param="item")
    if not item:
        decided = _decide_all(task, tenant, who)
    else:
        with workshop() as shop:
            desk = open_desk(shop, task, tenant or None)
            decided = [answer(desk, Given(item, who or shop.who, as_, "adjudicate"))]
    emit({"decided": decided}, lambda: say(f"{len(decided)} decided."))


def _decide_all(task: str, tenant: str, who: str) -> list[dict[str, Any]]:
    from sartor.interfaces.cli.label_desk import Sit, keys
    from sartor.pipeline.label_books import disputes, settle
    from sartor.pipeline.labelling import dispute_sitting

    with _seated(task, tenant, lambda desk: dispute_sitting(desk, who or desk.shop.who)) as (desk, sitting):
        before = {one["item"] for one in disputes(desk)}
        if not sitting.items:
            taken = f"{sitting.who} has taken part in all of {len(before)} disputes."
            say(taken if before else "There is nothing to decide.")
            return []
        try:
            Sit(desk, sitting, keys(), refill=False).run()
        finally:
            settle(desk, sitting=sitting.id)
        return [{"item": item} for item in sorted(before - {one["item"] for one in disputes(desk)})]


@app.command()
def export(
    task: TaskName,
    target: Annotated[Path, typer.Argument(help="A new file: .json (Label Studio) or .csv.", show_default=False)],
    size: Annotated[int, typer.Option(min=1, max=500, help="At most this many rows.")] = 100,
    who: Who = "",
    tenant: Own = "",
) -> None:
    """Write the rows that should be labelled next to a file, with the model's guesses, for another tool."""
    from sartor.pipeline.label_files import export as do
    from sartor.pipeline.label_pool import open_desk

    with workshop() as shop:
        done = do(open_desk(shop, task, tenant or None), target, who or shop.who, size=size)

    def people() -> None:
        say(f"Wrote {done.rows:,} rows to {target}.")
        if done.config:
            say("Labelling configuration of the project in Label Studio:")
            print(done.config)

    emit(asdict(done), people)


@app.command("import")
def import_(
    task: TaskName,
    file: Annotated[Path, typer.Argument(help="JSON of Label Studio, or CSV.", show_default=False)],
    who: Annotated[str, typer.Option(help="Whose labels they are, where the file does not say.")] = "",
    tenant: Own = "",
) -> None:
    """Take labels in: all of a file, or none. CSV has item and label, and if you like who (annotator) and seconds."""
    from sartor.pipeline.label_books import settle
    from sartor.pipeline.label_files import take_in
    from sartor.pipeline.label_pool import open_desk

    with workshop(deed="labels.import", target=task) as shop:
        desk = open_desk(shop, task, tenant or None)
        done = take_in(desk, file, who=who)
        booked = settle(desk, sitting="import")
    says = f"{done.rows:,} labels: {done.new:,} new; {done.empty:,} rows without one. Booked {booked.money:.2f}."
    emit(asdict(done) | {"booked": asdict(booked)}, lambda: say(says))

"""`sartor sweep`: better settings for a candidate, found on validation rows within CPU seconds."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, program, say, table, workshop


def add_to(app: typer.Typer) -> None:
    """Put the command on the top level."""
    app.command()(sweep)


def sweep(
    task: Annotated[Path, typer.Argument(help="Task file with a 'sweep'.", show_default=False)],
    on: Annotated[str | None, typer.Option(help="Instead of the task's: local, ray.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at the same time, instead of the task's.")] = None,
    cpu_seconds: Annotated[float | None, typer.Option(help="Of all trials, instead of the task's.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the winner into the task file as a candidate.")] = False,
) -> None:
    """Search through settings of a candidate by successive halving; the winner is a candidate like any other."""
    from sartor.pipeline.sweep import read_sweep, sweep, written
    from sartor.pipeline.sweep_file import candidate_text, swept_name, write_candidate
    from sartor.pipeline.sweep_places import place_of, ray_environment

    asked = {"on": on, "workers": workers, "cpu_seconds": cpu_seconds}
    spec = read_sweep(task, {name: value for name, value in asked.items() if value is not None})
    os.environ.update(ray_environment(spec.sweep.address if spec.sweep else ""))
    with workshop() as shop:
        where = {name: value for name, value in os.environ.items() if name.startswith(("SARTOR_", "AWS_"))}
        where["SARTOR_HOME"] = str(shop.store.root.resolve())
        found = sweep(shop, spec, task.parent, lambda wanted, here: place_of(wanted, here, where, shop.threads))
    found = replace(found, winner=found.winner.model_copy(update={"name": swept_name(found.winner)}))
    line = candidate_text(written(found.winner))
    if write and found.settings:
        write_candidate(task, written(found.winner))
    told = {"yaml": line, "written": write and bool(found.settings)}
    emit(found.body() | told, lambda: _show(found, line, task, write=write))


def _show(found: Any, line: str, task: Path, *, write: bool) -> None:
    from sartor.core.sweeping import told

    for number, one in enumerate(found.rounds, 1):
        shown = [(told(tried["settings"]), tried["loss"]) for tried in one["tried"][:8]]
        table(f"Round {number}: {one['rows']:,} training rows", ["settings", "lost per row#"], shown)
    for one in found.failed:
        say(f"[yellow]failed[/] {told(one['settings'])}: {one['error']}")
    seconds = f"{found.cpu_seconds:,.0f} CPU seconds"
    say(f"\nTook      {seconds}{', which ran out before all was tried' if found.over else ''}")
    if not found.settings:
        say(f"Winner    {found.candidate} as it stands: nothing that was tried loses less on validation rows.")
        return
    before = "" if found.before is None else f", as it stands {found.before:.4f}"
    say(f"Winner    {told(found.settings)}: loses {found.loss:.4f} per validation row{before}")
    say("          It was chosen on these rows, so that it will look a little better here than it is.")
    if write:
        say(f"Written   into {task}. Inspect and gate it: {program()} run {task}")
    else:
        say(f"Candidate - {line}")

"""`sartor learn`: what traffic taught becomes a candidate that is held against what is live."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.core.errors import SartorError
from sartor.interfaces.cli.output import emit, program, say, table, workshop


def add_to(app: typer.Typer) -> None:
    """Put the command on the top level."""
    app.command()(learn)


def learn(
    task: Annotated[str, typer.Argument(help="Name of the task; something of it must be live.", show_default=False)],
    file: Annotated[
        Path | None, typer.Option(help="Task file, where another contract than the live one is meant.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be learned from, and how long.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--submit", help="Do it here, or leave it to the workers.")] = True,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Instead of the task's: scratch, warm, replay, interpolate, head.")
    ] = None,
) -> None:
    """Learn from traffic and feedback: a candidate against what is live, on the standing test, nothing forgotten.

    Exit code 7: everything was made and inspected, but the gate did not pass.
    """
    from sartor.pipeline.learn_job import learn_request
    from sartor.pipeline.task_file import parse_task, read_text
    from sartor.pipeline.work import plan, run_here, submit

    text = read_text(file) if file else ""
    if file:
        parse_task(text, str(file))
    request = learn_request(task, file=text, strategies=_picks(strategy))
    with workshop(deed="" if dry_run else "learn", target=task) as shop:
        if dry_run:
            foretold = plan(shop, request)
            emit(foretold, lambda: _show_plan(foretold))
            return
        if not wait:
            job = submit(shop, request)
            emit({"job": job.id, "state": job.state}, lambda: say(f"{job.id} waits for a worker."))
            return
        job = run_here(shop, request)
    if job.state != "succeeded":
        raise SartorError(job.error or f"{job.id} is {job.state}.", code=job.code or "job_failed")
    found = dict(job.result)
    emit(found, lambda: _show(found))
    if found["state"] in ("held", "need_data"):
        raise typer.Exit(7)


def _picks(names: list[str] | None) -> Any:
    from sartor.core.section import Pick
    from sartor.pipeline.onward import STRATEGIES

    if not names:
        return None
    for name in names:
        STRATEGIES.take(name)
    return [Pick(use=name) for name in names]


def _show_plan(found: dict[str, Any]) -> None:
    harvest = found["harvest"]
    say(f"Traffic    {harvest['exchanges']:,} exchanges, {harvest['rows']:,} of them with a label")
    say(f"Learn from {found['train_rows']:,} rows, {found['new_rows']:,} of them new")
    say(f"Test on    {found['test_rows']:,} rows that stand apart")
    say(f"Strategies {', '.join(found['strategies'])}: measured on the past, the safest of the best is used")
    say(f"Takes      about {found['seconds']:,.0f} s ({found['cost']:.4f} {found['currency']}): {found['how_known']}")
    then = "goes live by itself" if found["ship"] == "auto" else "waits for people"
    say(f"Then       what passes the gate {then}")


def _show(found: dict[str, Any]) -> None:
    """The verdict, then what it rests on, then what to do."""
    harvest, strategy, run = found["harvest"], found["strategy"], found["run"]
    say(f"[bold]{found['state'].replace('_', ' ').upper()}[/]: {found['says']}")
    learned = (
        f"{harvest['rows']:,} labels of {harvest['exchanges']:,} exchanges, {found['new_rows']:,} new rows learned"
    )
    say(f"\nHarvest   {learned}; {harvest['conflicts']} in conflict")
    if strategy is None:
        return
    say(f"Strategy  {strategy['says']}")
    if strategy["money_per_1000"]:
        rows = [
            (name, money["value"], money["low"], money["high"], "chosen" if name == strategy["use"] else "")
            for name, money in strategy["money_per_1000"].items()
        ]
        table("", ["strategy", "lost per 1,000#", "low#", "high#", ""], rows)
    if found["suites"]:
        table(
            "Least good of what stands", ["suite", "rows#", "live %#", "now %#", "points#", ""], _worst(found["suites"])
        )
    for reason in run["reasons"]:
        say(f"  {reason}")
    say(f"\nReport    {run['report']}")
    say(f"Replay    {program()} decide --replay {run['decision'][:12]}")


def _worst(suites: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    named = {"fixed": "mended before", "era": "era", "label": "label"}
    return [
        (
            f"{named[suite['kind']]} {suite['name']}".strip(),
            suite["n"],
            100 * suite["live"],
            100 * suite["candidate"],
            100 * suite["gain"],
            "forgotten" if suite["forgotten"] else "",
        )
        for suite in sorted(suites, key=lambda s: (s["kind"] == "label", s["gain"]))[:8]
    ]

"""The chain: `init`, `run`, `demo`, and `task check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, program, say, table, workshop

if TYPE_CHECKING:
    from sartor.pipeline.run import RunResult

TaskFile = Annotated[Path, typer.Argument(help="The task file (YAML).", show_default=False)]
task_app = typer.Typer(help="Look at a task before anything is made.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    app.command()(init)
    app.command()(run)
    app.command()(demo)


def init(
    rows: Annotated[Path, typer.Argument(help="Your rows: CSV, JSONL or Parquet.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the draft goes.")] = Path("task.yaml"),
    owned: Annotated[bool | None, typer.Option(help="Whether these rows are yours to use.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Draft a task file from your rows, and make the signing key if there is none.

    Example: sartor init tickets.csv --owned
    """
    import sys

    from sartor.core.errors import ConflictError
    from sartor.data.draft import draft_task
    from sartor.interfaces.cli.output import mode
    from sartor.interfaces.settings import Settings
    from sartor.registry.signing import make_key

    if out.exists() and not force:
        raise ConflictError(
            f"'{out}' is there already. Name another file with --out, or pass --force.", code="file_exists"
        )
    if owned is None:
        owned = sys.stdin.isatty() and typer.confirm("Are these rows yours to use (owned)?")
    text = draft_task(rows, owned=owned, folder=out.parent)
    key = Settings.read(mode.home).key
    made_key = not key.exists()
    if made_key:
        make_key(key)
    out.write_text(text, encoding="utf-8")

    def people() -> None:
        say(f"Wrote [bold]{out}[/]. Read it through: the costs are yours to set.")
        if made_key:
            say(f"Made the signing key {key}. Keep it outside the store and back it up.")
        say(f"Next: sartor task check {out}   then: sartor run {out}")

    emit({"task": str(out), "key": str(key), "key_made": made_key, "owned": owned}, people)


def run(
    task: TaskFile = Path("task.yaml"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, how long, and what is cached.")
    ] = False,
) -> None:
    """Rows in, a gated and released model out. Running again does only what changed.

    Exit code 7: everything was made and inspected, but the gate did not pass.
    """
    from sartor.pipeline.task_file import read_task

    contract = read_task(task)
    with workshop() as shop:
        if dry_run:
            from sartor.pipeline.plan import plan

            lines = plan(shop, contract, task.parent)
            emit([line.body() for line in lines], lambda: _show_plan(lines))
            return
        from sartor.pipeline.run import run as run_chain

        result = run_chain(shop, contract, task.parent)
    emit(result.body(), lambda: show_result(result))
    if result.decision.verdict != "ship":
        raise typer.Exit(7)


def show_result(result: "RunResult") -> None:
    """The verdict in money, then where to look and what to do next."""
    currency = result.task.value.currency
    table(
        "",
        ["candidate", "right %#", "asked %#", f"{currency} per 1,000#", "low#", "high#", "ms#", "made in s#", ""],
        [
            (
                line.title,
                100 * line.accuracy,
                100 * line.asked,
                line.money,
                line.money_low,
                line.money_high,
                line.latency_ms if line.latency_ms is not None else "",
                line.seconds if line.seconds is not None else "",
                line.role,
            )
            for line in result.lines
        ],
    )
    verdict = result.decision.verdict.replace("_", " ").upper()
    say(f"\n[bold]{verdict}[/]: {result.picked}" + _became(result))
    for reason in result.decision.reasons:
        say(f"  {reason}")
    say(f"\nReport    {result.report}")
    say(f"Replay    {program()} decide --replay {result.decision.digest[:12]}")
    if result.version:
        say(f"Serve     {program()} serve            (model '{result.task.name}')")
        say(f"Look      {program()} registry show {result.task.name}")


def _became(result: Any) -> str:
    """What became of the candidate, behind its title."""
    if result.version:
        return f" is {result.version}"
    waits = result.decision.verdict == "ship"
    return f" waits for people: {program()} approvals approve {result.task.name}" if waits else ""


def _show_plan(lines: Any) -> None:
    table(
        "What `sartor run` would do",
        ["step", "what", "cached", "about s#", "how known"],
        [(line.verb, line.what, "yes" if line.cached else "no", line.seconds, line.basis) for line in lines],
    )
    todo = sum(line.seconds for line in lines if not line.cached)
    say(f"\nAbout {todo:,.0f} s of CPU to do.")


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's task file goes.")] = Path("sartor-demo"),
    full: Annotated[bool, typer.Option("--full", help="With the dearer rungs.")] = False,
) -> None:
    """A real task through the whole chain: diagnosis descriptions to ICD-10 blocks, made, gated, served, asked."""
    from sartor.interfaces.demo import play

    with workshop() as shop:
        played = play(shop, folder, full=full)

    def people() -> None:
        show_result(played.result)
        say(f"\nA real server answered a real request: {played.question!r}")
        say(f"  → [bold]{played.answer}[/]   ({played.headers})")
        say(f"Why       {program()} explain {played.exchange}")
        say(f"Its task  {played.task_file}")
        say(f"Yours     {program()} init your-rows.csv && {program()} run task.yaml")
        if not full:
            minutes = played.dearer_seconds / 60
            say(f"Dearer    {program()} demo --full      also tunes MiniLM: about {minutes:.0f} CPU minutes")

    emit(played.body(), people)


@task_app.command()
def check(task: TaskFile = Path("task.yaml")) -> None:
    """Read the task against its data, before any training. Exit code 2 if something must be mended."""
    from sartor.pipeline.check import check as check_chain
    from sartor.pipeline.task_file import read_task

    contract = read_task(task)
    with workshop() as shop:
        findings = check_chain(shop, contract, task.parent)
    marks = {"error": "[red]error[/]", "warning": "[yellow]warning[/]", "info": "info"}

    def people() -> None:
        for finding in findings:
            say(f"{marks[finding.level]}  {finding.what}: {finding.says}")

    emit([vars_of(f) for f in findings], people)
    if any(f.level == "error" for f in findings):
        raise typer.Exit(2)


@task_app.command()
def schema() -> None:
    """The JSON Schema of a task file, for editors that help with writing one."""
    import json

    from sartor.interfaces.described import task_schema

    print(json.dumps(task_schema(), indent=1, ensure_ascii=False))


def vars_of(thing: Any) -> dict[str, Any]:
    """A frozen dataclass as JSON."""
    from dataclasses import asdict

    return asdict(thing)

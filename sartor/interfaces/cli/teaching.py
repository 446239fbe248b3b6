"""Teachers: a large model, a variant made here or recorded answers label rows, or make them up."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, program, say, table, workshop

TaskFile = Annotated[Path, typer.Argument(help="The task file.", show_default=False)]
By = Annotated[
    str,
    typer.Option(help="Who teaches: an upstream, a variant (task@v3), or recorded:COLUMN@MODEL.", show_default=False),
]
Out = Annotated[
    Path, typer.Option(help="File of taught rows (.jsonl); one that is there is gone on with.", show_default=False)
]
Budget = Annotated[float | None, typer.Option(min=0, help="Money at which it stops; default none.")]


def add_to(app: typer.Typer) -> None:
    """Add `teach` and `invent` to the group."""
    app.command()(teach)
    app.command()(invent)


def teach(
    task: TaskFile,
    by: By,
    out: Out,
    rows: Annotated[
        Path | None, typer.Option(help="File of texts; default the task's sources with split: unlabelled.")
    ] = None,
    reasons: Annotated[bool, typer.Option("--reasons", help="Ask why, too (data.rationale).")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Ask how likely its words are.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most texts to ask about.")] = 1_000_000,
    budget: Budget = None,
) -> None:
    """Let a teacher label texts: labels, scores, reasons. Each answer is kept as it comes; run again to go on."""
    from sartor.pipeline.task_file import read_task
    from sartor.pipeline.teach import Ask
    from sartor.pipeline.teach import teach as label

    with workshop() as shop:
        told = label(shop, read_task(task), task.parent, rows, out, Ask(by, reasons, scores, limit, budget)).body()
    emit(told, lambda: _told(told, task))


def invent(
    task: TaskFile,
    by: By,
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="Rows that are wanted.")] = 100,
    share: Annotated[
        float, typer.Option(min=0, max=0.9, help="Of the rows that are learned from that may be made up.")
    ] = 0.3,
    budget: Budget = None,
) -> None:
    """Let an upstream make rows up; what repeats a row or comes near any standing test is thrown away."""
    from sartor.pipeline.task_file import read_task
    from sartor.pipeline.teach_synthetic import Wish
    from sartor.pipeline.teach_synthetic import make_up as made_up

    with workshop() as shop:
        spec = read_task(task)
        made = made_up(shop, spec, task.parent, out, Wish(by, count, share, budget, spec.seed)).body()

    def people() -> None:
        say(f"{made['kept']:,} rows stand in {made['told']['out']}; {made['told']['cost']:.4f} paid now.")
        if made["capped"]:
            say(f"[yellow]capped[/]  at {made['wanted']:,}: {share:.0%} of what is learned from (--share).")
        thrown = sorted(made["thrown_away"].items(), key=lambda item: -item[1])
        if thrown:
            table("Thrown away", ["why", "rows#"], thrown)
        _advise(made["told"], task)

    emit(made, people)


def _told(told: dict[str, Any], task: Path) -> None:
    again = f", {told['before']:,} were there" if told["before"] else ""
    say(
        f"{told['answered']:,} of {told['asked']:,} texts answered by {told['by']}{again}; {told['cost']:.4f} paid now."
    )
    for why, count in sorted(told["no_answer"].items()):
        say(f"[yellow]no answer[/]  {why} ({count:,})")
    if told["stopped"]:
        say(f"[yellow]stopped[/]  by the {told['stopped']}: run the same command again to go on.")
    _advise(told, task)


def _advise(told: dict[str, Any], task: Path) -> None:
    """What to write into the task file."""
    say(f"Terms of the answers: {', '.join(told['terms'])}.")
    if told["forbidden"]:
        say(
            "[yellow]These terms forbid to train on them:[/] `sartor run` refuses, unless the task says "
            "gate: {allow_licences: [no_training]}."
        )
    say(f"Name the file in {task}:  - {{use: jsonl, path: {told['out']}, split: train, licence: owned}}")
    say(f"Then: {program()} run {task}")

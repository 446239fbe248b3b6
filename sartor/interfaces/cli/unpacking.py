"""`sartor task learn-input`: infer from captured traffic where the input stands in the application's prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

if TYPE_CHECKING:
    from sartor.gateway.learn_input import Lesson


def add_to(task_app: typer.Typer) -> None:
    """Put the command beside the other `sartor task` verbs."""
    task_app.command("learn-input")(learn_input)


def learn_input(
    source: Annotated[
        str,
        typer.Argument(help="A file of requests (JSON lines), or a route with captured traffic.", show_default=False),
    ],
    task: Annotated[Path | None, typer.Option(help="The task file whose input it is.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the block into the task file.")] = False,
    columns: Annotated[
        str, typer.Option(help="Names of the holes in their order, with commas; '_' first: no input (a date).")
    ] = "",
    coverage: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the requests held out that the prompt must fit.")
    ] = 0.95,
) -> None:
    """Infer the prompt that an application sends, and where in it the input stands.

    Prints the `input:` block for the task file. Exit code 7 if the traffic does not say it clearly enough.

    Example: sartor task learn-input triage --task task.yaml --write
    """
    from sartor.core.errors import AskError
    from sartor.pipeline import learn_input as learning
    from sartor.pipeline.task_file import read_task

    if write and task is None:
        raise AskError("--write needs the task file: name it with --task.", code="no_task", param="task")
    spec = read_task(task).input if task else None
    from_file = Path(source).is_file()
    if from_file:
        chats = learning.chats_in(Path(source))
    else:
        with workshop(read_only=True) as shop:
            chats = learning.chats_of(shop, source)
    names = [name.strip() for name in columns.split(",") if name.strip()]
    lesson = learning.learn(chats, spec=spec, columns=names, coverage=coverage)
    if not from_file:
        learning.refuse_redacted(lesson)
    block = learning.input_block(lesson)
    written = learning.write_block(task, lesson) if write and task else learning.block_text(block)
    emit(_body(lesson, block, task if write else None), lambda: _show(lesson, written, task if write else None))


def _body(lesson: "Lesson", block: dict[str, Any], task: Path | None) -> dict[str, Any]:
    from sartor.pipeline import learn_input as learning

    return {
        "chats": lesson.chats,
        "held_out": lesson.held_out,
        "coverage": lesson.best.coverage,
        "coverage_interval": learning.interval(lesson),
        "input": block,
        "example": dict(lesson.best.example),
        "prompts": [
            {"coverage": found.coverage, "held_out": found.held_out, "prompt": found.declared()}
            for found in lesson.prompts
        ],
        "not_fitting": [[{"role": role, "content": text} for role, text in said] for said in lesson.strangers],
        "task": str(task) if task else None,
    }


def _show(lesson: "Lesson", written: str, task: Path | None) -> None:
    from sartor.pipeline.learn_input import interval

    best = lesson.best
    low, high = interval(lesson)
    say(
        f"The prompt fits [bold]{best.coverage:.1%}[/] of {lesson.held_out:,} requests held out "
        f"(95 % interval {low:.1%} to {high:.1%}; {lesson.chats:,} requests in all). In one of them the holes hold:"
    )
    table("", ["hole", "text"], [(name, text[:100]) for name, text in best.example.items()])
    if len(best.columns) > 1:
        say("Several texts vary. If one is no input, such as a date, name the holes: --columns _date,text")
    for said in lesson.strangers:
        say("[yellow]does not fit[/], so it would go to the upstream:")
        table("", ["role", "text"], [(role, text[-100:]) for role, text in said])
    print(f"Written to {task}:\n{written}" if task else written, end="")

"""What became of the answers: `drift` shows what has changed, `judge` asks and measures who else may say."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, program, say, table, workshop

judges = typer.Typer(
    name="judge",
    help="Judges of a task: measure them on people's answers, ask them about the rest.",
    no_args_is_help=True,
)

Task = Annotated[str, typer.Argument(help="Task.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Judge, by its name in the task file.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    app.command()(drift)
    app.add_typer(judges)


def drift(
    task: Task,
    correct: Annotated[
        bool, typer.Option("--correct", help="Reweigh what is live by today's shares of labels, where they explain it.")
    ] = False,
    uncorrect: Annotated[bool, typer.Option("--uncorrect", help="Take that back.")] = False,
    why: Annotated[str, typer.Option("--why", help="Kept in the decision.")] = "",
) -> None:
    """What has changed since the live variant was released: inputs, answers, confidence, feedback, value."""
    if correct or uncorrect:
        _correct(task, why, back=uncorrect)
        return
    from sartor.pipeline.drift import board

    with workshop() as shop:
        found = board(shop, task)
    seen = [
        (one.watched, one.view, one.slice, one.requests, f"{one.chance:.2g}", len(one.alarms)) for one in found.watched
    ]

    def people() -> None:
        table("", ["watched", "view", "slice", "requests#", "chance without drift#", "alarms#"], seen)
        for alarm in found.alarms:
            say(f"{_time(alarm.at)} {alarm.says}")
            say(f"    since about {_time(alarm.since)}; look at: {', '.join(alarm.examples[:3])}")
        if found.prior is not None:
            say(found.prior["says"])
        if not found.alarms:
            say(f"No alarm in {found.requests:,} requests; without drift the chance of any is {found.false_alarm:.0%}.")

    emit(found.body(), people)


def _correct(task: str, why: str, *, back: bool) -> None:
    from sartor.pipeline.prior import drop_prior, state_prior

    with workshop(deed="prior.drop" if back else "prior.state", target=task) as shop:
        done = (drop_prior if back else state_prior)(shop, task, why=why)

    def people() -> None:
        table("", ["label", "share before#", "today#"], ((name, *pair) for name, pair in done["shares"].items()))
        say("Answers are as calibrated again." if back else f"Take it back: {program()} drift {task} --uncorrect")

    emit(done, people)


@judges.command()
def measure(
    task: Task,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="At most this many answers are asked about.")] = 1000,
    rows: Annotated[
        bool, typer.Option("--rows", help="The live variant's answers on labelled validation rows count too.")
    ] = False,
) -> None:
    """Hold a judge against people's verdicts on the same answers: sensitivity, specificity, kappa."""
    from sartor.pipeline.judges import measure_judge, shown

    with workshop() as shop:
        report = measure_judge(shop, task, name, limit=limit, rows=rows)

    def people() -> None:
        figures = [(n, *(_figure(v) for v in (m.value, m.low, m.high)), m.n) for n, m in report.metrics.items()]
        table("", ["", "value#", "low#", "high#", "answers#"], figures)
        say(f"Its word {'counts' if report.facts['counts'] else 'does not count'}: {'; '.join(report.facts['why'])}")

    emit(shown(report), people)


@judges.command()
def run(
    task: Task,
    name: Name,
    since: Annotated[str, typer.Option(help="Answers from then on: 2026-11-25, or 7d, 3h ago.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many answers.")] = 1000,
    budget: Annotated[float | None, typer.Option(min=0, help="Money at which it stops.", show_default="none")] = None,
) -> None:
    """Ask a judge about answers that nobody has looked at, the newest first; what it costs is booked."""
    from sartor.pipeline.judges import judge
    from sartor.pipeline.traffic import moment

    with workshop(deed="judges.judge", target=f"{task} {name}") as shop:
        done = judge(shop, task, name, since=moment(since, "since") if since else 0.0, limit=limit, budget=budget)
    none = sum(done.no_verdict.values())
    says = f"{done.asked:,} answers: {done.right:,} right, {done.wrong:,} wrong, {none:,} without a verdict"
    emit(
        done.body(),
        lambda: say(f"{says}; it cost {done.cost:,.4f}{f'; stopped: {done.stopped}' if done.stopped else ''}"),
    )


@judges.command()
def status(task: Task) -> None:
    """What each judge is worth, whether it counts, and how many answers are right by what it says."""
    from sartor.pipeline.judges import status as look

    with workshop(read_only=True) as shop:
        found = look(shop, task)

    def people() -> None:
        columns = ["judge", "use", "counts", "informedness#", "judged#", "called right#", "right#", "between#", "way"]
        table("", columns, [_line(one) for one in found])
        for one in found:
            say(f"{one['judge']}: {'; '.join(one['why'])}")

    emit(found, people)


def _line(one: dict[str, Any]) -> tuple[Any, ...]:
    worth, right = one["metrics"].get("informedness", {}), one["right"]
    between = f"{right['right']['low']:.3f}–{right['right']['high']:.3f}" if right else ""
    figures = (_figure(right["right"]["value"]), between, right["way"]) if right else ("", "", "")
    counts = "yes" if one["counts"] else "no"
    return (one["judge"], one["use"], counts, _figure(worth.get("value")), one["judged"], one["judged_right"], *figures)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="minutes")[:16]

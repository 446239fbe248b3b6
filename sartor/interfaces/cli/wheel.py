"""The wheel: what turns by itself and why, releases that wait for people, and news that was sent."""

from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(name="wheel", help="What turns by itself, why, and within which bounds.", no_args_is_help=True)
approvals = typer.Typer(name="approvals", help="Releases that wait for people.", no_args_is_help=True)

TaskName = Annotated[str, typer.Argument(help="Name of the task.", show_default=False)]
AnyTask = Annotated[str, typer.Option("--task", help="Only this task.")]
Why = Annotated[str, typer.Option("--why", help="Kept in the decision.")]
Which = Annotated[
    str, typer.Option("--decision", help="Digest of the decision that is meant; default: whatever waits.")
]


@app.command()
def status(task: AnyTask = "") -> None:
    """Say of each live task why it should learn now, what holds it, and what it has spent this month."""
    from sartor.pipeline.traffic import iso
    from sartor.pipeline.wheel import look

    with workshop() as shop:
        found = look(shop, task=task)
        currency = shop.currency

    def people() -> None:
        columns = ["task", "labels#", "drift", "next time", f"spent {currency}#", "turns", "why, or why not"]
        table("", columns, (_line(standing, iso) for standing in found))

    emit([standing.body() for standing in found], people)


def _line(standing: Any, iso: Any) -> tuple[Any, ...]:
    turns = "yes" if standing.reasons and not standing.held else "no"
    why = "; ".join(standing.held if standing.reasons and standing.held else standing.reasons) or "no reason"
    at = iso(standing.next_time)[:16] if standing.next_time else ""
    return (standing.task, standing.labels, len(standing.drift) or "", at, standing.spent, turns, why)


@app.command()
def turn(task: AnyTask = "") -> None:
    """Start the runs that there is a reason for, as a running server does every half minute."""
    from sartor.pipeline.wheel import turn as turn_now

    with workshop(deed="wheel.turn", target=task) as shop:
        started = turn_now(shop, task=task)

    def people() -> None:
        for done in started:
            say(f"{done['task']}: {done['job']} ({'; '.join(done['why'])})")
        if not started:
            say("Nothing to start. See why: sartor wheel status")

    emit(started, people)


@app.command()
def news(
    task: AnyTask = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 30,
    send: Annotated[bool, typer.Option("--send", help="Send what is due now first.")] = False,
) -> None:
    """List what was sent by webhook and mail, and what has not arrived."""
    from sartor.pipeline.notify import deliver, list_notices

    with workshop(read_only=not send) as shop:
        if send:
            deliver(shop)
        found = list_notices(shop, task=task, limit=limit)
    columns = ["id", "task", "what", "title", "to", "state", "tries#", "error"]
    names = ("id", "task", "what", "title", "to", "state", "attempts", "error")
    emit(found, lambda: table("", columns, ([one[name] for name in names] for one in found)))


@approvals.command("list")
def list_() -> None:
    """List the releases that wait, who has approved each, and who still has to."""
    from sartor.pipeline.approvals import list_waiting

    with workshop(read_only=True) as shop:
        found = list_waiting(shop)
    rows = [
        (
            w["task"],
            w["decision"][:12],
            w["asked_by"],
            f"{len(w['approved_by'])} of {w['needed']}",
            w["reasons"][0],
        )
        for w in found
    ]
    emit(found, lambda: table("", ["task", "decision", "asked by", "approved", "why"], rows))


@approvals.command()
def approve(task: TaskName, decision: Which = "", why: Why = "") -> None:
    """Approve what waits on a task; the last approval that is needed makes it live."""
    from sartor.pipeline.approvals import approve as say_yes

    with workshop(deed="approvals.approve", target=task) as shop:
        done = say_yes(shop, task, why=why, decision=decision)
    live = "It is live now." if done["released"] else "More people have to approve it."
    emit(done, lambda: say(f"Approved by {', '.join(done['approved_by'])}. {live}"))


@approvals.command()
def reject(task: TaskName, decision: Which = "", why: Why = "") -> None:
    """Reject what waits on a task; the live variant stays."""
    from sartor.pipeline.approvals import reject as say_no

    with workshop(deed="approvals.reject", target=task) as shop:
        done = say_no(shop, task, why=why, decision=decision)
    emit(done, lambda: say(f"Rejected. What was live on '{task}' stays."))

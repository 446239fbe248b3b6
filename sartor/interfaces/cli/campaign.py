"""Campaigns: one change over many tasks, planned, watched, paused."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

if TYPE_CHECKING:
    from sartor.pipeline.campaign_plan import Campaign

app = typer.Typer(
    name="campaign",
    help="One change over many tasks: a base retired, a price risen, a curator mended.",
    no_args_is_help=True,
)
Spec = Annotated[
    Path | None, typer.Argument(help="Campaign file (YAML); or say it by the options.", show_default=False)
]
Name = Annotated[str, typer.Option(help="For people; default what it does.")]
Tasks = Annotated[list[str] | None, typer.Option(help="Names of tasks, e.g. 'icd-*'; repeat for more. Default all.")]
FromBase = Annotated[str, typer.Option(help="Base whose candidates change.")]
ToBase = Annotated[str, typer.Option(help="Base that takes its place; '' leaves them out.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE of the task file, e.g. value.escalate.price=2.")
]
Curate = Annotated[bool, typer.Option("--curate", help="Curate the rows again, by today's curators.")]
AtOnce = Annotated[int, typer.Option(min=1, help="Rebuilds under way at the same time, at most.")]
Why = Annotated[str, typer.Option(help="The reason.")]
Ident = Annotated[str, typer.Argument(help="Name of the campaign, or id of its job.", show_default=False)]
SHOWN = 40


@app.command("plan")
def plan_(
    spec: Spec = None,
    name: Name = "",
    tasks: Tasks = None,
    from_base: FromBase = "",
    to_base: ToBase = "",
    settings: Set = None,
    curate: Curate = False,
    at_once: AtOnce = 2,
) -> None:
    """Which tasks it touches, how long it takes, what it costs. Makes nothing."""
    from sartor.pipeline.campaign_plan import plan_campaign

    asked = _campaign(spec, name, tasks, from_base, to_base, settings, curate=curate, at_once=at_once)
    with workshop() as shop:
        found = plan_campaign(shop, asked)

    def people() -> None:
        say(f"[bold]{found['name']}[/]: {found['tasks']} tasks, {len(found['passed_over'])} passed over")
        rows = [(p["task"], p["steps"], p["cached"], p["seconds"]) for p in found["parts"]]
        table("", ["task", "steps#", "done before#", "CPU seconds#"], rows[:SHOWN])
        say(
            f"About {found['cpu_seconds']:,.0f} CPU seconds, {found['cost']:.4f} {found['currency']}; "
            f"{found['wall_seconds']:,.0f} s with {found['at_once']} at once."
        )

    emit(found, people)


@app.command()
def start(  # noqa: PLR0913, PLR0917 - each is an option
    spec: Spec = None,
    name: Name = "",
    tasks: Tasks = None,
    from_base: FromBase = "",
    to_base: ToBase = "",
    settings: Set = None,
    curate: Curate = False,
    at_once: AtOnce = 2,
    why: Why = "",
    wait: Annotated[bool, typer.Option("--wait", help="Do it here and now, one after the other.")] = False,
) -> None:
    """Begin: workers make each task again, each is held against what is live."""
    from sartor.pipeline.campaign import board, start_campaign, wait_here

    asked = _campaign(spec, name, tasks, from_base, to_base, settings, curate=curate, at_once=at_once, why=why)
    with workshop(deed="campaign.start", target=asked.name) as shop:
        job = start_campaign(shop, asked, here=wait)
        found = wait_here(shop, job.id) if wait else board(shop, job.id)
    emit(found, lambda: show_board(found))


@app.command()
def status(
    campaign: Annotated[str, typer.Argument(help="Name or id; without one, all of them.", show_default=False)] = "",
) -> None:
    """The board: how far each task is, better, same, worse, needs data, failed, and the money."""
    from sartor.pipeline.campaign import board, list_campaigns

    with workshop(read_only=True) as shop:
        if campaign:
            found = board(shop, campaign)
            emit(found, lambda: show_board(found))
            return
        known = list_campaigns(shop)
    rows = [(c["id"], c["name"], c["state"], f"{c['ended']}/{c['tasks']}", c["money"]["released"]) for c in known]
    emit(known, lambda: table("", ["campaign", "name", "state", "done", "released#"], rows))


@app.command()
def pause(campaign: Ident) -> None:
    """Begin no more; what is under way stops at its next step."""
    _change("pause_campaign", campaign)


@app.command()
def resume(campaign: Ident) -> None:
    """Go on."""
    _change("resume_campaign", campaign)


@app.command()
def cancel(campaign: Ident) -> None:
    """Stop for good. What is released stays so."""
    _change("cancel_campaign", campaign)


def _change(verb: str, campaign: str) -> None:
    from sartor.pipeline import campaign as verbs

    with workshop(deed=verb.replace("_", "."), target=campaign) as shop:
        found = getattr(verbs, verb)(shop, campaign)
    emit(found, lambda: show_board(found))


def _campaign(
    spec: Path | None,
    name: str,
    tasks: list[str] | None,
    from_base: str,
    to_base: str,
    settings: list[str] | None,
    **how: Any,
) -> "Campaign":
    from sartor.pipeline.campaign_plan import campaign_of, read_campaign

    if spec is not None:
        return read_campaign(spec)
    bases = {from_base: to_base} if from_base else {}
    return campaign_of(name, tuple(tasks or ("*",)), bases, settings or [], **how)


def show_board(found: dict[str, Any]) -> None:
    """The states, the tasks and the sums."""
    say(f"[bold]{found['name']}[/] ({found['id']}): {found['state']}, {found['ended']} of {found['tasks']} tasks ended")
    table("", ["state", "tasks#"], list(found["states"].items()))
    shown = ("task", "state", "version", "money_now", "money_then")
    rows = [[*map(line.get, shown), str(line["says"])[:70]] for line in found["parts"]]
    table("", ["task", "state", "released as", "cost per 1,000 now#", "then#", ""], rows[:SHOWN])
    if len(rows) > SHOWN:
        say(f"and {len(rows) - SHOWN} more; --json has all.")
    money = found["money"]
    say(
        f"{money['released']} released, {money['waiting_for_people']} wait for people; "
        f"{money['saved_a_month']:,.2f} {money['currency']} saved a month, {money['spent']:,.4f} spent."
    )

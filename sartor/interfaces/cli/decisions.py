"""Look at decisions: `decide` lists, shows and replays them; `report` opens the paper of one."""

from pathlib import Path
from typing import Annotated

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    app.command()(decide)
    app.command()(report)


def decide(
    replay: Annotated[
        str, typer.Option(help="Digest of a decision: verify its signature and reach its verdict again.")
    ] = "",
    task: Annotated[str, typer.Option(help="Only decisions of this task.")] = "",
) -> None:
    """List decisions, or replay one from its evidence. Exit code 7 if the replay does not agree."""
    from sartor.core.records import Decision
    from sartor.pipeline.decide import replay as replay_decision

    with workshop(read_only=True) as shop:
        if not replay:
            ledger = shop.store.ledger
            found = ledger.find(Decision, task=task) if task else ledger.find(Decision)
            rows = [(d.digest[:12], d.created[:19], d.task, d.verb, d.verdict, d.candidate[:12], d.who) for d in found]
            columns = ["decision", "when", "task", "verb", "verdict", "candidate", "who"]
            emit([d.model_dump(mode="json") | {"digest": d.digest} for d in found], lambda: table("", columns, rows))
            return
        outcome = replay_decision(shop, replay)

    def people() -> None:
        say(f"Signature of key {outcome.key_id}: good. Evidence: {outcome.evidence} records, all as they were signed.")
        say(f"Verdict then: {outcome.recorded}. Verdict from the evidence now: [bold]{outcome.reached}[/].")

    emit(outcome.body(), people)
    if outcome.reached != outcome.recorded:
        raise typer.Exit(7)


def report(
    decision: Annotated[
        str, typer.Argument(help="Digest of a decision, or a task's name for its latest.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the HTML here.")] = None,
) -> None:
    """Write the report of a decision as one HTML file (and print its JSON with --json)."""
    from sartor.pipeline.report import report_of

    with workshop() as shop:
        view, path = report_of(shop, decision, out)
    emit(view, lambda: say(str(path)))

"""Traffic: the commands of `sartor traffic`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(
    name="traffic", help="Captured exchanges and feedback: look, query, export, erase.", no_args_is_help=True
)

Tenant = Annotated[str, typer.Option(help="Only of this tenant.", show_default="all")]
Owner = Annotated[str, typer.Option(help="Whose traffic it is.")]
Route = Annotated[str, typer.Option(help="Only of this route.", show_default="all")]
Task = Annotated[str, typer.Option(help="Only of this task.", show_default="all")]
Since = Annotated[str, typer.Option(help="From then on: 2026-11-25, 2026-11-25T10:00, or 7d, 3h, 30m ago.")]
Until = Annotated[str, typer.Option(help="Before then, in the same forms.")]


@app.command("list")
def list_(
    tenant: Tenant = "",
    route: Route = "",
    since: Since = "",
    until: Until = "",
    where: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of a field, e.g. decision=escalate, version=triage@v7; repeat for more."),
    ] = None,
    after: Annotated[str, typer.Option(help="What the page before gave as `after`.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 20,
) -> None:
    """Exchanges, newest first."""
    from sartor.pipeline.traffic import exchange_body, filters_of, page_of

    filters = filters_of(where or (), route=route, since=since, until=until)
    with workshop() as shop:
        page = page_of(shop, tenant or None, filters, after=after, limit=limit)
    bodies = [exchange_body(found) for found in page.rows]

    def people() -> None:
        shown = ("time", "id", "route", "version", "decision", "status")
        columns = ["time", "exchange", "route", "answered by", "decision", "status#", "answer", "cost#", "ms#"]
        rows = [(*map(b.get, shown), b["label"] or "", f"{b['money']:.6f}", b["seconds"] * 1000) for b in bodies]
        table("", columns, rows)
        if page.after:
            say(f"More: --after '{page.after}'")

    emit({"exchanges": bodies, "after": page.after}, people)


@app.command()
def show(
    exchange: Annotated[str, typer.Argument(help="Id of the completion (chatcmpl-…).", show_default=False)],
    tenant: Tenant = "",
) -> None:
    """One exchange: its hops, what was said, what became of it."""
    import json

    from sartor.pipeline.traffic import show as do

    with workshop() as shop:
        found = do(shop, tenant or None, exchange)

    def people() -> None:
        lists = ("hops", "feedback", "request", "response")
        table("", ["", ""], [(k, "" if v is None else str(v)) for k, v in found.items() if k not in lists])
        hops = [(h["served_by"][:24], h["kind"], h["cost"], h["label"] or "", h["why"]) for h in found["hops"]]
        table("Hops", ["asked", "kind", "cost in nano-units#", "answer", "why"], hops)
        told = [(f["metric"], json.dumps(f["value"]), f["source"], f["rationale"]) for f in found["feedback"]]
        if told:
            table("Feedback", ["metric", "value", "source", "rationale"], told)
        for name in ("request", "response"):
            if found[name] is not None:
                table("", [name], [(json.dumps(found[name], ensure_ascii=False, indent=1),)])

    emit(found, people)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over exchanges, hops and feedback.", show_default=False)],
    tenant: Tenant = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most this many rows.")] = 1000,
) -> None:
    """Ask in SQL (DuckDB): `select route, count(*), sum(cost) / 1e9 from exchanges group by route`."""
    from sartor.pipeline.traffic import query as do

    with workshop() as shop:
        answer = do(shop, tenant or None, sql, limit=limit)

    def people() -> None:
        table("", answer.columns, [tuple("" if v is None else v for v in row) for row in answer.rows])
        if answer.more:
            say(f"Only the first {limit:,} rows: give a --limit for more.")

    emit(asdict(answer), people)


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="A new file: .jsonl or .parquet.", show_default=False)],
    tenant: Tenant = "",
    route: Route = "",
    task: Task = "",
    since: Since = "",
    until: Until = "",
    spec: Annotated[
        Path | None, typer.Option(help="Task file that says where the input stands; default each exchange's own task.")
    ] = None,
) -> None:
    """Write exchanges with their content to a file; .jsonl is what the source `chat_logs` of a task reads."""
    from sartor.pipeline.task_file import read_task
    from sartor.pipeline.traffic import filters_of
    from sartor.pipeline.traffic_export import export as do

    filters = filters_of((), route=route, task=task, since=since, until=until, endpoint="chat")
    with workshop() as shop:
        done = do(shop, tenant or None, target, filters, read_task(spec) if spec else None)
    left = f"{done.without_content:,} without content and {done.erased:,} of erased people left out"
    emit(asdict(done), lambda: say(f"Wrote {done.rows:,} exchanges to {target}; {left}"))


@app.command()
def feedback(
    file: Annotated[Path, typer.Argument(help="CSV or JSON lines.", show_default=False)], tenant: Owner = "default"
) -> None:
    """Take in outcomes: rows of metric, value, and exchange_id or business_key. All of them, or none."""
    from sartor.pipeline.traffic import import_feedback

    with workshop(deed="traffic.feedback", target=str(file)) as shop:
        done = import_feedback(shop, tenant, file)
    says = f"{done.rows:,} rows: {done.new:,} new, {done.joined:,} of known exchanges; others join when theirs arrive"
    emit(asdict(done), lambda: say(says))


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(help="The user as the application names them.", show_default=False)],
    tenant: Owner = "default",
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Erase a person: destroy the key of their content. It can't be taken back; accounting rows stay."""
    from sartor.pipeline.traffic import erase as do

    if not yes:
        typer.confirm(f"Destroy the key of '{subject}' for good?", abort=True, err=True)
    with workshop() as shop:
        count = do(shop, tenant, subject)
    says = "Their content can't be read any more." if count else "There was no content of theirs to erase."
    emit({"keys_destroyed": count}, lambda: say(f"{says} Backups of keys made before still hold theirs."))


@app.command()
def compact(
    days: Annotated[float, typer.Option(min=0, help="Move segments older than this.")] = 7.0,
) -> None:
    """Move old segments into one Parquet file a day, and delete content that is past its route's days."""
    with workshop() as shop:
        done = shop.store.traffic.compact(days=days)
    says = f"{done.records:,} records of {done.segments:,} segments moved into {done.files:,} files"
    emit(asdict(done), lambda: say(f"{says}; {done.dropped:,} contents were past their days"))


@app.command()
def reindex() -> None:
    """Make the index anew from the log."""
    with workshop() as shop:
        count = shop.store.traffic.index.reindex()
    emit({"records": count}, lambda: say(f"{count:,} records indexed"))


@app.command()
def status() -> None:
    """What there is: exchanges, files, bytes. Exit code 1 if something is damaged."""
    from sartor.pipeline.traffic import status as do

    with workshop() as shop:
        found: dict[str, Any] = do(shop)
    emit(found, lambda: table("", ["", "#"], [(name.replace("_", " "), value) for name, value in found.items()]))
    if found["damaged_bytes"]:
        raise typer.Exit(1)

"""Recall: find everything made from something, and take it back."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(
    name="recall",
    help="Take back what was made from a source, base, data set, row, person, licence or variant.",
    no_args_is_help=True,
)
WHAT = {
    "source": ("A source of rows.", "Its title (csv:tickets.csv), or the file's name."),
    "base": ("A base model.", "Its name, or the beginning of its digest."),
    "dataset": ("A data set.", "Its digest, or a task's name for its newest."),
    "row": ("One row.", "Its id, or the exchange that it came from (chatcmpl-…)."),
    "subject": ("A person.", "The user as the application names them."),
    "licence": ("All that carries a licence.", "Its name, e.g. CC-BY-NC-4.0."),
    "variant": ("A variant, and what is mixed of it.", "task@v7, or a digest."),
}
"""Kind -> what it takes back, and how it is named."""
PlanOnly = Annotated[bool, typer.Option("--plan", help="Only list what descends from it, and where names would go.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Why = Annotated[str, typer.Option(help="The reason, kept in the decision.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Make the tasks again here and now, instead of leaving it to workers.")
]
Keep = Annotated[bool, typer.Option("--no-rebuild", help="Make nothing again.")]
Ident = Annotated[str, typer.Argument(help="Digest of the recall, or its beginning.", show_default=False)]
SHOWN = 40
"""Lines of a table."""


def _command(kind: str, about: str, named: str) -> Callable[..., None]:
    value_of = Annotated[str, typer.Argument(help=named, show_default=False)]

    def take_back(
        value: value_of,
        plan: PlanOnly = False,
        yes: Yes = False,
        why: Why = "",
        wait: Wait = False,
        no_rebuild: Keep = False,
    ) -> None:
        _do(kind, value, only_plan=plan, yes=yes, wait=wait, why=why, rebuild=not no_rebuild)

    def take_base(
        value: value_of,
        plan: PlanOnly = False,
        yes: Yes = False,
        why: Why = "",
        wait: Wait = False,
        no_rebuild: Keep = False,
        instead: Annotated[
            str, typer.Option(help="Base that takes its place; default: its candidates are left out.")
        ] = "",
    ) -> None:
        _do(kind, value, only_plan=plan, yes=yes, wait=wait, why=why, rebuild=not no_rebuild, instead=instead)

    def take_person(
        value: value_of,
        plan: PlanOnly = False,
        yes: Yes = False,
        why: Why = "",
        wait: Wait = False,
        no_rebuild: Keep = False,
        tenant: Annotated[str, typer.Option(help="Whose user it is.")] = "default",
        keep_content: Annotated[
            bool, typer.Option("--keep-content", help="Don't erase what is captured of them in traffic.")
        ] = False,
    ) -> None:
        erased = "" if keep_content else tenant
        _do(kind, value, only_plan=plan, yes=yes, wait=wait, why=why, rebuild=not no_rebuild, tenant=erased)

    commands: dict[str, Callable[..., None]] = {"subject": take_person, "base": take_base, "licence": take_base}
    found = commands.get(kind, take_back)
    found.__doc__ = f"{about} Names move away from all that was made of it, and tasks are made again without it."
    return found


for _kind, (_about, _named) in WHAT.items():
    app.command(_kind)(_command(_kind, _about, _named))


def _do(kind: str, value: str, *, only_plan: bool, yes: bool, wait: bool, **how: Any) -> None:
    from sartor.pipeline.recall import recall
    from sartor.pipeline.recall_plan import plan as look

    with workshop() as shop:
        if only_plan or not yes:
            found = look(shop, kind, value).body()
        if only_plan:
            emit(found, lambda: show_plan(found))
            return
        if not yes:
            show_plan(found)
            typer.confirm(f"Take back {found['says']}?", abort=True, err=True)
        done = recall(shop, kind, value, **how)
        if wait:
            from sartor.pipeline.recall import wait_for
            from sartor.pipeline.recall_kept import show

            wait_for(shop, done["recall"])
            done |= show(shop, done["recall"])
    emit(done, lambda: _show_done(done))


def _show_done(done: dict[str, Any]) -> None:
    short = done["recall"][:12]
    say(f"[bold]{done['says']}[/] is recalled ({short}): names moved in {done['moved_in_seconds'] * 1000:.0f} ms.")
    _show_moves(done["moves"])
    if done.get("keys_destroyed"):
        say("Their captured content can't be read any more. Backups of keys made before still hold theirs.")
    if "proof" in done:
        _show_jobs(done)
    elif done["jobs"]:
        say(f"{len(done['jobs'])} tasks are made again by whatever worker runs. See: sartor recall show {short}")
    say(f"Prove it: sartor recall proof {short}")


@app.command("list")
def list_() -> None:
    """Every recall: what, when, by whom, and how far its rebuilds are."""
    from sartor.pipeline.recall_kept import list_recalls

    with workshop(read_only=True) as shop:
        found = list_recalls(shop)

    def line(r: dict[str, Any]) -> tuple[Any, ...]:
        ended = sum(job["job_state"] == "succeeded" for job in r["jobs"])
        proof = "" if r["proof"] is None else "clean" if r["proof"]["verdict"] == "ship" else "not clean"
        stands = "in force" if r["in_force"] else "lifted"
        return r["recall"][:12], r["when"][:19], r["says"], r["who"], stands, f"{ended}/{len(r['jobs'])}", proof

    columns = ["recall", "when", "what", "who", "", "rebuilt", "proof"]
    emit(found, lambda: table("", columns, [line(r) for r in found]))


@app.command()
def show(recall: Ident) -> None:
    """One recall: where names went, and what became of each task."""
    from sartor.pipeline.recall_kept import show as look

    with workshop(read_only=True) as shop:
        found = look(shop, recall)

    def people() -> None:
        say(f"[bold]{'; '.join(found['reasons'])}[/], by {found['who']} on {found['when'][:19]}")
        _show_moves(found["moves"])
        _show_jobs(found)

    emit(found, people)


@app.command()
def proof(recall: Ident) -> None:
    """Read everything that answers, up to each row that it came from, and sign it. Exit code 7: not clean."""
    from sartor.pipeline.recall_proof import prove

    with workshop() as shop:
        found = prove(shop, recall)

    def people() -> None:
        say(f"[bold]{found['says']}[/] ({found['records_read']:,} records, {found['rows_read']:,} rows read).")
        for item in found["bad"]:
            say(f"  {item['name']}: {item['why']}")
        say(f"Signed: {found['proof'][:12]}. Verify the signature: sartor decide --replay {found['proof'][:12]}")

    emit(found, people)
    if not found["clean"]:
        raise typer.Exit(7)


@app.command()
def lift(recall: Ident, why: Why = "") -> None:
    """Take a recall back: what was under quarantine may be released again. Names stay where they are."""
    from sartor.pipeline.recall import lift as do

    with workshop() as shop:
        done = do(shop, recall, why)
    emit(done, lambda: say(f"{done['freed']} records are free again (decision {done['decision'][:12]})."))


def _show_moves(moves: dict[str, Any]) -> None:
    rows = [(m["task"], m["how"], m["to"][:12]) for m in moves["tasks"]]
    rows += [(r["route"], "route", str(r["policy"])[:60]) for r in moves["routes"]]
    if rows:
        table("What answers instead", ["name", "how", "to"], rows[:SHOWN])
    if len(rows) > SHOWN:
        say(f"and {len(rows) - SHOWN} more; --json has all.")


def _show_jobs(found: dict[str, Any]) -> None:
    rows = [
        (j["task"], j["job_state"], j["state"], j["version"], (j["error"] or j["says"])[:80]) for j in found["jobs"]
    ]
    if rows:
        table("Made again", ["task", "job", "beside what is live", "released as", ""], rows[:SHOWN])
    if found["proof"] is not None:
        clean = (
            "nothing that answers descends from it" if found["proof"]["verdict"] == "ship" else "something still does"
        )
        say(f"Proof {found['proof']['decision'][:12]}: {clean}.")


def show_plan(found: dict[str, Any]) -> None:
    """What descends, and where names go."""
    say(f"[bold]{found['says']}[/]: what descends from it")
    table("", ["what", "how many#"], list(found["counts"].items()))
    rows = [(d["task"], d["digest"][:12], "" if d["rows"] is None else d["rows"]) for d in found["datasets"]]
    table("Data sets", ["task", "data set", "its rows#"], rows[:SHOWN])
    made = [(v["task"], v["title"], v["digest"][:12], " ".join(sorted(v["names"]))) for v in found["variants"]]
    table("Variants", ["task", "title", "variant", "names"], made[:SHOWN])
    _show_moves(found["moves"])
    if found["caches"]["exports"]:
        say(f"Files outside of the store that may hold it: {', '.join(found['caches']['exports'])}")
    if max(len(found["datasets"]), len(found["variants"])) > SHOWN:
        say(f"Only {SHOWN} lines of each are shown; --json has all.")

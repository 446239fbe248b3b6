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


def _command(kind: str, about: str, named: str) -> Callable[..., None]:
    def take_back(
        value: Annotated[str, typer.Argument(help=named, show_default=False)],
        plan: PlanOnly = False,
    ) -> None:
        _plan(kind, value)

    take_back.__doc__ = f"{about} Names move away from all that was made of it, and tasks are made again without it."
    return take_back


for _kind, (_about, _named) in WHAT.items():
    app.command(_kind)(_command(_kind, _about, _named))


def _plan(kind: str, value: str) -> None:
    from sartor.pipeline.recall import plan as look

    with workshop() as shop:
        found = look(shop, kind, value).body()
    emit(found, lambda: show_plan(found))


def show_plan(found: dict[str, Any]) -> None:
    """What descends, and where names go."""
    say(f"[bold]{found['says']}[/]: what descends from it ({found['seconds']:.2f} s)")
    table("", ["what", "how many#"], list(found["counts"].items()))
    rows = [(d["task"], d["digest"][:12], "" if d["rows"] is None else d["rows"]) for d in found["datasets"]]
    table("Data sets", ["task", "data set", "its rows#"], rows[:SHOWN])
    rows = [(v["task"], v["title"], v["digest"][:12], " ".join(sorted(v["names"]))) for v in found["variants"]]
    table("Variants", ["task", "title", "variant", "names"], rows[:SHOWN])
    rows = [(m["task"], m["how"], m["to"][:12]) for m in found["moves"]["tasks"]]
    rows += [(r["route"], "route", str(r["policy"])[:60]) for r in found["moves"]["routes"]]
    if rows:
        table("What answers instead", ["name", "how", "to"], rows[:SHOWN])
    if found["caches"]["exports"]:
        say(f"Files outside of the store that may hold it: {', '.join(found['caches']['exports'])}")
    if max(len(found["datasets"]), len(found["variants"]), len(rows)) > SHOWN:
        say(f"Only {SHOWN} lines of each are shown; --json has all.")


SHOWN = 40

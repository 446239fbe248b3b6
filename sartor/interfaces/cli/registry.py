"""Stock: versions of variants, where they came from, and moving what is live."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, table, workshop

app = typer.Typer(help="Variants: list, search, lineage, verify, rollback, retire.", no_args_is_help=True)
Handle = Annotated[str, typer.Argument(help="task, task@live, task@v7 or a digest.", show_default=False)]
TaskName = Annotated[str, typer.Argument(help="Name of a task.", show_default=False)]


@app.command("list")
def list_() -> None:
    """Every task with what is live."""
    from sartor.pipeline.stock import tasks

    with workshop(read_only=True) as shop:
        found = tasks(shop)
    rows = [(t["task"], t["live"], t["recipe"], t["versions"], t["state"]) for t in found]
    emit(found, lambda: table("", ["task", "live", "recipe", "versions#", "state"], rows))


@app.command()
def search(
    where: Annotated[
        list[str], typer.Argument(help="field=value: task, recipe, base, title, data.", show_default=False)
    ],
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 50,
) -> None:
    """Variants by fields. Example: sartor registry search recipe=head base=minilm"""
    from sartor.pipeline.stock import search as find

    with workshop(read_only=True) as shop:
        found = find(shop, where, limit)
    rows = [(v["digest"][:12], v["task"], v["title"], v["recipe"], v["base"], v["created"][:19]) for v in found]
    emit(found, lambda: table("", ["variant", "task", "title", "recipe", "base", "made"], rows))


@app.command()
def show(handle: Handle) -> None:
    """One variant: what it is, its versions, its files, its licence."""
    from sartor.pipeline.stock import show as look

    with workshop(read_only=True) as shop:
        found = look(shop, handle)
    emit(found, lambda: table(handle, ["what", ""], [(k, _short(v)) for k, v in found.items()]))


@app.command()
def lineage(
    handle: Handle,
    down: Annotated[
        bool, typer.Option("--down", help="What was made from it, instead of what it was made from.")
    ] = False,
    graph: Annotated[bool, typer.Option("--graph", help="As Mermaid text.")] = False,
) -> None:
    """Where a variant came from, or what came of it."""
    from sartor.pipeline.stock import lineage as walk

    with workshop(read_only=True) as shop:
        found = walk(shop, handle, down=down)

    def people() -> None:
        print(found.mermaid if graph else found.text)

    emit(found.body(), people)


@app.command()
def diff(a: Handle, b: Handle) -> None:
    """What differs between two variants: fields, files, figures."""
    from sartor.pipeline.stock import diff as compare

    with workshop(read_only=True) as shop:
        found = compare(shop, a, b)
    rows = [(d["what"], _short(d["a"]), _short(d["b"])) for d in found]
    emit(found, lambda: table("", ["what", a, b], rows))


@app.command()
def verify(handle: Handle) -> None:
    """Hash a variant's records and files again, its ancestors' too. Exit code 1 if one byte is off."""
    from sartor.pipeline.stock import verify as check

    with workshop(read_only=True) as shop:
        done = check(shop, handle)
    emit(done, lambda: say(f"{done['records']:,} records and {done['files']:,} files are what their digests say."))


@app.command()
def bom(
    handle: Handle,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it here instead of printing it.")] = None,
) -> None:
    """The bill of materials (CycloneDX): base, data, licences, figures."""
    import json

    from sartor.pipeline.stock import bom as bill

    with workshop(read_only=True) as shop:
        found = bill(shop, handle)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
        say(f"Wrote {out}")
    else:
        print(text)


@app.command()
def parity(handle: Handle) -> None:
    """The parity certificate of what surgery made: its answers beside its parent's, on the same rows."""
    from sartor.pipeline.parity import parity_of

    with workshop(read_only=True) as shop:
        found = parity_of(shop, handle)

    def people() -> None:
        figures = found["metrics"]
        allowed, rows = found["tolerance"], figures["flips"]["n"]
        lines = [
            ("answers that are others", f"{figures['flips']['value']:.2%} of {rows:,} rows ({allowed:.2%} promised)"),
            ("of these better, worse", f"{figures['fixed']['value']:.0f}, {figures['broken']['value']:.0f}"),
            ("megabytes", " from ".join(f"{found['bytes'][who] / 1e6:,.1f}" for who in ("child", "parent"))),
            ("engine", f"{found['child_engine']} from {found['parent_engine']}"),
            ("golden probe", "asked after every load" if found["probe"] else "none"),
        ]
        table(found["title"], ["what", ""], lines)
        say("The promise holds." if found["holds"] else "The promise does not hold: read the rows that flipped.")

    emit(found, people)


@app.command()
def rollback(task: TaskName, why: Annotated[str, typer.Option(help="The reason, kept in the decision.")] = "") -> None:
    """Make the previous variant live again, in one operation."""
    from sartor.pipeline.stock import rollback as back

    with workshop(deed="registry.rollback", target=task) as shop:
        moved = back(shop, task, why)
    emit(moved, lambda: say(f"{task}@live is {moved['live'][:12]} again (decision {moved['decision'][:12]})."))


@app.command()
def retire(task: TaskName, why: Annotated[str, typer.Option(help="The reason, kept in the decision.")] = "") -> None:
    """Stop answering under a task's name. Nothing vanishes; a rollback brings it back."""
    from sartor.pipeline.stock import retire as stop

    with workshop(deed="registry.retire", target=task) as shop:
        moved = stop(shop, task, why)
    emit(moved, lambda: say(f"{task} is retired (decision {moved['decision'][:12]})."))


def _short(value: Any) -> str:
    text = _words(value)
    return text if len(text) <= 160 else text[:157] + "…"


def _words(value: Any) -> str:
    """A JSON value for people; of a metric the figure with its interval."""
    if isinstance(value, dict) and {"value", "low", "high"} <= set(value):
        if value["value"] is None:
            return value["note"] or "unknown"
        bounds = f"{_words(value['low'])} to {_words(value['high'])}, " if value["low"] is not None else ""
        return f"{_words(value['value'])} ({bounds}{value['n']:,} rows)"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {said}" for name, inner in value.items() if (said := _words(inner)))
    if isinstance(value, list | tuple):
        return ", ".join(_words(inner) for inner in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)

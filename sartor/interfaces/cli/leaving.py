"""Leaving and coming: `export` a variant so that it runs without Sartor, `import` a model that was made elsewhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.interfaces.cli.output import emit, say, workshop

Handle = Annotated[str, typer.Argument(help="task, task@live, task@v7 or a digest.", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the target, key=value; may be repeated.")
]


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    app.command()(export)
    app.command("import")(import_)


def export(
    handle: Handle,
    out: Annotated[Path, typer.Argument(help="The folder to write; not there yet, or empty.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="folder, hf, peft, onnx, gguf or mlflow.")] = "folder",
    rows: Annotated[bool, typer.Option("--rows", help="With the training and validation rows.")] = False,
    settings: Settings = None,
) -> None:
    """Write a variant into a folder that needs no Sartor: model, predict.py, card, recipe, pins.

    Example: sartor export support-triage --to hf ./triage
    """
    from sartor.pipeline.export import export as write

    with workshop(deed="export", target=handle) as shop:
        done = write(shop, handle, to, out, pairs(settings or []), rows=rows)

    def people() -> None:
        say(f"{done.folder}: {done.files} files, {done.bytes / 1e6:,.1f} MB, needs {', '.join(done.requires)}")
        for note in done.notes:
            say(f"  {note}")
        say(f'Try       pip install -r {out}/requirements.txt && python {out}/predict.py "a text"')

    emit(done.body(), people)


def import_(
    path: Annotated[Path, typer.Argument(help="Folder or file of the model.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="By which it is called here: imported:NAME.", show_default=False)],
    licence: Annotated[str, typer.Option(help="Of its weights, where its card does not say.")] = "",
    base: Annotated[str, typer.Option(help="For an adapter: the base here that it stands on.")] = "",
    task: Annotated[str, typer.Option(help="Make a variant of this task of it, inspected on its rows.")] = "",
    title: Annotated[str, typer.Option(help="Title of that variant.")] = "",
) -> None:
    """Bring in a model made elsewhere (transformers, PEFT, ONNX, GGUF, MLflow). Nothing inside is executed.

    Example: sartor import ./their-model --name theirs --task support-triage
    """
    from sartor.pipeline.bring import bring

    with workshop(deed="import", target=name) as shop:
        found = bring(shop, path, name, licence=licence, base=base, task=task, title=title)

    def people() -> None:
        say(f"{found.base.name} ({found.kind}) is {found.base.digest[:12]}, {len(found.base.files)} files")
        if found.left:
            say(f"  left where they were: {', '.join(found.left[:8])}")
        if found.variant is not None and found.reports is not None:
            money = found.reports["test"].metrics["money_per_1000"]
            say(f"{found.version}: {money.value:,.2f} lost per 1,000 requests on the test rows. Nothing is released:")
        say(f"In a task   - {{recipe: imported, base: '{found.base.name}'}}   and sartor run")

    emit(found.body(), people)


def pairs(settings: list[str]) -> dict[str, Any]:
    """Settings from `key=value` words; a value that is JSON counts as what it says.

    Raises:
        AskError: a word is not of that form.
    """
    import json

    from sartor.core.errors import AskError

    found: dict[str, Any] = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals:
            raise AskError(f"'{word}' is no setting: write key=value.", code="bad_setting", param="set")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found

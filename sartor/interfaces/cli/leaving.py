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

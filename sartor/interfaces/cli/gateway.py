"""Gateway: the commands of `sartor gateway`."""

import typer

app = typer.Typer(
    name="gateway",
    help="What stands in front: replay recorded answers, read another gateway's configuration.",
    no_args_is_help=True,
)


@app.callback()
def group() -> None:
    """What stands in front: replay recorded answers, read another gateway's configuration."""

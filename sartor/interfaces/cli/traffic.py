"""Traffic: the commands of `sartor traffic`."""

import typer

app = typer.Typer(
    name="traffic", help="Captured exchanges and feedback: look, query, export, erase.", no_args_is_help=True
)


@app.callback()
def group() -> None:
    """Captured exchanges and feedback: look, query, export, erase."""

"""Economics: the commands of `sartor economics`."""

import typer

app = typer.Typer(name="economics", help="What answers cost, saved and will cost.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """What answers cost, saved and will cost."""

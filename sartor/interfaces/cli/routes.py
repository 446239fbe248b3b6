"""Routes and upstreams: the commands of `sartor route`."""

import typer

app = typer.Typer(
    name="route",
    help="Names that applications ask for: declare them, move variants towards live, certify cascades.",
    no_args_is_help=True,
)


@app.callback()
def group() -> None:
    """Names that applications ask for: declare them, move variants towards live, certify cascades."""

"""Keys: the commands of `sartor key`."""

import typer

app = typer.Typer(name="key", help="Access keys, tenants and the audit log.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Access keys, tenants and the audit log."""

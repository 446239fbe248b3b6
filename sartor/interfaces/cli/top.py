"""`sartor top`: a live view of the routes of a running server."""

import typer


def add_to(app: typer.Typer) -> None:
    """Put the command on the top level."""

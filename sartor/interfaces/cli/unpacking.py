"""`sartor task learn-input`: infer from captured traffic where the input stands in the application's prompt."""

import typer


def add_to(task_app: typer.Typer) -> None:
    """Put the command beside the other `sartor task` verbs."""

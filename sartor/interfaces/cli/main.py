"""The `sartor` command. Imports nothing heavy: each command brings what it needs when it is called."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.core.errors import AskError, SartorError
from sartor.interfaces.cli import (
    adapters,
    campaign,
    chain,
    data,
    decisions,
    economics,
    explaining,
    gateway,
    hub,
    jobs,
    keys,
    labelling,
    learning,
    leaving,
    recall,
    registry,
    routes,
    serving,
    sweeping,
    teaching,
    top,
    traffic,
    unpacking,
    upkeep,
    watching,
    wheel,
)
from sartor.interfaces.cli.output import mode

app = typer.Typer(
    name="sartor",
    help="Made-to-measure models: rows in, a gated and served model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    chain,
    decisions,
    explaining,
    jobs,
    labelling,
    learning,
    leaving,
    serving,
    sweeping,
    top,
    upkeep,
    watching,
):
    part.add_to(app)
app.add_typer(data.app, name="data")
app.add_typer(hub.app, name="hub")
app.add_typer(chain.task_app, name="task")
app.add_typer(registry.app, name="registry")
unpacking.add_to(chain.task_app)
teaching.add_to(data.app)
adapters.add_to(routes.upstreams)
for group in (
    routes.app,
    routes.upstreams,
    gateway.app,
    keys.app,
    traffic.app,
    economics.app,
    jobs.app,
    labelling.app,
    recall.app,
    campaign.app,
    wheel.app,
    wheel.approvals,
):
    app.add_typer(group)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"sartor {version('sartor')}")
        raise typer.Exit


@app.callback()
def options(
    home: Annotated[Path | None, typer.Option(help="Folder of the store; default SARTOR_HOME or ./.sartor.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where in the code an error arose.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Made-to-measure models: rows in, a gated and served model out."""
    mode.json, mode.quiet, mode.home, mode.traceback = json_, quiet, home, traceback


def main() -> None:
    """Run the command; whatever fails prints one message and gives its exit code."""
    arguments = sys.argv[1:]
    # These work before and after the command's name.
    front = [flag for flag in ("--json", "--quiet", "-q", "--traceback") if flag in arguments]
    arguments = front + [a for a in arguments if a not in front]
    try:
        result: Any = app(args=arguments, prog_name="sartor", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort, EOFError):
        print("Stopped. What was finished is kept; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last place where a failure can be put into words
        _fail(error)
    sys.exit(result if isinstance(result, int) else 0)


def _fail(error: Exception) -> None:
    # Click's own usage errors carry their exit code and print themselves.
    if hasattr(error, "exit_code") and hasattr(error, "show"):
        error.show()
        if "--json" in sys.argv:
            _print_json(AskError(str(error), code="usage"))
        sys.exit(error.exit_code)
    if mode.traceback:
        import traceback

        traceback.print_exception(error)
    said = error if isinstance(error, SartorError) else _unforeseen(error)
    if mode.json:
        _print_json(said)
    print(f"sartor: {said.message}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(note, file=sys.stderr)
    sys.exit(said.exit_code)


def _print_json(error: SartorError) -> None:
    import json

    print(json.dumps(error.envelope(), ensure_ascii=False))


def _unforeseen(error: Exception) -> SartorError:
    """What to say about an error that nobody has put into words."""
    if isinstance(error, OSError) and error.filename:
        return SartorError(
            f"'{error.filename}' can't be used: {error.strerror}. Check the path and its permissions.", code="os_error"
        )
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    return SartorError(
        f"The command failed in a way that was not foreseen ({said}). What was stored before is still there. "
        "Run it again with --traceback, and report what it prints.",
        code="unforeseen",
    )


if __name__ == "__main__":
    main()

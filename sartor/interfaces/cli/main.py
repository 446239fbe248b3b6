"""The `sartor` command. Imports nothing heavy: each command brings what it needs when it is called."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sartor.core.errors import SartorError
from sartor.interfaces.cli import chain, data, decisions, hub, registry, serving, upkeep
from sartor.interfaces.cli.output import mode

app = typer.Typer(
    name="sartor",
    help="Made-to-measure models: rows in, a gated and served model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (chain, decisions, serving, upkeep):
    part.add_to(app)
app.add_typer(data.app, name="data")
app.add_typer(hub.app, name="hub")
app.add_typer(chain.task_app, name="task")
app.add_typer(registry.app, name="registry")


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
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: ARG001
) -> None:
    """Made-to-measure models: rows in, a gated and served model out."""
    mode.json, mode.quiet, mode.home = json_, quiet, home


def main() -> None:
    """Run the command; a Sartor error prints its message and gives its exit code."""
    arguments = sys.argv[1:]
    # --json and --quiet work before and after the command's name.
    front = [flag for flag in ("--json", "--quiet", "-q") if flag in arguments]
    arguments = front + [a for a in arguments if a not in front]
    try:
        result: Any = app(args=arguments, standalone_mode=False)
    except SartorError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("Stopped. What was finished is kept; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    except (typer.Abort, EOFError):
        sys.exit(130)
    except Exception as error:
        # Click's own usage errors carry their exit code and print themselves.
        if hasattr(error, "exit_code") and hasattr(error, "show"):
            error.show()
            sys.exit(error.exit_code)
        raise
    sys.exit(result if isinstance(result, int) else 0)


def _fail(error: SartorError) -> None:
    if mode.json:
        import json

        print(json.dumps(error.envelope(), ensure_ascii=False))
    print(f"sartor: {error.message}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(note, file=sys.stderr)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

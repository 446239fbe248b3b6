"""How commands print: tables for people, one JSON document for machines, errors the same in both."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sartor.core.progress import Progress
    from sartor.pipeline.workshop import Workshop


@dataclass
class Mode:
    """How this invocation prints; set once from the global options."""

    json: bool = False
    quiet: bool = False
    home: Path | None = None
    traceback: bool = False


mode = Mode()


def emit(data: Any, people: Callable[[], None]) -> None:
    """Print `data` as JSON with --json, else call `people` to print it for them."""
    if mode.json:
        print(json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False, default=str))
    else:
        people()


def say(text: str = "") -> None:
    """A line for people; nothing with --json or --quiet."""
    if not (mode.json or mode.quiet):
        console().print(text, soft_wrap=True)


def program() -> str:
    """What to type for this command: `sartor`, or the path by which it was called where that name finds nothing."""
    import shutil

    called = sys.argv[0]
    return called if called.endswith("/sartor") and not shutil.which("sartor") else "sartor"


def console() -> Any:
    """The terminal on stdout; wide where it is a file or a pipe, since nothing wraps there."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table for people; columns whose name ends in '#' are numbers, right-aligned."""
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column.removesuffix("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console().print(drawn)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))


@contextmanager
def progress_bars() -> Iterator["Progress"]:
    """Bars with time left on stderr, where that is a terminal; silent otherwise."""
    from sartor.core.progress import silent

    if mode.json or mode.quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        known: dict[str, Any] = {}
        vague: set[str] = set()  # steps that never say how much there is

        def draw(what: str, done: int, total: int) -> None:
            if what not in known:
                # What has ended makes room; what goes on around the new step stays.
                for name in [
                    n for n, bar in known.items() if bars.tasks[bars.task_ids.index(bar)].finished or n in vague
                ]:
                    bars.remove_task(known.pop(name))
                    vague.discard(name)
                known[what] = bars.add_task(what, total=total or None)
                if not total:
                    vague.add(what)
            bars.update(known[what], completed=done, total=total or None)

        yield draw


@contextmanager
def workshop(*, read_only: bool = False, deed: str = "", target: str = "") -> Iterator["Workshop"]:
    """The opened store with progress bars, for one command.

    Args:
        deed: what an administrator does with it (`route.set`), for the audit log; '' is not written there.
        target: to what.
    """
    from sartor.interfaces.settings import Settings

    settings = Settings.read(mode.home)
    with progress_bars() as progress:
        shop = settings.workshop(progress, read_only=read_only)
        try:
            with _audited(shop, deed, target):
                yield shop
        finally:
            shop.store.close()


def _audited(shop: "Workshop", deed: str, target: str) -> Any:
    if not deed:
        return nullcontext()
    from sartor.pipeline.access import audited

    return audited(shop, deed, target)

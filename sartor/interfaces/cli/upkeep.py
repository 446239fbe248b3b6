"""Keep the store: `backup`, `restore`, `gc`, `doctor`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sartor.interfaces.cli.output import emit, mode, say, table, workshop


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    for command in (backup, restore, gc, doctor):
        app.command()(command)


def backup(target: Annotated[Path, typer.Argument(help="An empty or new folder.", show_default=False)]) -> None:
    """Copy ledger and vault to a folder while others go on working."""
    from sartor.store.backup import backup as do

    with workshop(read_only=True) as shop:
        done = do(shop.store, target, progress=shop.progress)
    emit(asdict(done), lambda: say(f"Backed up {done.records:,} records and {done.files:,} files to {target}"))


def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `sartor backup` wrote.", show_default=False)],
    verify: Annotated[bool, typer.Option(help="Re-hash every record and file.")] = True,
) -> None:
    """Make a new store from a backup; an existing one is never overwritten."""
    from sartor.interfaces.cli.output import progress_bars
    from sartor.interfaces.settings import Settings
    from sartor.store.backup import restore as do

    settings = Settings.read(mode.home)
    with progress_bars() as progress:
        done = do(source, settings.home, ledger_url=settings.ledger_url, verify=verify, progress=progress)
    emit(asdict(done), lambda: say(f"Restored {done.records:,} records and {done.files:,} files to {settings.home}"))


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run/--sweep", help="Only say what would go.")] = True,
    grace: Annotated[float, typer.Option(help="Hours that an unreferenced file is left alone.")] = 24.0,
) -> None:
    """Sweep files that nothing refers to. Says what would go unless told to --sweep."""
    from sartor.store.gc import collect

    with workshop() as shop:
        found = collect(shop.store, dry_run=dry_run, grace=grace * 3600)
    verb = "would go" if dry_run else "went"
    emit(
        asdict(found),
        lambda: say(f"{len(found.files):,} files, {found.bytes:,} bytes {verb}; {found.kept:,} are referred to."),
    )


def doctor() -> None:
    """Look at the store's health. Exit code 1 if something is wrong."""
    from sartor.store.doctor import examine

    with workshop(read_only=True) as shop:
        findings = examine(shop.store)
    rows = [(f.level, f.what, f.says) for f in findings]
    emit([asdict(f) for f in findings], lambda: table("", ["", "what", "says"], rows))
    if any(f.level == "error" for f in findings):
        raise typer.Exit(1)

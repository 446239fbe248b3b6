"""Keep the store: `backup`, `restore`, `gc`, `doctor`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sartor.interfaces.cli.output import emit, mode, say, table, workshop

if TYPE_CHECKING:
    from sartor.store.backup import Copied


def add_to(app: typer.Typer) -> None:
    """Put these commands on the top level."""
    for command in (backup, restore, gc, doctor):
        app.command()(command)


def backup(target: Annotated[Path, typer.Argument(help="A folder that is not there yet.", show_default=False)]) -> None:
    """Copy ledger and vault to a folder while others go on working. Exit code 1 if something was damaged."""
    from sartor.store.backup import backup as do

    with workshop(read_only=True) as shop:
        done = do(shop.store, target, progress=shop.progress)
    _show(done, f"Backed up {done.records:,} records and {done.files:,} files to {target}")


def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `sartor backup` wrote.", show_default=False)],
    verify: Annotated[bool, typer.Option(help="Re-hash every record and file.")] = True,
) -> None:
    """Make a new store from a backup; an existing one is never overwritten. Exit code 1 if something was damaged."""
    from sartor.interfaces.cli.output import progress_bars
    from sartor.interfaces.settings import Settings
    from sartor.store.backup import restore as do

    settings = Settings.read(mode.home)
    with progress_bars() as progress:
        done = do(
            source,
            settings.home,
            verify=verify,
            progress=progress,
            ledger_url=settings.ledger_url,
            vault_url=settings.vault_url,
            storage_options=settings.storage_options,
        )
    _show(done, f"Restored {done.records:,} records and {done.files:,} files to {settings.home}")


def _show(done: "Copied", says: str) -> None:
    """What was copied, and what could not be: that is no success."""

    def people() -> None:
        say(says)
        if done.keys:
            say(f"The keys of people's content are apart, in {done.keys}: keep them elsewhere, and not for long")
        for fault in done.faulty:
            say(f"[red]lost[/]  {fault}")

    emit(asdict(done), people)
    if done.faulty:
        raise typer.Exit(1)


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

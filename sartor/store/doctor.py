"""Looks a store over and says in plain words what is well, what is doubtful and what is wrong. Changes nothing."""

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, func, select, text

from sartor.core.errors import EXTRAS, SartorError
from sartor.core.progress import Progress, silent
from sartor.store.engine import NETWORK, SAFE_WAL, file_system, sqlite_module
from sartor.store.migrate import revision
from sartor.store.opening import Store
from sartor.store.schema import REVISION, record
from sartor.store.verify import verify

SCARCE = 1 << 30
"""Bytes free below which a disk is called nearly full."""
SKEW = 300.0
"""Seconds by which clocks may differ."""
SILENT = 60.0
"""Seconds after which a worker is taken for gone."""
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that was looked at."""

    level: Level
    what: str
    says: str


def examine(store: Store, *, deep: bool = True, progress: Progress = silent) -> list[Symptom]:
    """Look at the database, the disk, the clock, the extras and, if `deep`, at every record and file."""
    found: list[Symptom] = []
    for look in (_database, _schema, _disk, _clock, _jobs):
        try:
            found.extend(look(store))
        except SartorError as error:
            found.append(Symptom("error", look.__name__.strip("_"), error.message))
    found.extend(_extras())
    if deep:
        found.extend(_contents(store, progress))
    return found


def _database(store: Store) -> Iterator[Symptom]:
    database = store.ledger.database
    with database.read() as connection:
        if database.dialect == "sqlite":
            yield from _sqlite(connection)
        else:
            version = connection.execute(text("SHOW server_version")).scalar_one()
            yield Symptom("ok", "database", f"PostgreSQL {version} at {database.where}")
            durable = all(
                connection.execute(text(f)).scalar_one() == "on" for f in ("SHOW fsync", "SHOW full_page_writes")
            )
            commit = connection.execute(text("SHOW synchronous_commit")).scalar_one()
            says = f"fsync and full_page_writes {'on' if durable else 'off'}, synchronous_commit {commit}"
            yield Symptom("ok" if durable and commit != "off" else "warning", "durability", says)


def _sqlite(connection: Connection) -> Iterator[Symptom]:
    module = sqlite_module()
    safe = module.sqlite_version_info >= SAFE_WAL
    version = f"SQLite {module.sqlite_version}, from {module.__name__.split('.')[0]}"
    advice = "" if safe else "; before 3.51.3 the faster journal (WAL) is not used: pip install pysqlite3"
    yield Symptom("ok" if safe else "warning", "database", version + advice)
    mode = str(connection.execute(text("PRAGMA journal_mode")).scalar_one())
    level = int(connection.execute(text("PRAGMA synchronous")).scalar_one())
    kept = level >= 2 and (mode == "delete" or (mode == "wal" and safe))
    names = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
    yield Symptom("ok" if kept else "error", "durability", f"journal {mode}, synchronous {names.get(level, level)}")
    said = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(5)"))]
    strays = connection.execute(text("PRAGMA foreign_key_check")).all()
    if said == ["ok"] and not strays:
        yield Symptom("ok", "integrity", "the ledger's pages and references are whole")
    else:
        faults = "; ".join(said if said != ["ok"] else [f"{len(strays)} rows refer to nothing"])
        yield Symptom("error", "integrity", f"{faults}. Keep the file, and restore the last backup elsewhere")


def _schema(store: Store) -> Iterator[Symptom]:
    stands = revision(store.ledger.database)
    level: Level = "ok" if stands == REVISION else "error"
    yield Symptom(level, "schema", f"tables at {stands}, this Sartor at {REVISION}")


def _disk(store: Store) -> Iterator[Symptom]:
    system = file_system(store.root)
    trusted = system not in NETWORK or store.ledger.database.dialect != "sqlite"
    yield Symptom("ok" if trusted else "error", "file system", f"{store.root} lies on {system or 'an unknown kind'}")
    usage = shutil.disk_usage(store.root)
    says = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free"
    yield Symptom("ok" if usage.free > SCARCE else "warning", "space", says)


def _clock(store: Store) -> Iterator[Symptom]:
    here = datetime.now(UTC)
    with store.ledger.database.read() as connection:
        newest = connection.execute(select(func.max(record.c.seq))).scalar()
        stamp = connection.execute(select(record.c.created).where(record.c.seq == newest)).scalar()
        there = here
        if store.ledger.database.dialect == "postgresql":
            there = connection.execute(select(func.now())).scalar_one()
    ahead = (datetime.fromisoformat(stamp) - here).total_seconds() if stamp else 0.0
    skew = abs((there - here).total_seconds())
    if ahead > SKEW:
        yield Symptom("warning", "clock", f"the newest record is {ahead:.0f} s in the future: was the clock set back?")
    elif skew > SKEW:
        yield Symptom("warning", "clock", f"this clock and the database's differ by {skew:.0f} s")
    else:
        yield Symptom("ok", "clock", f"{here.isoformat(timespec='seconds')}, and no record is later")


def _jobs(store: Store) -> Iterator[Symptom]:
    counts = store.jobs.counts()
    says = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none was ever asked for"
    yield Symptom("ok", "jobs", says)
    if counts.get("dead"):
        says = f"{counts['dead']} were tried as often as they may be and wait: sartor jobs list --state dead"
        yield Symptom("warning", "jobs", says)
    waiting = counts.get("queued", 0) + counts.get("running", 0)
    if waiting and not any(hand.quiet < SILENT for hand in store.leases.hands()):
        yield Symptom("warning", "jobs", f"{waiting} wait and nobody works on them. Start one: sartor worker")


def _extras() -> Iterator[Symptom]:
    names: dict[str, list[str]] = {}
    for module, extra in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            names.setdefault(extra, []).append(module)
    every = sorted(set(EXTRAS.values()))
    yield Symptom("ok", "extras", "installed: " + (", ".join(e for e in every if e not in names) or "none"))
    for extra, modules in sorted(names.items()):
        says = f"'{extra}' is not installed ({', '.join(modules)}); pip install 'sartor[{extra}]'"
        yield Symptom("ok", "extras", says)


def _contents(store: Store, progress: Progress) -> Iterator[Symptom]:
    try:
        faults = verify(store, progress=progress)
    except SartorError as error:
        yield Symptom("error", "contents", error.message)
        return
    if not faults:
        yield Symptom("ok", "contents", "every record and file is what it was when it was stored")
    for fault in faults:
        yield Symptom("error", "contents", f"{fault.digest}: {fault.says}")

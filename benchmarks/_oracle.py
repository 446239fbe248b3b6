"""What descends from something, by brute force: every record of the database and every row of every data set is read.

Shares no code with `registry.impact` and `pipeline.origins`: plain SQL, plain Parquet, passes over all records until
nothing is added.
"""

import io
import json
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pyarrow import parquet

GOODS = ("Dataset", "Variant", "Base", "Artifact")


def descendants(home: Path, holds: Callable[[dict[str, Any]], bool], *, roots: Collection[str] = ()) -> dict[str, str]:
    """Digest -> kind of everything that holds such a row, or was made from what does.

    Args:
        holds: whether a row is what is looked for.
        roots: digests that count from the beginning.
    """
    with sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True) as database:
        found = database.execute("select digest, kind, body from record").fetchall()
    bodies = {digest: (kind, json.loads(body)) for digest, kind, body in found}
    tainted = {digest for digest, (kind, body) in bodies.items() if kind in GOODS and _has(home, body, holds)} | set(
        roots
    )
    while True:
        more = {digest for digest, (_, body) in bodies.items() if digest not in tainted and _from(body) & tainted}
        if not more:
            return {digest: bodies[digest][0] for digest in tainted}
        tainted |= more


def _has(home: Path, body: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> bool:
    for name, digest in (body.get("files") or {}).items():
        if not name.endswith(".parquet"):
            continue
        path = home / "vault" / "sha256" / digest[:2] / digest[2:]
        if not path.exists():
            continue
        rows = parquet.read_table(io.BytesIO(path.read_bytes())).to_pylist()
        if any("source" in row and holds(row) for row in rows):
            return True
    return False


def _from(body: dict[str, Any]) -> set[str]:
    """Whatever a record that was made, found or decided says that it rests on."""
    said = set((body.get("parents") or {}).values())
    if "verdict" in body:
        said |= {body["candidate"]} | {piece["digest"] for piece in body["evidence"].values()}
    elif "purpose" in body:
        said |= {body["subject"], body["data"]}
    return said


def live_names(home: Path) -> dict[str, str]:
    """Name -> digest of every pointer that stands somewhere."""
    with sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True) as database:
        return dict(database.execute("select name, digest from pointer where digest is not null").fetchall())

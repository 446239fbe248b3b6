"""The standing test of a task: rows that no training ever sees, in versions, behind the pointer `TASK@test`.

The first version is the test split of the live data set. A version is an artifact: `rows.parquet`, and `ever.json`
with marks (ids, digests of texts and groups) of every row that any version so far has held. By these marks a row that
left the test stays out of training for good. Only rows that people or outcomes labelled come in, and none whose text
the task has trained on.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sartor.core.canonical import sha256
from sartor.core.errors import ConflictError, unknown
from sartor.core.licence import Licence
from sartor.core.records import Artifact, Dataset, Record, Run
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.data.leaks import NEAR, SHINGLE
from sartor.data.near import NearIndex
from sartor.data.relabel import relabelled as edited
from sartor.data.snapshot import read_json, read_rows, write_json, write_rows
from sartor.data.text import key
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.memo import Step, once
from sartor.pipeline.workshop import Workshop
from sartor.store.ledger import Change

TEST = "@test"
"""Ending of the pointer."""
MODULES = ("sartor.pipeline.standing",)
FIRM = ("human", "outcome")
"""Whose labels may test."""


@dataclass(frozen=True)
class Marks:
    """By what a row is known again."""

    ids: frozenset[str]
    texts: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Marks":
        """The marks of rows."""
        listed = list(rows)
        groups = frozenset(_mark(row.group) for row in listed if row.group)
        return cls(frozenset(r.id for r in listed), frozenset(_mark(key(r.text)) for r in listed), groups)

    def know(self, row: Row) -> bool:
        """Whether it is one of these rows, says the same, or belongs to the group of one."""
        same_group = row.group is not None and _mark(row.group) in self.groups
        return row.id in self.ids or _mark(key(row.text)) in self.texts or same_group

    def __or__(self, other: "Marks") -> "Marks":
        """The marks of both."""
        return Marks(self.ids | other.ids, self.texts | other.texts, self.groups | other.groups)

    def body(self) -> dict[str, list[str]]:
        """As JSON."""
        return {name: sorted(getattr(self, name)) for name in ("ids", "texts", "groups")}


def standing_rows(shop: Workshop, version: Artifact) -> list[Row]:
    """The rows of a version."""
    return read_rows(shop.store.folder(version) / "rows.parquet")


def ever_marks(shop: Workshop, version: Artifact) -> Marks:
    """The marks of every row that this version or one before it has held."""
    ever = read_json(shop.store.folder(version) / "ever.json")
    return Marks(**{name: frozenset(values) for name, values in ever.items()})


def current(shop: Workshop, task: str) -> Artifact | None:
    """The version that stands; None where there is none yet."""
    pointer = shop.store.ledger.resolve(task + TEST)
    found = shop.store.ledger.get(pointer.digest) if pointer and pointer.digest else None
    return found if isinstance(found, Artifact) else None


def versions_of(shop: Workshop, task: str) -> list[dict[str, Any]]:
    """All versions that stood, oldest first.

    Raises:
        NotFoundError: the task has no standing test.
    """
    moves = shop.store.ledger.moves(task + TEST)
    if not moves:
        known = [p.name.removesuffix(TEST) for p in shop.store.ledger.pointers() if p.name.endswith(TEST)]
        raise unknown("standing test", task, known, param="task")
    found = [(move, shop.store.ledger.get(move.digest)) for move in moves if move.digest]
    return [
        {"digest": move.digest, "moved": move.moved} | made.facts for move, made in found if isinstance(made, Artifact)
    ]


def standing_test(shop: Workshop, task: Task, base: Dataset, harvest: Artifact | None = None) -> Artifact:
    """The version that stands after a harvest: made and pointed to where `refresh` says so.

    Args:
        base: the data set of what is live; its test split is the first version.
    """
    while True:
        before = current(shop, task.name)
        made = _first(shop, task, base) if before is None else before
        again = before is not None and (harvest is not None or len(task.relabel) > edits_in(shop, made))
        if again:
            made = _next(shop, task, made, base, harvest)
        if before is not None and made.digest == before.digest:
            return made
        # Whoever loses the race looks again at what stands then.
        with suppress(ConflictError):
            change = Change(task.name + TEST, made.digest, before.digest if before else None)
            shop.store.ledger.move_many([change], decision="")
            if again:
                return made


def _first(shop: Workshop, task: Task, base: Dataset) -> Artifact:
    step = Step("standing", task.name, "standing", MODULES, {"data": base.digest})

    def work(folder: Path) -> Mapping[str, Record]:
        rows = [_given(row) for row in open_dataset(shop, base).splits["test"]]
        return {"test": _artifact(shop, task, folder, rows, Marks.of(rows), None, base, None)}

    return _made(shop, step, work)


def _next(shop: Workshop, task: Task, before: Artifact, base: Dataset, harvest: Artifact | None) -> Artifact:
    inputs = {"before": before.digest, "data": base.digest} | ({"harvest": harvest.digest} if harvest else {})
    params = {"refresh": task.learn.harvest.refresh, "relabel": task.body()["relabel"]}
    step = Step("standing", task.name, "standing", MODULES, inputs, params)

    def work(folder: Path) -> Mapping[str, Record]:
        old = standing_rows(shop, before)
        # Rows of a label that was split are in no today's label: they leave, and what comes in since has the new ones.
        today = edited(old, task.relabel[edits_in(shop, before) :]).kept
        rows = _refreshed(shop, task, today, base, harvest) if harvest else today
        if rows == old and len(task.relabel) == edits_in(shop, before):
            return {"test": before}
        ever = ever_marks(shop, before) | Marks.of(rows)
        return {"test": _artifact(shop, task, folder, rows, ever, before, base, harvest)}

    return _made(shop, step, work)


def _made(shop: Workshop, step: Step, work: Any) -> Artifact:
    made = once(shop, step, work)["test"]
    assert isinstance(made, Artifact)
    return made


def edits_in(shop: Workshop, made: Artifact) -> int:
    """How many edits of the labels a data set or a standing test has followed."""
    if "edits" in made.facts:
        return int(made.facts["edits"])
    runs = [shop.store.ledger.get(e.child) for e in shop.store.ledger.children(made.digest) if e.role == "out:data"]
    return max((len(run.params.get("relabel", ())) for run in runs if isinstance(run, Run)), default=0)


def _refreshed(shop: Workshop, task: Task, old: Sequence[Row], base: Dataset, harvest: Artifact) -> list[Row]:
    """The rows of the next version. What may not be kept any more (erased, or in doubt now) leaves under any policy."""
    fates = fates_of(shop, harvest)
    now = {name: fate.label for name, fate in fates.items()}
    found = {row.id: row for row in read_rows(shop.store.folder(harvest) / "rows.parquet") if _firm(row)}
    said = read_json(shop.store.folder(harvest) / "rows_said.json")
    stay = [row for row in old if row.id not in fates or fates[row.id].stays]
    refresh = task.learn.harvest.refresh
    if refresh == "never":
        return stay
    stay = [_corrected(found.get(row.id) or relabelled(row, now.get(row.id)), said) for row in stay]
    snapshot = open_dataset(shop, base)
    known = Marks.of(stay)
    tests = edited(snapshot.splits["test"], task.relabel[edits_in(shop, base) :]).kept
    given = [_given(row) for row in tests if not known.know(row) and row.id not in fates]
    seen = [*snapshot.splits["train"], *snapshot.splits["validation"]]
    new = unlike([*given, *(r for r in found.values() if not known.know(r))], seen)
    if refresh == "grow":
        return [*stay, *new]
    newest = sorted(new, key=lambda row: (row.time or "", row.id), reverse=True)[: len(old)]
    # Too few new ones to stand alone: the newest of the old ones stay beside them.
    rest = sorted(stay, key=lambda row: (row.time or "", row.id), reverse=True)[: len(old) - len(newest)]
    return [*rest[::-1], *newest[::-1]]


def unlike(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The rows that are neither the same as one of the others nor nearly so; of equal ones the first."""
    marks = Marks.of(others)
    fresh: dict[str, Row] = {}
    for row in rows:
        if not marks.know(row):
            fresh.setdefault(key(row.text), row)
    left = list(fresh.values())
    index = NearIndex([row.text for row in (*others, *left)], threshold=NEAR, shingle=SHINGLE)
    for at in range(len(others)):
        index.add(at)
    return [row for at, row in enumerate(left, start=len(others)) if index.closest(at) is None]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an exchange in a harvest."""

    label: str
    what: str

    @property
    def stays(self) -> bool:
        """Whether a row that came of it before may stand: its content is still here, or is only past its days."""
        return self.what in ("test", "train", "without content")


def fates_of(shop: Workshop, harvest: Artifact) -> dict[str, Fate]:
    """What became of every exchange that a harvest looked at."""
    from pyarrow import parquet

    columns = ("exchange", "label", "fate")
    table = parquet.read_table(shop.store.folder(harvest) / "exchanges.parquet", columns=list(columns))
    listed = zip(*(table[column].to_pylist() for column in columns), strict=True)
    return {name: Fate(label, what) for name, label, what in listed}


def relabelled(row: Row, label: str | None) -> Row:
    """The row with the label that its exchange has now, though its content is gone."""
    return replace(row, label=label) if label and label != row.label else row


def _firm(row: Row) -> bool:
    return row.extra["side"] == "test" and row.extra["said_by"] in FIRM and not row.extra.get("weak")


def _corrected(row: Row, said: Mapping[str, Any]) -> Row:
    """The row with the label that a person gave it since."""
    word = said.get(row.id, {})
    if "label" not in word or word["label"] == row.label:
        return row
    told = {"said_by": word["said_by"], "by": word["by"], "sure": f"{word['sure']:.4f}", "was": row.label or ""}
    return replace(row, label=word["label"], extra={**row.extra, **told})


def _given(row: Row) -> Row:
    """A row of before, marked as such."""
    if "said_by" in row.extra:
        return row
    return replace(row, extra={**row.extra, "said_by": "given", "sure": "1.0000"})


def _artifact(
    shop: Workshop, task: Task, folder: Path, rows: Sequence[Row], ever: Marks,
    before: Artifact | None, base: Dataset, harvest: Artifact | None,
) -> Artifact:  # fmt: skip
    write_rows(folder / "rows.parquet", rows)
    write_json(folder / "ever.json", ever.body())
    made_of = {"before": before, "data": base, "harvest": harvest}
    parents = {role: part for role, part in made_of.items() if part is not None}
    return Artifact(
        name=f"{task.name}/test",
        files=shop.store.vault.put_folder(folder),
        parents={role: part.digest for role, part in parents.items()},
        made_by="standing",
        licence=Licence.union(part.licence for part in parents.values()),
        facts={
            "version": 1 + (before.facts["version"] if before else 0),
            "rows": len(rows),
            "ever": len(ever.ids),
            "said_by": dict(sorted(Counter(row.extra["said_by"] for row in rows).items())),
            "eras": dict(sorted(Counter(row.extra.get("era", "") for row in rows).items())),
            "audit_rows": sum(row.extra.get("audit") == "random" for row in rows),
            "edits": len(task.relabel) if before else edits_in(shop, base),
            "refresh": task.learn.harvest.refresh if before else "first",
        },
    )


def _mark(text: str) -> str:
    return sha256(text.encode())[:24]

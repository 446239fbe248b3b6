"""The data set of the next variant: rows of the live one's and what was harvested, the standing test kept apart.

An ordinary, immutable `Dataset`; its parents are the data set before (`before`), the harvest and the standing test's
version (`test`). Beside the files of any data set stands `whose.parquet`: for every row its id, split, exchange,
subject, business key and who named its label, so that a recall need not read texts. Trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sartor.core.canonical import sha256
from sartor.core.errors import RefusedError
from sartor.core.licence import Licence
from sartor.core.records import Artifact, Dataset, Record
from sartor.core.rows import SPLITS, UNLABELLED, Hierarchy, Row, Snapshot
from sartor.core.task import Task
from sartor.data.curate import curate_again, hierarchy_of
from sartor.data.curator import Taken
from sartor.data.describe import make_datasheet
from sartor.data.kind import kind_of
from sartor.data.leaks import suspicions
from sartor.data.relabel import SPLIT
from sartor.data.relabel import relabelled as edited
from sartor.data.snapshot import (
    FIELDS,
    as_dict,
    read_datasheet,
    read_json,
    read_quarantine,
    read_rows,
    write_json,
    write_snapshot,
)
from sartor.data.text import key
from sartor.pipeline.alteration import leaves
from sartor.pipeline.curate import CURATORS, open_dataset
from sartor.pipeline.memo import Step, once
from sartor.pipeline.recall_kept import recalls
from sartor.pipeline.standing import (
    FIRM,
    edits_in,
    ever_marks,
    fates_of,
    relabelled,
    standing_rows,
    standing_test,
    unlike,
)
from sartor.pipeline.workshop import Workshop

SEEN_TO = ("poison", "personal_data")
"""Curators that a harvest has already put its rows through, and the data set before its own."""
WAITING = ("no label", "same text, different labels", "probable label error", SPLIT)
"""Why a row was taken out that a person's word brings back."""
WHOSE = ("id", "split", "exchange", "subject", "business", "by")


@dataclass
class Parts:
    """Rows on their way into the data set."""

    rows: list[Row] = field(default_factory=list)
    """To learn from: training and validation."""
    split_of: dict[str, str] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    """What is left out: the fields of a row, and split, curator, reason and detail."""

    def add(self, row: Row, split: str) -> None:
        """Put a row in."""
        self.rows.append(row)
        self.split_of[row.id] = split

    def take(self, curator: str, taken: Sequence[Taken], split: str = "train") -> None:
        """Put rows into quarantine."""
        self.quarantine += [
            {**as_dict(t.row), "split": split, "curator": curator, "reason": t.reason, "detail": t.detail}
            for t in taken
        ]

    def drop(self, rows: Sequence[Row], reason: str) -> None:
        """Move rows to quarantine."""
        for row in rows:
            self.take("learning", [Taken(row, reason)], self.split_of[row.id])
        gone = {row.id for row in rows}
        self.rows = [row for row in self.rows if row.id not in gone]


def learning_dataset(
    shop: Workshop, task: Task, base: Dataset, harvest: Artifact | None, *, test: Artifact | None = None
) -> Dataset:
    """The rows of `base` and of a harvest as one data set, whose test split is the standing test.

    Args:
        base: the live variant's data set, or any one before.
        test: a version of the standing test; None: the one that stands, refreshed from the harvest as the task says.

    Raises:
        RefusedError: no row is left to learn from.
    """
    test = test or standing_test(shop, task, base, harvest)
    inputs = {"before": base.digest, "test": test.digest} | ({"harvest": harvest.digest} if harvest else {})
    contract = task.body()
    params = {part: contract[part] for part in ("data", "input", "labels", "relabel")}
    if gone := recalls(shop):
        params["recalled"] = sorted(f"{what.kind} {what.value}" for what in gone)
    modules = (
        "sartor.data.curate",
        "sartor.pipeline.learning_data",
        *(CURATORS.take(pick.use).module for pick in task.data.curate),
    )
    step = Step("learning data", task.name, "learning", modules, inputs, params, task.seed)

    def work(folder: Path) -> Mapping[str, Record]:
        parts = _assembled(shop, task, base, harvest, test)
        return {"data": _written(shop, task, folder, parts, base, harvest, test)}

    made = once(shop, step, work)["data"]
    assert isinstance(made, Dataset)
    return made


def _assembled(shop: Workshop, task: Task, base: Dataset, harvest: Artifact | None, test: Artifact) -> Parts:
    snapshot = open_dataset(shop, base)
    kept = standing_rows(shop, test)
    fates = fates_of(shop, harvest) if harvest else {}
    said: Mapping[str, Any] = read_json(shop.store.folder(harvest) / "rows_said.json") if harvest else {}
    gone = recalls(shop)
    fresh = [
        row for row in _harvested(shop, harvest, snapshot.hierarchy) if not any(leaves(row, what) for what in gone)
    ]
    parts = Parts()
    for split in ("train", "validation"):
        old = edited(snapshot.splits[split], task.relabel[edits_in(shop, base) :])
        parts.take("relabel", old.taken, split)
        for row in old.kept:
            # What came from traffic is taken as the harvest has it now: corrected, erased, in doubt, or not at all.
            fate = fates.get(row.id) if "exchange" in row.extra else None
            if fate is None or fate.what == "without content":
                parts.add(_corrected(relabelled(row, fate.label if fate else None), said), split)
    _bring_back(shop, base, said, parts)
    _contradicted(parts, fresh, [*parts.rows, *kept])
    for row in fresh:
        parts.add(row, _lent(task, row))
    ever = ever_marks(shop, test)
    parts.drop([row for row in parts.rows if ever.know(row)], "stands or stood in the standing test")
    _drop_near(parts, kept)
    bench = curate_again(task, parts.rows, parts.split_of, without=SEEN_TO, progress=shop.progress)
    parts.quarantine += bench.quarantine
    parts.rows = bench.rows
    return parts


def _bring_back(shop: Workshop, base: Dataset, said: Mapping[str, Any], parts: Parts) -> None:
    """Rows that waited in quarantine for a person's word: in, where one has come; else they wait on."""
    known = {row.id for row in parts.rows}
    out = {entry["id"] for entry in parts.quarantine}
    for entry in read_quarantine(shop.store.folder(base)):
        waits = entry["reason"] in WAITING and "exchange" not in entry["extra"] and entry["split"] != "test"
        if waits and entry["id"] not in known and "label" in said.get(entry["id"], {}):
            row = Row(**{name: entry[name] for name in FIELDS})
            parts.add(_corrected(row, said), entry["split"] or "train")
        elif waits and entry["id"] not in known | out:
            parts.quarantine.append(entry)
    back = {row.id for row in parts.rows if "label" in said.get(row.id, {})}
    parts.quarantine = [entry for entry in parts.quarantine if entry["id"] not in back]


def _harvested(shop: Workshop, harvest: Artifact | None, hierarchy: Hierarchy) -> list[Row]:
    """The rows of a harvest on the side of training, with the broader classes that their labels have."""
    if harvest is None:
        return []
    found = []
    for row in read_rows(shop.store.folder(harvest) / "rows.parquet"):
        if row.extra["side"] == "train":
            above = dict(zip(hierarchy.levels, hierarchy.parents.get(row.label or "", ()), strict=False))
            found.append(replace(row, extra={**above, **row.extra}))
    return found


def _lent(task: Task, row: Row) -> str:
    """Validation lends a share of the groups whose labels are firm, always the same ones."""
    place = int(sha256(f"validation:{task.name}:{row.group}".encode())[:13], 16) / 16**13
    firm = row.extra["said_by"] in FIRM and not row.extra.get("weak")
    return "validation" if firm and place < task.data.split.validation else "train"


def _corrected(row: Row, said: Mapping[str, Any]) -> Row:
    """A row of before: as a person corrected it since, or marked as given."""
    word = said.get(row.id, {})
    told = {"said_by": "given", "sure": "1.0000"} if "said_by" not in row.extra else {}
    if row.time and "era" not in row.extra:
        told |= {"era": row.time[:7], "at": row.time}
    if "label" in word and word["label"] != row.label:
        told |= {"said_by": word["said_by"], "by": word["by"], "sure": f"{word['sure']:.4f}"}
        told |= {"was": row.label} if row.label else {}
        row = replace(row, label=word["label"])
    return replace(row, extra={**row.extra, **told})


def _contradicted(parts: Parts, fresh: list[Row], given: Sequence[Row]) -> None:
    """New rows whose text stands with another label already are left out: a person must say which is right."""
    labels = {key(row.text): row.label for row in given}
    against = [row for row in fresh if labels.get(key(row.text), row.label) != row.label]
    gone = {row.id for row in against}
    fresh[:] = [row for row in fresh if row.id not in gone]
    parts.take("learning", [Taken(row, "contradicts a row that was there") for row in against])


def _drop_near(parts: Parts, kept: Sequence[Row]) -> None:
    """Nothing that is learned may nearly be a row of the standing test.

    Rows that were given together with the first test were divided, and looked at, when that was made: they are held
    against the rows that came in since.
    """
    new = [row for row in kept if row.extra["said_by"] != "given"]
    from_traffic = [row for row in parts.rows if "exchange" in row.extra]
    others = [row for row in parts.rows if "exchange" not in row.extra]
    stay = {row.id for row in (*_far(from_traffic, kept), *_far(others, new))}
    parts.drop([row for row in parts.rows if row.id not in stay], "nearly a row of the standing test")


def _far(rows: Sequence[Row], kept: Sequence[Row]) -> list[Row]:
    if not rows or not kept:
        return list(rows)
    texts = {key(row.text) for row in unlike(rows, kept)}
    return [row for row in rows if key(row.text) in texts]


def _written(
    shop: Workshop, task: Task, folder: Path, parts: Parts, base: Dataset, harvest: Artifact | None, test: Artifact
) -> Dataset:
    splits = {split: [row for row in parts.rows if parts.split_of[row.id] == split] for split in SPLITS}
    splits["test"] = standing_rows(shop, test)
    if not splits["train"]:
        raise RefusedError(
            f"Making what '{task.name}' learns from left no row: all stand in the standing test or were left out. "
            "Harvest more, or lower learn.harvest.test_share.",
            code="no_rows_left",
        )
    labels = kind_of(task).labels(task, splits["train"])
    everything = [row for split in SPLITS for row in splits[split]]
    loose = _loose(shop, base, everything)
    snapshot = Snapshot(
        splits | ({UNLABELLED: loose} if loose else {}), labels, hierarchy_of(everything, labels, task.data.levels)
    )
    of = {row.id: split for split in SPLITS for row in splits[split]}
    facts = {**suspicions(everything, of), "levels": list(task.data.levels), "warnings": []}
    sources = [s for s in read_datasheet(shop.store.folder(base))["sources"] if s["use"] != "harvest"]
    licence = Licence.union([base.licence, test.licence, *([harvest.licence] if harvest else [])])
    taught = {"teachers": base.facts["teachers"]} if "teachers" in base.facts else {}
    traffic = sum("exchange" in row.extra for row in everything)
    fact = {"title": "traffic", "use": "harvest", "licence": "owned", "split": None, "rows": traffic}
    sheet = make_datasheet(task, snapshot, sources=[*sources, fact], steps=[], quarantine=parts.quarantine, facts=facts)
    write_snapshot(folder, snapshot, parts.quarantine)
    write_json(folder / "datasheet.json", sheet)
    _write_whose(folder, everything, of, parts.quarantine)
    parents = {"before": base.digest, "test": test.digest} | ({"harvest": harvest.digest} if harvest else {})
    return Dataset(
        name=f"{task.name}/data",
        files=shop.store.vault.put_folder(folder),
        parents=parents,
        made_by="learning",
        licence=licence,
        facts={name: fact for name, fact in facts.items() if name != "near_examples"}
        | taught
        | {"from_traffic": traffic, "edits": len(task.relabel), "test_version": test.facts["version"]},
        task=task.name,
        labels=labels,
        counts={split: len(rows) for split, rows in snapshot.splits.items()} | {"quarantine": len(parts.quarantine)},
    )


def _loose(shop: Workshop, base: Dataset, known: Sequence[Row]) -> list[Row]:
    """Rows of before that nobody has labelled since, and that stand in no split."""
    texts, gone = {key(row.text) for row in known}, recalls(shop)
    return [
        row
        for row in open_dataset(shop, base).splits.get(UNLABELLED, ())
        if key(row.text) not in texts and not any(leaves(row, what) for what in gone)
    ]


def _write_whose(
    folder: Path, rows: Sequence[Row], split_of: Mapping[str, str], quarantine: Sequence[Mapping[str, Any]]
) -> None:
    """Whose each row is, those in quarantine too."""
    import pyarrow as pa
    from pyarrow import parquet

    listed = [(row.id, split_of[row.id], row.extra) for row in rows]
    listed += [(entry["id"], "quarantine", entry["extra"]) for entry in quarantine]
    records = [
        {"id": name, "split": split} | {column: extra.get(column, "") for column in WHOSE[2:]}
        for name, split, extra in listed
    ]
    table = pa.Table.from_pylist(records, schema=pa.schema([(column, pa.string()) for column in WHOSE]))
    parquet.write_table(table, folder / "whose.parquet", compression="zstd", write_statistics=False, store_schema=False)

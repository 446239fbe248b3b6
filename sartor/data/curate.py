"""The one way from sources to a data set: read, split, curate, stop leaks, write. Knows no plug-in by name.

Rows are split before they are curated: a unit of the split is its text or group, so no later step depends on chance,
and curators can tell a repeat (same split) from a leak (two splits).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sartor.core.errors import PluginError, RefusedError
from sartor.core.licence import Licence
from sartor.core.progress import Progress, silent
from sartor.core.rows import SPLITS, UNLABELLED, Hierarchy, Row, Snapshot
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import Plugin, Shelf
from sartor.core.task import Task
from sartor.data.curator import Bench, Curated, Taken
from sartor.data.describe import make_datasheet
from sartor.data.kind import kind_of
from sartor.data.leaks import find_leaks, refuse, suspicions, taken_for
from sartor.data.reading import Reading, read_sources
from sartor.data.relabel import relabelled
from sartor.data.snapshot import as_dict, write_json, write_snapshot
from sartor.data.split import split_rows

CURATORS = Shelf("sartor.data.curators")


@dataclass(frozen=True)
class DatasetDraft:
    """What a `Dataset` record says beside its files."""

    labels: tuple[str, ...]
    counts: dict[str, int]
    """Rows per split, and `quarantine`."""
    licence: Licence
    facts: dict[str, Any]
    """`near_leaks` and `label_in_text`: ids of test rows; `levels`; `warnings`."""


@dataclass
class Workbench:
    """The rows on their way through the curators."""

    rows: list[Row]
    split_of: dict[str, str]
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    """One entry a curator, for the datasheet."""

    def take(self, curator: str, taken: Sequence[Taken]) -> None:
        """Move rows to quarantine."""
        self.quarantine += [
            {
                **as_dict(t.row),
                "split": self.split_of.get(t.row.id),
                "curator": curator,
                "reason": t.reason,
                "detail": t.detail,
            }
            for t in taken
        ]


def build_dataset(
    task: Task, folder: Path, *, base_dir: Path, reading: Reading | None = None, progress: Progress = silent
) -> DatasetDraft:
    """Make the data set of a task and write its files to `folder`; the same rows and task give the same bytes.

    Args:
        base_dir: where relative paths of sources start.
        reading: the rows, where the caller has read the sources already.

    Raises:
        AskError: a source cannot be read, a column or plug-in is not there, a setting does not fit.
        RefusedError: rows leak between splits and the task says `on_leak: stop`, or no row is left.
        MissingExtraError: a curator needs a package that is not installed.
    """
    chosen = [_curator(pick.use, pick.settings) for pick in task.data.curate]  # wrong settings fail before any reading
    reading = reading or read_sources(task, base_dir, progress)
    usable, unusable = _usable(reading)
    edited = relabelled(usable, task.relabel)
    usable, unusable = edited.kept, [*unusable, *edited.taken]
    splits = split_rows(usable, reading.given, task.data.split, task.seed, kind_of(task).stratum)
    bench = Workbench(usable, splits)
    bench.take("reading", unusable)
    if edited.notes["changed"]:
        reasons = Counter(t.reason for t in edited.taken)
        bench.steps.append(
            {"use": "relabel", "settings": {}, "taken": dict(reasons), "put_back": [], "notes": edited.notes}
        )
    _curate(task, bench, chosen, progress)
    _drop_known(bench)
    _stop_leaks(task, bench)
    if not {bench.split_of[row.id] for row in bench.rows} - {UNLABELLED}:
        raise RefusedError(
            f"Making the data set of task '{task.name}' left no row: all {len(bench.quarantine)} are in quarantine "
            f"({_most_frequent_reasons(bench)}). Mend the source or loosen data.curate.",
            code="no_rows_left",
        )
    progress("look for near copies", 0, 0)
    found = suspicions(bench.rows, bench.split_of)
    return _finish(task, folder, reading, bench, found)


def curate_again(
    task: Task,
    rows: Sequence[Row],
    split_of: dict[str, str],
    *,
    without: Sequence[str] = (),
    progress: Progress = silent,
) -> Workbench:
    """Rows of several data sets through the task's curators once more, exact leaks between their splits dropped.

    Args:
        without: curators that have seen to these rows before.
    """
    picks = [pick for pick in task.data.curate if pick.use not in without]
    bench = Workbench(list(rows), split_of)
    _curate(task, bench, [_curator(pick.use, pick.settings) for pick in picks], progress)
    _drop_leaks(bench)
    return bench


def _curator(name: str, settings: dict[str, Any]) -> tuple[Plugin, Settings]:
    plugin = CURATORS.take(name)
    return plugin, plugin.read(settings)


def _usable(reading: Reading) -> tuple[list[Row], list[Taken]]:
    kept: list[Row] = []
    taken: list[Taken] = []
    for row in reading.rows:
        needs_none = reading.given.get(row.id) == UNLABELLED
        reason = "no text" if not row.text.strip() else "" if needs_none or row.label is not None else "no label"
        if reason:
            taken.append(Taken(row, reason))
        else:
            kept.append(row)
    return kept, taken


def _curate(task: Task, bench: Workbench, chosen: Sequence[tuple[Plugin, Settings]], progress: Progress) -> None:
    edits = set(task.data.edits)
    told = Bench(bench.split_of, task.seed, progress)
    for done, (plugin, params) in enumerate(chosen):
        progress(f"curate: {plugin.name}", done, len(chosen))
        result: Curated = plugin(bench.rows, params, told)
        _account_for_all(plugin, bench.rows, result)
        back = {t.row.id: t.row for t in result.taken if t.row.id in edits}
        taken = [t for t in result.taken if t.row.id not in back]
        by_id = {row.id: row for row in result.kept} | back
        bench.rows = [by_id[row.id] for row in bench.rows if row.id in by_id]
        bench.take(plugin.name, taken)
        bench.steps.append(
            {
                "use": plugin.name,
                "settings": params.model_dump(mode="json"),
                "taken": dict(sorted(Counter(t.reason for t in taken).items())),
                "put_back": sorted(back),
                "notes": result.notes,
            }
        )
    progress("curate", len(chosen), len(chosen))


def _account_for_all(plugin: Plugin, rows: Sequence[Row], result: Curated) -> None:
    """A curator may change rows and take them out, never lose or invent them."""
    before = Counter(row.id for row in rows)
    after = Counter([row.id for row in result.kept] + [t.row.id for t in result.taken])
    if before != after:
        lost, new = sum((before - after).values()), sum((after - before).values())
        raise PluginError(
            plugin.shelf, plugin.name, ValueError(f"it lost {lost} rows and invented {new}: each row is kept or taken")
        )


def _drop_known(bench: Workbench) -> None:
    """Unlabelled rows that stand in a split too have nothing to add."""
    leaks = [leak for leak in find_leaks(bench.rows, bench.split_of) if bench.split_of[leak.loser.id] == UNLABELLED]
    gone = {leak.loser.id for leak in leaks}
    bench.rows = [row for row in bench.rows if row.id not in gone]
    if gone:
        counts = {"its text or group stands in a split": len(gone)}
        bench.steps.append({"use": UNLABELLED, "settings": {}, "taken": counts, "put_back": [], "notes": {}})


def _stop_leaks(task: Task, bench: Workbench) -> None:
    leaks = find_leaks(bench.rows, bench.split_of)
    if leaks and task.data.on_leak == "stop":
        raise refuse(leaks, bench.split_of)
    _drop_leaks(bench)


def _drop_leaks(bench: Workbench) -> None:
    leaks = find_leaks(bench.rows, bench.split_of)
    taken = taken_for(leaks, bench.split_of)
    gone = {t.row.id for t in taken}
    bench.rows = [row for row in bench.rows if row.id not in gone]
    bench.take("leaks", taken)
    if taken:
        counts = dict(sorted(Counter(t.reason for t in taken).items()))
        bench.steps.append({"use": "leaks", "settings": {}, "taken": counts, "put_back": [], "notes": {}})


def _most_frequent_reasons(bench: Workbench) -> str:
    counts = Counter(f"{entry['curator']}: {entry['reason']}" for entry in bench.quarantine)
    return ", ".join(f"{reason} ({n})" for reason, n in counts.most_common(3))


def _finish(task: Task, folder: Path, reading: Reading, bench: Workbench, found: dict[str, Any]) -> DatasetDraft:
    splits = {split: [row for row in bench.rows if bench.split_of[row.id] == split] for split in (*SPLITS, UNLABELLED)}
    labels = kind_of(task).labels(task, splits["train"])
    snapshot = Snapshot(splits, labels, hierarchy_of(bench.rows, labels, task.data.levels))
    warnings = _idle_edits(task.data.edits, reading, bench)
    counts = {split: len(rows) for split, rows in splits.items() if rows or split in SPLITS}
    counts["quarantine"] = len(bench.quarantine)
    facts = {**found, "levels": list(task.data.levels), "warnings": warnings}
    sheet = make_datasheet(
        task, snapshot, sources=reading.sources, steps=bench.steps, quarantine=bench.quarantine, facts=facts
    )
    write_snapshot(folder, snapshot, bench.quarantine)
    write_json(folder / "datasheet.json", sheet)
    return DatasetDraft(labels, counts, reading.licence, facts)


def _idle_edits(edits: Sequence[str], reading: Reading, bench: Workbench) -> list[str]:
    """Edits that put nothing back: no curator's judgement is in their way, but something harder."""
    out = {entry["id"]: entry for entry in bench.quarantine}
    known = {row.id for row in reading.rows}
    said = [f"The edit of row {edit} has no effect: no source has it." for edit in edits if edit not in known]
    return said + [
        f"The edit of row {edit} has no effect, it stays out: {out[edit]['reason']} {out[edit]['detail']}".rstrip()
        + "."
        for edit in edits
        if edit in out
    ]


def hierarchy_of(rows: Sequence[Row], labels: Sequence[str], levels: tuple[str, ...]) -> Hierarchy:
    """The broader classes of each label, as most of its rows have them.

    `check_task` names labels whose rows disagree. A label without rows stands in a class '' of its level.
    """
    if not levels:
        return Hierarchy()
    seen: dict[str, Counter[tuple[str, ...]]] = {label: Counter() for label in labels}
    for row in rows:
        seen.setdefault(row.label or "", Counter())[tuple(row.extra.get(level, "") for level in levels)] += 1
    blank = ("",) * len(levels)
    parents = {
        label: min(counts.items(), key=lambda item: (-item[1], item[0]), default=(blank, 0))[0]
        for label, counts in sorted(seen.items())
    }
    return Hierarchy(levels, parents)

"""Draft a task file from a file of rows: which column is the text, the label, the group, the time.

Guesses from names and values, the same every time, and says what it guessed. What mistakes cost it cannot know.
"""

import json
import os.path
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.shelf import Plugin
from sartor.data.draft_extract import documents, draft_extract
from sartor.data.files import TRIED, existing
from sartor.data.reading import SOURCES, as_text

READ = 20_000
"""Rows that a guess looks at."""
USES = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
USES |= {".parquet": "parquet", ".pq": "parquet"}
TEXT_NAMES = (
    "text",
    "question",
    "query",
    "message",
    "utterance",
    "sentence",
    "prompt",
    "input",
    "content",
    "body",
    "title",
)
LABEL_NAMES = ("label", "intent", "category", "class", "target", "topic", "tag", "queue", "team", "code", "answer")
GROUP_NAMES = (
    "group",
    "customer",
    "client",
    "user",
    "account",
    "patient",
    "session",
    "conversation",
    "thread",
    "author",
)
TIME_NAMES = ("time", "timestamp", "date", "datetime", "created", "received", "sent", "at")
SPLIT_NAMES = ("split", "set", "fold", "partition", "subset")
SPLIT_VALUES = {"train", "training", "validation", "valid", "val", "dev", "test", "eval"}
PLAIN = re.compile(r"^[A-Za-z_][\w./-]*$")
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}

Columns = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class Suggestion:
    """What a file seems to hold."""

    use: str
    settings: dict[str, str]
    """Settings of the source that made it readable."""
    rows: int
    """Rows looked at."""
    text: tuple[str, ...]
    label: str
    labels: dict[str, int]
    """Label -> rows, the most frequent first."""
    group: str | None = None
    time: str | None = None
    split: str | None = None
    levels: tuple[str, ...] = ()
    recorded: str | None = None
    """Column that seems to hold somebody's answers: its values are labels, but not always the row's."""


def suggest(path: Path) -> Suggestion:
    """Look at a CSV, JSON-lines or Parquet file.

    Raises:
        AskError: it cannot be read, or no column looks like a text or a label; the columns are listed.
    """
    use, settings, records = _read(path)
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: [as_text(record.get(name)) for record in records] for name in names}
    split = next((n for n in names if n.lower() in SPLIT_NAMES and _values(columns[n]) <= SPLIT_VALUES), None)
    left = {name: cells for name, cells in columns.items() if name != split and any(c for c in cells)}
    text = _best_text(left)
    label = _best_label(left, text)
    if text is None or label is None:
        raise AskError(
            f"No task could be drafted from {path}: no column looks like "
            f"{'a text' if text is None else 'a label'}. Its "
            f"columns are {', '.join(names)}. Rename the columns to 'text' and 'label', or write the task file "
            "by hand.",
            code="no_label_column" if text else "no_text_column",
        )
    rest = {name: cells for name, cells in left.items() if name not in (text, label)}
    counts: defaultdict[str, int] = defaultdict(int)
    for cell in left[label]:
        if cell:
            counts[cell] += 1
    time = next((n for n in rest if _named(n, TIME_NAMES) and _are_times(rest[n])), None)
    return Suggestion(
        use=use,
        settings=settings,
        rows=len(records),
        text=(text,),
        label=label,
        labels=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        group=next((n for n in rest if _named(n, GROUP_NAMES) and _groups(rest[n])), None),
        time=time,
        split=split,
        levels=_levels(left[label], rest),
        recorded=_recorded(left[label], rest),
    )


def draft_task(path: Path, *, owned: bool, folder: Path | None = None) -> str:
    """A task file of about twenty lines, as YAML with comments, for `sartor init`.

    Args:
        path: the file of rows.
        owned: the asker says that the rows are their own; otherwise the licence is left for them to fill in.
        folder: where the task file will stand; the rows are then named from there, else by `path` as it is.

    Raises:
        AskError: as `suggest`.
    """
    if (extraction := _extraction(path, owned=owned, folder=folder)) is not None:
        return extraction
    found = suggest(path)
    fewest = min(found.labels.items(), key=lambda item: (item[1], item[0]))
    lines = [
        *_head(path, found.rows, found.text, {"use": found.use, **found.settings}, owned=owned, folder=folder),
        f"  label: {_q(found.label)}  # {len(found.labels)} labels; fewest rows: {fewest[0]!r} ({fewest[1]})",
        *_optional(found),
        "  curate: [{use: normalise}, {use: duplicates}, {use: conflicts}, {use: personal_data, action: report}]",
        "value:  # money per request; nothing matters more than these four figures",
        "  currency: EUR",
        "  wrong: 1.00  # what a wrong answer costs on average",
        f"  # confusions: [{_flow(_confusion(found.labels))}]  # mistakes that cost more",
        "  escalate: {to: person, price: 0.30, error_rate: 0.05}  # who is asked when in doubt, and how often they err",
        "  volume: 0  # requests a month, for the return",
        *([f"incumbent: {{kind: recorded, column: {_q(found.recorded)}}}  # answers today"] if found.recorded else []),
        "candidates: [{recipe: linear}, {recipe: head, base: static-minilm}, {recipe: head, base: minilm}]",
        "gate: {margin: 0.0, guards: {accuracy: 0.01}}  # what a release must show",
        "seed: 0",
    ]
    return "\n".join(lines) + "\n"


def _head(
    path: Path, rows: int, text: Sequence[str], source: Mapping[str, str], *, owned: bool, folder: Path | None
) -> list[str]:
    """The lines down to the sources."""
    named = Path(os.path.relpath(path, folder)) if folder is not None and not path.is_absolute() else path
    use, settings = source["use"], {key: value for key, value in source.items() if key != "use"}
    told = {"use": use, "path": named.as_posix(), **settings, "licence": "owned" if owned else ""}
    licence = "the rows are yours" if owned else "name their licence, e.g. CC-BY-4.0, or owned; empty stops a release"
    return [
        f"# Drafted from {rows:,} rows of {path.name}. Read the value section with whoever bears the costs.",
        f"name: {_q(_slug(path.stem))}",
        f"input: {{columns: {_flow(text)}}}",
        "data:",
        "  sources:",
        f"    - {_flow(told)}  # {licence}",
    ]


def _extraction(path: Path, *, owned: bool, folder: Path | None) -> str | None:
    """The draft of an extraction, where a column holds JSON objects; None where none does.

    Of several columns the one whose name promises an answer is taken, else the first.
    """
    use, settings, records = _read(path)
    names = list(dict.fromkeys(name for record in records for name in record))
    found = {name: there for name in names if (there := documents([record.get(name) for record in records]))}
    columns = {name: [as_text(r.get(name)) for r in records] for name in names if name not in found}
    text = _best_text({name: cells for name, cells in columns.items() if any(cells)})
    if not found or text is None:
        return None
    label = min(found, key=lambda name: (_rank(name, LABEL_NAMES), names.index(name)))
    recorded = next((_q(name) for name in found if name != label), None)
    head = _head(path, len(records), (text,), {"use": use, **settings}, owned=owned, folder=folder)
    return draft_extract(head, _q(label), found[label], recorded)


def _optional(found: Suggestion) -> list[str]:
    """Lines for the columns that not every file has."""
    optional = [
        (found.group, f"  group: {_q(found.group)}  # rows of one {found.group} never stand on both sides of a split"),
        (found.time, f"  time: {_q(found.time)}  # with 'split: {{by_time: true}}' the newest rows are the test"),
        (found.levels, f"  levels: {_flow(found.levels)}  # broader classes of the label, nearest first"),
        (found.split, f"  split: {{column: {_q(found.split)}}}"),
    ]
    return [line for there, line in optional if there]


def _read(path: Path) -> tuple[str, dict[str, str], list[dict[str, Any]]]:
    """Plug-in, the settings with which it can read the file, and its first rows."""
    existing(path)
    use = USES.get(path.suffix.lower())
    if use is None:
        raise AskError(
            f"No task could be drafted from {path}: its name must end in {', '.join(sorted(USES))}.",
            code="unknown_kind",
        )
    if use == "parquet":
        return use, {}, _first_rows(use, path, {})
    settings = {} if (encoding := _encoding(path)) == "utf-8" else {"encoding": encoding}
    with path.open(encoding=encoding, errors="replace") as file:
        head = file.readline()
    if use == "jsonl" and re.search(r'"(messages|request)"\s*:\s*[\[{]', head):
        use = "chat_logs"
    if use == "csv" and (delimiter := max(",;\t|", key=head.count)) != "," and head.count(delimiter):
        settings["delimiter"] = delimiter
    return use, settings, _first_rows(use, path, settings)


def _first_rows(use: str, path: Path, settings: dict[str, str]) -> list[dict[str, Any]]:
    source: Plugin = SOURCES.take(use)
    records = list(islice(source(source.read({"path": path, **settings})), READ))
    if not records:
        raise AskError(f"No task could be drafted from {path}: it has no rows, a header at most.", code="no_rows")
    return records


def _encoding(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for name in (n for n in TRIED if n != "utf-16"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return TRIED[0]


def _filled(cells: Sequence[str | None]) -> list[str]:
    return [cell for cell in cells if cell]


def _values(cells: Sequence[str | None]) -> set[str]:
    return {cell.strip().lower() for cell in cells if cell}


def _rank(name: str, hints: Sequence[str]) -> int:
    """Place of a column's name among the hints: whole name first, then a word of it."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    if name.lower() in hints:
        return hints.index(name.lower())
    return min((len(hints) + hints.index(w) for w in words if w in hints), default=2 * len(hints))


def _named(name: str, hints: Sequence[str]) -> bool:
    return _rank(name, hints) < 2 * len(hints)


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(re.fullmatch(r"[-+]?\d+([.,]\d+)?(e[-+]?\d+)?", cell.strip(), re.IGNORECASE) for cell in cells)


def _are_times(cells: Sequence[str | None]) -> bool:
    try:
        return all(datetime.fromisoformat(cell.strip()) for cell in _filled(cells))
    except ValueError:
        return False


def _groups(cells: Sequence[str | None]) -> bool:
    """Whether values repeat as those of a group do: some of them twice, yet many different ones."""
    filled = _filled(cells)
    return min(20, len(filled) / 10) <= len(set(filled)) < len(filled)


def _best_text(columns: Columns) -> str | None:
    """A column with a name that promises text, else the one with the longest, most varied words."""

    def worth(name: str) -> tuple[int, float]:
        filled = _filled(columns[name])
        return -_rank(name, TEXT_NAMES), sum(map(len, filled)) / len(filled) * len(set(filled)) / len(filled)

    able = [n for n in columns if not _are_numbers(_filled(columns[n])) and not _are_times(columns[n])]
    return max(able, key=worth, default=None)


def _best_label(columns: Columns, text: str | None) -> str | None:
    """A column with a name that promises a class, else the one with the fewest different values; they must repeat."""

    def worth(name: str) -> tuple[int, float]:
        filled = _filled(columns[name])
        return -_rank(name, LABEL_NAMES), -len(set(filled)) / len(filled)

    able = [
        name
        for name, cells in columns.items()
        if name != text
        and 1 < len(set(_filled(cells))) <= max(2, len(_filled(cells)) // 2)
        and not _are_times(cells)
        and (_named(name, LABEL_NAMES) or not _named(name, GROUP_NAMES))
    ]
    return max(able, key=worth, default=None)


def _levels(label: Sequence[str | None], rest: Columns) -> tuple[str, ...]:
    """Columns that follow from the label and have fewer values: its broader classes, the narrowest first."""
    size = len(set(_filled(label)))
    found: list[tuple[int, str]] = []
    for name, cells in rest.items():
        of: defaultdict[str, set[str]] = defaultdict(set)
        for here, above in zip(label, cells, strict=True):
            if here:
                of[here].add(above or "")
        values = {value for above in of.values() for value in above}
        if all(len(above) == 1 for above in of.values()) and 1 < len(values) < size and "" not in values:
            found.append((-len(values), name))
    return tuple(name for _, name in sorted(found))


def _recorded(label: Sequence[str | None], rest: Columns) -> str | None:
    """The first column whose values are nearly always labels and often, but not always, the row's own."""
    labels = set(_filled(label))
    for name, cells in rest.items():
        both = [(one, other) for one, other in zip(label, cells, strict=True) if one and other]
        if not both:
            continue
        known = sum(other in labels for _, other in both) / len(both)
        agree = sum(one == other for one, other in both) / len(both)
        if known > 0.9 and 1.5 / max(len(labels), 2) < agree:
            return name
    return None


def _confusion(labels: Mapping[str, int]) -> dict[str, Any]:
    first, second = list(labels)[:2]
    return {"true": first, "answer": second, "cost": 10.0}


def _slug(stem: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:128] or "task"


def _q(value: object) -> str:
    """A YAML scalar: plain where that is safe, else quoted."""
    text = str(value)
    if isinstance(value, int | float) or (PLAIN.match(text) and text.lower() not in WORDS):
        return text
    return json.dumps(text, ensure_ascii=False)


def _flow(value: Mapping[str, Any] | Sequence[str]) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_q(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(map(_q, value)) + "]"

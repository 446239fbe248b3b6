"""Which split each row belongs to. Knows nothing of models, and reads no text beyond asking whether two are equal.

Rows move in units: all rows of a group, or, without groups, all rows with the same text, so that no division made
here can leak. Within each label, units stand in the order of a hash of their content; the first share is test, the
next validation. New rows therefore move at most a few of the old ones across the borders.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from sartor.core.canonical import sha256
from sartor.core.errors import AskError
from sartor.core.rows import Row
from sartor.core.task import SplitSpec
from sartor.data.text import key

Unit = list[Row]
SYNTHETIC = "synthetic"
"""Column that says that a model wrote the row, the text too."""


def by_label(row: Row) -> str:
    """The label, whose rows are divided by the shares too, as far as there are enough."""
    return row.label or ""


def split_rows(
    rows: Sequence[Row],
    given: Mapping[str, str],
    spec: SplitSpec,
    seed: int,
    stratum: Callable[[Row], str] = by_label,
) -> dict[str, str]:
    """The split of every row, by id.

    Args:
        rows: all rows that may be used.
        given: row id -> split, where the source or a column says it. A share whose split is given by some source is
            not carved again: with a test source, only validation is taken from the other rows.
        stratum: rows of which the shares are to hold by themselves.

    Raises:
        AskError: the newest rows are to be the test rows, and a row has no readable time.
    """
    splits = {row.id: given[row.id] for row in rows if row.id in given}
    stated = set(splits.values())
    # What a model wrote itself is learned from, and nothing is chosen or tested by it.
    splits |= {row.id: "train" for row in rows if row.extra.get(SYNTHETIC) and row.id not in given}
    free = [row for row in rows if row.id not in splits]
    # Rows that a source calls training still lend the validation rows that nobody else gave.
    lends = "validation" not in stated and spec.validation > 0
    lent = [row for row in rows if splits.get(row.id) == "train" and not row.extra.get(SYNTHETIC)]
    carved = free + (lent if lends else [])
    shares = {
        "test": 0.0 if "test" in stated else spec.test,
        "validation": spec.validation if lends else 0.0,
    }
    for unit, split in _divide(_units(carved), shares, spec, seed, stratum):
        # What a source calls training may become validation, never test; its unit stays with it.
        held = split == "test" and any(given.get(row.id) == "train" for row in unit)
        splits |= {row.id: "train" if held else split for row in unit}
    return splits


def _units(rows: Sequence[Row]) -> dict[str, Unit]:
    units: defaultdict[str, Unit] = defaultdict(list)
    for row in rows:
        units[f"group:{row.group}" if row.group is not None else f"text:{key(row.text)}"].append(row)
    return units


def _divide(
    units: dict[str, Unit],
    shares: Mapping[str, float],
    spec: SplitSpec,
    seed: int,
    stratum: Callable[[Row], str],
) -> list[tuple[Unit, str]]:
    if spec.by_time:
        timed = sorted(units.items(), key=lambda item: (_newest(item[1]), item[0]), reverse=True)
        return _cut([unit for _, unit in timed], shares)
    strata: defaultdict[str, list[tuple[str, Unit]]] = defaultdict(list)
    for name, unit in units.items():
        label = Counter(stratum(row) for row in unit).most_common(1)[0][0]
        strata[label].append((sha256(f"{seed}:{name}".encode()), unit))
    divided: list[tuple[Unit, str]] = []
    carry: defaultdict[str, float] = defaultdict(float)
    for label in sorted(strata):
        ordered = [unit for _, unit in sorted(strata[label], key=lambda item: item[0])]
        divided += _cut(ordered, shares, carry)
    return divided


def _cut(
    units: Sequence[Unit], shares: Mapping[str, float], carry: defaultdict[str, float] | None = None
) -> list[tuple[Unit, str]]:
    """Cut ordered units into test, validation and train by share of rows.

    `carry` takes the rounding of one label to the next, so that many small labels still give the share asked for.
    """
    total = sum(len(unit) for unit in units)
    rest = list(units)
    divided: list[tuple[Unit, str]] = []
    for split in ("test", "validation"):
        wanted = total * shares[split] + (carry[split] if carry is not None else 0.0)
        got = 0
        # The last unit of a label stays in training: a label that training lacks cannot be learnt.
        while len(rest) > 1 and got + len(rest[0]) / 2 <= wanted:
            unit = rest.pop(0)
            got += len(unit)
            divided.append((unit, split))
        if carry is not None:
            carry[split] = wanted - got
    return divided + [(unit, "train") for unit in rest]


def _newest(unit: Unit) -> float:
    return max(_instant(row) for row in unit)


def _instant(row: Row) -> float:
    try:
        at = datetime.fromisoformat((row.time or "").strip())
    except ValueError as error:
        raise AskError(
            f"Splitting by time failed: row {row.id} ({row.text[:40]!r}) has the time {row.time!r}, which is not "
            "ISO 8601 like 2026-03-31 or 2026-03-31T14:05:00Z. Mend it, or set data.split.by_time to false.",
            code="bad_time",
            param="data.time",
        ) from error
    return at.timestamp() if at.tzinfo else at.replace(tzinfo=UTC).timestamp()

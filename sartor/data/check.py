"""Read a task against its data before anything is trained. Knows no model; all arithmetic is on counts and costs.

Errors would make every later figure meaningless; warnings are for a person to weigh.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import numpy as np

from sartor.core.errors import NotFoundError, nearest
from sartor.core.predict import Floats
from sartor.core.rows import SPLITS, Snapshot
from sartor.core.task import Task
from sartor.core.value import cost_matrix, target_costs
from sartor.data.text import key

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")
DISCORDANCE = 0.10
"""Share of rows on which two good models are assumed to differ in being right; the true one is known only after."""
POWER = 0.80
FEW = 3
"""Training rows of a label below which there is not one for every fold."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    level: Level
    what: str
    """A stable word for machines."""
    says: str
    """What is there, why it matters, what to do."""


def check_task(task: Task, snapshot: Snapshot) -> list[Finding]:
    """Everything that can be said before training, errors first."""
    found = [
        *_labels(task, snapshot),
        *_rows_per_label(snapshot),
        *_spellings(snapshot),
        *_hierarchy(task, snapshot),
        *_columns(task, snapshot),
        *_floor(task),
        *_costs(task, snapshot),
        *_power(task, snapshot),
    ]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _labels(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    counts = {split: Counter(row.label or "" for row in snapshot.splits[split]) for split in SPLITS}
    strange = {split: sorted(set(counts[split]) - set(snapshot.labels)) for split in SPLITS}
    everywhere = sorted({label for labels in strange.values() for label in labels})
    for label in snapshot.labels:
        if not counts["train"][label]:
            near = nearest(label, everywhere)
            hint = f" The rows have '{near}': is that meant?" if near else ""
            yield Finding(
                "error",
                "label_without_rows",
                f"The label '{label}' has no training row, so it cannot be learnt.{hint} Take it out of "
                "'labels', or add rows.",
            )
    for split in ("train", "validation"):
        for label in strange[split]:
            yield Finding("error", "label_not_in_task", _strange(label, counts[split][label], split, snapshot))
    for label in sorted(set(strange["test"]) - set(strange["train"]) - set(strange["validation"])):
        yield Finding("warning", "label_not_in_task", _strange(label, counts["test"][label], "test", snapshot))
    for place, named in (("fallback", task.fallback), ("incumbent.label", task.incumbent.label)):
        if named is not None and named not in snapshot.labels:
            yield Finding("error", "unknown_label", f"'{place}' names '{named}', {_no_label(named, snapshot)}")


def _strange(label: str, rows: int, split: str, snapshot: Snapshot) -> str:
    outcome = "No answer can be right for them." if split == "test" else "They cannot be trained on."
    return f"{rows} {split} rows have the label '{label}', {_no_label(label, snapshot)} {outcome}"


def _no_label(label: str, snapshot: Snapshot) -> str:
    near = nearest(label, snapshot.labels)
    return "which is no label of the task." + (f" Did you mean '{near}'?" if near else " Add it to 'labels'.")


def _rows_per_label(snapshot: Snapshot) -> Iterator[Finding]:
    if len(snapshot.labels) < 2:
        only = f"only '{snapshot.labels[0]}'" if snapshot.labels else "none"
        yield Finding(
            "error",
            "one_label",
            f"A classifier needs at least two labels; there is {only}. Is data.label the right column?",
        )
        return
    train = Counter(row.label for row in snapshot.splits["train"])
    few = [label for label in snapshot.labels if 0 < train[label] < FEW]
    if few:
        yield Finding(
            "warning",
            "label_with_few_rows",
            f"{_listed(few)}: fewer than {FEW} training rows each. Nothing can be chosen or calibrated for them. "
            "Add rows, merge labels, or use the curator rare_labels.",
        )
    for split in ("validation", "test"):
        there = {row.label for row in snapshot.splits[split]}
        unseen = [label for label in snapshot.labels if label not in there]
        if unseen and there:
            yield Finding(
                "warning" if split == "test" else "info",
                f"label_without_{split}_rows",
                f"No {split} row has {_listed(unseen)}: how well that is answered is not measured.",
            )


def _spellings(snapshot: Snapshot) -> Iterator[Finding]:
    """Labels that differ in case, spaces or punctuation alone."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in snapshot.labels:
        alike[re.sub(r"[\W_]+", "", key(label)) or label].append(label)
    for same in alike.values():
        if len(same) > 1:
            yield Finding(
                "warning",
                "labels_alike",
                f"{_listed(same)} differ only in case, spaces or punctuation: are they one label?",
            )


def _hierarchy(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    """Each label in one class of every level, and each class in one class of the next."""
    rows = [row for split in SPLITS for row in snapshot.splits[split]]
    chain = (task.data.label, *task.data.levels)
    for child, parent in pairwise(chain):
        seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            below = row.label or "" if child == task.data.label else row.extra.get(child, "")
            seen[below][row.extra.get(parent, "")] += 1
        for name, parents in sorted(seen.items()):
            if len(parents) > 1:
                shown = ", ".join(f"'{p or '(empty)'}' ({n} rows)" for p, n in parents.most_common(4))
                yield Finding(
                    "error",
                    "two_parents",
                    f"In the hierarchy, the {child} '{name}' stands in more than one {parent}: {shown}. "
                    "Costs by level need one: mend the rows.",
                )


def _columns(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    """Columns that are read only after training, so that their absence would be found late."""
    test = snapshot.splits["test"]
    there = sorted({name for row in test for name in row.extra})
    named = [(f"data.slices: {name}", name) for name in task.data.slices]
    if task.incumbent.kind == "recorded":
        named.append(("incumbent.column", task.incumbent.column or ""))
    if task.value.escalate is not None and task.value.escalate.column:
        named.append(("value.escalate.column", task.value.escalate.column))
    for place, name in named:
        if name not in there and test:
            near = nearest(name, there)
            hint = f" Did you mean '{near}'?" if near else ""
            says = f"'{place}' names the column '{name}', which no test row has.{hint}"
            yield Finding("error", "unknown_column", f"{says} They have: {', '.join(there) or 'none'}.")


def _floor(task: Task) -> Iterator[Finding]:
    """The gate holds every candidate against the floor; a floor that was named must be there."""
    floor, titles = task.gate.floor, [candidate.title for candidate in task.candidates]
    if floor not in titles:
        near = nearest(floor, titles)
        hint = f" Did you mean '{near}'?" if near else ""
        yield Finding(
            "error" if "floor" in task.gate.model_fields_set else "warning",
            "no_floor",
            f"No candidate is called '{floor}' (gate.floor), so nothing shows what the cheapest model would do."
            f"{hint} Add that candidate, or name one of: {', '.join(titles)}.",
        )


def _costs(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    value = task.value
    try:
        matrix = cost_matrix(value, snapshot.labels, snapshot.hierarchy)
    except NotFoundError as error:
        yield Finding("error", error.code, error.message)
        return
    if value.wrong <= value.right:
        yield _absurd(f"a wrong answer ({value.wrong:g}) costs no more than a right one ({value.right:g})")
    for item in value.confusions:
        if item.true == item.answer:
            yield _absurd(f"the confusion of '{item.true}' with itself is no mistake; what is right costs 'right'")
        elif item.cost < value.right:
            yield _absurd(
                f"answering '{item.answer}' for '{item.true}' costs {item.cost:g}, less than being right "
                f"({value.right:g})"
            )
    costs = [(name, value.levels[name]) for name in snapshot.hierarchy.levels if name in value.levels]
    steps = [("right", value.right), *costs, ("wrong", value.wrong)]
    for (near, cheap), (far, dear) in pairwise(steps):
        if cheap > dear and costs:
            yield _absurd(f"'{far}' costs {dear:g} and '{near}' {cheap:g}, although '{far}' is farther from the truth")
    yield from _escalation(task, matrix)


def _escalation(task: Task, matrix: Floats) -> Iterator[Finding]:
    escalate = task.value.escalate
    if escalate is None or len(matrix) < 2:
        return
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    if escalate.price >= off.max():
        yield _absurd(
            f"asking {escalate.to} costs {escalate.price:g} {task.value.currency}, no less than the dearest mistake "
            f"({off.max():g}): nothing would ever be escalated"
        )
    elif target_costs(task.value, matrix).min() >= off.max() and escalate.column is None:
        yield Finding(
            "warning",
            "useless_escalation",
            f"Asking {escalate.to} costs {escalate.price:g} and errs on {escalate.error_rate:.0%} of the questions: "
            "with its errors counted it never pays.",
        )


def _absurd(says: str) -> Finding:
    return Finding(
        "error", "absurd_cost", f"In 'value', {says}. Costs are money lost: look at the signs and the order."
    )


def rows_needed(margin: float, spread: float, confidence: float, power: float = POWER) -> int:
    """Test rows with which an equally good candidate is shown to be within a margin.

    Args:
        margin: difference that must be excluded, in any unit.
        spread: standard deviation of the paired difference of one row, in the same unit.
        confidence: of the two-sided interval.
        power: chance that the interval excludes it.
    """
    return int(np.ceil((_z(confidence, power) * spread / margin) ** 2))


def _z(confidence: float, power: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2) + NormalDist().inv_cdf(power)


def _power(task: Task, snapshot: Snapshot) -> Iterator[Finding]:
    """Whether the test rows can decide the gate: a paired difference has variance discordance times stake squared."""
    test, gate = snapshot.splits["test"], task.gate
    groups = {row.group for row in test if row.group is not None}
    n = len(groups) if groups else len(test)
    unit = "test groups" if groups else "test rows"
    if not test:
        says = "There is no test row, so nothing can be shown. Set data.split.test above 0, for rows of an open split."
        yield Finding("error", "no_test_rows", says)
        return
    if len(test) < gate.min_rows:
        yield Finding(
            "warning",
            "too_few_test_rows",
            f"There are {len(test)} test rows and the gate asks for {gate.min_rows} (gate.min_rows): nothing "
            f"will be released. Add {gate.min_rows - len(test)} rows, raise data.split.test, or lower gate.min_rows.",
        )
    least = _z(gate.confidence, POWER) * np.sqrt(DISCORDANCE / n)
    stake = _stake(task, snapshot)
    yield Finding(
        "info",
        "power",
        f"With {n:,} {unit}, differences of at least {least:.1%} accuracy or {least * stake:.3g} "
        f"{task.value.currency} a request can be told from chance (confidence {gate.confidence:.0%}, power "
        f"{POWER:.0%}, assuming that two models differ on {DISCORDANCE:.0%} of the rows). A smaller gain will not pass "
        "the gate.",
    )
    yield from _fine_margins(task, n, unit, stake)


def _fine_margins(task: Task, n: int, unit: str, stake: float) -> Iterator[Finding]:
    """Margins of the gate that so few rows cannot resolve."""
    gate = task.gate
    margins = [("margin", gate.margin, stake)]
    margins += [("guards.accuracy", gate.guards["accuracy"], 1.0)] if "accuracy" in gate.guards else []
    for name, margin, size in margins:
        needed = rows_needed(margin, size * float(np.sqrt(DISCORDANCE)), gate.confidence) if margin > 0 else 0
        if needed > n:
            yield Finding(
                "warning",
                "weak_test",
                f"gate.{name} ({margin:g}) is finer than the test can see: for an equally good candidate to pass with "
                f"a chance of {POWER:.0%}, about {needed:,} {unit} are needed, {needed - n:,} more than there are. "
                "A clearly better candidate can still pass.",
            )


def _stake(task: Task, snapshot: Snapshot) -> float:
    """Mean money between a right and a wrong answer; unknown names are reported elsewhere."""
    try:
        matrix = cost_matrix(task.value, snapshot.labels, snapshot.hierarchy)
    except NotFoundError:
        return abs(task.value.wrong - task.value.right)
    size = len(matrix)
    return float((matrix.sum() - matrix.trace()) / max(size * (size - 1), 1) - matrix.trace() / max(size, 1))


def _listed(names: Iterable[str]) -> str:
    """'a', 'b' and 3 more."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:6]) + (f" and {len(quoted) - 6} more" if len(quoted) > 6 else "")

"""Read a task against its data before anything is trained. Knows no model; all arithmetic is on counts and costs.

Errors would make every later figure meaningless; warnings are for a person to weigh.
"""

import re
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from sartor.core.errors import nearest
from sartor.core.rows import Snapshot
from sartor.core.task import Task
from sartor.data.finding import LEVELS, Finding, listed
from sartor.data.kind import kind_of

DISCORDANCE = 0.10
"""Share of rows on which two good models are assumed to differ in being right; the true one is known only after."""
POWER = 0.80


def check_task(task: Task, snapshot: Snapshot) -> list[Finding]:
    """Everything that can be said before training, errors first."""
    kind = kind_of(task)
    found = [
        *kind.check(task, snapshot),
        *_columns(task, snapshot),
        *_template(task),
        *_floor(task),
        *_power(task, snapshot, kind.stake(task, snapshot)),
    ]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _template(task: Task) -> Iterator[Finding]:
    """A template that shows models nothing of the input, or not all that it is said to be."""
    template, columns = task.input.template, task.input.columns
    if not template:
        return
    holes = set(re.findall(r"\{(\w+)\}", template))
    if not holes:
        says = "input.template has no {column} in it, so that every row would read the same: add "
        yield Finding("error", "template_drops_text", says + ", ".join(f"{{{name}}}" for name in columns) + ".")
    elif "columns" in task.input.model_fields_set and (lost := [name for name in columns if name not in holes]):
        yield Finding(
            "error",
            "template_drops_text",
            f"input.columns names {listed(lost)}, and input.template has no place for it: no model would see it. Add "
            f"{{{lost[0]}}} to the template, or take it out of the columns.",
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


def _power(task: Task, snapshot: Snapshot, stake: float) -> Iterator[Finding]:
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

"""Policy "release", version 3: may this candidate replace what answers today? Ship, hold, or need data.

Pure and total: the same case gives the same verdict, and no case, however odd, raises. It fails closed: what is
missing, no number, or too little is held, with the reason. Changing what it decides needs a new version; an old
decision is judged again by the version that took it. Version 2 holds the standing suites against what is live;
version 3 compares slices of extractions by the F1 of their rows, since a record of many values is rarely right in all.

A check passes, fails, or is unknown. Ship: all pass. Need data: nothing failed, and every unknown check would be
settled by more rows. Hold: everything else.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sartor.core.licence import NO_COMMERCIAL, NO_TRAINING
from sartor.core.records import Check, Metric
from sartor.evaluation.compare import Change, Comparison
from sartor.evaluation.gates.case import Case
from sartor.evaluation.suites import Held

NAME = "release"
VERSION = 3
PATIENCE = 10
"""Times the present rows: what needs more of them than that to be settled is held, not waited for."""
STOPPERS = (NO_TRAINING, NO_COMMERCIAL)
"""Obligations that the owner must accept by name."""

SUITES = {"fixed": "what was mended before", "era": "eras", "label": "labels"}
"""Kind of standing suite -> how it is called."""

Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """What the policy says, and why."""

    verdict: Literal["ship", "hold", "need_data"]
    reasons: tuple[str, ...]
    """In plain words, the weightiest first."""
    checks: tuple[Check, ...]
    rows_needed: int | None = None
    """More labelled test rows that would settle it, where it is `need_data`."""
    instead: Literal["", "floor"] = ""
    """What should be released instead."""


@dataclass(frozen=True)
class _Line:
    name: str
    outcome: Outcome
    says: str
    rows: int | None = None
    """More rows that would settle an unknown outcome."""


def judge(case: Case, version: int = VERSION) -> Verdict:
    """The verdict on a case, as this version of the policy reaches it."""
    try:
        lines = [line for check in _checks(version) for line in check(case)]
        return _verdict(lines)
    except Exception as error:  # noqa: BLE001 - a gate that breaks must hold, never let through
        says = f"The gate could not judge this case ({type(error).__name__}: {error}), so nothing is released."
        return Verdict("hold", (says,), (Check(name="gate", outcome="unknown", says=says),))


def _verdict(lines: list[_Line]) -> Verdict:
    checks = tuple(Check(name=line.name, outcome=line.outcome, says=line.says) for line in lines)
    failed = [line for line in lines if line.outcome == "fail"]
    unknown = [line for line in lines if line.outcome == "unknown"]
    instead: Literal["", "floor"] = "floor" if any(line.name == "floor" for line in failed) else ""
    if failed or any(line.rows is None for line in unknown):
        return Verdict("hold", tuple(line.says for line in failed + unknown), checks, instead=instead)
    if unknown:
        more = max(line.rows or 0 for line in unknown)
        first = f"{more:,} more labelled test rows would settle it."
        return Verdict("need_data", (first, *(line.says for line in unknown)), checks, rows_needed=more)
    told = ("value", "floor", "forgetting", "looks")
    return Verdict("ship", tuple(line.says for line in lines if line.name.partition(":")[0] in told), checks)


def _evidence(case: Case) -> Iterator[_Line]:
    if case.errors == ():
        yield _Line("evidence", "pass", "All evidence was gathered without an error.")
    else:
        yield _Line("evidence", "fail", "The evidence is incomplete: " + "; ".join(case.errors) + ".")


def _rows(case: Case) -> Iterator[_Line]:
    least = case.gate.min_rows
    if case.rows is None:
        yield _Line("rows", "unknown", "It is not known on how many test rows the candidate was judged.")
    elif case.rows < least:
        short = f"Only {case.rows:,} test rows; this task asks for {least:,}: {least - case.rows:,} more are needed."
        yield _Line("rows", "fail", short)
    else:
        yield _Line("rows", "pass", f"Judged on {case.rows:,} test rows (at least {least:,} asked for).")


def _value(case: Case) -> Iterator[_Line]:
    if case.is_live:
        yield _Line("value", "fail", "The candidate is what answers today already: there is nothing to release.")
        return
    if not case.has_incumbent:
        yield _Line("value", "pass", "Nothing answers today, so there is nothing to be better than.")
        return
    found, margin = case.incumbent, case.gate.margin
    if found is None or not _sound(found.saved):
        yield _Line("value", "unknown", "The candidate could not be held against what answers today.")
        return
    says = _saving(found, case, "what answers today")
    saved, low, high = _numbers(found.saved)
    if low > -margin:
        yield _Line("value", "pass", says)
    elif saved <= -margin or high <= -margin:
        yield _Line("value", "fail", says + _asked(margin, case))
    else:
        yield _open("value", says + _asked(margin, case), found.rows_needed, found.n)


def _floor(case: Case) -> Iterator[_Line]:
    if not case.has_floor:
        yield _Line("floor", "pass", f"The task makes no floor (no candidate is called '{case.gate.floor}').")
        return
    if case.is_floor:
        yield _Line("floor", "pass", "The candidate is the floor: nothing cheaper was made.")
        return
    if case.floor is None or not _sound(case.floor.saved):
        yield _Line("floor", "unknown", "The candidate could not be held against the floor.")
        return
    says = _saving(case.floor, case, f"the floor ({case.gate.floor})")
    if _numbers(case.floor.saved)[1] > 0:
        yield _Line("floor", "pass", says)
    else:
        yield _Line("floor", "fail", says + " It does not earn its cost: release the floor instead.")


def _guards(case: Case) -> Iterator[_Line]:
    if not case.has_incumbent:
        return
    for name in sorted(case.gate.guards):
        yield _guard(case, name)


def _guard(case: Case, name: str) -> _Line:
    title, margin = f"guard:{name}", case.gate.guards[name]
    guard = case.incumbent.guards.get(name) if case.incumbent else None
    if case.incumbent is None or guard is None or not _sound(guard.gain) or not _finite(guard.chance):
        note = f": {guard.gain.note}" if guard is not None and guard.gain.note else ""
        return _Line(title, "unknown", f"Guard {name} could not be compared with what answers today{note}.")
    gain, low, high = _numbers(guard.gain)
    says = (
        f"Guard {name}: {_figure(guard.incumbent)} today, {_figure(guard.candidate)} with the candidate "
        f"({gain:+.4f}, between {low:+.4f} and {high:+.4f}; it may be {margin:g} worse)."
    )
    assert guard.chance is not None
    if guard.margin == margin and guard.chance < (1.0 - case.gate.confidence) / 2.0:
        return _Line(title, "pass", says)
    if gain < -margin:
        return _Line(title, "fail", says)
    return _open(title, says + " That is not yet sure.", guard.rows_needed, case.incumbent.n)


def _slices(case: Case) -> Iterator[_Line]:
    yield from _changed(case, () if case.incumbent is None else case.incumbent.slices)


def _whole_slices(case: Case) -> Iterator[_Line]:
    yield from _changed(case, () if case.incumbent is None else case.incumbent.whole_slices)


def _changed(case: Case, slices: Sequence[Change]) -> Iterator[_Line]:
    if not case.has_incumbent:
        return
    if case.incumbent is None:
        yield _Line("slices", "unknown", "Slices could not be compared with what answers today.")
        return
    worse = [s for s in slices if s.worse]
    if worse:
        named = "; ".join(
            f"{s.column} = {s.value} ({100 * s.incumbent:.1f} % right today, {100 * s.candidate:.1f} % with the "
            f"candidate, {s.n} rows)"
            for s in worse[:5]
        )
        many = f" and {len(worse) - 5} more" if len(worse) > 5 else ""
        yield _Line("slices", "fail", f"Significantly worse than today on {named}{many}.")
    else:
        count = len(slices)
        margin = 100 * case.gate.slice_margin
        yield _Line("slices", "pass", f"None of {count} slices is significantly worse by more than {margin:g} points.")


def _forgetting(case: Case) -> Iterator[_Line]:
    """One line for each kind of standing suite. A suite is forgotten if it surely lost more than the margin."""
    if case.suites is None:
        yield _Line("forgetting", "unknown", "The standing suites could not be held against what answers today.")
        return
    margin = 100 * case.forgetting
    for kind, title in SUITES.items():
        suites = [suite for suite in case.suites if suite.kind == kind]
        if not suites:
            continue
        lost = [suite for suite in suites if suite.forgotten]
        worst = sorted(lost or suites, key=lambda suite: suite.gain)[:3]
        shown = "; ".join(_suite(suite) for suite in worst) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        tested = f"{margin:g} points may be lost; {len(suites)} tested together, Holm"
        says = f"Forgotten: {shown} ({tested})." if lost else (
            f"None of {len(suites)} {title} is surely worse; least good: {shown} ({tested})."
        )  # fmt: skip
        yield _Line(f"forgetting: {title}", "fail" if lost else "pass", says)


def _suite(suite: Held) -> str:
    name = f"{suite.kind} {suite.name or 'before'}" if suite.kind != "fixed" else "mended before"
    return (
        f"{name} {100 * suite.live:.1f} → {100 * suite.candidate:.1f} % right "
        f"({100 * suite.low:+.1f} to {100 * suite.high:+.1f}, {suite.n:,} rows)"
    )


def _calibration(case: Case) -> Iterator[_Line]:
    error = (case.metrics or {}).get("calibration_error")
    limit = case.gate.max_calibration_error
    if error is None or not _finite(error.value):
        note = f": {error.note}" if error is not None and error.note else ""
        yield _Line(
            "calibration", "unknown", f"It is not known whether the candidate's confidence can be trusted{note}."
        )
        return
    says = f"Confidence is off by {100 * (error.value or 0.0):.1f} points on average (at most {100 * limit:g} allowed)."
    yield _Line("calibration", "pass" if (error.value or 0.0) <= limit else "fail", says)


def _latency(case: Case) -> Iterator[_Line]:
    yield _limit("latency", "One answer takes", case.latency_ms, case.gate.max_latency_ms, "ms")


def _unit_cost(case: Case) -> Iterator[_Line]:
    cost, limit = (None if v is None else 1000 * v for v in (case.unit_cost, case.gate.max_unit_cost))
    yield _limit("unit_cost", "Serving 1,000 requests costs", cost, limit, case.currency)


def _plain(value: float) -> str:
    """A number as people write it, never in powers of ten: cents, or two figures that count."""
    decimals = 2 if value == 0 or abs(value) >= 1 else min(12, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _limit(name: str, what: str, value: float | None, limit: float | None, unit: str) -> _Line:
    if limit is None:
        shown = f"{what} {_plain(value)} {unit}; no" if value is not None and _finite(value) else "No"
        return _Line(name, "pass", f"{shown} limit is set.")
    if value is None or not _finite(value):
        return _Line(name, "unknown", f"{what} an unknown amount, and the limit is {limit:g} {unit}.")
    says = f"{what} {_plain(value)} {unit} (at most {_plain(limit)} allowed)."
    return _Line(name, "pass" if value <= limit else "fail", says)


def _licence(case: Case) -> Iterator[_Line]:
    if case.licence is None:
        yield _Line("licence", "unknown", "It is not known under which licences the candidate stands.")
        return
    allowed = case.gate.allow_licences
    unknown = [name for name in case.licence.unknown if name not in allowed]
    stopped = [name for name in case.licence.obligations if name in STOPPERS and name not in allowed]
    told = ", ".join(case.licence.names)
    if unknown or stopped:
        listed = " and ".join(
            [f"the licence '{name}' is unknown" for name in unknown]
            + [f"the obligation '{name}' bears on it" for name in stopped]
        )
        cure = "Name it under gate.allow_licences if the owner accepts it."
        yield _Line("licence", "fail", f"Licences ({told}): {listed}. {cure}")
    else:
        yield _Line(
            "licence", "pass", f"Licences: {told}; obligations: {', '.join(case.licence.obligations) or 'none'}."
        )


def _looks(case: Case) -> Iterator[_Line]:
    if case.looks is None or case.looks < 1:
        yield _Line("looks", "unknown", "It is not known how often the test rows have been looked at.")
    elif case.looks == 1:
        yield _Line("looks", "pass", "The test rows were looked at once, for this decision.")
    else:
        says = f"The test rows have been looked at {case.looks} times: the figures lean to the bright side."
        yield _Line("looks", "pass", says)


CHECKS: tuple[Callable[[Case], Iterator[_Line]], ...] = (
    _evidence,
    _rows,
    _value,
    _floor,
    _guards,
    _slices,
    _forgetting,
    _calibration,
    _latency,
    _unit_cost,
    _licence,
    _looks,
)
"""All checks, the weightiest first."""


def _checks(version: int) -> list[Callable[[Case], Iterator[_Line]]]:
    """Those of a version."""
    found = [_whole_slices if check is _slices and version < 3 else check for check in CHECKS]
    return [check for check in found if check is not _forgetting or version >= 2]


def _open(name: str, says: str, more: int | None, present: int) -> _Line:
    """An outcome that more rows would settle, unless they are out of reach."""
    if more is None:
        return _Line(name, "fail", says)
    if more > PATIENCE * present:
        return _Line(name, "fail", f"{says} To tell would take {more:,} more rows: out of reach.")
    return _Line(name, "unknown", says, max(more, 1))


def _saving(found: Comparison, case: Case, other: str) -> str:
    saved, low, high = _numbers(found.saved)
    money, sure = case.currency, f"{100 * case.gate.confidence:g} %"
    word = "less" if saved >= 0 else "more"
    return (
        f"1,000 requests cost {_per_1000(abs(saved))} {money} {word} than with {other}: "
        f"{_per_1000(found.candidate_money)} instead of {_per_1000(found.incumbent_money)} {money} "
        f"(saving between {_per_1000(low)} and {_per_1000(high)} {money}, {sure} confidence, {found.n:,} rows)."
    )


def _asked(margin: float, case: Case) -> str:
    if margin == 0:
        return " It must surely be cheaper."
    return f" It may surely not cost more than {_per_1000(margin)} {case.currency} on top."


def _per_1000(money: float) -> str:
    """Money of 1,000 requests: cents, or as many decimals as it takes to show something."""
    amount = 1000.0 * money
    return f"{amount:,.2f}" if amount == 0 or abs(amount) >= 0.1 else _plain(amount)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _sound(metric: Metric) -> bool:
    return _finite(metric.value) and _finite(metric.low) and _finite(metric.high)


def _numbers(metric: Metric) -> tuple[float, float, float]:
    assert metric.value is not None
    assert metric.low is not None
    assert metric.high is not None
    return metric.value, metric.low, metric.high


def _figure(value: float | None) -> str:
    return "unknown" if value is None or not _finite(value) else f"{value:.4f}"

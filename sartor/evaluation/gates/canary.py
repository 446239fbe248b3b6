"""Policy "canary", version 1: is a canary to be stopped, promoted, or watched further? May be asked at any time.

Every check is an interval of canary minus control that holds at all times at once, so that looking often costs
nothing. Half of what the confidence leaves over is spent on stopping, divided evenly over all checks, since any of
them stops; half on promoting, undivided, since all of them must agree. Stopped: some check shows the canary to be
worse by more than its margin. Promoted: every check shows that it is not, after the minimum exposure. What only some
outcomes could tell is not told where they are seen too selectively or too late: then it cannot decide, and says what
is missing. Pure and total: no case raises.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sartor.core.predict import Floats
from sartor.core.records import Check
from sartor.core.task import Gate
from sartor.evaluation.exposed import ARMS, Outcomes, Stream, Units, stream, units_of
from sartor.evaluation.sequential import Bools
from sartor.evaluation.terms import Terms

NAME = "canary"
VERSION = 1
SURE = 1e-3
"""Level at which arms are said to be observed at different rates."""
CELL = 60
"""Rows of a stratum after which the lack of outcomes is told."""
LATE = 0.2
"""Share of outcomes after the mature window above which it is too short."""

Call = Literal["promote", "stop", "go_on", "cannot_decide"]


@dataclass(frozen=True)
class Settings:
    """What a canary must show. Money per request; times in seconds."""

    limits: tuple[float, float]
    """Least and most money that one request can lose; costs are cut to these, and the share that was is told."""
    confidence: float = 0.95
    margin: float = 0.0
    """Money by which the canary may be dearer."""
    superior: bool = False
    """Promote only what is shown to be cheaper, not just not dearer by more than the margin."""
    failures: float = 0.01
    """Share by which it may fail more often."""
    latency: float = 0.5
    """Seconds by which its mean may be slower."""
    slowest: float = 30.0
    """Times are cut to this."""
    guards: Mapping[str, float] = field(default_factory=dict)
    """Metric of `Outcomes.guards` -> by how much it may be lower."""
    min_units: int = 100
    """Of each arm with an outcome, before anything is promoted."""
    min_seconds: float = 0.0
    """From the first exchange, before anything is promoted: a day has quiet hours."""
    mature: float = 0.0
    """Age at which an exchange counts; outcomes that come later do not."""
    span: float = 0.0
    """Requests of one unit within this time of its first count as one; later ones do not count."""
    most_weight: float = 20.0
    """One observed row speaks for this many at most; where fewer are observed, nobody speaks for the rest."""
    rate_gap: float = 0.1
    """By how much the share of observed rows may differ between the arms."""
    unseen: float = 0.02
    """Share of the traffic that may stand in strata of which hardly anything is observed."""

    @classmethod
    def of(cls, gate: Gate, terms: Terms, *, serving: float = 0.0, **changes: Any) -> "Settings":
        """The settings that a task's gate and value function imply.

        Args:
            serving: the most that serving one request can cost.
            changes: other settings by name.
        """
        low, high = terms.judging.limits()
        own = {"confidence": gate.confidence, "margin": gate.margin, "min_units": gate.min_rows}
        return cls(limits=(low, high + serving), **(own | changes))


@dataclass(frozen=True)
class Verdict:
    """What the policy says, and why."""

    verdict: Call
    reasons: tuple[str, ...]
    """In plain words, the weightiest first."""
    checks: tuple[Check, ...]
    missing: tuple[str, ...] = ()
    """What it would take to decide."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """By check: difference, bounds, means, units; and what is known of the feedback."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"verdict": self.verdict, "reasons": list(self.reasons), "missing": list(self.missing)} | {
            "checks": [check.model_dump(mode="json") for check in self.checks],
            "figures": dict(self.figures),
        }


@dataclass(frozen=True)
class _Line:
    """One metric, canary minus control; higher is worse."""

    name: str
    says: str
    low: float
    high: float
    margin: float
    needed: float
    """What the upper bound must be below to promote."""
    enough: bool
    """Whether enough is seen on both sides to promote."""
    more: int | None
    """More units like these that would settle it."""
    figures: dict[str, Any]

    @property
    def call(self) -> Literal["harm", "fine", "open"]:
        """What it shows."""
        return "harm" if self.low > self.margin else "fine" if self.enough and self.high < self.needed else "open"


def judge_canary(outcomes: Outcomes, settings: Settings) -> Verdict:
    """The verdict on what was seen so far."""
    try:
        return _judge(outcomes, settings)
    except Exception as error:  # noqa: BLE001 - a gate that breaks must never promote
        says = f"The gate could not judge this canary ({type(error).__name__}: {error})."
        return Verdict("cannot_decide", (says,), (Check(name="gate", outcome="unknown", says=says),), (says,))


def _judge(outcomes: Outcomes, settings: Settings) -> Verdict:
    units = units_of(outcomes, settings.span)
    ripe = units.older(settings.span + settings.mature)
    timely = _timely(outcomes, settings)
    seen = timely & np.asarray(outcomes.observed, dtype=bool) & np.isfinite(outcomes.cost)
    level = (1.0 - settings.confidence) / 2.0
    tests = 3 + len(settings.guards)
    feedback = _feedback(units, seen, ripe, settings)
    guards = list(_guards(units, settings, level / tests, level))
    told = list(_told(units, (seen, timely), ripe, settings, (level / tests, level))) if not feedback.missing else []
    lines = told + guards
    checks = tuple(_check(line) for line in lines) + feedback.checks + (_exposure(units, ripe, seen, settings),)
    figures = {line.name: line.figures for line in lines} | {"feedback": feedback.figures}
    harms = tuple(line.says for line in lines if line.call == "harm")
    if harms:
        return Verdict("stop", harms, checks, figures=figures)
    if feedback.missing:
        return Verdict("cannot_decide", feedback.reasons, checks, feedback.missing, figures)
    if checks[-1].outcome == "pass" and all(line.call == "fine" for line in lines):
        return Verdict("promote", tuple(line.says for line in lines), checks, figures=figures)
    waiting = tuple(line.says for line in lines if line.call == "open")
    if checks[-1].outcome != "pass":
        waiting = (checks[-1].says, *waiting)
    missing = tuple(
        f"{line.name}: about {line.more:,} more like these." for line in lines if line.call == "open" and line.more
    )
    return Verdict("go_on", waiting, checks, missing, figures)


def _timely(outcomes: Outcomes, settings: Settings) -> Bools:
    """(all rows,) False where the outcome came after the mature window: what an early look missed never counts."""
    if outcomes.delay is None or not settings.mature:
        return np.ones(len(outcomes), dtype=bool)
    late: Bools = np.nan_to_num(outcomes.delay, nan=0.0) > settings.mature
    return ~late


def _guards(units: Units, settings: Settings, harm: float, good: float) -> Iterator[_Line]:
    """What every exchange tells at once: failures and times."""
    everything, until = np.ones(len(units.of), dtype=bool), units.older(settings.span)
    failed = np.asarray(units.of.failed, dtype=np.float64)
    found = stream(units, failed, everything, (0.0, 1.0), until=until)
    yield _line("failures", found, settings, settings.failures, (harm, good), (100.0, "% of the requests failed"))
    times = np.nan_to_num(units.of.seconds, nan=settings.slowest, posinf=settings.slowest)
    found = stream(units, times, everything, (0.0, settings.slowest), until=until)
    yield _line("latency", found, settings, settings.latency, (harm, good), (1.0, "s a request"))


def _told(
    units: Units, seen: tuple[Bools, Bools], ripe: int, settings: Settings, levels: tuple[float, float]
) -> Iterator[_Line]:
    """What only outcomes tell: money, and metrics that are guarded.

    Args:
        seen: (all rows,) whose cost is known in time, and whose outcome did not come too late.
    """
    cost = np.asarray(units.of.cost, dtype=np.float64)
    found = stream(units, cost, seen[0], settings.limits, until=ripe, most=settings.most_weight)
    needed = 0.0 if settings.superior else settings.margin
    yield _line("value", found, settings, settings.margin, levels, (1.0, "lost a request"), needed=needed)
    for name, margin in sorted(settings.guards.items()):
        values = np.asarray(units.of.guards.get(name, np.full(len(units.of), np.nan)), dtype=np.float64)
        known = np.isfinite(values) & seen[1]
        found = stream(units, 1.0 - values, known, (0.0, 1.0), until=ripe, most=settings.most_weight)
        yield _line(f"guard:{name}", found, settings, margin, levels, (100.0, f"points short in {name}"))


def _line(
    name: str,
    found: Stream,
    settings: Settings,
    margin: float,
    levels: tuple[float, float],
    unit: tuple[float, str],
    *,
    needed: float | None = None,
) -> _Line:
    values = found.contrast.values
    low, high = found.contrast.bounds(*levels, found.limits[1] - found.limits[0])
    goal = margin if needed is None else needed
    factor, what = unit
    cut = f" {found.clipped:.1%} of the values were cut at the limits." if found.clipped else ""
    rare = f" Of {found.rare:.1%} of the requests too few are seen to speak for the rest." if found.rare else ""
    mean = float(values.mean()) if len(values) else 0.0
    lacking = [arm for arm, seen in zip(ARMS, found.seen, strict=True) if not seen]
    nothing = f"{name}: nothing is known yet of {' and '.join(lacking)}."
    says = (
        f"{name}: canary {factor * found.means[1]:.4g}, control {factor * found.means[0]:.4g} {what}; "
        f"{factor * mean:+.4g} (at all times between {factor * low:+.4g} and {factor * high:+.4g}; it may be "
        f"{factor * margin:g} worse), {found.seen[1]:,} and {found.seen[0]:,} seen.{cut}{rare}"
    )
    figures = {
        "difference": mean, "low": low, "high": high, "margin": margin, "units": len(values),
        "control": _number(found.means[0]), "canary": _number(found.means[1]),
        "seen": {"control": found.seen[0], "canary": found.seen[1]},
        "cut": found.clipped, "rare": found.rare,
    }  # fmt: skip
    says = nothing if lacking else says
    enough = min(found.seen) >= settings.min_units and found.rare <= settings.unseen
    return _Line(name, says, low, high, margin, goal, enough, _more(values, mean, margin, goal, levels), figures)


def _more(values: Floats, mean: float, margin: float, goal: float, levels: tuple[float, float]) -> int | None:
    """More units that would settle it, were the difference what it now seems: the wealth grows by d² / 2s² a unit."""
    distance, level = (mean - margin, levels[0]) if mean > margin else (goal - mean, levels[1])
    if len(values) < 2 or distance <= 0:
        return None
    wanted = 2.0 * (math.log(1.0 / level) + 1.5) * float(values.var()) / distance**2
    return max(1, math.ceil(wanted) - len(values))


@dataclass(frozen=True)
class _Feedback:
    """Whether outcomes can be trusted to speak for all requests."""

    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    figures: dict[str, Any]


def _feedback(units: Units, seen: Bools, ripe: int, settings: Settings) -> _Feedback:
    rows, unit = units.rows[units.unit < ripe], units.unit[units.unit < ripe]
    canary, known = units.canary[unit], seen[rows]
    found = [_drawn(units), _late(units.of, settings)]
    if len(rows) and min(units.count(ripe)) >= settings.min_units:
        found += [
            _rates(canary, known, units.of.stratum[rows], settings),
            _strata(rows, canary, known, units, settings),
        ]
    checks = tuple(
        Check(name=name, outcome="unknown" if missing else "pass", says=says) for name, says, missing in found
    )
    bad = [(says, missing) for _, says, missing in found if missing]
    shares = {arm: _share(known[side]) for arm, side in zip(ARMS, (~canary, canary), strict=True)}
    return _Feedback(
        checks,
        tuple(says for says, _ in bad),
        tuple(missing for _, missing in bad),
        {"observed": shares, "ripe": ripe, "delay": _delays(units.of)},
    )


def _drawn(units: Units) -> tuple[str, str, str]:
    """Was anything randomised?"""
    if len(units) or not len(units.of):
        return "randomised", f"{len(units):,} were drawn by chance.", ""
    says = f"None of {len(units.of):,} exchanges was put on its side by chance, so nothing can be compared."
    return "randomised", says, "Exchanges with arm and propensity: put the canary behind a policy that draws."


def _late(outcomes: Outcomes, settings: Settings) -> tuple[str, str, str]:
    """Do outcomes come within the mature window?"""
    if outcomes.delay is None or not np.isfinite(outcomes.delay).any():
        return "in time", "It is not known how late outcomes come.", ""
    delay = outcomes.delay[np.isfinite(outcomes.delay)]
    half, most = np.quantile(delay, [0.5, 0.95])
    late = float((delay > settings.mature).mean()) if settings.mature else 0.0
    says = f"Outcomes come after {half:,.0f} s (half of them) and {most:,.0f} s (95 %); {late:.1%} later than counted."
    if late <= LATE:
        return "in time", says, ""
    missing = f"Patience: count exchanges after {most:,.0f} s instead of {settings.mature:,.0f} s (`mature`)."
    return "in time", says, missing


def _rates(canary: Bools, known: Bools, strata: Any, settings: Settings) -> tuple[str, str, str]:
    """Are the two sides observed alike? Rates are compared within strata (Mantel and Haenszel 1959)."""
    from scipy.special import ndtr

    gap, variance, size = 0.0, 0.0, 0.0
    for stratum in np.unique(strata):
        cell = strata == stratum
        n1, n0 = float((cell & canary).sum()), float((cell & ~canary).sum())
        if not n1 or not n0:
            continue
        share = n1 * n0 / (n1 + n0)
        rates = known[cell & canary].mean(), known[cell & ~canary].mean()
        whole = known[cell].mean()
        gap, size = gap + share * (rates[0] - rates[1]), size + share
        variance += share**2 * whole * (1 - whole) * (1 / n1 + 1 / n0)
    gap = gap / size if size else 0.0
    chance = 2.0 * float(ndtr(-abs(gap) * size / math.sqrt(variance))) if variance else 1.0
    shares = [_share(known[side]) for side in (canary, ~canary)]
    says = f"Outcomes are known of {shares[0]:.1%} of the canary's and {shares[1]:.1%} of the control's requests."
    if abs(gap) <= settings.rate_gap or chance > SURE:
        return "observed alike", says, ""
    poorer = ARMS[1] if gap < 0 else ARMS[0]
    lacking = math.ceil(abs(gap) * (canary if gap < 0 else ~canary).sum())
    missing = (
        f"Whether an outcome is seen depends on the side, so what is seen does not speak for the rest: about "
        f"{lacking:,} outcomes of {poorer} rows that are drawn at random, by a person or a measured judge."
    )
    return "observed alike", says, missing


def _strata(rows: Any, canary: Bools, known: Bools, units: Units, settings: Settings) -> tuple[str, str, str]:
    """Is something seen of every kind of request?"""
    strata = units.of.stratum[rows]
    unseen, missing = 0.0, []
    for arm, side in zip(ARMS, (~canary, canary), strict=True):
        for stratum in np.unique(strata[side]):
            cell = side & (strata == stratum)
            share, seen = cell.sum() / max(1, side.sum()), int(known[cell].sum())
            few = seen * settings.most_weight < cell.sum() and cell.sum() >= CELL
            if few and share > settings.unseen:
                unseen = max(unseen, float(share))
                wanted = math.ceil(cell.sum() / settings.most_weight) - seen
                missing.append(f"{wanted} outcomes of the stratum '{stratum}' in {arm} ({share:.1%} of its requests)")
    if not missing:
        return "every stratum", "Something is known of every kind of request.", ""
    says = f"Of kinds of requests that make up to {unseen:.1%} of the traffic hardly anything is known."
    return "every stratum", says, "At least " + "; ".join(missing[:5]) + "."


def _exposure(units: Units, ripe: int, seen: Bools, settings: Settings) -> Check:
    rows, unit = units.rows[units.unit < ripe], units.unit[units.unit < ripe]
    side = units.canary[unit[seen[rows]]]
    least = min(int(side.sum()), int((~side).sum()))
    lasted = float(units.age.max(initial=0.0))
    says = (
        f"{least:,} with a known outcome on the smaller side in {lasted:,.0f} s "
        f"(at least {settings.min_units:,} in {settings.min_seconds:,.0f} s asked for)."
    )
    enough = least >= settings.min_units and lasted >= settings.min_seconds
    return Check(name="exposure", outcome="pass" if enough else "unknown", says=says)


def _check(line: _Line) -> Check:
    outcome: dict[str, Literal["pass", "fail", "unknown"]] = {"harm": "fail", "fine": "pass", "open": "unknown"}
    return Check(name=line.name, outcome=outcome[line.call], says=line.says)


def _delays(outcomes: Outcomes) -> dict[str, float]:
    if outcomes.delay is None or not np.isfinite(outcomes.delay).any():
        return {}
    points = (0.5, 0.9, 0.95, 0.99)
    found = np.quantile(outcomes.delay[np.isfinite(outcomes.delay)], points)
    return {f"p{100 * p:g}": float(value) for p, value in zip(points, found, strict=True)}


def _share(known: Bools) -> float:
    return float(known.mean()) if len(known) else 0.0


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

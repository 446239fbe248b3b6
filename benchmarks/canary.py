"""The canary's gate on simulated traffic: how often it errs when asked after every few rows, and how soon it acts.

10,000 streams each of two equal arms, of a harmful canary, and of one that is worse by just the margin, where both
stopping and promoting would be an error at their levels. Costs have a heavy tail that is cut at the stated limit.
Beside the rows until a stop stands a test of one fixed size with the same power, which may be looked at only once.
Then streams whose outcomes are seen of some requests only: honestly, selectively, or too late. At last two canaries
through the real gateway, in front of recorded giants: the same again, and a worse one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._live_canary import through_gateway
from benchmarks._shared import result, show
from sartor.core.predict import Floats
from sartor.evaluation.exposed import Outcomes
from sartor.evaluation.gates.canary import Settings, judge_canary
from sartor.evaluation.sequential import Bools, contrast, log_wealth
from sartor.evaluation.statistics import wilson

STREAMS = 10_000
JUDGED = 100
"""Streams of each world with missing outcomes, judged whole."""
ROWS = 4_000
EVERY = 10
"""Rows between two looks."""
BATCH = 250
SETTINGS = Settings(limits=(0.0, 2.0), margin=0.03, failures=0.01, latency=0.2, slowest=5.0, min_units=100)
DAY = 86_400.0


@dataclass(frozen=True)
class World:
    """Traffic with a known truth."""

    wrong: tuple[float, float]
    """Share of wrong answers of control and canary."""
    failed: tuple[float, float] = (0.004, 0.004)
    seconds: tuple[float, float] = (0.4, 0.4)
    """Mean times."""
    share: float = 0.2
    """Of the canary."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Many streams at once, each (streams, rows)."""

    canary: Bools
    wrong: Bools
    cost: Floats
    failed: Bools
    seconds: Floats


EQUAL = World((0.1, 0.1))
HARMFUL = World((0.1, 0.25))
MISTAKE = 0.9 * 0.5 + 0.09 * 1.5 + 0.01 * 2.0
"""Mean cost of a mistake, cut at the limit: most cost 0.5, some 1.5, one in a hundred 20."""
BORDER = World((0.1, 0.1 + SETTINGS.margin / MISTAKE))
WORLDS = {"equal arms": EQUAL, "harmful": HARMFUL, "worse by the margin": BORDER}


def run() -> dict[str, Any]:
    """Simulate, judge, count."""
    figures: dict[str, Any] = {name: _many(world, seed) for seed, (name, world) in enumerate(WORLDS.items())}
    figures["harmful"]["fixed"] = _fixed(HARMFUL, figures["harmful"]["stopped"])
    figures["looks"] = {name: _judged(change, world) for name, (change, world) in FEEDBACK.items()}
    figures["gateway"] = through_gateway()
    level = (1.0 - SETTINGS.confidence) / 2.0
    figures["level"] = level
    _print(figures)
    equal, harmful, border = (figures[name] for name in WORLDS)
    looks = figures["looks"]
    goals = {
        "equal arms: false stops at most as stated": equal["stopped_low"] <= level,
        "worse by the margin: stops and promotions at most as stated": border["stopped_low"] <= level
        and border["promoted_low"] <= level,
        "harmful: stopped, hardly ever promoted": harmful["stopped"] >= 0.9 and harmful["promoted_low"] <= level,
        "harmful: half of the stops before 1.5 times the fixed size": harmful["median_rows"] <= 1.5 * harmful["fixed"],
        "partly seen, equal arms: false stops at most as stated": wilson(
            looks["partly seen, equal"].get("stop", 0) * JUDGED, JUDGED, 0.95
        )[0]
        <= level,
        "selective or late: cannot decide": all(
            looks[name].get("cannot_decide", 0.0) >= 0.95 for name in looks if "partly" not in name
        ),
        "through the gateway: the same again is not stopped": figures["gateway"]["again"]["verdict"] != "stop",
        "through the gateway: the worse one is stopped": figures["gateway"]["worse"]["verdict"] == "stop",
    }
    return result("canary", figures, goals)


def simulate(world: World, streams: int, rows: int, seed: int) -> Columns:
    """Streams of randomised requests."""
    random = np.random.default_rng(seed)
    shape = (streams, rows)
    canary = random.random(shape) < world.share

    def by_arm(pair: tuple[float, float]) -> Floats:
        return np.where(canary, pair[1], pair[0])

    wrong = random.random(shape) < by_arm(world.wrong)
    kind = random.random(shape)
    price = np.select([kind < 0.9, kind < 0.99], [0.5, 1.5], 20.0)
    failed = random.random(shape) < by_arm(world.failed)
    return Columns(canary, wrong, wrong * price, failed, random.standard_exponential(shape) * by_arm(world.seconds))


def outcomes_of(columns: Columns, stream: int, world: World) -> Outcomes:
    """One stream as the gate reads it, all outcomes known at once, over a day."""
    canary = columns.canary[stream]
    size = len(canary)
    return Outcomes(
        arm=np.where(canary, "canary", "control"),
        propensity=np.where(canary, world.share, 1.0 - world.share),
        observed=np.ones(size, dtype=bool),
        cost=columns.cost[stream],
        seconds=columns.seconds[stream],
        failed=columns.failed[stream],
        stratum=np.full(size, "all"),
        age=np.linspace(DAY, 0.0, size),
    )


def _many(world: World, seed: int) -> dict[str, Any]:
    """Whole streams at once, by the gate's own arithmetic; some are judged by the gate itself and must agree."""
    stops, promotes = [], []
    for start in range(0, STREAMS, BATCH):
        columns = simulate(world, BATCH, ROWS, seed * STREAMS + start)
        stop, promote = _first(columns, world)
        stops.append(np.where(stop <= promote, stop, ROWS + 1))
        promotes.append(np.where(promote < stop, promote, ROWS + 1))
        if start == 0:
            _agree(columns, world, stop, promote)
    stop, promote = np.concatenate(stops), np.concatenate(promotes)
    stopped, promoted = stop <= ROWS, promote <= ROWS
    low = {name: wilson(float(v.sum()), STREAMS, 0.95) for name, v in (("s", stopped), ("p", promoted))}
    return {
        "stopped": float(stopped.mean()), "stopped_low": low["s"][0], "stopped_high": low["s"][1],
        "promoted": float(promoted.mean()), "promoted_low": low["p"][0], "promoted_high": low["p"][1],
        "median_rows": float(np.median(stop)) if stopped.mean() > 0.5 else None,
        "mean_rows": float(stop[stopped].mean()) if stopped.mean() > 0.5 else None,
        "median_rows_promoted": float(np.median(promote)) if promoted.mean() > 0.5 else None,
    }  # fmt: skip


def _first(columns: Columns, world: World) -> tuple[Floats, Floats]:
    """(streams,) rows after which each was first to be stopped, and promoted; infinite where never."""
    level = (1.0 - SETTINGS.confidence) / 2.0
    metrics = (
        (np.clip(columns.cost, *SETTINGS.limits), SETTINGS.limits, SETTINGS.margin),
        (columns.failed.astype(float), (0.0, 1.0), SETTINGS.failures),
        (np.minimum(columns.seconds, SETTINGS.slowest), (0.0, SETTINGS.slowest), SETTINGS.latency),
    )
    chance, weight = np.full(columns.canary.shape, world.share), np.ones(columns.canary.shape)
    harm, fine = [], []
    for values, limits, margin in metrics:
        found = contrast(columns.canary, chance, values, weight, limits)
        above = log_wealth(found.values - margin, np.maximum(margin - found.low, 1e-9), every=EVERY)
        below = log_wealth(margin - found.values, np.maximum(found.high - margin, 1e-9), every=EVERY)
        harm.append(_reached(above, np.log(len(metrics) / level)))
        fine.append(_reached(below, np.log(1.0 / level)))
    sides = np.minimum(columns.canary.cumsum(axis=1), (~columns.canary).cumsum(axis=1))
    exposed = (sides < SETTINGS.min_units).sum(axis=1) + 1.0
    return np.min(harm, axis=0), np.maximum(np.max(fine, axis=0), exposed)


def _reached(wealth: Floats, wanted: float) -> Floats:
    rich = wealth >= wanted
    return np.where(rich.any(axis=1), (rich.argmax(axis=1) + 1.0) * EVERY, np.inf)


def _agree(columns: Columns, world: World, stop: Floats, promote: Floats) -> None:
    """The gate, asked at the end, must have seen what the streams show; it prefers to stop."""
    for i in range(20):
        said = judge_canary(outcomes_of(columns, i, world), SETTINGS).verdict
        shown = "stop" if np.isfinite(stop[i]) else "promote" if np.isfinite(promote[i]) else "go_on"
        if said != shown:
            raise SystemExit(f"The gate says {said}, the streams say {shown}: one of them is broken.")


def _fixed(world: World, power: float) -> float:
    """Rows of a test looked at once, that shows the same harm at the same level with the same power."""
    from scipy.special import ndtri

    columns = simulate(world, 200, ROWS, 99)
    cost = np.clip(columns.cost, *SETTINGS.limits)
    ours, theirs = cost[columns.canary], cost[~columns.canary]
    level = (1.0 - SETTINGS.confidence) / 2.0 / 3.0
    distance = ours.mean() - theirs.mean() - SETTINGS.margin
    variance = ours.var() / world.share + theirs.var() / (1.0 - world.share)
    return float((ndtri(1.0 - level) + ndtri(min(power, 0.99))) ** 2 * variance / distance**2)


Change = Callable[[Outcomes, Bools, np.random.Generator], Outcomes]
"""(all outcomes, which answers are wrong, chance) -> those that are seen."""


def _judged(change: Change, world: World) -> dict[str, float]:
    """Share of each verdict, of streams whose outcomes are changed first."""
    columns, random = simulate(world, JUDGED, ROWS, 7), np.random.default_rng(8)
    said: dict[str, int] = {}
    for i in range(JUDGED):
        changed = change(outcomes_of(columns, i, world), columns.wrong[i], random)
        verdict = judge_canary(changed, SETTINGS if changed.delay is None else PATIENT).verdict
        said[verdict] = said.get(verdict, 0) + 1
    return {verdict: count / JUDGED for verdict, count in sorted(said.items())}


PATIENT = Settings(**(SETTINGS.__dict__ | {"mature": 3_600.0}))


def _partly(whole: Outcomes, wrong: Bools, random: np.random.Generator) -> Outcomes:
    """Wrong answers are less sure of themselves, and unsure ones are looked at more often: seen at 80 and 30 %."""
    unsure = random.random(len(whole)) < np.where(wrong, 0.6, 0.2)
    seen = random.random(len(whole)) < np.where(unsure, 0.8, 0.3)
    return _with(whole, observed=seen, stratum=np.where(unsure, "unsure", "sure"))


def _one_side(whole: Outcomes, _wrong: Bools, random: np.random.Generator) -> Outcomes:
    """The canary's answers are looked at twice as often."""
    return _with(whole, observed=random.random(len(whole)) < np.where(whole.arm == "canary", 0.6, 0.3))


def _never(whole: Outcomes, _wrong: Bools, random: np.random.Generator) -> Outcomes:
    """Nobody ever tells how a third of the answers fared."""
    sure = random.random(len(whole)) < 1.0 / 3.0
    return _with(whole, observed=~sure, stratum=np.where(sure, "sure", "unsure"))


def _late(whole: Outcomes, _wrong: Bools, random: np.random.Generator) -> Outcomes:
    """Half of the outcomes take more than four hours, and one is waited for."""
    delay = random.exponential(6 * 3_600.0, len(whole))
    seen = delay < whole.age
    return _with(whole, observed=seen, delay=np.where(seen, delay, np.nan))


def _with(whole: Outcomes, **changes: Any) -> Outcomes:
    return Outcomes(**(whole.__dict__ | changes))


FEEDBACK: dict[str, tuple[Change, World]] = {
    "partly seen, equal": (_partly, EQUAL),
    "partly seen, harmful": (_partly, HARMFUL),
    "one side looked at more": (_one_side, EQUAL),
    "a stratum never seen": (_never, EQUAL),
    "outcomes too late": (_late, EQUAL),
}


def _print(figures: dict[str, Any]) -> None:
    def share(found: dict[str, Any], name: str) -> str:
        return f"{found[name]:.2%} ({found[name + '_low']:.2%} to {found[name + '_high']:.2%})"

    rows = [
        (name, share(found, "stopped"), share(found, "promoted"), found["median_rows"] or "", found["mean_rows"] or "")
        for name, found in figures.items()
        if name in WORLDS
    ]
    title = (
        f"{STREAMS:,} streams of {ROWS:,} rows, looked at every {EVERY}; {figures['level']:.1%} to stop and to promote"
    )
    show(title, ["", "stopped#", "promoted#", "median rows to stop#", "mean#"], rows)
    show("Harmful: rows of a fixed-size test of the same power", ["rows#"], [(figures["harmful"]["fixed"],)])
    calls = ("stop", "promote", "go_on", "cannot_decide")
    looks = [(name, *(f"{found.get(call, 0.0):.1%}" for call in calls)) for name, found in figures["looks"].items()]
    show(f"{JUDGED} streams whose outcomes are seen in part", ["", *(f"{call}#" for call in calls)], looks)
    live = [(name, found["verdict"], found["requests"], found["says"][0]) for name, found in figures["gateway"].items()]
    show("Through the gateway", ["canary", "verdict", "requests#", "says"], live)

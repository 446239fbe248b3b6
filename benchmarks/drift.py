"""Drift: 1,000 streams of 5,000 requests without any on each of three data sets, and four changes, beside river.

Streams are drawn from rows that the variant never saw, so that without drift they and the reference are the same in
law. A change comes after 2,500 requests: ten new intents are a tenth of the traffic (CLINC150), shares of intents
change at random (BANKING77), words change (ICD-10-CM: official descriptions give way to the terms that clinicians use,
at once, or for a quarter of the traffic). Power is the share of streams in which the change is found before the end,
and the median of requests until then; an alarm before the change is a false one. Rivals are tuned on 300 other
streams to the same rate of false alarms, and of their settings the one that finds each change most often, then
soonest, is shown.
"""

from typing import Any

import numpy as np

from benchmarks._drift_pools import World, worlds
from benchmarks._drift_rivals import CHANCES, DELTAS, adwin, checked, crossed, page_hinkley, signals
from benchmarks._drift_streams import CHANGE, FALSE_ALARM, NEVER, Streams, agrees, alarms, draw
from benchmarks._shared import result, show
from sartor.core.predict import Floats
from sartor.evaluation.statistics import wilson
from sartor.feedback.prior import errors_of, fit, reweigh

STREAMS, BATCH = 1000, 100
CHANGED, SEEDS = 100, (0, 1, 2)
"""Streams with a change, of each seed."""
TUNING = 300
CHANGES: dict[str, tuple[str, dict[str, float]]] = {
    "new intents, a tenth of the traffic": ("CLINC150", {"share": 0.1}),
    "prior shift (log-normal, 1.0)": ("BANKING77", {"spread": 1.0}),
    "prior shift (log-normal, 0.5)": ("BANKING77", {"spread": 0.5}),
    "changed wording, all": ("ICD-10-CM", {"share": 1.0}),
    "changed wording, a quarter": ("ICD-10-CM", {"share": 0.25}),
}


def run() -> dict[str, Any]:
    """Simulate, watch, count; then the rivals."""
    known = {world.name: world for world in worlds()}
    figures: dict[str, Any] = {"without": {name: _without(world) for name, world in known.items()}}
    tuned = {name: _tuned(world) for name, world in known.items()}
    figures["rivals"] = {name: rivals["settings"] for name, rivals in tuned.items()}
    figures["changes"] = {name: _changed(known[where], how, tuned[where]) for name, (where, how) in CHANGES.items()}
    figures["prior shift made up for"] = {
        f"log-normal, {spread}": mended(known["BANKING77"], spread) for spread in (1.0, 0.5)
    }
    one = draw(known["BANKING77"], 20, 5, spread=1.0)
    figures["agrees with the product's call"] = agrees(one, ("answers", "labels"))
    _print(figures)
    goals = {
        "without drift: at most 1 % of 1,000 streams raise an alarm, on each data set": all(
            found["alarms"] <= FALSE_ALARM for found in figures["without"].values()
        ),
        "every change found in at least 90 % of the streams": all(
            found["ours"]["found"] >= 0.9 for found in figures["changes"].values()
        ),
        "found as often as river's detectors at the same rate, or sooner": all(
            _as_good(found["ours"], found[rival])
            for found in figures["changes"].values()
            for rival in ("ADWIN", "Page-Hinkley")
        ),
        "Page-Hinkley as computed here is river's": all(r["same_as_river"] for r in figures["rivals"].values()),
        "the streams say what the product's call says": figures["agrees with the product's call"] >= 0.9,
    }
    return result("drift", figures, goals)


def _without(world: World) -> dict[str, Any]:
    hits, parts = list[Floats](), dict[str, int]()
    for start in range(0, STREAMS, BATCH):
        first, each = alarms(draw(world, BATCH, 10_000 + start))
        hits.append(first)
        for name, found in each.items():
            parts[name] = parts.get(name, 0) + int(np.isfinite(found).sum())
    count = int(np.isfinite(np.concatenate(hits)).sum())
    low, high = wilson(count, STREAMS, 0.95)
    return {"streams": STREAMS, "alarms": count / STREAMS, "low": low, "high": high, "by what is watched": parts}


def _tuned(world: World) -> dict[str, Any]:
    """The most sensitive settings that cry wolf in no more than one of a hundred streams."""
    seen = signals(draw(world, TUNING, 77))
    allowed = int(FALSE_ALARM * TUNING)
    chance = next((c for c in CHANCES if np.isfinite(adwin(seen, c)).sum() <= allowed), CHANCES[-1])
    thresholds = {}
    for delta in DELTAS:
        worst = np.max([statistic.max(axis=1) for statistic in page_hinkley(seen, delta)], axis=0)
        thresholds[delta] = float(np.sort(worst)[-allowed - 1])
    few = signals(draw(world, 5, 78, share=0.5, spread=1.0))
    same = checked(few, DELTAS[1], thresholds[DELTAS[1]])
    settings = {"adwin_delta": chance, "page_hinkley_thresholds": thresholds, "same_as_river": same}
    return {"chance": chance, "thresholds": thresholds, "settings": settings}


def _changed(world: World, how: dict[str, float], tuned: dict[str, Any]) -> dict[str, Any]:
    drawn = [draw(world, CHANGED, seed, **how) for seed in SEEDS]
    ours = [alarms(streams) for streams in drawn]
    parts = {name: _power(np.concatenate([each[name] for _, each in ours])) for name in ours[0][1]}
    seen = [signals(streams) for streams in drawn]
    theirs = [adwin(one, tuned["chance"]) for one in seen]
    statistics = {delta: [page_hinkley(one, delta) for one in seen] for delta in DELTAS}
    tries = [
        [crossed(found, one, tuned["thresholds"][delta]) for found, one in zip(each, seen, strict=True)]
        for delta, each in statistics.items()
    ]
    best = max(tries, key=lambda hits: _rank(_power(np.concatenate(hits))))
    return {
        "ours": _power(np.concatenate([first for first, _ in ours])) | _spread([first for first, _ in ours]),
        "ADWIN": _power(np.concatenate(theirs)) | _spread(theirs),
        "Page-Hinkley": _power(np.concatenate(best)) | _spread(best),
        "by what is watched": parts,
    }


def mended(world: World, spread: float) -> dict[str, Any]:
    """What reweighing by shares told from the first 500 answers after the change brings on the 2,000 after them."""
    pool, gains, plain = world.before, list[float](), list[float]()
    streams = draw(world, CHANGED, 3, spread=spread)
    for one, reference in zip(streams.rows, streams.reference, strict=True):
        labels = len(pool.labels)
        errors = errors_of(pool.truth[reference], pool.answer[reference], labels)
        seen, rest = one[CHANGE : CHANGE + 500], one[CHANGE + 500 :]
        before = pool.usual / pool.usual.sum()
        now = fit(errors, np.bincount(pool.answer[seen], minlength=labels).astype(float), before)
        moved = reweigh(pool.probabilities[rest], before, now).argmax(axis=1)
        plain.append(float((pool.answer[rest] == pool.truth[rest]).mean()))
        gains.append(float((moved == pool.truth[rest]).mean()) - plain[-1])
    found = np.array(gains)
    return {
        "accuracy before": float(np.mean(plain)),
        "gain": float(found.mean()),
        "5 % to 95 %": [float(q) for q in np.quantile(found, [0.05, 0.95])],
    }


def _power(hits: Floats) -> dict[str, Any]:
    found = hits[(hits > CHANGE) & (hits < NEVER)] - CHANGE
    return {
        "found": len(found) / len(hits),
        "too early": float((hits <= CHANGE).mean()),
        "median delay": float(np.median(found)) if len(found) else None,
        "90 % within": float(np.quantile(found, 0.9)) if len(found) else None,
    }


def _spread(hits: list[Floats]) -> dict[str, Any]:
    """Median delays of the seeds."""
    return {"median delay by seed": [_power(one)["median delay"] for one in hits]}


def _rank(power: dict[str, Any]) -> tuple[float, float]:
    return round(power["found"], 2), -(power["median delay"] or np.inf)


def _as_good(ours: dict[str, Any], rival: dict[str, Any]) -> bool:
    more = ours["found"] >= rival["found"] - 0.01
    sooner = rival["median delay"] is None or (ours["median delay"] or np.inf) <= rival["median delay"]
    return more and (sooner or ours["found"] > rival["found"] + 0.05)


def _print(figures: dict[str, Any]) -> None:
    show(
        "Without drift: share of streams with an alarm",
        ["data set", "share#", "95 % low#", "high#", "by what is watched"],
        [(n, f["alarms"], f["low"], f["high"], str(f["by what is watched"])) for n, f in figures["without"].items()],
    )
    for part in ("found", "median delay"):
        show(
            f"Changes: {part}",
            ["change", "ours#", "ADWIN#", "Page-Hinkley#", "ours, by what is watched"],
            [
                (
                    name,
                    *(_cell(found[who][part]) for who in ("ours", "ADWIN", "Page-Hinkley")),
                    ", ".join(f"{k} {_cell(v[part])}" for k, v in found["by what is watched"].items()),
                )
                for name, found in figures["changes"].items()
            ],
        )


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value <= 1 else f"{value:,.0f}"


__all__ = ["Streams", "run"]

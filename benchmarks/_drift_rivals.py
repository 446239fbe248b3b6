"""Detectors of the package river on the same streams, tuned to the same rate of false alarms.

Each watches the same numbers (confidence, distance to what was learnt, rarity of letters, out-of-scope score,
strangeness, number of the answered label, and the errors that are told) and cries out when any of them does.
Page-Hinkley's statistic is computed here for many streams at once; `checked` holds it against river's own class.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks._drift_streams import NEVER, REQUESTS, Streams
from sartor.core.predict import Floats

DELTAS = (0.005, 0.05, 0.15, 0.3)
"""Of Page-Hinkley: shifts in standard deviations that do not count."""
CHANCES = (3e-2, 1e-2, 2e-3, 5e-4, 1e-4, 2e-5, 4e-6, 1e-6)
"""Of ADWIN."""
FORGET = 0.9999
FIRST = 30


@dataclass(frozen=True, eq=False)
class Signals:
    """Numbers over time: (signals) of (streams, values), and the request that each value belongs to."""

    values: list[Floats]
    when: list[Floats]


def signals(streams: Streams) -> Signals:
    """What rivals see."""
    every = np.broadcast_to(np.arange(1, REQUESTS + 1), streams.rows.shape)
    values = [np.clip(streams.sizes(name), -5, 5) for name in streams.world.before.sizes]
    labels = len(streams.world.before.labels)
    values.append((streams.codes(("answers", "labels")) - labels / 2) / (labels / 3.5))
    wrong = streams.world.before.wrong
    values.append((streams.wrong() - wrong.mean()) / wrong.std())
    return Signals(values, [every] * (len(values) - 1) + [streams.told + 1])


def adwin(seen: Signals, chance: float) -> Floats:
    """(streams,) request of the first alarm."""
    from river.drift import ADWIN

    found = np.full(len(seen.values[0]), NEVER)
    for values, when in zip(seen.values, seen.when, strict=True):
        for one, column in enumerate(values.tolist()):
            detector = ADWIN(delta=chance)
            for place, value in enumerate(column):
                detector.update(value)
                if detector.drift_detected:
                    found[one] = min(found[one], when[one, place])
                    break
    return found


def page_hinkley(seen: Signals, delta: float) -> list[Floats]:
    """(streams, values) the statistic of each signal; an alarm is where it exceeds a threshold."""
    return [_statistic(values, delta) for values in seen.values]


def _statistic(values: Floats, delta: float) -> Floats:
    streams, size = values.shape
    mean, up, down = np.zeros(streams), np.zeros(streams), np.zeros(streams)
    least, most = np.full(streams, np.inf), np.full(streams, -1.0)
    found = np.zeros((streams, size))
    for place in range(size):
        value = values[:, place]
        mean += (value - mean) / (place + 1)
        up = FORGET * up + (value - mean) - delta
        down = FORGET * down + (value - mean) + delta
        least, most = np.minimum(least, up), np.maximum(most, down)
        if place + 1 >= FIRST:
            found[:, place] = np.maximum(up - least, most - down)
    return found


def crossed(statistics: list[Floats], seen: Signals, threshold: float) -> Floats:
    """(streams,) request of the first alarm."""
    found = np.full(len(statistics[0]), NEVER)
    for statistic, when in zip(statistics, seen.when, strict=True):
        over = statistic > threshold
        at = np.take_along_axis(when, over.argmax(axis=1)[:, None], axis=1)[:, 0]
        found = np.minimum(found, np.where(over.any(axis=1), at, NEVER))
    return found


def checked(seen: Signals, delta: float, threshold: float, streams: int = 5) -> bool:
    """Whether river's own Page-Hinkley cries out where the statistic here does."""
    from river.drift import PageHinkley

    statistics = page_hinkley(seen, delta)
    for values, statistic in zip(seen.values, statistics, strict=True):
        for one in range(min(streams, len(values))):
            detector = PageHinkley(delta=delta, threshold=threshold)
            theirs = -1
            for place, value in enumerate(values[one].tolist()):
                detector.update(value)
                if detector.drift_detected:
                    theirs = place
                    break
            over = np.flatnonzero(statistic[one] > threshold)
            if theirs != (int(over[0]) if len(over) else -1):
                return False
    return True

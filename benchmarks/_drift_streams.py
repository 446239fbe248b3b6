"""Streams of requests with a known change or none, and when the watch first cries out in each.

The arithmetic is the product's (`feedback.betting`), over many streams at once; `agrees` holds it against
`feedback.drift.look`, which the product calls, stream by stream.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks._drift_pools import Pool, World
from sartor.core.predict import Floats
from sartor.feedback.betting import BLOCK, Ints, log_wealth, places
from sartor.feedback.drift import Series, look, shares
from sartor.pipeline.drift_views import STRANGENESS, STRONG

REQUESTS, CHANGE = 5000, 2500
REFERENCE = 600
"""Validation rows."""
TOLD = 1000
"""Requests of which somebody says whether the answer was right, a fifth of all."""
WINDOW = 250
FALSE_ALARM = 0.01
NEVER = np.inf
Key = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Streams:
    """Many streams: which request of which pool each one is."""

    world: World
    rows: Ints
    """(streams, requests) of the pool before."""
    other: Ints
    """(streams, requests) of the pool after; -1 where it is one of before."""
    reference: Ints
    """(streams, REFERENCE) of the pool before."""
    told: Ints
    """(streams, TOLD) places, ascending."""
    price: Ints
    """(labels + 1,) what an error costs, by the right answer; the last for unknown ones."""
    seed: int

    def codes(self, key: Key) -> Ints:
        """(streams, requests) of a view."""
        return self._of(lambda pool: pool.views[key])

    def sizes(self, name: str) -> Floats:
        """(streams, requests) of a number, in standard deviations of the pool before."""
        column = self.world.before.sizes[name]
        return self._of(lambda pool: (pool.sizes[name] - column.mean()) / column.std())

    def wrong(self) -> Floats:
        """(streams, TOLD) errors that were told."""
        return np.take_along_axis(self._of(lambda pool: pool.wrong), self.told, axis=1)

    def lost(self) -> Ints:
        """(streams, TOLD) money that they cost."""
        lost = self._of(lambda pool: pool.wrong * self.price[pool.truth])
        return np.take_along_axis(lost, self.told, axis=1).astype(np.int64)

    def _of(self, column: Callable[[Pool], Ints | Floats]) -> Ints | Floats:
        found = column(self.world.before)[self.rows]
        if self.world.after is not None and (self.other >= 0).any():
            found = np.where(self.other >= 0, column(self.world.after)[self.other], found)
        return found


def draw(world: World, streams: int, seed: int, *, share: float = 0.0, spread: float = 0.0) -> Streams:
    """Draw streams; the change comes after `CHANGE` requests.

    Args:
        share: of the later requests that are of the pool after.
        spread: standard deviation of the logarithm by which each label's share changes, anew in each stream.
    """
    random, size = np.random.default_rng(seed), len(world.before)
    rows = random.integers(0, size, size=(streams, REQUESTS))
    if spread:
        label = world.before.truth
        for one in rows:
            odds = np.exp(random.normal(0.0, spread, size=len(world.before.labels)))[label]
            one[CHANGE:] = random.choice(size, size=REQUESTS - CHANGE, p=odds / odds.sum())
    other = np.full(rows.shape, -1)
    if share and world.after is not None:
        hit = random.random((streams, REQUESTS - CHANGE)) < share
        other[:, CHANGE:] = np.where(hit, random.integers(0, len(world.after), size=hit.shape), -1)
    told = np.sort(np.argsort(random.random(rows.shape), axis=1)[:, :TOLD], axis=1)
    price = np.random.default_rng(0).choice([1, 2, 10], size=len(world.before.labels) + 1, p=[0.6, 0.3, 0.1])
    return Streams(world, rows, other, random.integers(0, size, size=(streams, REFERENCE)), told, price, seed)


def keys(world: World) -> list[Key]:
    """Everything that is watched."""
    return [*world.before.views, ("feedback", "share of right answers"), ("value", "money lost")]


def alarms(streams: Streams) -> tuple[Floats, dict[str, Floats]]:
    """(streams,) request at which each first raised an alarm, and the same by what is watched; `NEVER` where not."""
    names = keys(streams.world)
    hits: dict[str, Floats] = {}
    for number, (key, share) in enumerate(zip(names, _shares(names), strict=True)):
        found = _first(streams, key, FALSE_ALARM * share, number)
        hits[key[0]] = np.minimum(hits.get(key[0], np.full(len(found), NEVER)), found)
    return np.min(list(hits.values()), axis=0), hits


def _shares(names: list[Key]) -> list[float]:
    none = np.zeros(0)
    weights = [STRONG if view == STRANGENESS else 1 for _, view in names]
    made = [Series(*key, none, none, (), none, weight=weight) for key, weight in zip(names, weights, strict=True)]
    return shares(made)


def _first(streams: Streams, key: Key, level: float, number: int) -> Floats:
    """When a series first refutes "nothing has changed" at its level."""
    random = np.random.default_rng((streams.seed, number))
    if key[0] in ("feedback", "value"):
        told = streams.wrong().astype(np.int64) if key[0] == "feedback" else streams.lost()
        reference, stream = told[:, :WINDOW], told[:, WINDOW:]
        when = streams.told[:, WINDOW:] + 1
    else:
        reference, stream = streams.world.before.views[key][streams.reference], streams.codes(key)
        when = np.broadcast_to(np.arange(1, REQUESTS + 1), stream.shape)
    wealth = log_wealth(
        places(stream, reference, random.random(stream.shape)),
        streams.world.before.usual if key[0] == "answers" else None,
    )
    rich = wealth >= -np.log(level)
    at = np.minimum((rich.argmax(axis=1) + 1) * BLOCK, stream.shape[1]) - 1
    return np.where(rich.any(axis=1), np.take_along_axis(when, at[:, None], axis=1)[:, 0], NEVER)


def agrees(streams: Streams, key: Key, tolerance: int = 4 * BLOCK) -> float:
    """Share of streams in which the product's own call says the same of one series; only ties are drawn otherwise."""
    level = FALSE_ALARM
    random = np.random.default_rng((streams.seed, 0))
    codes, reference = streams.codes(key), streams.world.before.views[key][streams.reference]
    wealth = log_wealth(
        places(codes, reference, random.random(codes.shape)),
        streams.world.before.usual if key[0] == "answers" else None,
    )
    same = 0
    for one in range(len(codes)):
        ids = [f"{streams.seed}-{one}-{i}" for i in range(REQUESTS)]
        names = streams.world.before.labels if key[0] == "answers" else ()
        made = Series(
            *key,
            reference[one].astype(float),
            codes[one].astype(float),
            ids,
            np.arange(REQUESTS),
            names=names,
            usual=streams.world.before.usual,
        )
        told = look([made], level, WINDOW)[0].alarms
        rich = np.flatnonzero(wealth[one] >= -np.log(level))
        mine, theirs = (int(rich[0]) + 1) * BLOCK if len(rich) else None, told[0].requests if told else None
        same += mine == theirs or (mine is not None and theirs is not None and abs(mine - theirs) <= tolerance)
    return same / len(codes)

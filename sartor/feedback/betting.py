"""Bets against "nothing has changed": wealth that a stream without drift hardly ever brings, whenever one looks.

Each value is placed among all values before it: without drift its place is uniform and independent of all earlier
places, exactly, whatever the values are (conformal p-values with ties broken at random; Vovk, Gammerman and Shafer
2005, chapter 7). Many bettors with fixed odds, and some that learn, bet on where the next place will be; each begins
anew at every block with a small share of its money, so that a change late in the stream is bet on from its start
(Shin, Ramdas and Rinaldo 2022, "E-detectors", here with spent shares instead of restarts, which bounds the chance of
ever crying wolf: Ville 1939). Pure arithmetic over many streams at once. Knows neither traffic nor texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats

Ints = npt.NDArray[np.integer]
BINS = 64
"""Places that are told apart."""
BLOCK = 25
"""Values after which wealth is looked at, and bettors begin anew."""
BEGIN, SLOWNESS = 40.0, 0.5
"""Of the shares with which bettors begin: (BEGIN / (BEGIN + block)) ** SLOWNESS of the money is still unspent."""
LEARNERS = ((8, 4.0, 80.0), (8, 16.0, 80.0), (16, 8.0, 80.0), (16, 32.0, 80.0))
"""Bettors that learn: bins, blocks until half is forgotten, and values without drift that they start from."""
LEARNERS_OF_KINDS = ((4.0, 80.0), (16.0, 80.0), (16.0, 300.0), (64.0, 300.0))
"""The same for labels, each a bin of its own."""
POOR = 0.5
"""Logarithm of a wealth that has not risen yet."""
LEARNT = 0.5
"""Share of the money that the learners hold."""


def places(codes: Ints, reference: Ints, ties: Floats) -> Floats:
    """Where each value stands among the reference, the values before it, and itself: between 0 and 1.

    Args:
        codes: (streams, n) values as whole numbers from 0, of which only the order counts.
        reference: (streams, m) or (m,) what came before the stream; m may be 0.
        ties: (streams, n) draws from [0, 1), which nothing else depends on.

    Returns:
        (streams, n) of [0, 1]; independent and uniform where reference and stream are exchangeable.
    """
    streams, size = codes.shape
    levels = int(max(codes.max(initial=0), reference.max(initial=0))) + 1
    bag = np.zeros((streams, levels), dtype=np.int32)
    _add(bag, np.broadcast_to(reference, (streams, reference.shape[-1])))
    known, found = reference.shape[-1], np.empty((streams, size))
    for start in range(0, size, BLOCK):
        block = codes[:, start : start + BLOCK]
        width = block.shape[1]
        upto = np.cumsum(bag, axis=1)
        equal = np.take_along_axis(bag, block, axis=1).astype(np.float64)
        less = np.take_along_axis(upto, block, axis=1) - equal
        before = np.tri(width, k=-1, dtype=bool)
        less += ((block[:, None, :] < block[:, :, None]) & before).sum(axis=2)
        equal += ((block[:, None, :] == block[:, :, None]) & before).sum(axis=2) + 1.0
        count = known + start + np.arange(1, width + 1)
        found[:, start : start + BLOCK] = (less + ties[:, start : start + BLOCK] * equal) / count
        _add(bag, block)
    return found


def _add(bag: npt.NDArray[np.int32], block: Ints) -> None:
    streams, levels = bag.shape
    flat = (block + np.arange(streams)[:, None] * levels).ravel()
    bag += np.bincount(flat, minlength=streams * levels).reshape(streams, levels).astype(np.int32)


def log_wealth(found: Floats, usual: Floats | None = None) -> Floats:
    """Logarithm of the wealth after each whole block, from 1 at the start.

    Where the places are independent and uniform, wealth ever reaches 1 / level with chance `level` at most.

    Args:
        found: (streams, n) from `places`.
        usual: the values are labels, and these their shares, all above 0, as they are known beforehand from other
            rows: how well they fit bears on power alone. None: the values are sizes.

    Returns:
        (streams, n // BLOCK).
    """
    streams, blocks = len(found), found.shape[1] // BLOCK
    widths = np.full(BINS, 1.0 / BINS) if usual is None else usual / usual.sum()
    counts = _block_counts(found, widths)
    odds = _odds_on_sizes() if usual is None else _fair(list(_on_kinds(len(widths))), widths)
    learners = [_Learner(group, half, start, widths, streams) for group, half, start in _learners(usual)]
    held, learnt = np.full((streams, len(odds)), -np.inf), np.full((streams, len(learners)), -np.inf)
    wealth = np.empty((streams, blocks))
    weight_fixed, weight_learnt = np.log((1.0 - LEARNT) / len(odds)), np.log(LEARNT / len(learners))
    for number in range(blocks):
        begun, unspent = _share(number)
        block = counts[:, number]
        held = np.logaddexp(held, np.log(begun)) + block @ odds.T
        won = np.stack([learner.bet(block) for learner in learners], axis=1)
        learnt = np.logaddexp(learnt, np.log(begun)) + won
        parts = np.concatenate([held + weight_fixed, learnt + weight_learnt], axis=1)
        top = np.maximum(parts.max(axis=1), 0.0)
        wealth[:, number] = top + np.log(np.exp(parts - top[:, None]).sum(axis=1) + unspent * np.exp(-top))
    return wealth


def _block_counts(found: Floats, widths: Floats) -> Floats:
    """(streams, blocks, bins) how many places of each whole block fall into each bin."""
    streams, blocks, bins = len(found), found.shape[1] // BLOCK, len(widths)
    edges = np.cumsum(widths)[:-1]
    place = np.searchsorted(edges, found[:, : blocks * BLOCK], side="right").reshape(streams * blocks, BLOCK)
    flat = (place + np.arange(streams * blocks)[:, None] * bins).ravel()
    counts = np.bincount(flat, minlength=streams * blocks * bins)
    return counts.reshape(streams, blocks, bins).astype(np.float64)


def _learners(usual: Floats | None) -> list[tuple[int, float, float]]:
    """(bins taken together, half-life in blocks, start) of each that learns."""
    if usual is None:
        return [(BINS // coarse, half, start) for coarse, half, start in LEARNERS]
    return [(1, half, start) for half, start in LEARNERS_OF_KINDS]


class _Learner:
    """Bets that places go on as they were lately."""

    def __init__(self, together: int, half: float, start: float, widths: Floats, streams: int) -> None:
        self._keep, self._start = 0.5 ** (1.0 / half), start
        self._begins = np.arange(0, len(widths), together)
        self._widths = np.add.reduceat(widths, self._begins)
        self._seen = np.zeros((streams, len(self._begins)))

    def bet(self, block: Floats) -> Floats:
        """Logarithm of what a block of (streams, bins) wins; learns from it afterwards."""
        coarse = np.add.reduceat(block, self._begins, axis=1)
        odds = (self._seen / self._widths + self._start) / (self._seen.sum(axis=1, keepdims=True) + self._start)
        won: Floats = (coarse * np.log(odds)).sum(axis=1)
        self._seen = self._seen * self._keep + coarse
        return won


def _share(number: int) -> tuple[float, float]:
    """Of the money: begun with at this block, and unspent after it."""
    left = [(BEGIN / (BEGIN + at)) ** SLOWNESS for at in (number, number + 1)]
    return left[0] - left[1], left[1]


def _fair(rows: list[Floats], widths: Floats) -> Floats:
    """(bettors, bins) logarithms of odds that are fair: they win 1 on average."""
    table = np.array(rows)
    odds: Floats = np.log(table / (table @ widths)[:, None])
    return odds


@lru_cache
def _odds_on_sizes() -> Floats:
    return _fair(list(_on_sizes()), np.full(BINS, 1.0 / BINS))


def _on_sizes() -> Iterator[Floats]:
    """Values have become larger, smaller, more extreme, less so; all of them, or some."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2.0
    for power in (1.25, 1.5, 2.0, 3.0, 5.0):
        rising = np.diff(edges**power)
        yield from (rising, rising[::-1])
    for power in (0.8, 0.6):
        rising = np.diff(edges**power)
        yield from (rising, rising[::-1])
    for width, much in ((1, 2.5), (1, 6.0), (4, 1.8), (4, 4.0), (8, 1.5), (8, 2.5), (16, 1.3), (16, 2.0)):
        tail = np.where(np.arange(BINS) >= BINS - width, much, 1.0)
        yield from (tail, tail[::-1])
    for depth in (0.3, 0.6, -0.3, -0.6):
        yield 1.0 + depth * np.cos(2.0 * np.pi * middle)


def _on_kinds(labels: int) -> Iterator[Floats]:
    """A label, or some beside each other, has become more frequent."""
    place = np.arange(labels)
    for width in (1, 4, 16):
        for start in range(0, labels, width):
            for much in (3.0, 10.0) if width == 1 else (1.5, 3.0):
                yield np.where((place >= start) & (place < start + width), much, 1.0)


@dataclass(frozen=True)
class Found:
    """The first time that wealth sufficed."""

    at: int
    """Values of the stream that had been seen."""
    log_wealth: float
    begun: int
    """About where the change began: the block in which wealth rose for good."""


def first(wealth: Floats, level: float) -> Found | None:
    """When (blocks,) wealth first refuted "nothing has changed" at a level; None where it has not."""
    over = np.flatnonzero(wealth >= -np.log(level))
    if not len(over):
        return None
    at = int(over[0])
    poor = np.flatnonzero(wealth[:at] < POOR)
    begun = int(poor[-1]) + 1 if len(poor) else 0
    return Found((at + 1) * BLOCK, float(wealth[at]), begun * BLOCK)

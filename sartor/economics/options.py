"""What each way of answering would cost a month, when it pays back, and from which volume on: with what is not known.

A way of answering is a share of what the giant costs, plus money for a request of its own, plus machines, plus what
making it costs once. Every draw of the traffic is paired with a draw of what is uncertain about the way. Says nothing
about how good the answers are: an inspection does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.economics.figure import z_of
from sartor.economics.trend import Paths

MONTH = 30
"""Days."""
SPREAD_MONTHS = 12
"""Months over which the cost of making is spread where a monthly figure must hold it."""
CLIFF = np.logspace(-2, 2, 41)
"""Multiples of today's volume at which a cost-cliff chart is reckoned."""


@dataclass(frozen=True)
class Range:
    """A figure that is not known for sure: 90 times of 100 it lies between `low` and `high`."""

    low: float
    mid: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> "Range":
        """A figure that is known."""
        return cls(value, value, value)

    def draw(self, random: np.random.Generator, draws: int) -> Floats:
        """(draws,) normal on each side of the middle, never below 0."""
        sides = random.normal(size=draws) / z_of(0.9)
        wide = np.where(sides < 0, self.mid - self.low, self.high - self.mid)
        drawn: Floats = np.maximum(self.mid + sides * wide, 0.0)
        return drawn


ALL, NOTHING = Range.exactly(1.0), Range.exactly(0.0)


@dataclass(frozen=True, eq=False)
class Option:
    """One way of answering."""

    name: str
    says: str
    """What it is and where its figures are from."""
    hosted: Sequence[float] = ()
    """Route -> what asking a hosted model costs as a share of what the giant costs; empty: none is asked."""
    asked: Range = ALL
    """Share of the requests that the hosted model is asked of."""
    each: Range = NOTHING
    """Money of our own for a request."""
    making: Range = NOTHING
    """Money spent once, before the first answer."""
    machine: float = 0.0
    """Money a month for one machine."""
    capacity: float = 0.0
    """Requests a month that one machine can answer; 0: no machine is counted."""


@dataclass(frozen=True)
class Money:
    """An amount with its interval."""

    value: float
    low: float
    high: float

    def body(self) -> dict[str, float]:
        """As JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Outlook:
    """What one way of answering comes to."""

    option: Option
    month: Money
    """Of the first month, without making."""
    total: Money
    """Over all days, making included."""
    made_for: Money
    cumulated: tuple[tuple[float, float, float], ...]
    """Money up to the end of each day, without making: value, low, high."""
    pays_back: "PayBack"
    cliff: tuple[float, ...]
    """Money a month at each multiple of today's volume (`CLIFF`), making spread over a year."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "option": self.option.name,
            "says": self.option.says,
            "month": self.month.body(),
            "total": self.total.body(),
            "making": self.made_for.body(),
            "pays_back": self.pays_back.body(),
        }


@dataclass(frozen=True)
class PayBack:
    """When money spent on making is won back against the giant. Days count from 1; None: not within the forecast."""

    day: int | None
    early: int | None
    late: int | None
    requests: int | None
    """How many requests that takes."""
    chance: float
    """Share of the draws in which it is won back within the forecast."""
    from_volume: float | None
    """Requests a month from which on it is cheaper than the giant, making spread over a year."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "day": self.day,
            "early": self.early,
            "late": self.late,
            "requests": self.requests,
            "chance": self.chance,
            "from_requests_a_month": self.from_volume,
        }


def outlook(paths: Paths, options: Sequence[Option], *, confidence: float = 0.9, seed: int = 0) -> list[Outlook]:
    """What each way comes to, in the order given.

    Args:
        paths: requests, and what the giant charges for one.
        options: the first is what the others must pay back against.
    """
    random = np.random.default_rng(seed)
    first = _Costs(paths, options[0], random)
    found = []
    for option in options:
        costs = first if option is options[0] else _Costs(paths, option, random)
        month = slice(0, MONTH)
        found.append(
            Outlook(
                option,
                _money(costs.point[month].sum(), costs.drawn[:, month].sum(axis=1), confidence),
                _money(costs.point.sum() + option.making.mid, costs.drawn.sum(axis=1) + costs.making, confidence),
                _money(option.making.mid, costs.making, confidence),
                _cumulated(costs, confidence),
                _pay_back(paths, first, costs, confidence),
                tuple(float(v) for v in costs.cliff(CLIFF)),
            )
        )
    return found


class _Costs:
    """Daily money of one way: the middle course and the draws."""

    def __init__(self, paths: Paths, option: Option, random: np.random.Generator) -> None:
        draws = len(paths.requests)
        shares = np.array(option.hosted or [0.0] * paths.requests.shape[2])
        asked = np.minimum(option.asked.draw(random, draws), 1.0)
        each = option.each.draw(random, draws)
        self.making = option.making.draw(random, draws)
        self.option = option
        self.volume = float(paths.point_requests[:MONTH].sum()) * MONTH / min(len(paths.point_requests), MONTH)
        hosted = (paths.requests * paths.each * shares).sum(axis=2) * asked[:, None]
        requests = paths.requests.sum(axis=2)
        self.drawn: Floats = hosted + requests * each[:, None] + self._machines(requests)
        point = paths.point_requests.sum(axis=1)
        answering = (paths.point_requests * paths.point_each * shares).sum(axis=1) * option.asked.mid
        answering = answering + point * option.each.mid
        self.point: Floats = answering + self._machines(point)
        self.per_request = float(answering.sum() / max(point.sum(), 1e-9))

    def _machines(self, daily: Floats) -> Floats:
        """Money for machines, day by day: as many as the volume of that day takes."""
        if not self.option.capacity:
            return np.zeros_like(daily)
        machines: Floats = np.maximum(np.ceil(daily * MONTH / self.option.capacity), 1.0)
        return machines * self.option.machine / MONTH

    def cliff(self, multiples: Floats) -> Floats:
        """Money a month at multiples of today's volume."""
        return self.at_volume(multiples * self.volume)

    def at_volume(self, volumes: Floats) -> Floats:
        """Money a month at these requests a month, making spread over a year."""
        fixed = self.option.making.mid / SPREAD_MONTHS
        money: Floats = volumes * self.per_request + fixed + self._machines(volumes / MONTH) * MONTH
        return money


def _money(value: float, drawn: Floats, confidence: float) -> Money:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Money(float(value), float(min(low, value)), float(max(high, value)))


def _cumulated(costs: _Costs, confidence: float) -> tuple[tuple[float, float, float], ...]:
    point, drawn = costs.point.cumsum(), costs.drawn.cumsum(axis=1)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return tuple((float(p), float(a), float(b)) for p, a, b in zip(point, low, high, strict=True))


def _pay_back(paths: Paths, first: _Costs, costs: _Costs, confidence: float) -> PayBack:
    ahead = (first.drawn - costs.drawn).cumsum(axis=1) - costs.making[:, None]
    days = np.where((ahead >= 0).any(axis=1), (ahead >= 0).argmax(axis=1) + 1.0, np.inf)
    course = (first.point - costs.point).cumsum() - costs.option.making.mid
    day = int((course >= 0).argmax()) + 1 if (course >= 0).any() else None
    early, late = np.quantile(days, [(1 - confidence) / 2, (1 + confidence) / 2], method="nearest")
    asked = paths.point_requests.sum(axis=1).cumsum()
    if costs is first:
        return PayBack(None, None, None, None, 0.0, None)
    return PayBack(
        day,
        int(early) if np.isfinite(early) else None,
        int(late) if np.isfinite(late) else None,
        round(float(asked[day - 1])) if day is not None else None,
        float(np.isfinite(days).mean()),
        _from_volume(first, costs),
    )


def _from_volume(first: _Costs, costs: _Costs) -> float | None:
    """The least volume from which on a way is cheaper than the first at every larger one that is looked at."""
    volumes = np.logspace(0, 10, 2001)
    cheaper = costs.at_volume(volumes) <= first.at_volume(volumes)
    if not cheaper[-1]:
        return None
    dearer = np.flatnonzero(~cheaper)
    return float(volumes[dearer[-1] + 1]) if len(dearer) else 0.0

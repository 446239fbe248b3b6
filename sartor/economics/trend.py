"""Carries daily requests and their cost forward, with what is not known about them: trend, weekdays, noise.

Requests of a day are counts whose logarithm is a line in time for each route, and a weekday effect that the routes
share (quasi-Poisson regression); the logarithm of a request's mean cost is a line in time. What is uncertain is
resampled: blocks of days are drawn from the residuals, all routes together, and every draw moves the lines as a new
fit would (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"). Where days are few,
priors speak: a trend to three times or a third in a year, weekdays that differ by about half, days that scatter by a
fifth. Half of the draws carry a trend of the requests on in percent, half in units, because a short history can't tell
the two apart; a request's cost goes on in units, since prompts and messages grow by what is added to them.

Knows no model and no currency. What it can't know: a new customer, a new prompt or a stop after the history ends.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.core.value import Ints

DRAWS = 400
WEEK = 7
TREND, WEEKDAY, LEVEL = np.log(3) / 365, 0.5, 2.0
"""Standard deviations of the priors, of logarithms: growth a day (three times or a third in a year), weekday effect,
level around what was seen."""
SCATTER = 0.2
"""Of a day around its line, as a share, where too few days are there to see it."""
EACH = 0.05
"""Of one request's cost around its line, as a share: at least."""
BLOCK = 3
"""Days that are drawn together, so that a busy spell stays one."""
ROUNDS = 25


@dataclass(frozen=True, eq=False)
class History:
    """What was seen, by whole days and routes."""

    first: int
    """Number of the first day (days since 1970)."""
    requests: Floats
    """(days, routes)."""
    cost: Floats
    """(days, routes) money of each day."""

    @property
    def days(self) -> int:
        """How many whole days."""
        return len(self.requests)


@dataclass(frozen=True, eq=False)
class Paths:
    """What may come."""

    requests: Floats
    """(draws, days, routes)."""
    each: Floats
    """(draws, days, routes) mean cost of a request."""
    point_requests: Floats
    """(days, routes): the middle course, without noise."""
    point_each: Floats
    """(days, routes)."""
    growth: Floats
    """(routes,) of the requests, a day, as a share."""
    drift: Floats
    """(routes,) of a request's cost, a day, as a share."""


@dataclass(frozen=True, eq=False)
class _Lines:
    """A weighted regression of logarithms with priors around 0, and what its days leave over."""

    design: Floats
    """(days · routes, coefficients)."""
    weights: Floats
    """(days · routes,)."""
    precision: Floats
    """(coefficients,) of the priors."""
    fitted: Floats
    """(coefficients,)."""
    left: Floats
    """(days, routes) residuals, times the root of their weights."""
    spread: float
    """Their variance."""

    def moved(self, left: Floats, random: np.random.Generator) -> Floats:
        """(draws, coefficients) of new fits to days with other residuals (draws, days, routes)."""
        prior = self.spread * self.precision
        within = (self.design * self.weights[:, None]).T @ self.design + np.diag(prior)
        pull = left.reshape(len(left), -1) @ (self.design * np.sqrt(self.weights)[:, None])
        centres = random.normal(size=pull.shape) * self.spread * np.sqrt(self.precision)
        moved: Floats = self.fitted + np.linalg.solve(within, (pull + centres).T).T
        return moved


def carry_forward(history: History, days: int, *, draws: int = DRAWS, seed: int = 0) -> Paths:
    """The days after the history.

    Raises:
        ValueError: nothing was asked in it.
    """
    if history.days == 0 or history.requests.sum() <= 0:
        raise ValueError("there is no day with requests to go by")
    random = np.random.default_rng(seed)
    routes = history.requests.shape[1]
    counts, means = _counts(history), _means(history)
    order = _blocks(history.days, random, draws, days + history.days)
    past, ahead = order[:, : history.days], order[:, history.days :]
    units = np.arange(draws) % 2 == 1
    later = np.arange(history.first + history.days, history.first + history.days + days)
    offset = np.arange(1, days + 1)
    level = _carry(counts.moved(_drawn(counts, past, random), random), routes, offset, later, units)
    each = _carry(means.moved(_drawn(means, past, random), random), routes, offset, later, np.ones(draws, bool))
    noise = _drawn(counts, ahead, random)
    ways = np.array([False, True])
    middle = [
        _carry(np.tile(lines.fitted, (len(way), 1)), routes, offset, later, way).mean(axis=0)
        for lines, way in ((counts, ways), (means, ways[1:]))
    ]
    slopes = [np.expm1(lines.fitted[routes : 2 * routes]) for lines in (counts, means)]
    requests = np.maximum(level + noise * np.sqrt(level), 0.0)
    return Paths(requests, each, middle[0], middle[1], slopes[0], slopes[1])


def _design(history: History, *, weekdays: bool) -> tuple[Floats, Floats]:
    """(days · routes, coefficients) level and slope of each route, weekdays; and the precision of their priors.

    Time runs to 0 on the last day, so that levels are those of today.
    """
    days, routes = history.requests.shape
    time = np.arange(days) - (days - 1.0)
    eye = np.tile(np.eye(routes), (days, 1))
    parts = [eye, eye * np.repeat(time, routes)[:, None]]
    precision = [np.full(routes, LEVEL**-2), np.full(routes, TREND**-2)]
    if weekdays:
        week = np.eye(WEEK)[(history.first + np.arange(days)) % WEEK]
        parts.append(np.repeat(week, routes, axis=0))
        precision.append(np.full(WEEK, WEEKDAY**-2))
    return np.hstack(parts), np.concatenate(precision)


def _counts(history: History) -> _Lines:
    design, precision = _design(history, weekdays=True)
    seen = history.requests.reshape(-1)
    routes = history.requests.shape[1]
    fitted = np.zeros(design.shape[1])
    fitted[:routes] = np.log(np.maximum(history.requests.sum(axis=0), 0.5) / history.days)
    centre = fitted
    spread, mean = 1.0, seen
    for _ in range(ROUNDS):
        mean = np.exp(np.clip(design @ fitted, -20, 40))
        prior = spread * precision
        within = (design * mean[:, None]).T @ design + np.diag(prior)
        step = np.linalg.solve(within, design.T @ (seen - mean) - prior * (fitted - centre))
        fitted = fitted + np.clip(step, -2, 2)
        spread = _spread((seen - mean) / np.sqrt(mean), history, mean)
        if np.abs(step).max() < 1e-8:
            break
    left = ((seen - mean) / np.sqrt(mean)).reshape(history.requests.shape)
    return _Lines(design, mean, precision, fitted, _stretched(left, 1 + WEEK), spread)


def _means(history: History) -> _Lines:
    design, precision = _design(history, weekdays=False)
    weights = history.requests.reshape(-1)
    routes = history.requests.shape[1]
    totals = history.requests.sum(axis=0)
    level = np.log(np.maximum(history.cost.sum(axis=0), 1e-18) / np.maximum(totals, 1.0))
    safe = np.maximum(weights, 1.0)
    seen: Floats = np.log(np.maximum(history.cost.reshape(-1), 1e-18) / safe)
    seen = np.where((weights > 0) & (history.cost.reshape(-1) > 0), seen, np.tile(level, history.days))
    fitted: Floats = np.zeros(design.shape[1])
    spread, residual, centre = EACH**2, seen, np.concatenate([level, np.zeros(routes)])
    for _ in range(3):
        prior = spread * precision
        within = (design * weights[:, None]).T @ design + np.diag(prior)
        fitted = np.linalg.solve(within, design.T @ (weights * seen) + prior * centre)
        residual = np.sqrt(weights) * (seen - design @ fitted)
        spread = max(float(residual @ residual / max(history.days * routes - 2 * routes, 1)), EACH**2)
    return _Lines(design, weights, precision, fitted, _stretched(residual.reshape(history.days, routes), 2), spread)


def _spread(left: Floats, history: History, mean: Floats) -> float:
    """Variance of the residuals over that of pure counting; assumed where there are too few days to see it."""
    days, routes = history.requests.shape
    assumed = 1.0 + SCATTER**2 * float(mean.mean())
    free = days * routes - 2 * routes - WEEK
    return max(float(left @ left) / free, 1.0) if days > WEEK and free > 0 else assumed


def _stretched(left: Floats, taken: int) -> Floats:
    """Residuals as wide as the noise behind them.

    A fit takes up some of their days, blocks cut off the variance of one block, and a variance that is itself estimated
    makes tails as heavy as Student's.
    """
    days = len(left)
    scaled: Floats = left * np.sqrt(days / max(days - taken - BLOCK - 2, 1))
    return scaled


def _blocks(days: int, random: np.random.Generator, draws: int, length: int) -> Ints:
    """(draws, length) numbers of days, drawn in blocks that wrap around."""
    starts = random.integers(0, days, size=(draws, -(-length // BLOCK)))
    taken: Ints = ((starts[:, :, None] + np.arange(BLOCK)) % days).reshape(draws, -1)[:, :length]
    return taken


def _drawn(lines: _Lines, order: Ints, random: np.random.Generator) -> Floats:
    """(draws, days, routes) residuals of the drawn days; noise of the assumed size where too few days are there."""
    if len(lines.left) > WEEK:
        return lines.left[order]
    shape = (*order.shape, lines.left.shape[1])
    return random.normal(scale=np.sqrt(lines.spread), size=shape)


def _carry(fitted: Floats, routes: int, offset: Ints, later: Ints, units: npt.NDArray[np.bool_]) -> Floats:
    """(draws, days, routes) values of lines carried on, in percent or (where `units`) in units."""
    level, slope, week = np.split(fitted, [routes, 2 * routes], axis=1)
    growth = slope[:, None, :] * offset[None, :, None]
    kept = np.exp(np.clip(level, -60, 60))[:, None, :]
    way = np.where(units[:, None, None], np.maximum(1.0 + growth, 0.0), np.exp(np.clip(growth, -30, 30)))
    if week.shape[1]:
        kept = kept * np.exp(week[:, later % WEEK])[:, :, None]
    carried: Floats = kept * way
    return carried

"""Routing between a cheap and a dear model by a score: what quality costs, and where to draw the line. Pure arithmetic.

Quality is the share of right answers. Two readings of "95 % of the dear model's quality" are in use, and they are far
apart where the cheap model is good: a share of its quality, and a share of the gap between the two (performance gap
recovered; Ong et al. 2024, "RouteLLM").
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sartor.core.predict import Floats
from sartor.core.value import Ints
from sartor.evaluation.statistics import resamples

Reading = Literal["quality", "gap"]


@dataclass(frozen=True, eq=False)
class Curve:
    """What happens as the line is moved, from nothing sent to the cheap model to everything."""

    saved: Floats
    """(points,) share of requests that the dear model is spared, rising from 0 to 1."""
    quality: Floats
    """(points,) share of right answers."""
    threshold: Floats
    """(points,) scores from this on go to the cheap model; above all scores at first."""


@dataclass(frozen=True)
class Point:
    """One line, on some rows."""

    saved: float
    quality: float
    of_dear: float
    """Share of the dear model's quality."""
    gap: float
    """Share of the gap between the models; below 0 where it is worse than the cheap one alone."""


def curve(score: Floats, cheap: Floats, dear: Floats) -> Curve:
    """The curve of a score.

    Args:
        score: (rows,) higher: rather the cheap model.
        cheap: (rows,) whether it is right, or how right from 0 to 1.
        dear: (rows,) the same.
    """
    order = np.argsort(-score, kind="stable")
    gained = (cheap - dear)[order].cumsum()
    # A line can't be drawn between equal scores.
    last = np.flatnonzero(np.append(score[order][1:] != score[order][:-1], True)) if len(score) else np.arange(0)
    size = max(1, len(score))
    saved = np.append(0.0, (last + 1) / size)
    quality = float(dear.sum()) / size + np.append(0.0, gained[last] / size)
    return Curve(saved, quality, np.append(np.inf, score[order][last]))


def wanted(cheap: Floats, dear: Floats, share: float, reading: Reading = "quality") -> float:
    """The quality that a share of the dear model's means on these rows."""
    low, high = float(cheap.mean()), float(dear.mean())
    return share * high if reading == "quality" else low + share * (high - low)


def saved_at(found: Curve, quality: float) -> float:
    """The most that can be saved at this quality or more."""
    return float(found.saved[found.quality >= quality - 1e-12].max(initial=0.0))


def area(found: Curve) -> float:
    """How far the mean share of right answers lies above that of tossing a coin, over all lines.

    Steadier than what is saved at one quality, so candidates are chosen by it.
    """
    coin = found.quality[0] + found.saved * (found.quality[-1] - found.quality[0])
    return float(np.trapezoid(found.quality - coin, found.saved))


def threshold_for(
    score: Floats, cheap: Floats, dear: Floats, share: float, *, sure: float = 0.9, draws: int = 500, seed: int = 0
) -> float:
    """The line that saves most and keeps the share of the dear model's quality, on these validation rows.

    Args:
        sure: share of resamples of the rows in which the quality must be kept; 0.5 is the plain line, which on other
            rows falls short half of the time.
    """
    found = curve(score, cheap, dear)
    taken = (score[:, None] >= np.unique(found.threshold)[None, :]).astype(np.float64)
    columns = np.hstack([taken * (cheap - dear)[:, None], dear[:, None]])
    kept = np.zeros(taken.shape[1])
    for weights in resamples(len(score), draws, seed):
        sums = weights @ columns
        kept += (sums[:, :-1] + (1.0 - share) * sums[:, -1:] >= 0.0).sum(axis=0)
    lines = np.unique(found.threshold)
    fine = lines[kept >= sure * draws]
    return float(fine.min()) if len(fine) else float("inf")


def point(score: Floats, cheap: Floats, dear: Floats, threshold: float) -> Point:
    """What a line does on these rows."""
    local = score >= threshold
    quality = float(np.where(local, cheap, dear).mean())
    low, high = float(cheap.mean()), float(dear.mean())
    gap = (quality - low) / (high - low) if high != low else 1.0
    return Point(float(local.mean()), quality, quality / high if high else 1.0, gap)


def spread(
    score: Floats, cheap: Floats, dear: Floats, threshold: float, *, draws: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of a point's figures, the line held fixed."""
    found: list[Point] = []
    rows: Ints = np.arange(len(score))
    for weights in resamples(len(score), draws, seed):
        for drawn in weights:
            taken = np.repeat(rows, drawn)
            found.append(point(score[taken], cheap[taken], dear[taken], threshold))
    figures = {name: np.array([getattr(p, name) for p in found]) for name in Point.__dataclass_fields__}
    return {name: (float(np.quantile(v, 0.025)), float(np.quantile(v, 0.975))) for name, v in figures.items()}


def random_saved(cheap: Floats, dear: Floats, quality: float) -> float:
    """What tossing a coin saves at this quality, in expectation."""
    low, high = float(cheap.mean()), float(dear.mean())
    return float(np.clip((high - quality) / (high - low), 0.0, 1.0)) if high > low else 1.0


def oracle_score(cheap: Floats, dear: Floats) -> Floats:
    """The score of whoever knows the answers: the cheap model where the dear one adds nothing."""
    gain: Floats = cheap - dear
    return gain

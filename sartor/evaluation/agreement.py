"""How far people agree on labels beyond chance, with an interval. Knows neither texts nor money.

Cohen's kappa (1960) is of two people who labelled the same rows. Krippendorff's alpha (2004, nominal) is of any number
of them, each with the rows that they happened to label; chance is what the labels of all would give, shuffled. The
interval is the percentile bootstrap over rows, since rows, not answers, are what is drawn from the traffic.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Agreement:
    """What was found about rows that several people labelled."""

    rows: int
    """Rows with at least two people's labels."""
    people: int
    agreed: float | None
    """Share of the pairs of answers that are the same; None without such rows."""
    kappa: float | None
    """Krippendorff's alpha: 1 all agree, 0 as if drawn by lot, below 0 worse than that; None where nothing varies."""
    low: float | None
    high: float | None
    cohen: float | None
    """Cohen's kappa, where exactly two people labelled; else None."""


def agreement(said: Sequence[Mapping[str, str]], *, confidence: float = 0.95, seed: int = 0) -> Agreement:
    """How far people agree.

    Args:
        said: of each row, who said which label.
    """
    rows = [row for row in said if len(row) > 1]
    people = {who for row in rows for who in row}
    if not rows:
        return Agreement(0, 0, None, None, None, None, None)
    labels = sorted({label for row in rows for label in row.values()})
    index = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(rows), len(labels)))
    for place, row in enumerate(rows):
        for label, times in Counter(row.values()).items():
            counts[place, index[label]] = times
    alpha = _alpha(counts)
    drawn = np.random.default_rng(seed).integers(len(rows), size=(DRAWS, len(rows)))
    values = [value for draw in drawn if (value := _alpha(counts[draw])) is not None]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail]) if alpha is not None and values else (None, None)
    pairs = counts.sum(axis=1) * (counts.sum(axis=1) - 1.0)
    same = (counts * (counts - 1.0)).sum(axis=1)
    return Agreement(
        rows=len(rows),
        people=len(people),
        agreed=float(same.sum() / pairs.sum()),
        kappa=alpha,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        cohen=_cohen(rows) if len(people) == 2 else None,
    )


def _alpha(counts: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> float | None:
    """Krippendorff's alpha for nominal labels, from (rows, labels) counts; None where all answers are the same."""
    answers = counts.sum(axis=1)
    observed = ((answers[:, None] - counts) * counts / (answers - 1.0)[:, None]).sum()
    totals = counts.sum(axis=0)
    whole = totals.sum()
    expected = (whole * whole - (totals * totals).sum()) / (whole - 1.0)
    return float(1.0 - observed / expected) if expected > 0 else None


def _cohen(rows: Sequence[Mapping[str, str]]) -> float | None:
    first, second = sorted({who for row in rows for who in row})
    pairs = [(row[first], row[second]) for row in rows]
    seen = sum(a == b for a, b in pairs) / len(pairs)
    ours, theirs = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(ours[label] * theirs[label] for label in ours) / len(pairs) ** 2
    return (seen - chance) / (1.0 - chance) if chance < 1.0 else None

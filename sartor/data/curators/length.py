"""Find texts that are unusually short or long, by fixed bounds or by a robust z-score. Reads no meaning."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sartor.core.predict import Floats
from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken

EXAMPLES = 10


class Params(Settings):
    """What counts as unusual, and what is done."""

    min_chars: Annotated[int, Field(ge=0)] = 1
    """Shorter texts are unusual."""
    max_chars: Annotated[int, Field(ge=1)] | None = None
    """Longer texts are unusual; null: no bound."""
    z: Annotated[float, Field(gt=0)] | None = 5.0
    """Outside so many robust standard deviations of the logarithm of length; null: bounds only."""
    action: Literal["report", "drop"] = "report"
    """drop takes them to quarantine."""


@plugin
def length(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Find the outliers. Only training rows are taken out: a test keeps the lengths that will be met."""
    chars = np.array([len(row.text) for row in rows], dtype=np.int64)
    scores = robust_z(np.log1p(chars))
    odd: dict[str, str] = {}
    for row, n, z in zip(rows, chars, scores, strict=True):
        if n < params.min_chars or (params.max_chars is not None and n > params.max_chars):
            odd[row.id] = f"{n} characters"
        elif params.z is not None and abs(z) > params.z:
            odd[row.id] = f"{n} characters, {z:+.1f} robust standard deviations"
    shown = [{"text": row.text[:120], "why": odd[row.id]} for row in rows if row.id in odd]
    notes = {
        "outliers": len(odd),
        "median_chars": int(np.median(chars)) if len(chars) else 0,
        "examples": shown[:EXAMPLES],
    }
    gone = {row.id for row in rows if row.id in odd and params.action == "drop" and bench.split(row) == "train"}
    return Curated(
        [row for row in rows if row.id not in gone],
        [Taken(row, "unusual length", odd[row.id]) for row in rows if row.id in gone],
        notes,
    )


def robust_z(values: Floats) -> Floats:
    """Distance from the median in robust standard deviations (Iglewicz and Hoaglin 1993).

    1.4826 times the median absolute deviation, or where that is 0, 1.2533 times the mean one.
    """
    if not len(values):
        return values
    off = values - np.median(values)
    scale = 1.4826 * float(np.median(np.abs(off))) or 1.2533 * float(np.abs(off).mean())
    scores: Floats = off / scale if scale > 0 else np.zeros_like(off)
    return scores

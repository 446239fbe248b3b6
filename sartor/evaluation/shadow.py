"""What a shadow would have been worth, before any user is exposed: its answers beside the live ones, row by row.

Where both agree nothing would have changed. Where they differ and the outcome of the live answer is known, the truth
often is too (a correction, a live answer that was right), and with it what the shadow's answer would have cost. Of the
rest only bounds are known: as if the shadow were always right, or always wrong, at the stated limits. The estimate
rests on the rows whose cost is known on both sides and speaks for the others only if those are like them. That a live
answer was wrong, without its correction, leaves open what the shadow's would have cost: such rows are counted apart,
because leaving them out leans against the shadow.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.evaluation.sequential import Bools
from sartor.evaluation.statistics import bootstrap_means, clusters_of, rows_needed, wilson

Texts = npt.NDArray[np.str_]
LEAST = 20
"""Rows with an outcome under which no estimate is given."""


@dataclass(frozen=True, eq=False)
class Shadowed:
    """Requests that both answered, one a row."""

    live: Texts
    """What went out."""
    shadow: Texts
    """What the shadow said; '' where it gave no valid answer."""
    live_cost: Floats
    """Money lost by the live answer, serving included; NaN where not known."""
    shadow_cost: Floats
    """Money that the shadow's answer would have lost, serving included; NaN where not known."""
    live_serving: Floats
    """Money that serving the live answer cost; always known."""
    shadow_serving: Floats
    """Money that serving the shadow's would."""
    unit: Texts | None = None
    """Requests of one user move together."""


@dataclass(frozen=True)
class Worth:
    """What is known of a shadow's value. Money per request; above 0: the shadow is better."""

    rows: int
    agree: float
    """Share of equal answers."""
    agree_low: float
    agree_high: float
    invalid: float
    """Share without a valid answer."""
    flips: tuple[tuple[str, str, int], ...]
    """(live, shadow, how often), the most frequent first."""
    known: int
    """Rows whose cost is known on both sides."""
    known_flips: int
    """Of these, rows on which the answers differ: all that is known of the difference in quality comes from them."""
    half_known: int
    """Rows on which the answers differ and only the live one's cost is known."""
    saved: float | None
    """Mean saving on the known rows; None where they are too few."""
    saved_low: float | None
    saved_high: float | None
    least: float
    """Mean saving over all rows if every unknown answer of the shadow were the dearest mistake."""
    most: float
    """If every unknown live answer were."""
    rows_needed: int | None
    """More known rows that would show a saving, if it is what it seems; None: no number would."""
    says: str

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def worth(
    pairs: Shadowed, limits: tuple[float, float], *, confidence: float = 0.95, seed: int = 0, examples: int = 10
) -> Worth:
    """The value of a shadow.

    Args:
        limits: least and most money that an answer can lose, serving aside.
        examples: kinds of flips that are told.

    Raises:
        ValueError: there are no rows.
    """
    rows = len(pairs.live)
    if not rows:
        raise ValueError("a shadow that saw nothing has no value")
    same = pairs.live == pairs.shadow
    low, high = wilson(float(same.sum()), rows, confidence)
    saved, bounds = _savings(pairs, same, limits)
    known = np.isfinite(saved)
    value = saved_low = saved_high = None
    if known.sum() >= LEAST:
        clusters = clusters_of(_units(pairs.unit, rows), rows)
        (found,) = bootstrap_means(saved[:, None], confidence=confidence, clusters=clusters, seed=seed)
        value, saved_low, saved_high = found.value, found.low, found.high
    made: dict[str, Any] = {
        "rows": rows,
        "agree": float(same.mean()),
        "agree_low": low,
        "agree_high": high,
        "invalid": float((pairs.shadow == "").mean()),
        "flips": _flips(pairs, same, examples),
        "known": int(known.sum()),
        "known_flips": int((known & ~same).sum()),
        "half_known": int((~known & ~same & np.isfinite(pairs.live_cost)).sum()),
        "saved": value,
        "saved_low": saved_low,
        "saved_high": saved_high,
        "least": float(bounds[0].mean()),
        "most": float(bounds[1].mean()),
        "rows_needed": rows_needed(saved, confidence=confidence) if known.sum() >= LEAST else LEAST - int(known.sum()),
    }
    return Worth(**made, says=_says(made))


def _savings(pairs: Shadowed, same: Bools, limits: tuple[float, float]) -> tuple[Floats, tuple[Floats, Floats]]:
    """(rows,) savings, NaN where unknown, and their least and most."""
    serving = np.asarray(pairs.live_serving, dtype=np.float64) - pairs.shadow_serving
    # Equal answers fare equally, so only serving can differ, whether or not their outcome is known. They stay out of
    # the estimate where it is not, lest rows with outcomes and rows without be mixed.
    saved = np.asarray(pairs.live_cost, dtype=np.float64) - pairs.shadow_cost
    saved = np.where(same & np.isfinite(pairs.live_cost), serving, saved)
    live = np.asarray(pairs.live_cost, dtype=np.float64) - pairs.live_serving
    shadow = np.asarray(pairs.shadow_cost, dtype=np.float64) - pairs.shadow_serving
    least = np.where(np.isfinite(live), live, limits[0]) - np.where(np.isfinite(shadow), shadow, limits[1])
    most = np.where(np.isfinite(live), live, limits[1]) - np.where(np.isfinite(shadow), shadow, limits[0])
    least, most = (np.where(same, 0.0, bound) + serving for bound in (least, most))
    return saved, (least, most)


def _units(unit: Texts | None, rows: int) -> Texts | None:
    """Rows without a user are units of their own."""
    if unit is None:
        return None
    return np.where(unit == "", np.array([f"\0{i}" for i in range(rows)]), unit)


def _flips(pairs: Shadowed, same: Bools, examples: int) -> tuple[tuple[str, str, int], ...]:
    if same.all():
        return ()
    kinds, counts = np.unique(np.stack([pairs.live[~same], pairs.shadow[~same]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:examples]
    return tuple((str(kinds[0, i]), str(kinds[1, i]), int(counts[i])) for i in order)


def _says(made: dict[str, Any]) -> str:
    agreed = f"It gave the live answer on {made['agree']:.1%} of {made['rows']:,} requests"
    bounds = f"whatever is not known, between {made['least']:+.4g} and {made['most']:+.4g} a request are saved"
    if made["saved"] is None:
        return f"{agreed}; {made['rows_needed']} more known outcomes are needed for an estimate; {bounds}."
    leaning = f" Of {made['half_known']:,} more only the live outcome is known, which leans against it."
    return (
        f"{agreed}. On the {made['known']:,} with a known outcome, {made['known_flips']:,} of them answered otherwise, "
        f"it would have saved {made['saved']:+.4g} a request ({made['saved_low']:+.4g} to {made['saved_high']:+.4g}); "
        f"{bounds}.{leaning if made['half_known'] else ''}"
    )

"""Standing suites: rows that what comes next may not get wrong again, by era, by label, and those mended before.

Pure: a candidate's and the live variant's answers to the same rows in, and for each suite how much of it was gained
or lost. Passes no judgement (see `gates`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from sartor.core.predict import Floats
from sartor.evaluation.answers import Answers
from sartor.evaluation.measure import Sample
from sartor.evaluation.statistics import holm, paired_shares_chance
from sartor.evaluation.terms import Terms

Kind = Literal["era", "label", "fixed"]
KINDS: tuple[Kind, ...] = ("era", "label", "fixed")
LEAST = 5
"""Rows below which nothing can be said about a suite."""


@dataclass(frozen=True)
class Suite:
    """Rows that stand together."""

    kind: Kind
    name: str
    """The era, the label; of what was mended before, ''."""
    ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Standing:
    """The suites, and what both subjects answer to all their rows."""

    suites: tuple[Suite, ...]
    candidate: Answers
    live: Answers


class Held(BaseModel):
    """One suite, candidate against live."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    name: str
    n: int
    live: float
    """Share of right answers of what is live."""
    candidate: float
    gain: float
    """Of the candidate over what is live; negative: lost."""
    low: float
    high: float
    """Interval of the gain, of this suite alone."""
    lost: int
    """Rows that only what is live gets right."""
    won: int
    """Rows that only the candidate gets right."""
    chance: float
    """p-value of "lost no more than the margin", Holm over all suites of its kind; small: it has forgotten."""
    forgotten: bool


def hold_suites(standing: Standing, terms: Terms, margin: float) -> tuple[Held, ...]:
    """Test every suite that has rows enough for having lost more than the margin; the most suspect first.

    The intervals have half a row added to each cell (Agresti and Min 2005), as the test has, and count no groups.

    Args:
        margin: share of a suite's rows that may be lost.

    Raises:
        ValueError: the two were not asked about the same rows, or a suite names a row that neither was asked about.
    """
    if not np.array_equal(standing.candidate.ids, standing.live.ids):
        raise ValueError("the candidate and what is live were asked about other rows")
    decided = [terms.judging.redecide(a) for a in (standing.candidate, standing.live)]
    new, old = (Sample.of(answers, terms).right for answers in decided)
    place = {name: at for at, name in enumerate(standing.candidate.ids.tolist())}
    found = [
        _counted(suite, [place[name] for name in suite.ids if name in place], new, old)
        for suite in standing.suites
        if len(suite.ids) >= LEAST
    ]
    if not found:
        return ()
    better, worse = (np.array([item[side] for item in found]) for side in ("won", "lost"))
    chances = paired_shares_chance(better, worse, np.array([item["n"] for item in found]), margin)
    # Each kind is a promise of its own: many labels do not excuse that what was mended is lost again.
    for kind in KINDS:
        of_kind = [at for at, item in enumerate(found) if item["kind"] == kind]
        chances[of_kind] = holm(chances[of_kind])
    held = [
        Held(**item | _bounds(item, terms.alpha), chance=float(chance), forgotten=bool(chance < terms.alpha))
        for item, chance in zip(found, chances, strict=True)
    ]
    return tuple(sorted(held, key=lambda h: (h.chance, h.gain, h.kind, h.name)))


def _counted(suite: Suite, rows: list[int], new: Floats, old: Floats) -> dict[str, Any]:
    if len(rows) != len(suite.ids):
        raise ValueError(f"{len(suite.ids) - len(rows)} rows of the suite '{suite.kind} {suite.name}' have no answer")
    gained = new[rows] - old[rows]
    return {
        "kind": suite.kind,
        "name": suite.name,
        "n": len(rows),
        "live": float(old[rows].mean()),
        "candidate": float(new[rows].mean()),
        "gain": float(gained.mean()),
        "won": float(np.maximum(gained, 0.0).sum()),
        "lost": float(np.maximum(-gained, 0.0).sum()),
    }


def _bounds(item: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    from scipy.special import ndtri

    size = item["n"] + 2.0
    middle = (item["won"] - item["lost"]) / size
    spread = np.sqrt((item["won"] + item["lost"] + 1.0 - size * middle**2) / size**2)
    half = float(-ndtri(alpha) * spread)
    counts = {side: round(item[side]) for side in ("won", "lost")}
    return counts | {"low": min(middle - half, item["gain"]), "high": max(middle + half, item["gain"])}


def cut_suites(
    ids: Collection[str], eras: Mapping[str, str], labels: Mapping[str, str], fixed: Collection[str]
) -> tuple[Suite, ...]:
    """The suites of some rows.

    Args:
        ids: rows of the standing test.
        eras: row id -> era; rows that came in before eras were told stand in the era ''.
        labels: row id -> label.
        fixed: rows that were corrected once and then got right; they need not be among `ids`.
    """
    suites = []
    for kind, of in (("era", eras), ("label", labels)):
        members: dict[str, list[str]] = {}
        for row in ids:
            members.setdefault(of.get(row, ""), []).append(row)
        suites += [Suite(kind, name, tuple(sorted(rows))) for name, rows in sorted(members.items())]  # type: ignore[arg-type]
    return (*suites, Suite("fixed", "", tuple(sorted(fixed))))

"""Nobody's word may be most of what is learned: shares of own answers, of one source and of one user. Counts only.

What is left out is chosen by a hash of its name, so that the same rows give the same choice, and a row that is left
out today is among the first to be left out tomorrow.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

from sartor.core.canonical import sha256
from sartor.core.wheel import Harvest

LEAST = 20
"""Rows that a source or a user may always have given: shares of a handful say nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as the shares see it."""

    id: str
    own: bool
    source: str
    """Whom the source's share counts; '' where the label came from no feedback."""
    subject: str
    """Keyed digest of the user; '' where the request named none."""


@dataclass(frozen=True)
class Capped:
    """Who stays, and why others don't."""

    kept: frozenset[str]
    left_out: dict[str, str] = field(default_factory=dict)
    """Id -> which share."""
    told: dict[str, Any] = field(default_factory=dict)
    """What each share did, as JSON."""


def cap(entries: Sequence[Entry], spec: Harvest) -> Capped:
    """Keep the shares that the task allows. Shares of sources and users are of the rows before any was left out.

    A source that is the only one is not capped: there is nobody whom it could outvote. That is told.
    """
    out: dict[str, str] = {}
    told: dict[str, Any] = {}
    total = sum(not entry.own for entry in entries)
    sources = {entry.source for entry in entries if entry.source}
    if len(sources) > 1:
        told["source_share"] = _share(entries, lambda e: e.source, spec.source_share, total, out, "source_share")
    elif sources and spec.source_share < 1:
        told["source_share"] = {"only_source": next(iter(sources))}
    told["subject_share"] = _share(entries, lambda e: e.subject, spec.subject_share, total, out, "subject_share")
    others = sum(not entry.own and entry.id not in out for entry in entries)
    own = [entry for entry in entries if entry.own and entry.id not in out]
    most = len(own) if spec.own_share >= 1 else floor(others * spec.own_share / (1 - spec.own_share) + 1e-9)
    for entry in _ordered(own)[most:]:
        out[entry.id] = "own_share"
    told["own_share"] = {"rows": len(own), "most": most, "left_out": max(0, len(own) - most)}
    return Capped(frozenset(e.id for e in entries if e.id not in out), out, told)


def _share(
    entries: Sequence[Entry], of: Callable[[Entry], str], share: float, total: int, out: dict[str, str], why: str
) -> dict[str, Any]:
    most = max(LEAST, floor(share * total + 1e-9))
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if of(entry) and entry.id not in out:
            groups[of(entry)].append(entry)
    left: Counter[str] = Counter()
    for name, group in sorted(groups.items()):
        for entry in _ordered(group)[most:]:
            out[entry.id] = why
            left[name] += 1
    return {"most": most, "left_out": dict(sorted(left.items()))}


def _ordered(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: sha256(f"cap:{entry.id}".encode()))

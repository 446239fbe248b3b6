"""Has what comes in, what goes out, or what became of it changed? Sequential, with one chance to cry wolf for all.

Every series (one view of one thing that is watched, of all requests or of a slice) bets with its own share of the
stated chance, so that all of them together, over the whole stream and however often one looks, raise an alarm without
drift with that chance at most (`betting`). Where requests depend on each other (one user who repeats himself), that
promise does not hold. Knows no store.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.predict import Floats
from sartor.feedback.betting import BLOCK, Found, first, log_wealth, places

SLICED = 0.5
"""Share of what is watched that goes to its slices, where there are any."""
EXAMPLES = 10
SAID = 3
"""Labels that are named."""
LEAST_CHANGE = 1.3
"""Times by which a label's share must have risen to be named."""


@dataclass(frozen=True, eq=False)
class Series:
    """One view of one thing, over time."""

    watched: str
    """`input`, `answers`, `confidence`, `out_of_scope`, `feedback`, `value`."""
    view: str
    """What of it."""
    reference: Floats
    """(m,) values before the stream; of labels their numbers."""
    stream: Floats
    """(n,) values, the oldest first."""
    ids: Sequence[str]
    """(n,) what each value is of; no two alike in a series."""
    times: Floats
    """(n,) seconds since 1970."""
    slice: str = ""
    """`column=value`; '' all."""
    names: tuple[str, ...] = ()
    """The labels that values are numbers of; () they are sizes."""
    usual: Floats | None = None
    """(labels,) shares that the labels have in rows that are not compared; all alike where that is not known."""
    weight: int = 1
    """How much of the chance it gets beside other views of the same."""


@dataclass(frozen=True)
class Alarm:
    """Something changed."""

    watched: str
    view: str
    slice: str
    number: int
    """1 for the first alarm of its series."""
    at: float
    """Time of the request that gave the alarm, in seconds since 1970."""
    requests: int
    """How many of the series had been seen by then."""
    since: float
    """Time at which the change seems to have begun."""
    chance: float
    """Of evidence as strong as this without drift: already for all that is watched together."""
    says: str
    """In plain words, with figures."""
    examples: tuple[str, ...] = ()
    """Ids of requests that show it, the clearest first."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Watched:
    """How a series stands."""

    watched: str
    view: str
    slice: str
    requests: int
    chance: float
    """Smallest chance, corrected for all that is watched, that its evidence reached since its last alarm; at most 1."""
    alarms: tuple[Alarm, ...] = ()
    """The oldest first."""


def shares(series: Sequence[Series]) -> list[float]:
    """What each series gets of the chance: what is watched gets equal parts, its slices half; within, by weight."""
    things = sorted({one.watched for one in series})
    whole, parts = Counter[str](), Counter[str]()
    for one in series:
        (parts if one.slice else whole)[one.watched] += one.weight
    found = []
    for one in series:
        mine = SLICED if parts[one.watched] and whole[one.watched] else 1.0
        count = parts[one.watched] if one.slice else whole[one.watched]
        found.append(mine * one.weight / count / len(things))
    return found


def look(series: Sequence[Series], false_alarm: float, window: int) -> list[Watched]:
    """How each series stands, in the order given. After an alarm a series is compared with the window after it.

    Args:
        series: what is watched; which ones, and their order, must not depend on the streams.
        false_alarm: chance that any of them ever raises an alarm without drift (after an alarm: another one).
        window: values that the comparison begins anew with.
    """
    return [_stands(one, share, false_alarm, window) for one, share in zip(series, shares(series), strict=True)]


def alarms(found: Sequence[Watched]) -> list[Alarm]:
    """The alarms, the oldest first."""
    every = [alarm for one in found for alarm in one.alarms]
    return sorted(every, key=lambda alarm: (alarm.at, alarm.chance, alarm.watched, alarm.view, alarm.slice))


def wealth_of(one: Series) -> Floats:
    """(blocks,) logarithm of the wealth won on a series."""
    if len(one.stream) < BLOCK:
        return np.zeros(0)
    both = np.concatenate([one.reference, one.stream])
    codes = np.unique(both, return_inverse=True)[1].reshape(1, -1)
    found = places(codes[:, len(one.reference) :], codes[:, : len(one.reference)], _ties(one)[None, :])
    usual = one.usual if one.usual is not None else np.ones(len(one.names))
    wealth: Floats = log_wealth(found, usual if one.names else None)[0]
    return wealth


def _ties(one: Series) -> Floats:
    """Draws that the ids give, so that looking again sees the same."""
    salt = f"{one.watched}/{one.view}/{one.slice}".encode()
    drawn = [blake2b(id_.encode(), digest_size=8, key=blake2b(salt).digest()[:32]).digest() for id_ in one.ids]
    found: Floats = np.minimum(np.frombuffer(b"".join(drawn), dtype=">u8") / 2.0**64, 1.0 - 2.0**-53)
    return found


def _stands(one: Series, share: float, false_alarm: float, window: int) -> Watched:
    seen, told, rest = len(one.stream), list[Alarm](), one
    while True:
        wealth = wealth_of(rest)
        hit = first(wealth, false_alarm * share)
        if hit is None:
            best = float(wealth.max(initial=0.0))
            chance = min(1.0, float(np.exp(-best)) / share)
            return Watched(one.watched, one.view, one.slice, seen, chance, tuple(told))
        told.append(_alarm(rest, hit, share, seen - len(rest.stream), len(told) + 1))
        rest = _after(rest, hit.at, window)


def _after(one: Series, at: int, window: int) -> Series:
    """What goes on after an alarm: compared with the window after it."""
    begin = at + window
    stream, ids, times = one.stream[begin:], one.ids[begin:], one.times[begin:]
    return replace(one, reference=one.stream[at:begin], stream=stream, ids=ids, times=times)


def _alarm(one: Series, hit: Found, share: float, before_it: int, number: int) -> Alarm:
    before = np.concatenate([one.reference, one.stream[: hit.begun]])
    after = one.stream[hit.begun : hit.at]
    if one.names:
        said, clear, facts = _of_labels(one, before, after)
    else:
        said, clear, facts = _of_sizes(one, before, after)
    chosen = [one.ids[hit.begun + int(place)] for place in clear[:EXAMPLES]]
    where = f" where {one.slice}" if one.slice else ""
    says = f"{one.watched}{where} changed within the last {len(after):,} of {before_it + hit.at:,} requests: {said}"
    return Alarm(
        watched=one.watched,
        view=one.view,
        slice=one.slice,
        number=number,
        at=float(one.times[hit.at - 1]),
        requests=before_it + hit.at,
        since=float(one.times[hit.begun]),
        chance=float(np.exp(-hit.log_wealth)) / share,
        says=says,
        examples=tuple(chosen),
        facts=facts,
    )


Shown = tuple[str, npt.NDArray[np.integer], dict[str, Any]]
"""What is said, places of the clearest values, and figures."""


def _of_sizes(one: Series, before: Floats, after: Floats) -> Shown:
    old, new = float(before.mean()), float(after.mean())
    clear = np.argsort(after if new < old else -after, kind="stable")
    return f"{one.view} went from {old:.3g} to {new:.3g}", clear, {"before": old, "after": new}


def _of_labels(one: Series, before: Floats, after: Floats) -> Shown:
    size = len(one.names)
    old, new = (np.bincount(values.astype(np.int64), minlength=size) + 0.5 for values in (before, after))
    old, new = old / old.sum(), new / new.sum()
    risen = np.argsort(-(new * np.log(new / old)), kind="stable")
    told = [int(label) for label in risen[:SAID] if new[label] > LEAST_CHANGE * old[label]]
    parts = [f"'{one.names[label]}' went from {old[label]:.1%} to {new[label]:.1%}" for label in told]
    clear = np.concatenate([np.zeros(0, dtype=np.int64), *(np.flatnonzero(after == label) for label in told)])
    facts = {"labels": {one.names[label]: [float(old[label]), float(new[label])] for label in told}}
    return f"{one.view}: {', '.join(parts) or 'many labels a little'}", clear, facts

"""Picks the values that the tables want out of a record, by their places, which are looked up once for a segment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from operator import itemgetter
from typing import Any

from sartor.core.traffic import HopRow
from sartor.store.traffic import tables
from sartor.store.traffic.frames import DEFAULTS, ERASED, EXCHANGE, FEEDBACK, TOMBSTONE, Header

PLACED = ("file", "place", "form", "expires")
"""Columns of an exchange that say where its content is."""
SORT_FIELDS = tuple(c.name for c in tables.sort.c if c.name != "number")
"""What many exchanges have alike."""
EXCHANGE_FIELDS = tuple(c.name for c in tables.exchange.c if c.name not in ("seq", "sort", "day", *PLACED))
"""What each has for itself, but for its hops."""
HOP_FIELDS = tuple(c.name for c in tables.hop.c if c.name not in ("exchange", "number"))
FEEDBACK_FIELDS = tuple(c.name for c in tables.feedback.c)
_HOP_DEFAULTS = {f.name: f.default for f in fields(HopRow) if f.default is not MISSING}

Pick = Callable[[Any], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Picks:
    """What gives the values of a record in the order of the fields."""

    exchange: Pick
    sort: Pick
    hops: Callable[[Any], Sequence[Any]]
    hop: Pick
    """Of one of the hops."""
    feedback: Pick
    erased: Pick


def of_segment(header: Header) -> Picks:
    """For rows of a segment: lists. Fields that it does not have yet are as they are by default."""
    names = header.names
    return Picks(
        _by_place(names[EXCHANGE], EXCHANGE_FIELDS, DEFAULTS[EXCHANGE]),
        _by_place(names[EXCHANGE], SORT_FIELDS, DEFAULTS[EXCHANGE]),
        itemgetter(names[EXCHANGE].index("hops")),
        _by_place(header.hop, HOP_FIELDS, _HOP_DEFAULTS),
        _by_place(names[FEEDBACK], FEEDBACK_FIELDS, DEFAULTS[FEEDBACK]),
        _by_place(names[ERASED], TOMBSTONE, {}),
    )


def of_names() -> Picks:
    """For rows that are mappings."""
    by_name = (_by_name(wanted) for wanted in (HOP_FIELDS, FEEDBACK_FIELDS, TOMBSTONE))
    return Picks(_by_name(EXCHANGE_FIELDS), _by_name(SORT_FIELDS), itemgetter("hops"), *by_name)


def _by_place(names: Sequence[str], wanted: Sequence[str], defaults: Mapping[str, Any]) -> Pick:
    missing = [name for name in wanted if name not in names]
    every, values = [*names, *missing], [defaults.get(name) for name in missing]
    pick = itemgetter(*map(every.index, wanted))
    return (lambda row: pick(row + values)) if missing else pick


def _by_name(wanted: Sequence[str]) -> Pick:
    return lambda row: tuple(map(row.get, wanted))

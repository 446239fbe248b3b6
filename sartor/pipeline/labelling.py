"""Sittings of people who label: which rows come before them, and what the gate is waiting for.

What somebody has before them is leased, so that two people are not asked the same by mistake; who leaves loses
nothing, and the leases lapse. Beside the dearest ignorance come a random share, rows that a second person labels, and
disputes for a third to decide. Knows no keyboard and no HTTP.
"""

import math
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sartor.core.errors import AskError, NotFoundError
from sartor.pipeline.label_pool import Desk, Entry, draw_of
from sartor.pipeline.label_words import How, check_label, named
from sartor.pipeline.label_worth import Worth, wanted, weigh
from sartor.store.claims import Claims

LEASE = 900.0
"""Seconds for which a row is somebody's after they last did something."""
NEEDY_SHARE = 0.5
"""Random share of a sitting while the gate waits for labels, since only a random sample is fit for a test."""
MOST_SIZE = 500


@dataclass(frozen=True)
class Item:
    """A row as it comes before somebody."""

    item: str
    text: str
    guesses: tuple[tuple[str, float], ...]
    """The model's likeliest answers, each with its chance; none where nothing was made yet."""
    picked: How
    gain: float
    """Money that its label is expected to save per 1,000 requests like those of the pool."""
    why: str = ""
    requests: int = 1
    """How many requests of the pool have this text."""
    said: tuple[str, ...] = ()
    """What others said, where somebody has to decide between them."""


@dataclass(frozen=True)
class Sitting:
    """What somebody has before them."""

    id: str
    task: str
    who: str
    items: tuple[Item, ...]
    labels: tuple[str, ...]
    price: float
    """Money that a label is reckoned to cost, from minutes and what a minute costs."""
    currency: str
    left: int
    """Rows of the pool that nobody has labelled."""
    says: str
    """What the gate is waiting for; '' where it waits for nothing."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        items = [
            asdict(item) | {"guesses": [{"label": label, "share": share} for label, share in item.guesses]}
            for item in self.items
        ]
        return asdict(self) | {"items": items}


def queue(
    desk: Desk, who: str, size: int = 20, *, focus: Sequence[str] = (), sitting: str = "", now: float | None = None
) -> Sitting:
    """The rows that somebody should label next, leased to them: the dearest ignorance first, others among them.

    Args:
        size: most rows.
        focus: only rows that the model takes for one of these labels, or nearly.
        sitting: goes on with it; '' begins one.

    Raises:
        AskError: there is nobody's name, or nothing to label; it says what to do.
        NotFoundError: `focus` names no label.
    """
    who, now, size = named(who), time.time() if now is None else now, min(size, MOST_SIZE)
    _check_focus(desk, focus)
    entries = desk.entries()
    claims = Claims(desk.shop.store.ledger.database)
    held = claims.held(desk.task.name, now=now)
    others = {item for item, people in held.items() if people - {who}}
    mine = {item for item, people in held.items() if who in people}
    free = [entry for entry in entries if _may(entry, who) and entry.item not in others]
    if not free:
        raise _nothing(desk, entries, who)
    worth = weigh(desk, entries)
    needs = wanted(desk, worth)
    allowed = _allowed(worth, free, focus, desk)
    chosen = _choose(desk, worth, size, allowed=allowed, mine=mine, needy=bool(needs.rows))
    taken = set(claims.take(desk.task.name, [item.item for item in chosen], who, until=now + LEASE, now=now, size=size))
    items = tuple(item for item in chosen if item.item in taken)
    return _sitting(desk, who, items, entries, ident=sitting, says=needs.says)


def dispute_sitting(desk: Desk, who: str) -> Sitting:
    """Every row on which others disagree, for somebody who has said nothing of it."""
    who = named(who)
    entries = desk.entries()
    disputed = [place for place, entry in enumerate(entries) if entry.disputed and _may(entry, who)]
    worth = weigh(desk, entries) if disputed else None
    items = [_item(worth, place, "adjudicate", 0.0) for place in disputed] if worth else []
    return _sitting(desk, who, items, entries)


def _sitting(
    desk: Desk, who: str, items: Sequence[Item], entries: Sequence[Entry], *, ident: str = "", says: str = ""
) -> Sitting:
    labelling = desk.task.labelling
    return Sitting(
        id=ident or f"s-{secrets.token_hex(6)}",
        task=desk.task.name,
        who=who,
        items=tuple(items),
        labels=desk.labels,
        price=labelling.seconds_per_row / 60.0 * labelling.minute_price,
        currency=desk.task.value.currency,
        left=sum(entry.is_open() for entry in entries),
        says=says,
    )


def renew(desk: Desk, who: str, items: Sequence[str], *, now: float | None = None) -> None:
    """Keep rows before somebody who is still at work."""
    now = time.time() if now is None else now
    claims = Claims(desk.shop.store.ledger.database)
    claims.take(desk.task.name, items, named(who), until=now + LEASE, now=now, size=len(items))


def _may(entry: Entry, who: str) -> bool:
    """Whether somebody may be asked about an entry: once, and not again where they could not tell."""
    return who not in entry.said and who not in entry.unsure and not entry.settled


def _check_focus(desk: Desk, focus: Sequence[str]) -> None:
    if focus and not desk.labels:
        raise AskError(
            f"'{desk.task.name}' writes its answers, so there are no labels to look for. Leave them out.",
            param="focus",
            code="no_labels",
        )
    for label in focus:
        check_label(desk, label)


def _allowed(worth: Worth, free: Iterable[Entry], focus: Sequence[str], desk: Desk) -> list[bool]:
    items = {entry.item for entry in free}
    allowed = np.array([entry.item in items for entry in worth.entries])
    if focus:
        wanted_labels = [desk.labels.index(label) for label in focus]
        best = np.argsort(-worth.shares, axis=1)[:, :3]
        allowed &= np.isin(best, wanted_labels).any(axis=1)
    return [bool(yes) for yes in allowed]


def _choose(desk: Desk, worth: Worth, size: int, *, allowed: list[bool], mine: set[str], needy: bool) -> list[Item]:
    """Rows of all kinds, those first that the person has before them already, the others spread among the dearest."""
    how = desk.task.labelling
    free = [(place, entry) for place, entry in enumerate(worth.entries) if allowed[place]]
    disputed = [place for place, entry in free if entry.disputed]
    second = [place for place, entry in free if len(entry.said) == 1 and (entry.suspect or is_double(desk, entry))]
    suspects = [place for place, entry in free if entry.suspect and entry.is_open()]
    unlabelled = [(entry.draw, place) for place, entry in free if entry.is_open()]
    share = max(how.random_share, NEEDY_SHARE) if needy else how.random_share
    drawn = [place for _, place in sorted(unlabelled)[: math.ceil(share * size)]] if share else []
    # Whoever decides and whoever repeats may not take the whole sitting, however much of that has piled up.
    special: dict[int, How] = dict.fromkeys(disputed[: max(size // 4, 1)], "adjudicate")
    special |= dict.fromkeys(second[: max(size // 2, 1)], "double")
    special |= dict.fromkeys(suspects[: max(size // 4, 1)], "value")
    special |= dict.fromkeys(drawn, "random")
    special = dict(list(special.items())[:size])
    dear = worth.best(size, [yes and place not in special for place, yes in enumerate(allowed)])
    found = [(int(place), "value", float(gain)) for place, gain in zip(dear.rows, dear.gain, strict=True)]
    ordered = _spread(found[: size - len(special)], [(place, kind, 0.0) for place, kind in special.items()])
    ordered.sort(key=lambda one: worth.entries[one[0]].item not in mine)
    return [_item(worth, place, kind, gain) for place, kind, gain in ordered]


_Chosen = tuple[int, Any, float]


def _spread(many: list[_Chosen], few: list[_Chosen]) -> list[_Chosen]:
    """The few at even distances among the many, so that a sitting that ends early has its part of each."""
    total = len(many) + len(few)
    places = {round((number + 0.5) * total / max(len(few), 1)) for number in range(len(few))}
    first, second, mixed = iter(many), iter(few), list[_Chosen]()
    for place in range(total):
        wanted_first = (second, first) if place in places else (first, second)
        mixed.append(next(wanted_first[0], None) or next(wanted_first[1]))
    return mixed


def _item(worth: Worth, place: int, picked: How, gain: float) -> Item:
    entry = worth.entries[place]
    said = tuple(sorted(set(entry.said.values()))) if picked == "adjudicate" else ()
    return Item(
        item=entry.item,
        text=entry.text,
        guesses=tuple(worth.guesses[place]),
        picked=picked,
        gain=1000.0 * gain / max(worth.requests, 1),
        why=entry.why,
        requests=entry.requests,
        said=said,
    )


def is_double(desk: Desk, entry: Entry) -> bool:
    """Whether an entry is one of those that two people label; a fixed random sample of all."""
    return draw_of(f"{desk.task.name} twice", entry.item) < desk.task.labelling.double_share


def _nothing(desk: Desk, entries: Sequence[Entry], who: str) -> NotFoundError:
    if entries:
        said = f"{who} has seen all of its {len(entries):,} texts, or others have them before them just now"
        todo = "Wait for more traffic, or let somebody else label: --who"
    else:
        said = "no exchange of it has kept content, and no row of its data set waits for a word"
        todo = "Let its route keep content (capture: {level: full}), or import labels: sartor labels import"
    return NotFoundError(f"There is nothing to label for '{desk.task.name}': {said}. {todo}.", code="nothing_to_label")

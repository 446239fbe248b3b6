"""What labelling has come to: labels by person, agreement, an unbiased estimate, minutes, and their booking."""

import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from sartor.core.errors import AskError
from sartor.core.records import Metric, Report, Run
from sartor.core.traffic import Feedback
from sartor.evaluation.agreement import Agreement, agreement
from sartor.evaluation.statistics import wilson
from sartor.pipeline.bookings import BOOKED, MOST, Booking, book
from sartor.pipeline.label_pool import Desk, Entry
from sartor.pipeline.label_worth import wanted, weigh
from sartor.pipeline.labelling import LEASE, is_double
from sartor.store.claims import Claims

LEAST_MINUTES = 0.01
"""Less is not booked yet."""


@dataclass(frozen=True)
class Settled:
    """What of people's time was booked now."""

    minutes: float
    money: float
    """In the currency of the books."""
    note: str = ""
    """Why nothing could be booked."""


def settle(desk: Desk, *, sitting: str = "", now: float | None = None) -> Settled:
    """Book the minutes of a sitting that are not booked yet; without one, those of all that have ended.

    What was said is read from the feedback, so a sitting that was killed is booked by whoever comes next; nothing is
    booked twice, since what stands in the books is subtracted.
    """
    now = time.time() if now is None else now
    labelling = desk.task.labelling
    spent, last = defaultdict[tuple[str, str], float](float), dict[tuple[str, str], float]()
    for said in _said(desk):
        if "sitting" in said.tags:
            key = (said.tags["sitting"], said.source_id)
            spent[key] += _seconds(said)
            last[key] = max(last.get(key, 0.0), said.at)
    booked = defaultdict[str, float](float)
    for run in desk.shop.store.ledger.find(
        Run, limit=MOST, verb=BOOKED, task=desk.task.name, plugin="economics/labelling"
    ):
        booked[str(run.params.get("note", ""))] += float(run.params.get("minutes") or 0.0)
    minutes = money = 0.0
    for key, seconds in sorted(spent.items()):
        note = f"sitting {key[0]} of {key[1]}"
        due = seconds / 60.0 - booked[note]
        over = key[0] == sitting if sitting else last[key] < now - LEASE
        if not over or due < LEAST_MINUTES or not labelling.minute_price:
            continue
        hourly = 60.0 * labelling.minute_price
        currency = desk.task.value.currency
        try:
            run = book(
                desk.shop,
                Booking("labelling", desk.task.name, minutes=due, hourly=hourly, currency=currency, note=note),
            )
        except AskError as error:  # no rate for the task's currency: the time is kept, and booked once there is one
            return Settled(minutes, money, error.message)
        minutes, money = minutes + due, money + run.cost
    return Settled(minutes, money)


def _said(desk: Desk) -> list[Feedback]:
    index = desk.shop.store.traffic.index
    index.catch_up()
    return [said for said in index.all_feedback(desk.tenant) if said.tags.get("task") == desk.task.name]


def _seconds(said: Feedback) -> float:
    try:
        return max(float(said.tags.get("seconds", "0")), 0.0)
    except ValueError:  # tags are the sender's own words
        return 0.0


def agreed(desk: Desk) -> Agreement:
    """How far people agree on the rows that several of them labelled; who decided between others is not counted."""
    return _agreed(desk, desk.entries())


def _agreed(desk: Desk, entries: list[Entry]) -> Agreement:
    return agreement([entry.said for entry in entries], confidence=desk.task.gate.confidence, seed=desk.task.seed)


def disputes(desk: Desk) -> list[dict[str, Any]]:
    """Rows on which people disagree and nobody has decided."""
    found = [entry for entry in desk.entries() if entry.disputed]
    return [{"item": entry.item, "text": entry.text, "said": dict(sorted(entry.said.items()))} for entry in found]


def report_agreement(desk: Desk) -> Report:
    """Agreement as it stands now, on record."""
    found = agreed(desk)
    kappa = Metric(
        value=found.kappa,
        low=found.low,
        high=found.high,
        n=found.rows,
        note="" if found.kappa is not None else "no two people have labelled the same rows, or all said the same",
    )
    report = Report(
        purpose="labels",
        subject=desk.variant.digest if desk.variant else desk.task.name,
        title="agreement of people",
        task=desk.task.name,
        metrics={"kappa": kappa, "agreed": Metric(value=found.agreed, n=found.rows)},
        facts=asdict(found),
    )
    desk.shop.store.ledger.put(report)
    return report


def status(desk: Desk, *, now: float | None = None) -> dict[str, Any]:
    """How far labelling has come, what it cost, how far people agree, and what is wanted."""
    now = time.time() if now is None else now
    said = _said(desk)
    entries = desk.entries()
    worth = weigh(desk, entries) if entries else None
    needs = wanted(desk, worth)
    held = Claims(desk.shop.store.ledger.database).held(desk.task.name, now=now)
    labels = [word for word in said if word.metric == "demonstration"]
    minutes = sum(map(_seconds, said)) / 60.0
    still_open = [entry for entry in entries if entry.is_open()]
    return {
        "task": desk.task.name,
        "texts": len(entries),
        "open": len(still_open),
        "labelled": len(entries) - len(still_open),
        "before_people": len(held),
        "doubted": sum(entry.doubt > 0 for entry in still_open),
        "disputes": sum(entry.disputed for entry in entries),
        "waiting_for_a_second": sum(len(entry.said) == 1 and is_double(desk, entry) for entry in entries),
        "by_person": dict(sorted(Counter(word.source_id for word in labels).items())),
        "by_pick": dict(sorted(Counter(word.tags.get("picked", "") for word in labels).items())),
        "minutes": round(minutes, 2),
        "money": round(minutes * desk.task.labelling.minute_price, 4),
        "seconds_per_label": round(60.0 * minutes / len(labels), 1) if labels else None,
        "currency": desk.task.value.currency,
        "lost_per_1000": None if worth is None else 1000.0 * float(worth.lost.sum()) / worth.requests,
        "agreement": asdict(_agreed(desk, entries)),
        "right": _right(desk, entries),
        "wanted": {"rows": needs.rows, "labels": [asdict(short) for short in needs.labels], "says": needs.says},
    }


def _right(desk: Desk, entries: list[Entry]) -> dict[str, Any]:
    """Share of right answers of what answered, from the rows that are a random sample of the pool.

    Every row has a random number of its own. Those below the least number that nobody has labelled yet were labelled
    whatever they are worth, so they are a simple random sample of texts, however each of them came up. Who could not
    tell leaves a gap, and is told.
    """
    asked = [entry for entry in entries if not entry.item.startswith("row:")]
    until = min((e.draw for e in asked if e.is_open() and not e.unsure), default=1.0)
    sample = [entry for entry in asked if entry.draw < until]
    known = [entry for entry in sample if entry.label and entry.answered]
    right = sum(entry.label == entry.answered for entry in known)
    low, high = wilson(right, len(known), desk.task.gate.confidence) if known else (None, None)
    share = right / len(known) if known else None
    return {"rows": len(known), "share": share, "low": low, "high": high, "not_told": len(sample) - len(known)}

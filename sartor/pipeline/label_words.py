"""What people say of rows: kept as feedback, taken back, checked. On disk when it is acknowledged.

A label is a feedback (`demonstration`, by a person) on an exchange or on `row:ID`, so that everything which reads
feedback sees it. Its tags say how the row came up: `picked` (`value`, `random`, `double`, `adjudicate`, `import`),
`draw` (the row's own random number), `sample: random` where it belongs to the random share, `settles` where it decides
between others, `sitting` and `seconds`. Who can't tell leaves a `comment` with the tag `unsure`. Knows no queue.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sartor.core.canonical import digest
from sartor.core.errors import AskError, NotFoundError, unknown
from sartor.core.traffic import WITHDRAWS, Feedback
from sartor.feedback.said import SAMPLE, SETTLES
from sartor.pipeline.answerable import reads_of
from sartor.pipeline.harvest_reading import ROW
from sartor.pipeline.label_pool import HOUSE, UNSURE, Desk, draw_of
from sartor.store.claims import Claims

How = Literal["value", "random", "double", "adjudicate", "import"]
"""Why a row came before somebody."""
PAUSE = 6.0
"""Times `seconds_per_row`: whoever took longer over a row was elsewhere, and only so much is counted."""
LONGEST_NAME = 100


def named(who: str) -> str:
    """A labeller's name, as it is kept.

    Raises:
        AskError: there is none, or it is too long.
    """
    cleaned = " ".join(who.split())
    if not cleaned or cleaned == "unknown" or len(cleaned) > LONGEST_NAME:
        raise AskError(
            f"Whose labels are these? Give a name of at most {LONGEST_NAME} characters, since several people may "
            "label: --who anna, or 'who' over HTTP.",
            param="who",
            code="no_labeller",
        )
    return cleaned


@dataclass(frozen=True)
class Given:
    """What somebody said of a row."""

    item: str
    who: str
    label: str = ""
    """'' where they can't tell."""
    picked: How = "value"
    sitting: str = ""
    seconds: float = 0.0
    """How long it was before them."""
    key: str = ""
    """Id of the access key with which it came; '' where there was none."""


def answer(desk: Desk, given: Given, *, now: float | None = None) -> dict[str, Any]:
    """Keep what somebody said; it is on disk when this returns. The same again changes nothing.

    Raises:
        AskError: no name, or an unknown way of picking; who decides has taken part in the dispute; what should be a
            document is none.
        NotFoundError: no such label (the nearest is named), or no such row.
    """
    now = time.time() if now is None else now
    said = feedback_of(desk, given, now)
    if said is None:
        return {"item": given.item, "label": given.label, "new": False}
    pen = desk.shop.store.traffic.pen
    pen.append_feedback(said, sync=False)
    pen.flush()
    desk.shop.store.traffic.index.catch_up()
    Claims(desk.shop.store.ledger.database).release(desk.task.name, said.source_id, [given.item])
    label = said.value if said.metric == "demonstration" else ""
    return {"item": given.item, "label": label, "id": said.id, "new": True}


def feedback_of(desk: Desk, given: Given, at: float) -> Feedback | None:
    """What somebody said, as it is kept; None where they have said so before and it stands."""
    who = named(given.who)
    if given.label:
        given = replace(given, label=check_label(desk, given.label))
    if given.picked not in get_args(How):
        raise unknown("way to pick rows", given.picked, get_args(How), param="picked")
    tenant = _tenant_of(desk, given.item)
    stands = _words(desk, tenant, given.item)
    mine = [word for word in stands if word.source_id == who]
    if mine and _label_in(mine[-1]) == given.label:
        return None
    settles = given.picked == "adjudicate" and bool(given.label)
    if settles and mine:
        raise AskError(
            f"{who} has labelled '{given.item}' already: somebody else has to decide.", param="who", code="own_dispute"
        )
    tags = {"picked": given.picked, "task": desk.task.name, "draw": f"{draw_of(desk.task.name, given.item):.9f}"}
    tags |= {SAMPLE: "random"} if given.picked == "random" else {}
    tags |= {SETTLES: "yes"} if settles else {}
    tags |= {"sitting": given.sitting} if given.sitting else {}
    tags |= {"seconds": f"{counted(desk, given.seconds):.1f}"} if given.seconds > 0 else {}
    tags |= {} if given.label else {UNSURE: "yes"}
    return Feedback(
        id=_new_id(desk, tenant, given, who),
        at=at,
        tenant=tenant,
        metric="demonstration" if given.label else "comment",
        value=given.label or "can't tell",
        exchange=given.item,
        source="human",
        source_id=who,
        tags=tags,
        key=given.key,
    )


def undo(desk: Desk, item: str, who: str, *, now: float | None = None) -> dict[str, Any]:
    """Take back the last thing that somebody said of a row; the log keeps both words.

    Raises:
        NotFoundError: no such row, or they have said nothing of it.
    """
    who, now = named(who), time.time() if now is None else now
    tenant = _tenant_of(desk, item)
    mine = [word for word in _words(desk, tenant, item) if word.source_id == who]
    if not mine:
        raise NotFoundError(f"{who} has said nothing of '{item[:80]}' that could be taken back.", code="nothing_said")
    tags = {WITHDRAWS: mine[-1].id, "task": desk.task.name}
    back = Feedback(
        f"{mine[-1].id}-back", now, tenant, "comment", "taken back", exchange=item, source_id=who, tags=tags
    )
    pen = desk.shop.store.traffic.pen
    pen.append_feedback(back, sync=False)
    pen.flush()
    desk.shop.store.traffic.index.catch_up()
    return {"item": item, "label": _label_in(mine[-1]), "taken_back": mine[-1].id}


def leave(desk: Desk, who: str) -> None:
    """Let go what somebody has before them."""
    Claims(desk.shop.store.ledger.database).release(desk.task.name, named(who))


def check_label(desk: Desk, label: str) -> str:
    """An answer in its one form; what is none is refused.

    Raises:
        NotFoundError: it is no label; the nearest is named, and the known ones.
        AskError: it is no answer that could have been written.
    """
    if not desk.labels:
        return reads_of(desk.task)(label)
    if label not in desk.labels:
        raise unknown("label", label[:80], desk.labels, param="label")
    return label


def _tenant_of(desk: Desk, item: str) -> str:
    """Whose row it is.

    Raises:
        NotFoundError: there is no such row that may be labelled.
    """
    if item.startswith(ROW):
        if item.removeprefix(ROW) in desk.waiting:
            return HOUSE
    else:
        index = desk.shop.store.traffic.index
        found = index.exchange(desk.tenant, item)
        if found is None:
            index.catch_up()
            found = index.exchange(desk.tenant, item)
        if found is not None and found.task == desk.task.name:
            return found.tenant
    raise NotFoundError(
        f"There is no row '{item[:128]}' of '{desk.task.name}' to label. Take rows from the queue: sartor label "
        f"{desk.task.name}",
        param="item",
        code="row_not_found",
    )


def _words(desk: Desk, tenant: str, item: str) -> list[Feedback]:
    """What people have said here of a row and stands, oldest first."""
    index = desk.shop.store.traffic.index
    if item.startswith(ROW):
        found = [f for f in index.all_feedback(tenant) if f.exchange == item]
    else:
        found = index.feedback_of(tenant, item)
    mine = [f for f in found if f.metric == "demonstration" or UNSURE in f.tags]
    return [f for f in mine if f.source == "human" and f.tags.get("task", desk.task.name) == desk.task.name]


def _label_in(word: Feedback) -> str:
    return "" if UNSURE in word.tags else str(word.value)


def _new_id(desk: Desk, tenant: str, given: Given, who: str) -> str:
    """The same words have the same id, until they were taken back or others came between."""
    index, number = desk.shop.store.traffic.index, 0
    while True:
        about = [desk.task.name, given.item, who, given.label, number]
        found = f"label-{digest(about)[:24]}"
        if index.feedback(tenant, found) is None:
            return found
        number += 1


def counted(desk: Desk, seconds: float) -> float:
    """Seconds that count as work: a pause does not."""
    return min(seconds, PAUSE * desk.task.labelling.seconds_per_row) if math.isfinite(seconds) else 0.0

"""What traffic holds for a task: its exchanges with everything that was said of each, and the input that stands in it.

Reads log and index; decides nothing. Late outcomes find their exchange by the business key, whichever came first.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from sartor.core.errors import AskError, NotFoundError
from sartor.core.relabel import added, gone
from sartor.core.task import Task
from sartor.core.traffic import Exchange, Feedback, withdrawn
from sartor.data.kind import kind_of
from sartor.feedback.said import Heard, hear
from sartor.gateway.unpack import find_input
from sartor.pipeline.answerable import answerable
from sartor.pipeline.workshop import Workshop
from sartor.store.traffic.queries import Filters

PAGE = 1000
MOST_BYTES = 128 * 1024
"""Of one input."""
ROW = "row:"
"""Begins what feedback names instead of an exchange where it is about a row of a data set."""


@dataclass(frozen=True)
class Spoken:
    """An exchange, and what was said of it."""

    exchange: Exchange
    business: str
    """Keyed digest of its business key, given with the request or later; '' where there is none."""
    heard: Heard


@dataclass(frozen=True)
class Read:
    """What is left of an exchange's content."""

    state: str
    """kept; erased; none: not kept, or past its days; hashed; unreadable: the task finds no input in it."""
    inputs: dict[str, str]
    text: str


def spoken(
    shop: Workshop, task: Task, labels: Collection[str], *, tenant: str | None, until: float | None
) -> list[Spoken]:
    """The answered exchanges of a task, oldest first.

    Args:
        until: seconds since 1970; what happened and was said from then on is not looked at.
    """
    index = shop.store.traffic.index
    index.catch_up()
    said = [_in_form(item, task) for item in _standing(index.all_feedback(tenant), task, until)]
    by_exchange: defaultdict[tuple[str, str], list[Feedback]] = defaultdict(list)
    by_business: defaultdict[tuple[str, str], list[Feedback]] = defaultdict(list)
    for item in said:
        if item.exchange:
            by_exchange[item.tenant, item.exchange].append(item)
        elif item.business:
            by_business[item.tenant, item.business].append(item)
    found = []
    for exchange in _exchanges(shop, task, tenant, until):
        named = by_exchange[exchange.tenant, exchange.id]
        keys = {key for key in (exchange.business, *(item.business for item in named)) if key}
        told = named + [item for key in sorted(keys) for item in by_business[exchange.tenant, key]]
        business = exchange.business or (min(keys) if keys else "")
        found.append(Spoken(exchange, business, hear(exchange, told, labels, task.feedback, task.relabel)))
    return sorted(found, key=lambda one: (one.exchange.at, one.exchange.id))


def _in_form(said: Feedback, task: Task) -> Feedback:
    """What was said in its one form: what came before its exchange was kept as it came. What is no answer stays so."""
    if said.metric == "demonstration" and isinstance(said.value, str):
        with suppress(AskError):
            return replace(said, value=kind_of(task).read(task, said.value))
    return said


def _exchanges(shop: Workshop, task: Task, tenant: str | None, until: float | None) -> Iterator[Exchange]:
    """Those that were answered; one that only watched is the same question once more."""
    index, after = shop.store.traffic.index, ""
    while True:
        page = index.exchanges(tenant, Filters(task=task.name, until=until), after=after, limit=PAGE)
        yield from (e for e in page.rows if e.endpoint in ("chat", "completions") and e.status == 200)
        after = page.after
        if not after:
            return


def read_content(shop: Workshop, task: Task, exchange: Exchange) -> Read:
    """The input that the task finds in an exchange."""
    kept = shop.store.traffic.read(exchange.tenant, exchange.id)
    if kept.state != "kept" or kept.content is None:
        return Read(kept.state, {}, "")
    with suppress(AskError, ValueError):
        request = orjson.loads(kept.content.asked)
        one = find_input(request, task, id=exchange.id, max_bytes=MOST_BYTES) if isinstance(request, dict) else None
        if one is not None:
            return Read("kept", dict(one.inputs), one.text)
    return Read("unreadable", {}, "")


def _standing(said: Sequence[Feedback], task: Task, until: float | None) -> list[Feedback]:
    """What had been said of this task by then, and was not taken back."""
    told = [item for item in said if until is None or item.at < until]
    back = withdrawn(told)
    return [item for item in told if item.id not in back and item.tags.get("task", task.name) == task.name]


def said_of_rows(
    shop: Workshop, task: Task | None = None, *, tenant: str | None, until: float | None
) -> dict[str, list[Feedback]]:
    """Feedback on rows of data sets, by the row's id, oldest first; of one task only what stands."""
    index = shop.store.traffic.index
    index.catch_up()
    found: defaultdict[str, list[Feedback]] = defaultdict(list)
    said = index.all_feedback(tenant)
    for item in _standing(said, task, until) if task else said:
        if item.exchange.startswith(ROW) and (until is None or item.at < until):
            found[item.exchange.removeprefix(ROW)].append(item)
    return dict(found)


def known_labels(shop: Workshop, task: Task) -> Sequence[str]:
    """The labels that an answer may be: the task's own, else those of what is live; where answers are written, all
    that can be read.

    Raises:
        NotFoundError: neither is there.
    """
    if kind_of(task).written:
        return answerable(task, ())
    live = shop.store.ledger.resolve(f"{task.name}@live")
    given = set(task.labels) or set(getattr(shop.store.ledger.get(live.digest), "labels", ()) if live else ())
    if not given:
        raise NotFoundError(
            f"Harvesting for '{task.name}' failed: its labels are not known, since the task names none and no variant "
            "of it is live. Name them under 'labels', or run the task first: sartor run",
            code="no_labels",
            param="labels",
        )
    return tuple(sorted((given | added(task.relabel)) - gone(task.relabel)))

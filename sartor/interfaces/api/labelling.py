"""Labelling over HTTP: what the command line has, kept to the caller's tenant. A console is built on these."""

from dataclasses import asdict
from typing import Any

from sartor.core.access import NO_TENANT, Caller
from sartor.core.errors import unknown
from sartor.interfaces.api.labels_forms import Leaving, NextRows, Said
from sartor.pipeline.workshop import Workshop
from sartor.store.credentials import EVERY_TENANT
from sartor.store.traffic.queries import Filters


def next_rows(shop: Workshop, caller: Caller, task: str, asked: NextRows) -> Any:
    """The rows that somebody should label next, leased to them for a quarter of an hour."""
    from sartor.pipeline.label_books import settle
    from sartor.pipeline.labelling import queue

    desk = _desk(shop, caller, task)
    settle(desk)
    return queue(desk, asked.who, asked.size, focus=asked.focus, sitting=asked.sitting)


def label_row(shop: Workshop, caller: Caller, task: str, asked: Said) -> dict[str, Any]:
    """Keep what somebody said of a row; it is on disk when this answers."""
    from sartor.pipeline.label_words import Given, answer

    given = Given(asked.item, asked.who, asked.label, asked.picked, asked.sitting, asked.seconds, caller.key)
    return answer(_desk(shop, caller, task), given)


def take_back_label(shop: Workshop, caller: Caller, task: str, who: str, item: str) -> dict[str, Any]:
    """Take back the last thing that somebody said of a row."""
    from sartor.pipeline.label_words import undo

    return undo(_desk(shop, caller, task), item, who)


def end_sitting(shop: Workshop, caller: Caller, task: str, asked: Leaving) -> dict[str, Any]:
    """Let go of what somebody has before them, and book their minutes."""
    from sartor.pipeline.label_books import settle
    from sartor.pipeline.label_words import leave

    desk = _desk(shop, caller, task)
    leave(desk, asked.who)
    return {"booked": asdict(settle(desk, sitting=asked.sitting))}


def labels_status(shop: Workshop, caller: Caller, task: str) -> dict[str, Any]:
    """How far labelling is, what it cost, how far people agree, and how many labels the gate waits for."""
    from sartor.pipeline.label_books import status

    return status(_desk(shop, caller, task))


def labels_agreement(shop: Workshop, caller: Caller, task: str) -> dict[str, Any]:
    """How far people agree beyond chance, and where they don't."""
    from sartor.pipeline.label_books import agreed, disputes

    desk = _desk(shop, caller, task)
    return asdict(agreed(desk)) | {"disputes": disputes(desk)}


def _desk(shop: Workshop, caller: Caller, task: str) -> Any:
    """The task as the caller sees it; of a task that it has no traffic of, a tenant is told nothing."""
    from sartor.pipeline.label_pool import open_desk

    tenant = None if caller.tenant == EVERY_TENANT else caller.tenant
    if tenant not in (None, NO_TENANT):
        index = shop.store.traffic.index
        index.catch_up()
        if not index.exchanges(tenant, Filters(task=task), limit=1).rows:
            raise unknown("task", task, (), param="task", code="task_not_found")
    return open_desk(shop, task, tenant)

"""Takes feedback in: durable before the sender is told so, once however often it comes, joined at any time."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sartor.core.access import Caller
from sartor.core.errors import ConflictError, ForbiddenError
from sartor.core.task import FeedbackMetric
from sartor.core.traffic import Exchange, Feedback
from sartor.feedback.reading import Reads, check, cleaned, read
from sartor.feedback.said import SAMPLE, SETTLES
from sartor.store.traffic.index import TrafficIndex


class Log(Protocol):
    """Where feedback is written; `TrafficLog` is one."""

    def append_feedback(self, feedback: Feedback, *, sync: bool = True) -> Awaitable[None] | None:
        """Write it down; awaiting what is returned is having it on disk.

        Raises:
            StoreError: it can't be written.
        """
        ...

    def flush(self) -> None:
        """Wait until everything that was written down before is on disk.

        Raises:
            StoreError: it is not.
        """
        ...


class Inbox:
    """Where feedback of one store goes."""

    def __init__(
        self,
        log: Log,
        index: TrafficIndex,
        *,
        mark: Callable[[str], str],
        redact: Callable[[str], str],
        labels_of: Callable[[str], Sequence[str]] = lambda _task: (),
        reads_of: Callable[[str], Reads | None] = lambda _task: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take feedback into a log.

        Args:
            mark: keyed digest of a business key, the same as the recorder's.
            redact: a text without personal data; comments and rationales pass it.
            labels_of: the labels that a task has now, by its name; empty where that is not known.
            reads_of: what brings an answer to a task to its one form; None where that is not known.
        """
        self._log, self._index, self._mark, self._redact = log, index, mark, redact
        self._labels_of, self._reads_of, self._clock = labels_of, reads_of, clock

    async def receive(
        self, caller: Caller, body: Mapping[str, Any], metrics: Mapping[str, FeedbackMetric]
    ) -> dict[str, Any]:
        """Keep what became of an exchange; it is on disk when this returns.

        The exchange may be unknown, since it may come later: the feedback is kept, and joined then. Another tenant's
        exchange is as unknown as one that is not there. Comments and rationales are redacted, not encrypted:
        erasing a person leaves what was said of an answer.

        Args:
            body: `{exchange_id or business_key, metric, value, source, source_id, rationale, tags, id}`.
            metrics: what the tasks that the caller sees declare, by name.

        Returns:
            `id`, and `joined`: whether its exchange is known already.

        Raises:
            AskError: its form is wrong, or its value is not of the metric's type.
            ForbiddenError: a tag of it is for those who label.
            NotFoundError: there is no such metric.
            ConflictError: another feedback of this id is there.
            StoreError: it could not be written.
        """
        said = read(body, tenant=caller.tenant, key=caller.key, at=self._clock(), new_id=_new_id, mark=self._mark)
        _refuse_reserved(caller, said)
        before, exchange = await asyncio.to_thread(self._look, said)
        if before is None and exchange is None and said.exchange:
            # Who answers at once speaks of an exchange that this process has still in memory.
            await asyncio.to_thread(self._log.flush)
            before, exchange = await asyncio.to_thread(self._look, said)
        check(said.metric, said.value, metrics, self._labels_of(exchange.task) if exchange and exchange.task else ())
        reads = self._reads_of(exchange.task) if exchange and exchange.task else None
        if reads is not None and said.metric == "demonstration":
            said = replace(said, value=reads(str(said.value)))
        said = cleaned(said, self._redact)
        if before is None:
            await self._write(said)
            before, exchange = await asyncio.to_thread(self._look, said)
        _refuse_other(before, said)
        return {"object": "feedback", "id": said.id, "joined": exchange is not None}

    def _look(self, said: Feedback) -> tuple[Feedback | None, Exchange | None]:
        """What is there of this id, and its exchange."""
        self._index.catch_up()
        exchange = self._index.exchange(said.tenant, said.exchange) if said.exchange else None
        if exchange is None and said.business:
            for id_ in self._index.by_business(said.tenant, said.business, limit=1):
                exchange = self._index.exchange(said.tenant, id_)
        return self._index.feedback(said.tenant, said.id), exchange

    async def _write(self, said: Feedback) -> None:
        written = self._log.append_feedback(said)
        if written is not None:
            await written


def _refuse_reserved(caller: Caller, said: Feedback) -> None:
    """Whoever could settle a conflict, or pass for a random audit, could teach what they like."""
    taken = [tag for tag in (SETTLES, SAMPLE) if tag in said.tags]
    if taken and not caller.may("operate"):
        raise ForbiddenError(
            f"The tag '{taken[0]}' is for people who label, with a key of the role operator. Leave it out.",
            param="tags",
            code="reserved_tag",
        )


def _refuse_other(before: Feedback | None, said: Feedback) -> None:
    if before is not None and replace(before, at=said.at, key=said.key) != said:
        raise ConflictError(
            f"Feedback '{said.id}' is there already and says something else. Send yours under an id of its own.",
            param="id",
            code="feedback_conflict",
        )


def _new_id() -> str:
    return f"fb-{secrets.token_hex(12)}"

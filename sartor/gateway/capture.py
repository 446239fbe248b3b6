"""Writes down what happened at the gateway: decides how much of the content is kept, and hands it to the log.

Runs on the way of every request, so it only looks things up; redacting, encrypting and writing are the log's work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from sartor.core.errors import StoreError
from sartor.core.route import Capture
from sartor.core.traffic import Content, Exchange, Feedback
from sartor.gateway.policy import draw
from sartor.store.traffic.log import TrafficLog
from sartor.store.traffic.treatment import Treatment

MOST_SPECS = 1024
"""Routes' capture settings remembered."""


class Recorder:
    """One per process."""

    def __init__(self, log: TrafficLog, *, redact: Callable[[str], str], mark: Callable[[str], str]) -> None:
        """Write to a log.

        Args:
            redact: a text without the personal data that has a form; called on the log's thread.
            mark: keyed digest of a user or a business key.
        """
        self._log, self._redact = log, redact
        self.mark = mark
        """The keyed digest that stands for a user or a business key in an exchange."""
        self._treatments: dict[int, tuple[Capture, Treatment, bool, bool]] = {}

    def record(self, exchange: Exchange, content: Content | None, spec: Capture) -> Awaitable[None] | None:
        """Write down what happened; the accounting row always, the content as the route says.

        The exchange must not be changed afterwards. `exchange.subject` and `.business` are digests by `mark`.

        Returns:
            With durability `sync` something to wait for before the answer goes out: it ends when the exchange is on
            disk, and raises StoreError (507) where the disk takes nothing, since the route promised that what is
            answered is on disk. With `async` None: serving goes on, and `counts` tell what was dropped.
        """
        known = self._treatments.get(id(spec))
        if known is None:
            known = self._learn(spec)
        _, how, sync, whole = known
        if not whole and content is not None and not keeps(spec, exchange.id):
            content = None
        return self._log.append(exchange, content, sync=sync, how=how)

    def _learn(self, spec: Capture) -> tuple[Capture, Treatment, bool, bool]:
        if len(self._treatments) >= MOST_SPECS:
            self._treatments.clear()
        how = Treatment(
            hashed=spec.level == "hash",
            redact=self._redact if spec.redact else None,
            encrypt=spec.encrypt,
            days=spec.days,
        )
        # The spec is kept with it: its id stays its own as long as it is alive.
        known = self._treatments[id(spec)] = (spec, how, spec.durability == "sync", spec.level in ("full", "hash"))
        return known

    def counts(self) -> Mapping[str, int]:
        """What was written and dropped since the start: `written`, `dropped_content`, `dropped_records`, `failures`."""
        tally = self._log.tally
        return {
            "written": tally.written,
            "dropped_content": tally.dropped_content,
            "dropped_records": tally.dropped_records,
            "failures": tally.failures,
        }

    async def close(self) -> None:
        """Write what is waiting, and end."""
        await asyncio.to_thread(self._log.close)


class Unwritten:
    """Stands for recorder and log where the store can't be written: answers go on, and what is dropped is counted."""

    def __init__(self, why: StoreError) -> None:
        """Say `why` to whoever was promised that something is on disk."""
        self._why = why
        self._dropped = 0

    def mark(self, _: str) -> str:
        """Nothing: what would carry the mark is not kept."""
        return ""

    def record(self, exchange: Exchange, content: Content | None, spec: Capture) -> Awaitable[None] | None:  # noqa: ARG002
        """Drop it. With durability `sync` what is returned raises StoreError when it is awaited."""
        self._dropped += 1
        return self._refuse() if spec.durability == "sync" else None

    def append_feedback(self, feedback: Feedback, *, sync: bool = True) -> None:  # noqa: ARG002
        """Refuse it.

        Raises:
            StoreError: always; nothing was promised before.
        """
        raise self._why

    def flush(self) -> None:
        """Nothing is waiting."""

    def counts(self) -> Mapping[str, int]:
        """What was dropped since the start."""
        return {"written": 0, "dropped_content": 0, "dropped_records": self._dropped, "failures": 0}

    async def close(self) -> None:
        """Nothing is waiting."""

    async def _refuse(self) -> None:
        raise self._why


def keeps(spec: Capture, exchange: str) -> bool:
    """Whether the content of an exchange is kept, in whatever form; which are sampled depends on the id alone."""
    if spec.level == "sampled":
        return draw("capture", exchange) < spec.share
    return spec.level != "off"

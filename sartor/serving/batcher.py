"""Gathers questions that arrive one by one into mixed batches. Knows nothing of HTTP and nothing of labels.

While a batch is computed, the next one fills: a lone caller never waits, and under load batches grow by themselves.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sartor.serving.engine import Work
from sartor.serving.fleet import Answered

Compute = Callable[[Work], list[Answered]]
"""`Fleet.probabilities` is one."""


@dataclass(frozen=True, slots=True)
class _Question:
    variant: str
    text: str
    answer: "asyncio.Future[Answered]"


class Batcher:
    """Asks for many callers at once. Lives in one event loop; one batch is computed at a time, in a thread."""

    def __init__(
        self,
        compute: Compute,
        *,
        load: Callable[[str], None] | None = None,
        max_batch: int = 64,
        max_wait: float = 0.002,
    ) -> None:
        """Gather for `compute`.

        Args:
            load: called once for each variant before its first question, in a thread beside the batches, so that
                one that loads slowly keeps nobody else waiting.
            max_batch: questions in one batch.
            max_wait: seconds that a batch waits for company where the one before had any.
        """
        self._compute = compute
        self._load = load
        self._loaded: dict[str, asyncio.Task[None]] = {}
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._waiting: deque[_Question] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, variant: str, text: str) -> Answered:
        """The answer to one question. A caller that is cancelled leaves its batch undisturbed."""
        if self._load is not None:
            await self._ready(self._load, variant)
        question = _Question(variant, text, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await question.answer

    async def _ready(self, load: Callable[[str], None], variant: str) -> None:
        loading = self._loaded.get(variant)
        if loading is None:
            loading = self._loaded[variant] = asyncio.create_task(asyncio.to_thread(load, variant))
        if not loading.done():
            await asyncio.wait([loading])
        if loading.exception() is not None:
            self._loaded.pop(variant, None)  # the next question tries again
            await loading

    async def _work(self) -> None:
        company = False
        while self._waiting:
            if company and len(self._waiting) < self._max_batch:
                await asyncio.sleep(self._max_wait)
            size = min(self._max_batch, len(self._waiting))
            batch = [q for q in (self._waiting.popleft() for _ in range(size)) if not q.answer.done()]
            company = len(batch) > 1
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[_Question]) -> None:
        try:
            answers = await asyncio.to_thread(self._compute, [(q.variant, q.text) for q in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
            if len(batch) > 1:
                # One bad question must not fail its neighbours: each is asked again alone.
                for question in batch:
                    await self._answer([question])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        for question, answered in zip(batch, answers, strict=True):
            if not question.answer.done():
                question.answer.set_result(answered)

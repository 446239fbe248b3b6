"""Gathers questions that arrive one by one into mixed batches. Knows nothing of HTTP and nothing of labels.

While a batch is computed, the next one fills: a lone caller never waits, and under load batches grow by themselves.
What was measured to be quick is computed in the event loop: a thread would cost more than the answer.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sartor.serving.engine import Work
from sartor.serving.fleet import Answered

Compute = Callable[[Work], list[Answered]]
"""`Fleet.probabilities` is one."""


QUICK_SECONDS = 300e-6
"""Longest that a batch may hold up the event loop, as far as its variants' questions have taken lately."""
QUICK_CHARACTERS = 2000
"""Longer texts may take longer than what was measured: they go to a thread."""
LATELY = 0.1
"""Weight of the last measurement in the mean."""


@dataclass(frozen=True, slots=True)
class _Question:
    variant: str
    text: str
    answer: "asyncio.Future[Answered]"


class Batcher:
    """Asks for many callers at once. Lives in one event loop; one batch is computed at a time."""

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
        self._took: dict[str, float] = {}
        """Variant -> seconds that one question to it takes."""
        self._at_work = False
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, variant: str, text: str) -> Answered:
        """The answer to one question. A caller that is cancelled leaves its batch undisturbed."""
        if self._load is not None:
            await self._ready(self._load, variant)
        loop = asyncio.get_running_loop()
        question = _Question(variant, text, loop.create_future())
        self._waiting.append(question)
        if not self._at_work:
            self._at_work = True
            loop.call_soon(self._begin)  # after those who ask in this same turn of the loop
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

    def _begin(self) -> None:
        if self._quick():
            self._at_work = False
            batch = [question for question in self._waiting if not question.answer.done()]
            self._waiting.clear()
            if batch:
                _deliver(batch, self._answers(batch))
        else:
            self._worker = asyncio.create_task(self._work())

    def _quick(self) -> bool:
        """Whether all that waits can be computed in the event loop without anybody noticing."""
        seconds = 0.0
        for question in self._waiting:
            if len(question.text) > QUICK_CHARACTERS:
                return False
            seconds += self._took.get(question.variant, QUICK_SECONDS)
        return seconds < QUICK_SECONDS

    async def _work(self) -> None:
        company = False
        try:
            while self._waiting:
                if company and len(self._waiting) < self._max_batch:
                    await asyncio.sleep(self._max_wait)
                size = min(self._max_batch, len(self._waiting))
                batch = [q for q in (self._waiting.popleft() for _ in range(size)) if not q.answer.done()]
                company = len(batch) > 1
                if batch:
                    _deliver(batch, await asyncio.to_thread(self._answers, batch))
        finally:
            self._at_work = False

    def _answers(self, batch: list[_Question]) -> list[Answered | Exception]:
        """What becomes of each question; wherever it is called, it computes there."""
        begun = time.perf_counter()
        try:
            found = self._compute([(question.variant, question.text) for question in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
            # One bad question must not fail its neighbours: each is asked again alone.
            return [error] if len(batch) == 1 else [self._answers([question])[0] for question in batch]
        each = (time.perf_counter() - begun) / max(len(batch), 1)
        for variant in {question.variant for question in batch}:
            before = self._took.get(variant, each)
            self._took[variant] = before + LATELY * (each - before)
        return [*found]


def _deliver(batch: list[_Question], found: list[Answered | Exception]) -> None:
    for question, answered in zip(batch, found, strict=True):
        if question.answer.done():
            continue
        if isinstance(answered, Exception):
            question.answer.set_exception(answered)
        else:
            question.answer.set_result(answered)

"""The declared upstreams, asked from any thread: by recipes that look for a prompt, by engines that answer with one.

The same client as the gateway's, with its keys, times, repeats and prices. Knows nothing of prompts.
"""

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sartor.core.predict import Prediction, Predictor, Request
from sartor.core.records import UpstreamRecord
from sartor.core.route import Upstream
from sartor.pipeline.declared import UPSTREAM, standing
from sartor.pipeline.upstreams import open_declared
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import Told

MOST = 16
"""Requests under way at once to one upstream, by one who asks here."""


class DeclaredUpstreams:
    """`serving.engine.Upstreams` over a store. Safe to use from several threads."""

    def __init__(self, shop: Workshop) -> None:
        """Connect to nobody yet."""
        self._shop = shop
        self._open: dict[str, tuple[str, Predictor]] = {}

    def ask(self, upstream: str, chats: Sequence[Mapping[str, Any]]) -> list[Told]:
        """One answer per chat, in order; blocks.

        Raises:
            NotFoundError: no upstream of this name is declared; those there are get listed.
            UpstreamError: it did not answer, or refused.
        """
        record, _ = standing(self._shop, upstream, UPSTREAM)
        assert isinstance(record, UpstreamRecord)
        asked = self._ask(record, [Request("", chat=dict(chat)) for chat in chats])
        return asyncio.run_coroutine_threadsafe(asked, _loop()).result()

    async def _ask(self, record: UpstreamRecord, requests: Sequence[Request]) -> list[Told]:
        spec = Upstream.model_validate(record.spec)
        if self._open.get(spec.name, ("",))[0] != record.digest:
            self._open[spec.name] = (record.digest, open_declared(self._shop, spec, clock=time.monotonic))
        predictor = self._open[spec.name][1]
        places = asyncio.Semaphore(min(MOST, spec.concurrency))

        async def one(request: Request) -> Told:
            async with places:
                return _told((await predictor.predict([request]))[0])

        tasks = [asyncio.ensure_future(one(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:  # what is paid for and thrown away is kept small
                task.cancel()
            raise


def _told(found: Prediction) -> Told:
    choice: Mapping[str, Any] = {}
    if found.reply:
        said = json.loads(found.reply)
        choice = (said.get("choices") or [{}])[0]
    tokens = ((choice.get("logprobs") or {}).get("content")) or ()
    return Told(
        text=found.output or "",
        usage=found.usage,
        cost=found.cost,
        finish=str(choice.get("finish_reason") or "stop"),
        logprobs=tuple((str(token["token"]), float(token["logprob"])) for token in tokens),
    )


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    """The one loop in which this process asks for callers that have none of their own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="asking-others", daemon=True).start()
    return loop

"""The declared upstreams, asked from any thread: by recipes that look for a prompt, by engines that answer with one.

The same client as the gateway's, with its keys, times, repeats and prices. What was asked while a model is made or
inspected is kept, so that a killed run pays nothing twice. Knows nothing of prompts.
"""

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from sartor.core.canonical import canonical, digest
from sartor.core.licence import Licence
from sartor.core.predict import Prediction, Predictor, Request, Usage
from sartor.core.records import Artifact, Record, UpstreamRecord
from sartor.core.route import Upstream
from sartor.pipeline.memo import Step, once
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import Told, Upstreams

MOST = 16
"""Requests under way at once to one upstream, by one who asks here."""
KEPT = 64
"""Answers that are kept at once."""


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
        record = declared(self._shop, upstream)
        asked = self._ask(record, [Request("", chat=dict(chat)) for chat in chats])
        return asyncio.run_coroutine_threadsafe(asked, _loop()).result()

    async def _ask(self, record: UpstreamRecord, requests: Sequence[Request]) -> list[Told]:
        from sartor.pipeline.upstreams import open_declared

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


class KeptUpstreams:
    """The same, every answer kept in the store: the same upstream is not asked the same again."""

    def __init__(self, shop: Workshop, others: Upstreams | None = None) -> None:
        """Ask `others` for what is not there yet; default the declared upstreams."""
        self._shop, self._others = shop, others or DeclaredUpstreams(shop)

    def ask(self, upstream: str, chats: Sequence[Mapping[str, Any]]) -> list[Told]:
        """One answer per chat, in order; raises what `DeclaredUpstreams.ask` does."""
        record = declared(self._shop, upstream)
        found: list[Told] = []
        for start in range(0, len(chats), KEPT):
            found += self._some(record, chats[start : start + KEPT])
        return found

    def _some(self, record: UpstreamRecord, chats: Sequence[Mapping[str, Any]]) -> list[Told]:
        step = Step(
            "ask", "", f"upstream/{record.name}", (), {"upstream": record.digest}, {"chats": digest(list(chats))}
        )

        def work(_: Path) -> dict[str, Record]:
            told = self._others.ask(record.name, chats)
            kept = self._shop.store.vault.put_bytes(canonical([asdict(one) for one in told]))
            return {
                "answers": Artifact(
                    name=f"asked/{record.name}",
                    files={"answers.json": kept},
                    made_by=f"upstream/{record.name}",
                    licence=Licence.of(Upstream.model_validate(record.spec).licence),
                    facts={"upstream": record.digest, "answers": len(told)},
                )
            }

        made = once(self._shop, step, work)["answers"]
        assert isinstance(made, Artifact)
        read = json.loads(self._shop.store.vault.read(made.files["answers.json"]))
        return [_again(one) for one in read]


def declared(shop: Workshop, upstream: str) -> UpstreamRecord:
    """The upstream of this name as it is declared now.

    Raises:
        NotFoundError: there is none; those there are get listed.
    """
    from sartor.pipeline.declared import UPSTREAM, standing  # it stands above those that make and serve

    record, _ = standing(shop, upstream, UPSTREAM)
    assert isinstance(record, UpstreamRecord)
    return record


def _again(kept: Mapping[str, Any]) -> Told:
    pairs = tuple((str(token), float(score)) for token, score in kept["logprobs"])
    return Told(kept["text"], Usage(**kept["usage"]), kept["cost"], kept["finish"], pairs)


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

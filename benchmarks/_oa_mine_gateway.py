"""A tagger in front of GPT-4 through the running gateway: recorded answers are replayed, costs stand in the ledger.

Titles go out as an application sends them, by the official client, with instructions and ten examples of their kind.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._oa_mine import Rows, count, f1
from benchmarks._served import process, write_rows
from benchmarks._shared import HOME
from sartor.core.predict import Floats
from sartor.core.records import Variant
from sartor.core.route import Route, TokenPrice, Upstream
from sartor.core.traffic import NANO
from sartor.pipeline.routes import declare_route
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register
from sartor.store.traffic.queries import Filters

PRICE = TokenPrice(input_million=30.0, output_million=60.0, currency="EUR", source="GPT-4's list price, 1 USD as 1 EUR")
SHOTS = 10
AT_ONCE = 8
INSTRUCTIONS = "Give the attributes of the product as JSON, each spelled as in the title; n/a where there is none."


def through_gateway(shop: Workshop, data: Rows, variant: Variant, confidence: Floats, share: float) -> dict[str, Any]:
    """F1, cost and share of what the gateway answered itself, the cascade beside GPT-4 alone.

    Args:
        confidence: (validation rows,) of the variant; the least sure `share` of them set the threshold.
    """
    handle = register(shop.store.ledger, variant).name
    replay = write_rows(HOME / "oa_mine-replay.jsonl", _recorded(data))
    recorded = ("--text", "text", "--answer", "gpt4", "--model", "gpt-4", "--port", "0")
    began = time.time()
    with process("gateway", "replay", str(replay), *recorded) as giant, process("serve", "--port", "0") as gateway:
        declare_upstream(shop, Upstream(name="gpt-4", base_url=f"{giant}/v1", allow_private=True, price=PRICE))
        declare_route(shop, Route(name="titles-alone", policy="gpt-4"))
        policy: dict[str, Any] = {"use": "cascade", "local": handle, "to": "gpt-4", "by": "threshold"}
        policy |= {"threshold": float(np.quantile(confidence, share))}
        declare_route(shop, Route(name="titles", task=variant.task, policy=policy, unmatched="gpt-4"))
        _until_answered(f"{gateway}/v1", {"titles-alone", "titles"})
        said = {name: asyncio.run(_ask(f"{gateway}/v1", name, data)) for name in ("titles-alone", "titles")}
    shop.store.traffic.index.catch_up()
    return {name: _figures(shop, name, began, said[name], data) for name in said}


def _recorded(data: Rows) -> list[dict[str, str]]:
    return [{"text": title, "gpt4": said} for title, said in zip(data.titles, data.giants["gpt4"], strict=True)]


def _shots(data: Rows) -> dict[str, list[dict[str, str]]]:
    """Category -> the messages before a title: what to do, and ten examples of it."""
    found: dict[str, list[dict[str, str]]] = {}
    for line in data.train.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        before = found.setdefault(row["category"], [{"role": "system", "content": INSTRUCTIONS}])
        if len(before) <= 2 * SHOTS:
            before.append({"role": "user", "content": row["text"]})
            before.append({"role": "assistant", "content": json.dumps(row["attributes"], ensure_ascii=False)})
    return found


def _until_answered(address: str, names: set[str]) -> None:
    """Wait until the routes are there: their models have to be loaded."""
    import openai

    with openai.OpenAI(base_url=address, api_key="none") as client:
        while not names <= {model.id for model in client.models.list()}:
            time.sleep(0.5)


async def _ask(address: str, model: str, data: Rows) -> list[str]:
    import openai

    gate, shots = asyncio.Semaphore(AT_ONCE), _shots(data)
    async with openai.AsyncOpenAI(base_url=address, api_key="none", max_retries=2) as client:

        async def one(title: str) -> str:
            asked: Any = [*shots[title.partition(":")[0]], {"role": "user", "content": title}]
            async with gate:
                done = await client.chat.completions.create(model=model, messages=asked, temperature=0)
            return done.choices[0].message.content or ""

        return list(await asyncio.gather(*(one(title) for title in data.titles)))


def _figures(shop: Workshop, name: str, since: float, said: Sequence[str], data: Rows) -> dict[str, float]:
    index, filters = shop.store.traffic.index, Filters(route=name, since=since)
    (total,) = index.totals(None, (), filters)
    asked = sum(row["count"] for row in index.totals(None, ("kind",), filters, hops=True) if row["kind"] == "upstream")
    published, strict = f1(count(data.truths, list(said), data.schema))
    return {
        "published": published,
        "strict": strict,
        "local": 1.0 - asked / total["count"],
        "per_1000": 1000.0 * total["cost"] / NANO / total["count"],
    }

"""Canaries through the real gateway: recorded answers of giants on both sides, feedback on every exchange.

One canary is the same model again; one is a worse model. The server's own keeper judges and acts, as it would at work.
"""

import asyncio
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._served import process, write_rows
from benchmarks._shared import data_folder
from sartor.core.records import Decision
from sartor.core.route import Route, TokenPrice, Upstream
from sartor.interfaces.settings import Settings
from sartor.pipeline.canary import see
from sartor.pipeline.routes import declare_route, show_route
from sartor.pipeline.stages import stage_canary
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop

JUDGE = {"margin": 0.02, "failures": 0.05, "latency": 0.5, "slowest": 2.0, "min_units": 300}
PRICE = TokenPrice(input_million=0.0, output_million=0.0, currency="EUR")
MOST = 6_000
"""Requests that are sent before it is given up."""
AT_ONCE = 16
BLOCK = 200
"""Requests between two looks at whether the canary still stands."""

Rows = list[dict[str, str]]


def through_gateway() -> dict[str, dict[str, Any]]:
    """One canary that is the same again, one that is worse: what the gateway made of each."""
    path = data_folder() / "banking77" / "test.jsonl"
    rows = [row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()) if _answered(row)]
    with tempfile.TemporaryDirectory(prefix="sartor-canary-") as folder:
        home = Path(folder)
        environment = {"SARTOR_HOME": folder, "SARTOR_KEY": str(home / "key")}
        kept = write_rows(home / "rows.jsonl", rows)
        replay = ("gateway", "replay", str(kept), "--text", "text", "--port", "0")
        with (
            process(*replay, "--answer", "gpt4", "--model", "better", **environment) as better,
            process(*replay, "--answer", "gpt35", "--model", "worse", **environment) as worse,
        ):
            shop = _declare(home, {"better": better, "again": better, "worse": worse})
            with process("serve", "--port", "0", **environment) as gateway:
                found = {}
                for name in ("again", "worse"):
                    stage_canary(shop, name, f"upstream-{name}", share=0.5, judge=JUDGE)
                    time.sleep(2)
                    found[name] = asyncio.run(_drive(shop, gateway, name, rows))
            shop.store.close()
    return found


def _answered(row: dict[str, str]) -> bool:
    return bool(row["gpt4"] and row["gpt35"])


def _declare(home: Path, addresses: dict[str, str]) -> Workshop:
    shop = Settings.read(home).workshop()
    for name, address in addresses.items():
        model = "worse" if name == "worse" else "better"
        spec = {"name": f"upstream-{name}", "model": model, "allow_private": True, "price": PRICE}
        declare_upstream(shop, Upstream.model_validate(spec | {"base_url": f"{address}/v1"}))
    for name in ("again", "worse"):
        declare_route(shop, Route(name=name, policy="upstream-better"))
    return shop


async def _drive(shop: Workshop, gateway: str, name: str, rows: Rows) -> dict[str, Any]:
    """Send requests and what became of them until the canary is gone, or enough were sent."""
    import openai

    gate, sent = asyncio.Semaphore(AT_ONCE), 0
    async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=2) as client:

        async def one(number: int, row: dict[str, str]) -> None:
            async with gate:
                asked: Any = [{"role": "user", "content": row["text"]}]
                done = await client.chat.completions.create(model=name, messages=asked, user=f"user-{number}")
                right = done.choices[0].message.content == row["label"]
                body = {"inference_id": done.id, "metric": "correct", "value": right, "source": "outcome"}
                await client.post("/feedback", cast_to=object, body=body)

        numbered = enumerate(itertools.cycle(rows))
        while sent < MOST and show_route(shop, name)["stage"] == "canary":
            block = list(itertools.islice(numbered, BLOCK))
            await asyncio.gather(*(one(number, row) for number, row in block))
            sent += len(block)
    await asyncio.sleep(4)
    shop.store.traffic.index.catch_up()
    stage = show_route(shop, name)["stage"]
    decisions = [d for d in shop.store.ledger.find(Decision, task=name, verb="canary") if d.policy]
    verdict = decisions[0].verdict if decisions else "none"
    says = list(decisions[0].reasons) if decisions else list(see(shop, name).verdict.reasons)
    return {
        "requests": sent,
        "stage": stage,
        "verdict": {"ship": "promote", "hold": "stop"}.get(verdict, verdict),
        "says": says,
    }

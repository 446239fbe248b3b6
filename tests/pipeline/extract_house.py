"""An extract task on generated titles, its real gateway on loopback, and a giant whose answers are on record."""

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.claims import as_text
from sartor.core.route import Capture, Route, Upstream
from sartor.core.task import Task
from sartor.gateway.wire.server import serve
from sartor.pipeline.data_plane import open_station
from sartor.pipeline.replay import open_replay
from sartor.pipeline.routes import declare_route
from sartor.pipeline.upstreams import declare_upstream
from sartor.pipeline.workshop import Workshop

BRANDS = ("Acme", "Blue Door", "Corvo", "Dahl & Son")
SCHEMA = {
    "type": "object",
    "properties": {
        "brand": {"type": "string"},
        "weight": {"type": "string"},
        "organic": {"type": "boolean"},
        "flavours": {"type": "array", "items": {"type": "string"}},
    },
}
BODY: dict[str, Any] = {
    "name": "goods",
    "kind": "extract",
    "answer": {"json_schema": SCHEMA},
    "data": {"sources": [{"use": "jsonl", "path": "goods.jsonl", "licence": "owned"}]},
    "value": {"wrong": 1.0, "missed": 0.6, "invented": 0.6},
    "incumbent": {"kind": "none"},
    "candidates": [{"recipe": "rules"}],
    "gate": {"floor": "rules", "guards": {}, "max_calibration_error": 1.0, "min_rows": 20},
    "learn": {"harvest": {"source_share": 1.0, "subject_share": 1.0}, "strategies": [{"use": "scratch"}]},
    "wheel": {"ship": "auto"},
    "labelling": {"double_share": 1.0},
}
UNREADABLE = "I can't say."
"""What the giant says where it fails."""


def goods(rows: int, seed: int, brands: tuple[str, ...] = BRANDS) -> list[dict[str, Any]]:
    """Titles with what they say, and what a giant said of them: words for nothing, a fence, now and then no JSON."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(rows):
        brand, grams = brands[draw.integers(len(brands))], int(draw.integers(1, 900))
        organic, flavours = bool(draw.integers(2)), ["mint", "lemon", "rose"][: draw.integers(1, 4)]
        where = "from certified farms" if organic else "from fields"
        text = f"{brand} tea, {' and '.join(flavours)}, {grams} g, {where} {seed}{number}"
        right = {"brand": brand, "weight": f"{grams} g", "organic": organic, "flavours": flavours}
        said = json.dumps(right | {"flavours": flavours if number % 4 else "n/a"}, indent=1)
        giant = UNREADABLE if number % 10 == 9 else f"```json\n{said}\n```" if number % 2 else said
        found.append({"text": text, "label": right, "giant": giant, "at": f"2026-01-{number % 28 + 1:02d}"})
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def task(**fields: Any) -> Task:
    return Task.model_validate(BODY | fields)


class Gateway:
    """A real gateway over a store, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        asked = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(asked) as answered:
                return answered.status, json.load(answered)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def ask(self, text: str, model: str = "goods", **more: Any) -> tuple[str, str]:
        """Id of the exchange, and the answer."""
        chat = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        status, body = self.post("/v1/chat/completions", chat)
        assert status == 200, body
        return body["id"], body["choices"][0]["message"]["content"]

    def say(self, exchange: str, right: Any, **more: Any) -> tuple[int, dict[str, Any]]:
        """A correction."""
        value = right if isinstance(right, str) else json.dumps(right)
        body = {"exchange_id": exchange, "metric": "demonstration", "value": value, "source_id": "ann"} | more
        return self.post("/v1/feedback", body)


@contextmanager
def gateway(shop: Workshop) -> Iterator[Gateway]:
    """The gateway of a store, for as long as the block lasts."""
    with _served(lambda: open_station(shop), lambda station: station.app.handle) as url:
        yield Gateway(url)


@contextmanager
def giant(shop: Workshop, path: Path) -> Iterator[None]:
    """An upstream `giant` that gives recorded answers."""
    with _served(lambda: open_replay(path, answers={"giant": "giant"}), lambda server: server.handle) as url:
        price = {"input_million": 30.0, "output_million": 60.0, "currency": "EUR"}
        body = {"name": "giant", "base_url": f"{url}/v1", "allow_private": True, "price": price}
        declare_upstream(shop, Upstream.model_validate(body))
        yield


@contextmanager
def _served(open_it: Any, handle_of: Any) -> Iterator[str]:
    ready, over = threading.Event(), threading.Event()
    found: dict[str, Any] = {}

    async def main() -> None:
        thing = open_it()
        if hasattr(thing, "start"):
            await thing.start()
        listening = socket.create_server(("127.0.0.1", 0))
        wire = await serve(handle_of(thing), [listening])
        found["url"] = f"http://127.0.0.1:{listening.getsockname()[1]}"
        ready.set()
        await asyncio.to_thread(over.wait)
        await wire.drain(0.2)
        if hasattr(thing, "close"):
            await thing.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(60)
        yield found["url"]
    finally:
        over.set()
        thread.join()


def routed(shop: Workshop, name: str = "goods", **more: Any) -> None:
    """A route of the task that keeps what goes through it."""
    fields: dict[str, Any] = {"policy": "goods@live", "capture": Capture(level="full")} | more
    declare_route(shop, Route(name=name, task="goods", **fields))


def text_of(row: Mapping[str, Any]) -> str:
    """The right answer in its one form."""
    return as_text(row["label"])

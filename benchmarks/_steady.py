"""A steady load on a gateway, by the clock, whatever the answers do; each answer is kept with when and by what."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from benchmarks._ours import Ours

CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    asked: str
    """The model that was asked for."""
    begun: float
    """`time.monotonic`."""
    ended: float
    status: int
    by: str
    """What answered, as the answer says."""
    error: str = ""


@dataclass
class Steady:
    """A load that runs in a thread."""

    said: list[Said] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def failed(self) -> list[Said]:
        """Answers that were none."""
        return [one for one in self.said if one.status != 200]

    def milliseconds(self, since: float = 0.0, until: float = np.inf) -> dict[str, float]:
        """Median and 99th percentile of the answers that began between two times."""
        took = [1000.0 * (one.ended - one.begun) for one in self.said if since <= one.begun < until]
        if not took:
            return {"p50": 0.0, "p99": 0.0}
        return dict(zip(("p50", "p99"), np.percentile(took, [50, 99]).round(2).tolist(), strict=True))


@contextmanager
def steady(server: Ours, models: Sequence[str], texts: Sequence[str], rate: float) -> Iterator[Steady]:
    """Ask the models in turn at a rate until the block ends."""
    load = Steady()
    thread = threading.Thread(target=lambda: asyncio.run(_drive(server, models, texts, rate, load)), daemon=True)
    thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        thread.join(timeout=60)


async def _drive(server: Ours, models: Sequence[str], texts: Sequence[str], rate: float, load: Steady) -> None:
    due, begun = itertools.count(), time.monotonic()
    port = int(server.url.split(":")[2].split("/")[0])

    async def in_turn() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not load.stop.is_set():
            number = next(due)
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            model = models[number % len(models)]
            load.said.append(await _one(reader, writer, server, model, texts[number % len(texts)]))
        writer.close()

    await asyncio.gather(*(in_turn() for _ in range(CONNECTIONS)))


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Ours, model: str, text: str) -> Said:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began = time.monotonic()
    try:
        async with asyncio.timeout(30):
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            said = await reader.readexactly(length)
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        return Said(model, began, time.monotonic(), 0, "", f"{type(error).__name__}: {error}")
    status = int(answer.split(b" ", 2)[1])
    by = json.loads(said).get("model", "") if status == 200 else ""
    return Said(model, began, time.monotonic(), status, by, "" if status == 200 else said.decode()[:300])

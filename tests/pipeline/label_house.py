"""A task with a live variant and captured exchanges that nobody has labelled."""

import json
import time
from pathlib import Path
from typing import Any

from sartor.core.route import Capture
from sartor.core.traffic import Content, Exchange
from sartor.gateway.capture import Recorder
from sartor.pipeline.workshop import Workshop

BODY = {
    "name": "desk",
    "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
    "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
    "candidates": [{"recipe": "linear", "size": "small"}],
    "gate": {"min_rows": 50, "guards": {}},
}
ASKED = {
    "card": ("my card is gone", "a card never came to me", "was my card taken", "which card do you send"),
    "transfer": ("no transfer today", "my transfer is late", "the transfer never came", "who got the transfer"),
}


def capture(shop: Workshop, rows: list[tuple[str, str, str]], **more: Any) -> list[str]:
    """Let (text, answered label, user) have been asked; ids of the exchanges, `chatcmpl-0` and so on."""
    traffic = shop.store.traffic
    log = traffic.log("w0")
    recorder = Recorder(log, redact=lambda said: said, mark=traffic.mark)
    index = traffic.index
    index.catch_up()
    first = len(index.exchanges(None, limit=10_000).rows)
    ids = []
    for number, (text, answered, subject) in enumerate(rows, start=first):
        asked = {"model": "desk", "messages": [{"role": "user", "content": text}]}
        common: dict[str, Any] = {"tenant": "default", "key": "", "route": "desk", "model": "desk", "task": "desk"}
        one = Exchange(id=f"chatcmpl-{number}", at=time.time(), label=answered, subject=subject, **common | more)
        recorder.record(one, Content(json.dumps(asked).encode(), b"{}"), Capture())
        ids.append(one.id)
    log.flush()
    log.close()
    index.catch_up()
    return ids


def texts(count: int) -> list[tuple[str, str, str]]:
    """Different texts, each answered."""
    return [
        (f"{ASKED[label][number // 2 % 4]} {number}", label, f"u{number}")
        for number in range(count)
        for label in [("card", "transfer")[number % 2]]
    ]


def write_csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

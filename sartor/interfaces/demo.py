"""The demo: a real task through the whole chain, then a real server asked a real question over HTTP."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sartor.core.errors import UpstreamError
from sartor.pipeline.plan import plan
from sartor.pipeline.run import RunResult, run
from sartor.pipeline.task_file import load_yaml, parse_task, read_task
from sartor.pipeline.workshop import Workshop

QUESTION = "Stomach ulcer with bleeding"
DEARER = """
  - {recipe: tune, base: minilm}
  - {recipe: blend, name: "blend:linear+tune", of: [linear, "tune:minilm"]}
"""
"""Rungs that take longer than a demo should."""


@dataclass(frozen=True)
class Played:
    """What the demo did."""

    result: RunResult
    question: str
    answer: str
    headers: str
    exchange: str
    """Id under which the exchange was captured."""
    task_file: Path
    dearer_seconds: float
    """About how many CPU seconds the dearer rungs would take; 0 where they were made."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        asked = {"question": self.question, "answer": self.answer, "headers": self.headers, "exchange": self.exchange}
        offered = {"command": "sartor demo --full", "cpu_seconds": self.dearer_seconds}
        return self.result.body() | {"asked": asked, "task_file": str(self.task_file), "dearer": offered}


def play(shop: Workshop, folder: Path, *, full: bool) -> Played:
    """Run the demo's task, serve what is live, and ask it one question."""
    folder.mkdir(parents=True, exist_ok=True)
    task_file = folder / "task.yaml"
    whole = demo_text().replace("\ngate:", DEARER.rstrip() + "\ngate:")
    task_file.write_text(whole if full else demo_text(), encoding="utf-8")
    task = read_task(task_file)
    result = run(shop, task, folder)
    with serving(shop) as url:
        answer, exchange, headers = ask(url, task.name, QUESTION)
    shown = ", ".join(f"{name.removeprefix('x-sartor-')} {value[:24]}" for name, value in headers.items())
    steps = plan(shop, parse_task(whole), folder)
    dearer = sum(step.seconds for step in steps if not step.cached)
    return Played(result, QUESTION, answer, shown, exchange, task_file, dearer)


def demo_text() -> str:
    """The demo's task file."""
    return files("sartor.interfaces").joinpath("demo_task.yaml").read_text(encoding="utf-8")


def demo_body() -> dict[str, Any]:
    """The demo's task as a dict."""
    body: dict[str, Any] = load_yaml(demo_text(), "the demo's task")
    return body


@contextmanager
def serving(shop: Workshop) -> Iterator[str]:
    """A real server on a free loopback port, for as long as the block lasts; yields its address."""
    from sartor.interfaces.http import bind
    from sartor.interfaces.worker import Place, answer

    up = threading.Event()
    stops: list[Callable[[], object]] = []

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        place = Place("demo", str(shop.store.root), (listening.fileno(),), drain_seconds=5.0)
        await answer(shop, place, stop, lambda _: up.set())

    with bind("127.0.0.1", 0) as listening, ThreadPoolExecutor(1) as beside:
        served = beside.submit(asyncio.run, serve())
        try:
            while not up.wait(0.02):
                if served.done():
                    served.result()
                    raise UpstreamError("The server stopped before it could answer.", retryable=False)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            with suppress(RuntimeError):  # its loop has ended already, and the future says why
                for stop in stops:
                    stop()
        served.result()


def ask(url: str, model: str, question: str) -> tuple[str, str, dict[str, str]]:
    """One chat completion over HTTP: the answer, its id, and the x-sartor headers that came with it."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": question}]}).encode()
    request = urllib.request.Request(  # noqa: S310 - the address is the server started above
        f"{url}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        headers = {k.lower(): v for k, v in response.headers.items() if k.lower().startswith("x-sartor-")}
        done = json.load(response)
    return done["choices"][0]["message"]["content"], done["id"], headers

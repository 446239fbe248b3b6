"""Written answers from the engine process: pieces in order, the whole with its claims, an end to what nobody wants."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from sartor.core.errors import AskError
from sartor.core.predict import Claim, Doubts, Usage, Wish
from sartor.serving.engine import Written
from sartor.serving.fleet import Answered
from sartor.serving.remote import EngineServer, RemoteEngine

pytestmark = pytest.mark.anyio

EMPTY = np.empty(0)
WRITTEN = Written("two words", (), Usage(3, 2, 0.5), 0.25, "length", (("two", -0.5), (" words", -1.5)), 0.125)
WHOLE = Answered(
    EMPTY, 0.25, EMPTY, 0.5, (Claim("/a/0", {"b": None}, 0.75, 0.125, (1, 4)),), Doubts(0.5, (2.0, -1.0)), WRITTEN
)


class Scribe:
    """Says what it was asked; writes for ever where it is asked for `ever`."""

    def __init__(self) -> None:
        self.wishes: list[Wish | None] = []
        self.closed = asyncio.Event()

    async def ask(self, variant: str, text: str) -> Answered:
        return WHOLE

    async def embed(self, engine: str, base: str, texts: object) -> object:
        raise AssertionError

    async def write(self, variant: str, text: str, wish: Wish | None = None) -> AsyncIterator[str | Answered]:
        self.wishes.append(wish)
        if variant == "refuses":
            raise AskError("too long", code="context_length_exceeded", param="messages")
        try:
            yield "two"
            while variant == "ever":
                yield " more"
                await asyncio.sleep(0.001)
            yield " words"
            yield WHOLE
        finally:
            self.closed.set()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_pieces_come_over_and_what_is_left_is_ended(tmp_path: Path) -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "engine.sock"))
    bound.listen(8)
    scribe = Scribe()
    server = EngineServer(scribe)  # type: ignore[arg-type]
    await server.start(bound)
    worker = RemoteEngine(tmp_path / "engine.sock")
    wish = Wish(max_tokens=4, stop=("x",), temperature=0.5, seed=3, json_schema={"type": "object"}, logprobs=True)
    *pieces, whole = [piece async for piece in worker.write("v", "text", wish)]
    assert pieces == ["two", " words"]
    assert scribe.wishes == [wish]
    for found in (whole, await worker.ask("v", "text")):
        assert isinstance(found, Answered)
        assert found.written == WRITTEN
        assert (found.claims, found.doubts, found.out_of_scope) == (WHOLE.claims, WHOLE.doubts, 0.25)
        assert (found.cpu_seconds, len(found.probabilities)) == (0.5, 0)
    with pytest.raises(AskError, match="too long") as caught:
        _ = [piece async for piece in worker.write("refuses", "text")]
    assert caught.value.code == "context_length_exceeded"
    scribe.closed.clear()
    endless = worker.write("ever", "text")
    assert await anext(endless) == "two"
    await endless.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(scribe.closed.wait(), 10)
    worker.close()
    await server.close()

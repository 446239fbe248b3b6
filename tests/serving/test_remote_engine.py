"""The engine process: its answers are the models' own, and it may die under questions."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_house import TEXTS, House

from sartor.core.errors import AskError, BusyError, OverdueError, SartorError
from sartor.core.predict import Floats
from sartor.serving.batcher import Batcher, Compute
from sartor.serving.engine import Work
from sartor.serving.fleet import Answered
from sartor.serving.remote import EngineServer, RemoteEngine

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


def listening(folder: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(folder / "engine.sock"))
    bound.listen(128)
    return bound


class Echo:
    """Models that say what they were asked, or fail."""

    async def ask(self, variant: str, text: str) -> Answered:
        if variant == "slow":
            await asyncio.sleep(30)
        if variant == "refuses":
            raise AskError("no such thing", code="no_thing", param="text")
        if variant == "fails":
            raise ZeroDivisionError("x / 0")
        return Answered(np.array([float(text), 0.5]), 1.5, np.array([-1.0, 1e-300]), 0.25)

    async def embed(self, engine: str, base: str, texts: Sequence[str]) -> Floats:
        return np.array([[len(engine), len(base), len(text)] for text in texts], np.float32)


class Gathered(Echo):
    """Real variants behind a batcher."""

    def __init__(self, compute: Compute) -> None:
        self.ask = Batcher(compute).ask  # type: ignore[method-assign]


async def test_answers_are_bit_for_bit_those_of_the_models(house: House, tiny_linear: Any, tmp_path: Path) -> None:
    variant = house.add("linear", tiny_linear.folder)
    fleet = house.fleet()
    sizes: list[int] = []

    def compute(work: Work) -> list[Answered]:
        sizes.append(len(work))
        return fleet.probabilities(work)

    server = EngineServer(Gathered(compute))
    await server.start(listening(tmp_path))
    workers = [RemoteEngine(tmp_path / "engine.sock") for _ in range(3)]
    answers = await asyncio.gather(*(w.ask(variant, text) for _ in range(5) for text in TEXTS for w in workers))
    plain = fleet.probabilities([(variant, text) for _ in range(5) for text in TEXTS for _ in workers])
    for one, two in zip(answers, plain, strict=True):
        assert one.probabilities.tobytes() == two.probabilities.astype(np.float64).tobytes()
        assert one.logits.tobytes() == two.logits.astype(np.float64).tobytes()
        assert one.out_of_scope == two.out_of_scope
    assert max(sizes) > len(TEXTS), "questions of several workers share a batch"
    blocking = await asyncio.to_thread(workers[0].probabilities, [(variant, text) for text in TEXTS])
    assert [b.out_of_scope for b in blocking] == [a.out_of_scope for a in answers[:: len(workers)][: len(TEXTS)]]
    for worker in workers:
        worker.close()
    await server.close()


async def test_errors_keep_their_kind_and_a_late_answer_is_none(tmp_path: Path) -> None:
    server = EngineServer(Echo())
    await server.start(listening(tmp_path))
    engine = RemoteEngine(tmp_path / "engine.sock", deadline=0.2)
    with pytest.raises(AskError, match="no such thing") as refused:
        await engine.ask("refuses", "1")
    assert (refused.value.code, refused.value.param, refused.value.http_status) == ("no_thing", "text", 400)
    with pytest.raises(SartorError, match="ZeroDivisionError") as failed:
        await engine.ask("fails", "1")
    assert failed.value.http_status == 500
    with pytest.raises(OverdueError):
        await engine.ask("slow", "1")
    assert (await engine.ask("v", "7")).probabilities.tolist() == [7.0, 0.5]
    assert (await engine.embed("static", "b", ["x", "yy"])).tolist() == [[6, 1, 1], [6, 1, 2]]
    engine.close()
    await server.close()


async def test_too_many_questions_are_refused_on_both_sides(tmp_path: Path) -> None:
    server = EngineServer(Echo(), most=2)
    await server.start(listening(tmp_path))
    narrow = RemoteEngine(tmp_path / "engine.sock", most=1)
    first = asyncio.create_task(narrow.ask("slow", "1"))
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="1 questions wait") as here:
        await narrow.ask("v", "1")
    wide = RemoteEngine(tmp_path / "engine.sock")
    second = asyncio.create_task(wide.ask("slow", "1"))
    await asyncio.sleep(0.05)
    with pytest.raises(BusyError) as there:
        await wide.ask("v", "1")
    assert here.value.retry_after == there.value.retry_after == 1.0
    for task in (first, second):
        task.cancel()
    narrow.close()
    wide.close()


async def test_a_variant_that_loads_slowly_keeps_nobody_waiting() -> None:
    may_go_on = threading.Event()
    tried: list[str] = []

    def load(variant: str) -> None:
        tried.append(variant)
        if variant == "slow":
            may_go_on.wait(20)
        if variant == "broken" and tried.count(variant) == 1:
            raise AskError("damaged")

    batcher = Batcher(lambda work: [Answered(np.zeros(1), 0.0, np.zeros(1), 0.0) for _ in work], load=load)
    late = [asyncio.create_task(batcher.ask("slow", "x")) for _ in range(3)]
    await batcher.ask("quick", "x")
    assert not any(task.done() for task in late)
    with pytest.raises(AskError, match="damaged"):
        await asyncio.gather(batcher.ask("broken", "x"), batcher.ask("broken", "x"))
    may_go_on.set()
    await asyncio.gather(*late)
    await batcher.ask("broken", "x")
    assert sorted(tried) == ["broken", "broken", "quick", "slow"]


async def test_a_frame_that_is_none_ends_its_connection_and_no_other(tmp_path: Path) -> None:
    server = EngineServer(Echo())
    await server.start(listening(tmp_path))
    engine = RemoteEngine(tmp_path / "engine.sock")
    await engine.ask("v", "1")
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "engine.sock"))
    writer.write(struct.pack("<I", 2**32 - 1) + b"x" * 100)
    assert await reader.read() == b""
    writer.close()
    assert (await engine.ask("v", "2")).out_of_scope == 1.5
    engine.close()
    await server.close()


ENGINE = """
import asyncio, os, pathlib, socket, sys
import numpy as np
from sartor.serving.fleet import Answered
from sartor.serving.remote import EngineServer

class Models:
    async def ask(self, variant, text):
        if variant == "kills":
            os._exit(1)
        await asyncio.sleep(0.05)
        return Answered(np.array([float(text)]), 0.0, np.array([float(os.getpid())]), 0.0)

async def main():
    await EngineServer(Models()).start(socket.socket(fileno=int(sys.argv[1])))
    await asyncio.sleep(60)

asyncio.run(main())
"""


class Engines:
    """Starts the engine process anew on the same listening socket, as a supervisor does."""

    def __init__(self, folder: Path) -> None:
        self.listening = listening(folder)
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        fd = self.listening.fileno()
        command = [sys.executable, "-c", textwrap.dedent(ENGINE), str(fd)]
        self.running.append(subprocess.Popen(command, pass_fds=[fd]))

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        self.listening.close()


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    found = Engines(tmp_path)
    yield found
    found.stop()


async def test_questions_survive_the_engine_once(engines: Engines, tmp_path: Path) -> None:
    engines.start()
    engine = RemoteEngine(tmp_path / "engine.sock")
    before = await engine.ask("v", "0")
    asked = [asyncio.create_task(engine.ask("v", str(n))) for n in range(50)]
    await asyncio.sleep(0.01)
    os.kill(engines.running[0].pid, signal.SIGKILL)
    engines.running[0].wait()
    engines.start()
    answers = await asyncio.gather(*asked)
    assert [a.probabilities[0] for a in answers] == list(range(50))
    assert {a.logits[0] for a in answers} == {engines.running[1].pid} != {before.logits[0]}

    # A question that kills whoever answers it is asked twice, then refused; the next engine is not troubled by it.
    poison = asyncio.create_task(engine.ask("kills", "1"))
    await asyncio.to_thread(engines.running[1].wait)
    engines.start()
    with pytest.raises(BusyError, match="twice"):
        await poison
    engines.start()
    assert (await engine.ask("v", "9")).logits[0] == engines.running[3].pid
    engine.close()

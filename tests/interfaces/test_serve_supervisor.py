"""The supervisor over real processes: killed ones come back, all of them finish, none outlives it."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sartor.core.errors import SartorError
from sartor.interfaces.supervisor import Job, Supervisor

CHILD = """
import asyncio, os, pathlib, sys, time
from sartor.interfaces.channel import attend

async def main(fd, folder, how):
    stop = asyncio.Event()
    line = asyncio.create_task(attend(fd, stop, lambda: {"pid": os.getpid(), "how": how}))
    await stop.wait()
    if how == "hangs":
        time.sleep(60)
    await asyncio.sleep(0.1)
    (folder / f"finished-{how}").write_text(str(time.monotonic()))
    await line

if sys.argv[3] == "fails":
    sys.exit(3)
asyncio.run(main(int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]))
"""


def job(folder: Path, how: str, *, last: bool = False) -> Job:
    def command(fd: int) -> Sequence[str]:
        return [sys.executable, "-c", textwrap.dedent(CHILD), str(fd), str(folder), how]

    return Job(how, command, last=last)


@asynccontextmanager
async def running(*jobs: Job, drain_seconds: float = 5.0) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(jobs, drain_seconds=drain_seconds)
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop, ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    yield supervisor
    stop.set()
    await task


async def until(supervisor: Supervisor, name: str, *, other_than: int) -> int:
    async with asyncio.timeout(20):
        while True:
            found = {told["how"]: told["pid"] for told in await supervisor.snapshots()}
            if found.get(name, other_than) != other_than:
                return found[name]
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_is_killed_is_started_anew_and_the_others_go_on(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(job(tmp_path, "one"), job(tmp_path, "two"), job(tmp_path, "engine", last=True)) as all_of_it:
            before = dict(all_of_it.processes)
            assert {told["pid"] for told in await all_of_it.snapshots()} == set(before.values())
            os.kill(before["one"], signal.SIGKILL)
            assert await until(all_of_it, "one", other_than=before["one"]) == all_of_it.processes["one"]
            assert all_of_it.processes["two"] == before["two"]
            assert all_of_it.restarts == 1

    asyncio.run(play())
    ended = {how: float((tmp_path / f"finished-{how}").read_text()) for how in ("one", "two", "engine")}
    assert ended["engine"] >= max(ended["one"], ended["two"]), "the engine ends after those that need it"


def test_what_does_not_finish_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sartor.interfaces.supervisor.GRACE", 0.3)
    pids: dict[str, int] = {}

    async def play() -> None:
        async with running(job(tmp_path, "hangs"), job(tmp_path, "one"), drain_seconds=0.2) as supervisor:
            pids.update(supervisor.processes)

    asyncio.run(play())
    assert (tmp_path / "finished-one").exists()
    assert not (tmp_path / "finished-hangs").exists()
    assert not any(alive(pid) for pid in pids.values())


def test_a_child_that_never_gets_ready_ends_the_whole_with_its_name(tmp_path: Path) -> None:
    supervisor: list[Supervisor] = []

    async def play() -> None:
        supervisor.append(Supervisor([job(tmp_path, "one"), job(tmp_path, "fails")], drain_seconds=1.0))
        await supervisor[0].run(asyncio.Event(), lambda: None)

    with pytest.raises(SartorError, match="'fails' ended 3 times before it was ready \\(exit code 3\\)"):
        asyncio.run(play())
    assert supervisor[0].processes == {}
    assert (tmp_path / "finished-one").exists()


PARENT = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[1])
from test_serve_supervisor import job
from sartor.interfaces.supervisor import Supervisor

async def main(folder):
    supervisor = Supervisor([job(folder, "one")])
    said = lambda: print(supervisor.processes["one"], flush=True)
    await supervisor.run(asyncio.Event(), said)

asyncio.run(main(pathlib.Path(sys.argv[2])))
"""


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parent), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.communicate()
    give_up = time.monotonic() + 20
    while alive(child) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not alive(child)
    assert (tmp_path / "finished-one").exists(), "it finished what was under way"

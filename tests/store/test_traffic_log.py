"""The log: every whole record is read, nothing half, whatever is cut, flipped, full or killed."""

import asyncio
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from traffic_sample import content, exchange, feedback

from sartor.core.errors import StoreError
from sartor.core.traffic import Content
from sartor.store.traffic import segment as segment_module
from sartor.store.traffic.bounds import Limits
from sartor.store.traffic.frames import EMPTY, EXCHANGE, FEEDBACK, HASHED, KEPT, Damage, Frame
from sartor.store.traffic.log import TrafficLog
from sartor.store.traffic.segment import Reader, cut, finished, read_one, segments
from sartor.store.traffic.treatment import Treatment

QUICK = Limits(gather=0.001, sync=0.01, retry=0.01)


def ids(folder: Path) -> list[str]:
    """Ids of all exchanges that can be read, segment by segment."""
    found = [item for path in segments(folder) for item in Reader(path).items()]
    return [item.row[0] for item in found if isinstance(item, Frame) and item.kind == EXCHANGE]


def filled(folder: Path, count: int = 5, **how: object) -> Path:
    """A log of one segment; its path."""
    log = TrafficLog(folder, "w0", **how)  # type: ignore[arg-type]
    for number in range(count):
        log.append(exchange(number), content(number))
    log.close()
    (path,) = segments(folder)
    return path


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    log = TrafficLog(tmp_path, "w0")
    log.append(exchange(1), content(1), how=Treatment(days=30))
    log.append(exchange(2))
    log.append_feedback(feedback(1), sync=False)
    log.flush()
    (path,) = segments(tmp_path)
    first, second, third = (item for item in Reader(path).items() if isinstance(item, Frame))
    assert (first.kind, first.form, first.days) == (EXCHANGE, KEPT, 30)
    assert Content(first.asked, first.answered) == content(1)
    assert (second.form, second.asked) == (EMPTY, b"")
    assert (third.kind, third.row[0]) == (FEEDBACK, "fb-1")
    assert read_one(path, second.start) == second
    assert read_one(path, second.start + 1) is None
    assert log.tally.written == 3
    assert log.waiting == 0
    assert path.stat().st_mode & 0o777 == 0o600
    log.close()


def test_a_segment_cut_at_any_byte_gives_the_whole_records_before_the_cut(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", 2)
    whole = path.read_bytes()
    ends = [item.end for item in Reader(path).items()]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert [item.end for item in Reader(path).items()] == [end for end in ends if end <= size]
        if size % 41 == 0:  # cutting waits for the disk
            kept = max([end for end in ends if end <= size], default=None)
            lost = cut(path)
            assert kept is None or (path.stat().st_size, lost) == (kept, size - kept)


def test_a_flipped_bit_costs_one_record_and_is_told(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", 4)
    whole, first = path.read_bytes(), next(Reader(path).items()).start
    draw = random.Random(1)
    for at in sorted(draw.sample(range(first, len(whole)), 250)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        items = list(Reader(path).items())
        sound = [item for item in items if isinstance(item, Frame)]
        assert len(sound) == 3
        last = at >= sound[-1].end  # nothing follows it: it reads like a record that is still being written
        assert [type(item) for item in items].count(Damage) == (0 if last else 1)


def test_a_frame_inside_content_is_content(tmp_path: Path) -> None:
    forged = filled(tmp_path / "a", 1).read_bytes()
    log = TrafficLog(tmp_path / "b", "w0")
    log.append(exchange(7), Content(forged, forged))
    log.append(exchange(8))
    log.close()
    (path,) = segments(tmp_path / "b")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 300])  # the record with the forged one in it stays, or is torn
    assert set(ids(tmp_path / "b")) <= {"chatcmpl-00000007"}
    path.write_bytes(whole[: whole.rindex(forged) + len(forged) - 1])
    assert ids(tmp_path / "b") == []


def test_a_record_larger_than_what_is_read_at_once_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "CHUNK", 512)
    log = TrafficLog(tmp_path, "w0")
    for number in range(3):
        log.append(exchange(number), Content(b"x" * 40_000, b"y" * 30_000))
    log.close()
    assert ids(tmp_path) == [f"chatcmpl-{n:08d}" for n in range(3)]


def test_a_segment_is_left_alone_while_it_is_written_and_cut_when_its_writer_comes_back(tmp_path: Path) -> None:
    log = TrafficLog(tmp_path, "w0")
    log.append(exchange(1))
    log.flush()
    (path,) = segments(tmp_path)
    with finished(path) as free:
        assert not free
    log.close()
    with path.open("ab") as file:
        file.write(b"torn")
    TrafficLog(tmp_path, "w1").close()
    assert path.read_bytes().endswith(b"torn")
    TrafficLog(tmp_path, "w0").close()
    assert not path.read_bytes().endswith(b"torn")
    assert ids(tmp_path) == ["chatcmpl-00000001"]


def test_segments_rotate_by_size_and_age(tmp_path: Path) -> None:
    now = [0.0]
    log = TrafficLog(tmp_path, "w0", limits=Limits(rotate_bytes=3000, rotate_seconds=60), clock=lambda: now[0])
    for number in range(20):
        log.append(exchange(number))
        log.flush()
    by_size = len(segments(tmp_path))
    assert by_size > 2
    now[0] = 61
    log.append(exchange(20))
    log.close()
    assert len(segments(tmp_path)) == by_size + 1
    assert ids(tmp_path) == [f"chatcmpl-{n:08d}" for n in range(21)]


def test_what_waits_for_the_disk_resolves_after_its_sync_and_shares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (syncs.append(handle), real(handle))[1])

    async def many() -> None:
        log = TrafficLog(tmp_path, "w0")
        waiting = [log.append(exchange(n), sync=True) for n in range(200)]
        await asyncio.gather(*(w for w in waiting if w is not None))
        assert ids(tmp_path) == [f"chatcmpl-{n:08d}" for n in range(200)]
        log.close()

    asyncio.run(many())
    assert len(syncs) < 20


def test_content_is_redacted_or_hashed_and_a_redactor_that_fails_costs_only_content(tmp_path: Path) -> None:
    def redact(text: str) -> str:
        if "boom" in text:
            raise RecursionError
        return text.replace("a@b.org", "[EMAIL]")

    log = TrafficLog(tmp_path, "w0", digest=lambda data: b"digest:" + data[:2])
    log.append(exchange(1), content(1, "line\\na@b.org"), how=Treatment(redact=redact))
    log.append(exchange(2), Content(b"no json a@b.org \xff", b""), how=Treatment(redact=redact))
    log.append(exchange(3), content(3), how=Treatment(hashed=True))
    log.append(exchange(4), content(4, "boom"), how=Treatment(redact=redact))
    log.append(exchange(5, subject="s"), content(5), how=Treatment(encrypt=True))
    log.close()
    (path,) = segments(tmp_path)
    found = [item for item in Reader(path).items() if isinstance(item, Frame)]
    assert b"line\\n[EMAIL]" in found[0].asked
    assert found[1].asked.decode() == "no json [EMAIL] \ufffd"
    assert (found[2].form, found[2].asked) == (HASHED, b'digest:{"')
    assert [item.form for item in found[3:]] == [EMPTY, EMPTY]  # the last: nobody is there who could encrypt it
    assert log.tally.dropped_content == 2
    assert log.tally.written == 5


def test_a_record_that_is_no_json_is_counted_and_who_waits_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        log = TrafficLog(tmp_path, "w0", limits=QUICK)
        bad = log.append(exchange(1, label="half \ud800"), sync=True)
        await _done(log, 2)
        assert bad is not None
        with pytest.raises(StoreError, match="JSON"):
            await bad
        assert log.tally.dropped_records == 1
        assert log.waiting == 0
        log.close()

    asyncio.run(story())
    assert ids(tmp_path) == ["chatcmpl-00000002"]


class Disk:
    """Fails writes and syncs as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = self.broken_sync = self.broken_write = False
        self.room = 0
        self._write, self._sync = os.write, os.fsync
        monkeypatch.setattr(segment_module.os, "write", self.write)
        monkeypatch.setattr(segment_module.os, "fsync", self.sync)

    def write(self, handle: int, data: bytes) -> int:
        if self.broken_write:
            raise OSError(errno.EIO, "broken")
        if self.full:
            if self.room <= 0:
                raise OSError(errno.ENOSPC, "no room")
            data, self.room = memoryview(data)[: self.room], 0
        return self._write(handle, data)

    def sync(self, handle: int) -> None:
        if self.broken_sync:
            raise OSError(errno.EIO, "broken")
        self._sync(handle)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("fault", ["full", "broken_sync", "broken_write"])
def test_a_failing_disk_fails_who_waits_keeps_the_rest_and_recovers_by_itself(
    tmp_path: Path, faulty: Disk, fault: str
) -> None:
    async def story() -> list[str]:
        log = TrafficLog(tmp_path, "w0", limits=QUICK)
        await _done(log, 0)
        setattr(faulty, fault, True)
        faulty.room = 100  # a part of a record still fits
        with pytest.raises(StoreError) as caught:
            await _done(log, 1)
        assert caught.value.http_status == 507
        log.append(exchange(2), content(2))
        with pytest.raises(StoreError):
            await _done(log, 3)
        assert set(ids(tmp_path)) <= {f"chatcmpl-{n:08d}" for n in range(4)}
        setattr(faulty, fault, False)
        for number in range(4, 2000):
            try:
                await _done(log, number)
                break
            except StoreError:
                await asyncio.sleep(0.01)
        assert log.tally.failures >= 1
        assert log.tally.dropped_records == log.tally.dropped_content == log.waiting == 0
        await asyncio.to_thread(log.close)
        return [f"chatcmpl-{n:08d}" for n in range(number + 1)]

    wanted = asyncio.run(story())
    assert list(dict.fromkeys(ids(tmp_path))) == wanted
    new_segment = len(segments(tmp_path)) > 1
    assert new_segment == (fault != "full")


async def _done(log: TrafficLog, number: int) -> None:
    waiting = log.append(exchange(number), sync=True)
    assert waiting is not None
    await waiting


def test_memory_is_bounded_content_goes_first_then_records_and_both_are_counted(tmp_path: Path, faulty: Disk) -> None:
    log = TrafficLog(tmp_path, "w0", limits=Limits(gather=0.001, retry=60, held=100_000))
    faulty.full = True
    for number in range(400):
        log.append(exchange(number), Content(b"x" * 2000, b"y" * 2000))
    assert log.tally.dropped_content > 0
    assert log.tally.dropped_records > 0
    assert log.waiting < 110_000
    faulty.full = False
    dropped = log.tally.dropped_records
    log.close()
    assert len(ids(tmp_path)) == 400 - dropped


def test_what_is_left_when_the_disk_is_still_full_at_the_end_is_counted(tmp_path: Path, faulty: Disk) -> None:
    log = TrafficLog(tmp_path, "w0", limits=QUICK)
    faulty.full = True
    for number in range(3):
        log.append(exchange(number))
    with pytest.raises(StoreError, match="disk is full"):
        log.flush()
    log.close()
    assert log.tally.dropped_records == 3
    with pytest.raises(StoreError, match="closed"):
        log.flush()
    assert segments(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full_and_then_has_room(small_disk: Path) -> None:
    log = TrafficLog(small_disk / "log", "w0", limits=QUICK)
    for number in range(100):
        log.append(exchange(number), Content(os.urandom(5000), b""))
    with pytest.raises(StoreError, match="disk is full"):
        log.flush()
    kept = len(ids(small_disk / "log"))
    assert 0 < kept < 100
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    log.close()
    assert ids(small_disk / "log") == [f"chatcmpl-{n:08d}" for n in range(100)]
    assert log.tally.dropped_content == log.tally.dropped_records == 0


def test_a_limit_on_the_size_of_files_begins_a_new_segment(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = TrafficLog(tmp_path, "w0", limits=QUICK)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        for number in range(60):
            log.append(exchange(number), content(number))
            if number % 10 == 9:
                while True:
                    try:
                        log.flush()
                        break
                    except StoreError:
                        time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    log.close()
    assert len(segments(tmp_path)) > 1
    assert set(ids(tmp_path)) == {f"chatcmpl-{n:08d}" for n in range(60)}


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from traffic_sample import content, exchange
from sartor.store.traffic.log import TrafficLog

async def main():
    log = TrafficLog(Path(sys.argv[1]), "w0")
    number = int(sys.argv[3])
    while True:
        batch = range(number, number + 7)
        await asyncio.gather(*(log.append(exchange(n), content(n), sync=True) for n in batch))
        for n in batch:
            print(n, flush=True)
        number += 7
asyncio.run(main())
"""


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    draw, acknowledged = random.Random(20261125), set[int]()
    for turn in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent), str(turn * 1_000_000)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        heard = "".join(writer.stdout.readline() for _ in range(draw.randint(1, 60)))
        time.sleep(draw.uniform(0, 0.01))
        writer.kill()
        heard += writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        acknowledged |= {int(line) for line in heard[: heard.rfind("\n")].split()}
    assert len(acknowledged) >= 5
    TrafficLog(tmp_path, "w0").close()
    found = [int(id_.removeprefix("chatcmpl-")) for id_ in ids(tmp_path)]
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))


def test_appending_from_several_threads_loses_nothing(tmp_path: Path) -> None:
    log = TrafficLog(tmp_path, "w0", limits=QUICK)

    def work(start: int) -> None:
        for number in range(start, start + 300):
            log.append(exchange(number))

    threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(set(ids(tmp_path))) == log.tally.written == 900

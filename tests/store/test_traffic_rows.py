"""What the index reads of a segment: the same records as everybody else, whatever is damaged, missing or too long."""

from pathlib import Path

import pytest
from traffic_sample import content, exchange, feedback

from sartor.store.opening import Store
from sartor.store.traffic import rows as rows_module
from sartor.store.traffic.frames import Damage, Frame
from sartor.store.traffic.rows import Rows
from sartor.store.traffic.segment import Reader, segments


@pytest.fixture
def path(store: Store) -> Path:
    """A segment with records of both kinds, one of them large."""
    log = store.traffic.log("w0")
    for number in range(12):
        log.append(exchange(number), content(number, "long " * 500 if number == 5 else ""))
        log.append_feedback(feedback(number), sync=False)
    log.close()
    (found,) = segments(store.root / "traffic" / "log")
    return found


def same(path: Path) -> int:
    """That both read the same from the start; how many bytes are damaged."""
    items = list(Reader(path).items())
    frames = [(i.kind, i.row, i.start, i.form, i.days) for i in items if isinstance(i, Frame)]
    rows = Rows(path, 0)
    assert list(rows) == frames
    assert not items or rows.end == items[-1].end
    assert rows.damaged == sum(i.end - i.start for i in items if isinstance(i, Damage))
    return rows.damaged


@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_they_are_the_same_wherever_it_ends_and_whatever_is_damaged(
    path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "CHUNK", chunk)
    whole = path.read_bytes()
    first, damaged = next(Reader(path).items()).start, 0
    assert same(path) == 0
    for size in range(0, len(whole), 211):
        path.write_bytes(whole[:size])
        same(path)
    for at in range(first, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        damaged += same(path) > 0
    assert damaged > 10


def test_they_go_on_from_any_place_at_which_a_record_begins(path: Path) -> None:
    every = list(Rows(path, 0))
    for number, row in enumerate(every):
        assert list(Rows(path, row[2])) == every[number:]

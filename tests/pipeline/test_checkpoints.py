"""States of a long training on the disk: whole or not believed, and gone when they are of no more use."""

import json
import os
import resource
import time
from contextlib import contextmanager

import numpy as np
import pytest

from sartor.pipeline.checkpoints import DRAFT, Folder
from sartor.store.gc import collect


def state(step: int) -> tuple[dict, dict]:
    weights = np.arange(12, dtype=np.float32).reshape(3, 4) + step
    return {"weights/0": weights, "best/0": weights[:0], "random/torch": np.array([step], dtype=np.uint8)}, {"at": step}


@pytest.fixture
def kept(tmp_path):
    return Folder(tmp_path / "checkpoints" / "key", 0.0)


def names(kept) -> list[str]:
    return sorted(path.name for path in kept._folder.iterdir())


def test_the_last_state_is_found_and_earlier_ones_go(kept, tmp_path):
    assert kept.load() is None
    for step in (3, 20, 100):
        kept.save(step, *state(step))
    assert names(kept) == ["000000000100"]
    at, tensors, facts = Folder(tmp_path / "checkpoints" / "key", 0.0).load()
    wanted, _ = state(100)
    assert (at, facts) == (100, {"at": 100})
    assert tensors.keys() == wanted.keys()
    assert all(np.array_equal(tensors[key], wanted[key]) for key in wanted)
    kept.save(100, *state(100))  # somebody else at the same work
    kept.discard()
    assert kept.load() is None
    kept.discard()


@pytest.mark.parametrize("harm", ["cut", "bit", "no manifest", "torn manifest", "missing", "facts"])
def test_what_is_not_whole_is_passed_over(kept, harm, caplog):
    kept.save(1, *state(1))
    (kept._folder / "000000000001").rename(kept._folder / "aside")
    kept.save(2, *state(2))
    (kept._folder / "aside").rename(kept._folder / "000000000001")
    newest = kept._folder / "000000000002"
    file = newest / "weights.safetensors"
    if harm == "cut":
        os.truncate(file, file.stat().st_size - 1)
    elif harm == "bit":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif harm == "no manifest":
        (newest / "manifest.json").unlink()
    elif harm == "torn manifest":
        (newest / "manifest.json").write_text('{"files": {"weig')
    elif harm == "missing":
        file.unlink()
    else:
        manifest = json.loads((newest / "manifest.json").read_text())
        del manifest["files"]["facts.json"]
        (newest / "manifest.json").write_text(json.dumps(manifest))
    assert kept.load()[0] == 1
    assert "passed over" in caplog.text


def test_a_dead_one_s_draft_is_swept_and_a_living_one_s_stays(kept):
    import fcntl

    kept.save(1, *state(1))
    dead, living = kept._folder / f"{DRAFT}dead", kept._folder / f"{DRAFT}living"
    for draft in (dead, living):
        draft.mkdir()
        (draft / "weights.safetensors").write_bytes(b"half")
    handle = os.open(living, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    kept.save(2, *state(2))
    os.close(handle)
    assert names(kept) == [f"{DRAFT}living", "000000000002"]


@contextmanager
def room(most: int):
    """Files of this process may not grow over so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_the_earlier_state_stays(kept):
    kept.save(1, *state(1))
    large = {"weights/0": np.zeros(100_000, dtype=np.float32)}
    with room(100_000), pytest.raises(OSError, match="File too large"):
        kept.save(2, large, {})
    assert names(kept) == ["000000000001"]
    assert kept.load()[0] == 1


def test_due_by_the_clock_and_never_more_than_a_share(tmp_path):
    assert not Folder(tmp_path / "a", 1000.0).due()
    kept = Folder(tmp_path / "b", 1e-9)
    assert kept.due()
    kept.save(1, *state(1))
    kept._took = 100.0
    assert not kept.due()


def test_gc_sweeps_what_nobody_went_on_with(shop):
    young, old = (Folder(shop.store.checkpoints / name, 0.0) for name in ("young", "old"))
    for kept in (young, old):
        kept.save(1, *state(1))
    day = time.time() - 2 * 86_400
    for path in (old._folder, *old._folder.rglob("*")):
        os.utime(path, (day, day))
    swept = collect(shop.store, dry_run=False)
    assert [path.name for path in swept.leftovers] == ["old"]
    assert young.load() is not None
    assert old.load() is None

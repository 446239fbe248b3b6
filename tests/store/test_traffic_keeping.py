"""What is kept of content, how long, under whose key, and where. Nothing else is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from traffic_sample import START, content, exchange, feedback

from sartor.core.errors import StoreError
from sartor.core.traffic import Exchange
from sartor.store.opening import Store
from sartor.store.traffic import old, subjects
from sartor.store.traffic.segment import segments
from sartor.store.traffic.treatment import Treatment

Opener = Callable[..., Store]
SEALED = Treatment(encrypt=True, days=60_000)
OPEN = Treatment(days=60_000)
DAY = 86_400.0


def fill(store: Store, made: list[Exchange], how: Treatment = SEALED, writer: str = "w0") -> None:
    """Write exchanges down with content."""
    log = store.traffic.log(writer)
    for item in made:
        log.append(item, content(int(item.id[-8:])), how=how)
    log.flush()
    log.close()
    store.traffic.index.catch_up()


def everything(store: Store) -> dict[str, bytes]:
    """All files of the store's traffic."""
    return {str(p): p.read_bytes() for p in (store.root / "traffic").rglob("*") if p.is_file()}


def test_content_of_a_person_is_encrypted_and_comes_back(opener: Opener) -> None:
    store = opener()
    mark = store.traffic.mark
    made = [exchange(n, subject=mark(f"user {n % 2}")) for n in range(4)] + [exchange(9)]
    fill(store, made)
    for item in made:
        kept = store.traffic.read("acme", item.id)
        assert (kept.state, kept.content) == ("kept", content(int(item.id[-8:])))
    stored = b"".join(everything(store).values())
    assert b"question 9" in stored  # names nobody
    assert b"question 1" not in stored
    assert b"user 1" not in stored
    (secret,) = (store.root / "traffic").glob("secret")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert mark("user 1") == opener().traffic.mark("user 1") != mark("user 2")
    assert mark("") == ""


def test_erasing_a_person_destroys_their_key_and_leaves_the_log_whole(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "STALE", 0.0)
    store = opener()
    traffic = store.traffic
    alice, bob = (exchange(n, subject=traffic.mark(name)) for n, name in enumerate(("alice", "bob")))
    foreign = exchange(2, subject=traffic.mark("alice"), tenant="other")
    log = traffic.log("w0")  # goes on writing
    for item in (alice, bob, foreign):
        log.append(item, content(0), how=SEALED)
    log.flush()
    before = everything(store)
    assert traffic.subjects is not None
    keys = {row["subject"]: bytes.fromhex(row["key"]) for row in traffic.subjects.rows() if row["tenant"] == "acme"}
    assert opener().traffic.erase("acme", "alice") == 1
    traffic.index.catch_up()
    assert traffic.read("acme", alice.id).state == "erased"
    assert traffic.read("acme", alice.id).content is None
    assert traffic.read("acme", bob.id).content == content(0)
    assert traffic.read("other", foreign.id).content == content(0)
    assert traffic.index.exchange("acme", alice.id) == alice  # the accounting stays
    assert traffic.index.erased_at("acme", traffic.mark("alice"))
    assert traffic.index.erased_at("other", traffic.mark("alice")) is None
    assert {p: data for p, data in everything(store).items() if p in before} == before
    if store.ledger.database.dialect == "sqlite":
        files = b"".join(p.read_bytes() for p in store.root.glob("subjects.db*"))
        assert keys[alice.subject] not in files
        assert keys[bob.subject] in files
    again = exchange(5, subject=traffic.mark("alice"))
    log.append(again, content(5), how=SEALED)
    log.close()
    traffic.index.catch_up()
    assert traffic.read("acme", again.id).content == content(5)  # under a key of its own
    assert traffic.read("acme", alice.id).state == "erased"
    traffic.index.reindex()
    assert traffic.index.erased_at("acme", alice.subject)


def test_sealed_content_of_one_exchange_is_not_taken_for_anothers(store: Store) -> None:
    fill(store, [exchange(1, subject="s")])
    (path,) = segments(store.root / "traffic" / "log")
    whole = path.read_bytes()
    assert store.traffic.subjects is not None
    sealed = store.traffic.subjects.seal("acme", "s", "chatcmpl-00000001", b"text")
    assert store.traffic.subjects.open("chatcmpl-00000001", sealed) == b"text"
    with pytest.raises(StoreError, match="was changed"):
        store.traffic.subjects.open("chatcmpl-00000002", sealed)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match="damaged"):
        store.traffic.read("acme", exchange(1).id)


def test_more_people_than_keys_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "MOST_KEYS", 3)
    log = store.traffic.log("w0")
    made = [exchange(n, subject=f"s{n % 9}") for n in range(40)]
    for item in made:
        log.append(item, content(int(item.id[-8:])), how=SEALED)
        if item.id.endswith("7"):
            log.flush()
    log.close()
    store.traffic.index.catch_up()
    assert states(store, made) == ["kept"] * 40
    assert store.traffic.subjects is not None
    assert len(store.traffic.subjects.rows()) == 9


def test_content_without_a_durable_key_is_dropped_and_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log = store.traffic.log("w0")

    def failing(_subjects: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr(store.traffic.subjects, "prepare", failing)
    log.append(exchange(1, subject="s"), content(1), how=SEALED)
    log.append(exchange(2), content(2), how=SEALED)
    log.close()
    store.traffic.index.catch_up()
    assert log.tally.dropped_content == 1
    assert [store.traffic.read("acme", exchange(n).id).state for n in (1, 2)] == ["none", "kept"]


def test_known_keys_go_on_while_the_database_is_down_and_only_so_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "STALE", 0.0)
    monkeypatch.setattr(subjects, "RETRY", 0.0)
    keys = store.traffic.subjects
    assert keys is not None
    log = store.traffic.log("w0")
    log.append(exchange(1, subject="known"), content(1), how=SEALED)
    log.flush()

    def down(*_: object) -> None:
        raise StoreError("no database", code="store_unreachable")

    with monkeypatch.context() as patched:
        patched.setattr(type(keys.database), "read", down)
        log.append(exchange(2, subject="known"), content(2), how=SEALED)
        log.append(exchange(3, subject="new"), content(3), how=SEALED)
        log.flush()
        patched.setattr(subjects, "BLIND", -1.0)
        log.append(exchange(4, subject="known"), content(4), how=SEALED)
        log.flush()
    log.append(exchange(5, subject="known"), content(5), how=SEALED)
    log.close()
    store.traffic.index.catch_up()
    assert states(store, [exchange(n) for n in range(1, 6)]) == ["kept", "kept", "none", "none", "kept"]
    assert log.tally.dropped_content == 2


def states(store: Store, made: list[Exchange]) -> list[str]:
    return [store.traffic.read("acme", item.id).state for item in made]


def test_old_segments_become_one_file_a_day_and_nothing_changes_for_who_asks(opener: Opener) -> None:
    store = opener()
    traffic = store.traffic
    made = [exchange(n, at=START + n * 5000, subject=traffic.mark("u") if n % 2 else "") for n in range(40)]
    fill(store, made[:30])
    log = traffic.log("w1")
    log.append_feedback(feedback(1), sync=False)
    log.append_feedback(feedback(2, exchange="", business="b", value={"any": 1.5}, tags={"a": "b"}), sync=False)
    log.close()
    traffic.erase("acme", "nobody")
    traffic.index.catch_up()
    before = [traffic.index.exchanges("acme", limit=100).rows, traffic.index.totals("acme", ("day",))]
    done = traffic.compact(days=0, now=time.time() + 60)
    assert (done.segments, done.records, done.dropped) == (3, 33, 0)
    assert segments(store.root / "traffic" / "log") == []
    days = {d["day"] for d in before[1]}
    files = old.files(store.root / "traffic" / "old")
    assert {p.name[10:20] for p in files if p.name.startswith("exchanges")} == days
    for _ in range(2):
        assert [traffic.index.exchanges("acme", limit=100).rows, traffic.index.totals("acme", ("day",))] == before
        assert states(store, made[:30]) == ["kept"] * 30
        assert traffic.read("acme", made[29].id).content == content(29)
        assert traffic.index.feedback("acme", "fb-2") == feedback(
            2, exchange="", business="b", value={"any": 1.5}, tags={"a": "b"}
        )
        assert traffic.index.erased_at("acme", traffic.mark("nobody"))
        assert traffic.index.reindex() == 33
    fill(store, made[30:], writer="w2")  # into days that have a file already, in part
    assert traffic.compact(days=0, now=time.time() + 60).records == 10
    assert states(store, made) == ["kept"] * 40
    assert traffic.index.reindex() == 43
    assert traffic.index.totals("acme")[0]["cost"] == sum(e.cost for e in made)
    assert traffic.compact(days=0, now=time.time() + 60).files == 0
    assert len(list((store.root / "traffic" / "old").iterdir())) == len(old.files(store.root / "traffic" / "old"))


def test_segments_that_are_young_or_still_written_stay(store: Store) -> None:
    fill(store, [exchange(1)])
    assert store.traffic.compact(days=1).segments == 0
    log = store.traffic.log("w1")
    log.append(exchange(2))
    log.flush()
    assert store.traffic.compact(days=0, now=time.time() + 60).segments == 1
    assert len(segments(store.root / "traffic" / "log")) == 1
    log.close()


def test_content_past_its_days_goes_from_segments_and_files_and_the_rows_stay(store: Store) -> None:
    traffic = store.traffic
    brief, lasting = Treatment(days=1), Treatment(days=100)
    fill(store, [exchange(1), exchange(2)], brief)
    fill(store, [exchange(3)], lasting, writer="w1")
    assert traffic.compact(days=99_999, now=START + 0.5 * DAY).dropped == 0
    assert traffic.compact(days=99_999, now=START + 2 * DAY).dropped == 2
    assert states(store, [exchange(1), exchange(2), exchange(3)]) == ["none", "none", "kept"]
    assert b"question 1" not in b"".join(everything(store).values())
    assert traffic.compact(days=0, now=time.time() + 60).dropped == 1  # of START, which is long ago
    assert states(store, [exchange(3)]) == ["none"]
    assert traffic.index.exchange("acme", exchange(3).id) == exchange(3)


@pytest.mark.parametrize("step", range(4))
def test_a_crash_while_records_move_loses_and_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    traffic = store.traffic
    made = [exchange(n, at=START + n * 30_000) for n in range(10)]
    fill(store, made[:5])
    traffic.compact(days=0, now=time.time() + 60)
    fill(store, made[5:], writer="w1")
    fill(store, made[3:7], writer="w2")  # written once more, as after a failed sync

    class Crash(Exception):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        if step == 0:  # the first new file is there
            real, calls = old.write, []

            def one(*args: object, **how: object) -> Path:
                if calls:
                    raise Crash
                calls.append(1)
                return real(*args, **how)  # type: ignore[arg-type]

            patched.setattr(old, "write", one)
        elif step == 1:  # all are, and the index does not know
            patched.setattr(type(traffic.index), "moved", crash)
        elif step == 2:  # the index knows, and all old files are still there
            patched.setattr(Path, "unlink", crash)
        else:  # some old files are gone
            left, unlink = [], Path.unlink

            def last(path: Path, *args: object, **how: object) -> None:
                if left:
                    raise Crash
                left.append(path)
                unlink(path, *args, **how)  # type: ignore[arg-type]

            patched.setattr(Path, "unlink", last)
        with pytest.raises(Crash):
            traffic.compact(days=0, now=time.time() + 60)
    for finish in (
        traffic.index.catch_up,
        traffic.index.reindex,
        lambda: traffic.compact(days=0, now=time.time() + 60),
    ):
        finish()
        assert traffic.index.exchanges("acme").rows == made[::-1]
        assert traffic.index.totals("acme")[0]["cost"] == sum(e.cost for e in made)
        assert states(store, made) == ["kept"] * 10
    assert segments(store.root / "traffic" / "log") == []
    assert traffic.faults() == []


MOVER = """
import sys, time
from pathlib import Path
from sartor.store.opening import open_store
store = open_store(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    store.traffic.compact(days=0, now=time.time() + 60)
"""


def test_moving_records_while_they_are_read_and_killed_at_any_instant(store: Store) -> None:
    made = [exchange(n, at=START + n * 9_000) for n in range(60)]
    for part in range(3):
        fill(store, made[part::3], writer=f"w{part}")
        mover = subprocess.Popen([sys.executable, "-c", MOVER, str(store.root)], stdout=subprocess.PIPE, text=True)
        assert mover.stdout is not None
        mover.stdout.readline()
        for item in made[part::3]:
            assert store.traffic.read("acme", item.id).state == "kept"
        mover.send_signal(signal.SIGKILL)
        mover.wait()
        mover.stdout.close()
    store.traffic.index.catch_up()
    assert store.traffic.index.exchanges("acme").rows == made[::-1]
    store.traffic.compact(days=0, now=time.time() + 60)
    assert states(store, made) == ["kept"] * 60
    assert not list((store.root / "traffic" / "old").glob("*.part"))


def test_a_damaged_segment_is_told_stays_and_holds_up_no_other(store: Store) -> None:
    fill(store, [exchange(n) for n in range(5)], OPEN)
    fill(store, [exchange(n) for n in range(5, 8)], OPEN, writer="w1")
    first, _ = segments(store.root / "traffic" / "log")
    data = bytearray(first.read_bytes())
    data[data.index(b"question 2")] ^= 1
    first.write_bytes(data)
    (fault,) = store.traffic.faults()
    assert fault[0] == first.name
    assert "damaged" in fault[1]
    with pytest.raises(StoreError, match="damaged"):
        store.traffic.read("acme", exchange(2).id)
    assert store.traffic.compact(days=0, now=time.time() + 60).segments == 1
    assert segments(store.root / "traffic" / "log") == [first]
    assert states(store, [exchange(1), exchange(6)]) == ["kept", "kept"]
    store.traffic.index.reindex()
    assert store.traffic.index.damage() > 0
    assert len(store.traffic.index.exchanges("acme").rows) == 7


def test_a_full_disk_stops_the_move_and_nothing_else(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, [exchange(1)])

    def full(_path: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(old, "sync", full)
        with pytest.raises(StoreError, match="disk is full"):
            store.traffic.compact(days=0, now=time.time() + 60)
    assert states(store, [exchange(1)]) == ["kept"]
    assert store.traffic.compact(days=0, now=time.time() + 60).records == 1

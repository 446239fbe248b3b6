"""The recorder: accounting always, content as the route says, durable before the answer where it says so."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import StoreError
from sartor.core.route import Capture
from sartor.core.traffic import Content, Exchange
from sartor.data import personal
from sartor.gateway.capture import Recorder, keeps
from sartor.pipeline.traffic import redact
from sartor.store.opening import Store, open_store
from sartor.store.traffic.bounds import Limits
from sartor.store.traffic.log import TrafficLog

CHAT = Content(
    b'{"messages":[{"role":"user","content":"I am\\n+49 171 1234567, max@example.org"}],"user":"max@example.org"}',
    b'{"choices":[{"message":{"content":"call 4111 1111 1111 1111"}}]}',
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def exchange(number: int, **changes: Any) -> Exchange:
    facts = {"id": f"chatcmpl-{number}", "at": 1e9 + number, "tenant": "acme", "key": "k", "route": "r", "model": "r"}
    return Exchange(**facts | changes)


def kept(store: Store, spec: Capture, made: list[Exchange]) -> dict[str, str]:
    """What is kept of exchanges that were recorded under a specification."""
    log = store.traffic.log("w0")
    recorder = Recorder(log, redact=redact, mark=store.traffic.mark)
    for item in made:
        assert recorder.record(item, CHAT, spec) is None
    log.close()
    assert recorder.counts() == {"written": len(made), "dropped_content": 0, "dropped_records": 0, "failures": 0}
    store.traffic.index.catch_up()
    assert store.traffic.index.totals("acme")[0]["count"] == len(made)
    return {item.id: store.traffic.read("acme", item.id).state for item in made}


def test_levels_govern_the_content_and_never_the_row(store: Store) -> None:
    made = [exchange(n) for n in range(20)]
    assert set(kept(store, Capture(level="off"), made).values()) == {"none"}
    written = b"".join(p.read_bytes() for p in (store.root / "traffic" / "log").iterdir())
    assert b"messages" not in written


def test_a_sample_depends_on_the_id_alone(store: Store) -> None:
    spec, made = Capture(level="sampled", share=0.3), [exchange(n) for n in range(400)]
    states = kept(store, spec, made)
    chosen = {id_ for id_, state in states.items() if state == "kept"}
    assert chosen == {item.id for item in made if keeps(Capture(level="sampled", share=0.3), item.id)}
    assert 80 < len(chosen) < 160
    more = {item.id for item in made if keeps(Capture(level="sampled", share=0.6), item.id)}
    assert chosen < more
    assert not any(keeps(Capture(level="sampled", share=0), item.id) for item in made)
    assert all(keeps(Capture(level="sampled", share=1), item.id) for item in made)


def test_digests_are_equal_for_equal_content_and_keyed(store: Store, tmp_path: Path) -> None:
    assert set(kept(store, Capture(level="hash"), [exchange(1), exchange(2)]).values()) == {"hashed"}
    one, two = (store.traffic.read("acme", f"chatcmpl-{n}").content for n in (1, 2))
    assert one == two
    other = open_store(tmp_path / "other")
    kept(other, Capture(level="hash"), [exchange(1)])
    assert other.traffic.read("acme", "chatcmpl-1").content != one
    other.close()


def test_personal_things_are_redacted_before_anything_is_written(store: Store) -> None:
    kept(store, Capture(days=60_000), [exchange(1)])
    written = b"".join(p.read_bytes() for p in (store.root / "traffic" / "log").iterdir())
    for secret in (b"max@example.org", b"171 1234567", b"4111 1111"):
        assert secret not in written
    content = store.traffic.read("acme", "chatcmpl-1").content
    assert content is not None
    assert content.asked == b'{"messages":[{"role":"user","content":"I am\\n[PHONE], [EMAIL]"}],"user":"[EMAIL]"}'
    assert b"call [CARD]" in content.answered


def test_without_redaction_bytes_are_kept_as_they_were(store: Store) -> None:
    kept(store, Capture(redact=False, encrypt=False), [exchange(1)])
    assert store.traffic.read("acme", "chatcmpl-1").content == CHAT


def test_content_of_whoever_is_named_is_encrypted(store: Store) -> None:
    subject = store.traffic.mark("max")
    kept(store, Capture(redact=False), [exchange(1, subject=subject), exchange(2, subject="")])
    written = b"".join(p.read_bytes() for p in (store.root / "traffic" / "log").iterdir())
    assert written.count(b"max@example.org") == 2  # those of exchange 2, which names nobody
    assert store.traffic.read("acme", "chatcmpl-1").content == CHAT
    assert store.traffic.erase("acme", "max") == 1
    assert store.traffic.read("acme", "chatcmpl-1").state == "erased"


def test_sync_waits_for_the_disk_and_fails_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        log = TrafficLog(tmp_path, "w0", limits=Limits(gather=0.001, retry=0.01))
        recorder = Recorder(log, redact=redact, mark=lambda text: text)
        spec = Capture(durability="sync")
        synced: list[int] = []
        real = os.fsync
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda handle: (real(handle), synced.append(handle))[0])
            waiting = recorder.record(exchange(1), CHAT, spec)
            assert waiting is not None
            await waiting
            assert synced
        with monkeypatch.context() as patched:

            def broken(_handle: int) -> None:
                raise OSError(5, "broken")

            patched.setattr(os, "fsync", broken)
            waiting = recorder.record(exchange(2), CHAT, spec)
            assert waiting is not None
            with pytest.raises(StoreError) as caught:
                await waiting
            assert caught.value.http_status == 507
            assert recorder.record(exchange(3), CHAT, Capture()) is None  # who does not wait is not held up
        await recorder.close()
        assert recorder.counts()["written"] == 3
        assert recorder.counts()["failures"] >= 1

    asyncio.run(story())


def test_many_specifications_are_told_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sartor.gateway.capture.MOST_SPECS", 3)
    log = store.traffic.log("w0")
    recorder = Recorder(log, redact=redact, mark=store.traffic.mark)
    for number in range(12):
        recorder.record(exchange(number), CHAT, Capture(level="hash" if number % 2 else "full"))
    log.close()
    store.traffic.index.catch_up()
    states = [store.traffic.read("acme", f"chatcmpl-{n}").state for n in range(4)]
    assert states == ["kept", "hashed", "kept", "hashed"]


@pytest.mark.parametrize("pattern", personal.PATTERNS, ids=lambda pattern: pattern.kind)
def test_a_text_that_is_not_looked_at_closely_has_nothing_to_redact(pattern: personal.Pattern) -> None:
    @settings(max_examples=20, deadline=None, database=None, derandomize=True)
    @given(st.from_regex(pattern.regex, fullmatch=True), st.sampled_from(["", " ", "n\n", "x, "]))
    def found(text: str, before: str) -> None:
        hit = pattern.regex.search(before + text)
        if hit and pattern.holds(hit[0]):
            assert personal.suspects(before + text)

    found()


def test_a_prompt_that_comes_again_is_redacted_the_same() -> None:
    prompt = "Answer with one of 77 labels. " * 20 + "Ask max@example.org."
    assert redact(prompt) == redact(prompt) == prompt.replace("max@example.org", "[EMAIL]")

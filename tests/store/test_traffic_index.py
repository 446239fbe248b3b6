"""The index: what the log says, once, in whatever order it came; nobody sees what is another tenant's."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from traffic_sample import START, content, exchange, feedback

from sartor.core.errors import AskError, NotFoundError, StoreError
from sartor.store.opening import Store
from sartor.store.traffic import index as index_module
from sartor.store.traffic.queries import Filters, Queries
from sartor.store.traffic.segment import segments

Opener = Callable[..., Store]


def write(store: Store, *things: object, writer: str = "w0") -> None:
    """Put exchanges and feedback into the log, in this order."""
    log = store.traffic.log(writer)
    for thing in things:
        if hasattr(thing, "metric"):
            log.append_feedback(thing, sync=False)
        else:
            log.append(thing)
    log.flush()
    log.close()


def test_exchanges_come_back_whole_and_newest_first_in_pages(opener: Opener) -> None:
    store = opener()
    made = [exchange(n, confidence=0.5, stream=n % 2 == 0, arm="canary", propensity=0.1) for n in range(25)]
    write(store, *made)
    index = store.traffic.index
    assert index.catch_up() == 25
    assert index.catch_up() == 0
    assert index.exchange("acme", made[3].id) == made[3]
    assert index.exchange("acme", "chatcmpl-none") is None
    seen, after = [], ""
    for _ in range(4):
        page = index.exchanges("acme", after=after, limit=7)
        seen += page.rows
        after = page.after
    assert after == ""
    assert seen == made[::-1]
    assert [e.id for e in index.exchanges("acme", Filters(label="cash", until=START + 5)).rows] == [
        made[3].id,
        made[0].id,
    ]
    with pytest.raises(AskError, match="no place in the list"):
        index.exchanges("acme", after="x")


def test_a_batch_that_ends_anywhere_and_a_record_written_twice_count_once(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "BATCH", 4)
    store = opener()
    log = store.traffic.log("w0")
    for number in range(10):
        log.append(exchange(number), content(number))
    log.flush()
    assert store.traffic.index.catch_up() == 10
    log.close()
    again = store.traffic.log("w1")
    for number in range(5, 12):
        again.append(exchange(number), content(number))
    again.close()
    assert store.traffic.index.catch_up() == 7
    assert len(store.traffic.index.exchanges("acme").rows) == 12
    first, _ = segments(store.root / "traffic" / "log")
    first.unlink()  # the later place of a record is the one that counts
    assert store.traffic.read("acme", exchange(7).id).content == content(7)
    assert store.traffic.index.reindex() == 7
    assert len(store.traffic.index.exchanges("acme").rows) == 7


FOLLOWER = """
import sys
from pathlib import Path
from sartor.store.opening import open_store
store = open_store(Path(sys.argv[1]), ledger_url=sys.argv[2] or None)
print(sum(store.traffic.index.catch_up() for _ in range(20)))
store.close()
"""


def test_several_processes_that_catch_up_together_count_each_record_once(
    opener: Opener, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opener()
    dialect = store.ledger.database.dialect
    url = request.getfixturevalue("postgres_url") if dialect == "postgresql" else ""
    for writer in range(3):
        write(store, *(exchange(n + 1000 * writer) for n in range(600)), writer=f"w{writer}")
    command = [sys.executable, "-c", FOLLOWER, str(store.root), url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    monkeypatch.setattr(index_module, "BATCH", 150)
    added = store.traffic.index.catch_up()
    counted = [int(process.communicate()[0]) for process in running]
    assert added + sum(counted) == 1800
    (total,) = store.traffic.index.totals("acme")
    assert total["count"] == 1800


def test_feedback_joins_by_id_or_business_key_whenever_it_arrives(opener: Opener) -> None:
    store = opener()
    index = store.traffic.index
    early = [feedback(1), feedback(2, exchange="", business="order")]
    write(store, *early)
    index.catch_up()
    write(store, exchange(1), exchange(2, business="order"), exchange(3))
    late = [
        feedback(3, value=0.5, metric="score", at=START + 99, id="old"),
        feedback(3, value=0.75, metric="score", at=START + 100, id="new"),
        feedback(3, value=True, metric="score", at=START + 98, id="judge", source="judge"),
        feedback(1, id="fb-1", value="a second one of the same id does not count"),
        feedback(3, id="key given later", exchange=exchange(3).id, business="parcel", metric="comment", value="hm"),
        feedback(9, id="by key", exchange="", business="parcel", metric="refund", value=12),
    ]
    write(store, *late)
    index.catch_up()
    outcomes = {o.id: o.feedback for o in index.outcomes("acme", "triage")}
    assert outcomes == {
        exchange(1).id: {("correct", "human"): False},
        exchange(2).id: {("correct", "human"): True},
        exchange(3).id: {
            ("score", "human"): 0.75,
            ("score", "judge"): True,
            ("comment", "human"): "hm",
            ("refund", "human"): 12,
        },
    }
    assert index.by_business("acme", "parcel") == [exchange(3).id]
    assert [f.id for f in index.feedback_of("acme", exchange(3).id)] == [
        "judge",
        "old",
        "new",
        "key given later",
        "by key",
    ]
    assert index.feedback("acme", "fb-1") == feedback(1)


def test_outcomes_of_arms_and_of_shadows(opener: Opener) -> None:
    store = opener()
    write(
        store,
        exchange(1, arm="control", propensity=0.9),
        exchange(2, arm="canary", propensity=0.1, status=502),
        exchange(3),
        exchange(4, endpoint="shadow", shadow_of=exchange(1).id),
        exchange(5, route="other", arm="canary"),
    )
    index = store.traffic.index
    index.catch_up()
    found = index.outcomes("acme", "triage", arms=("control", "canary"))
    assert [(o.arm, o.propensity, o.status) for o in found] == [("control", 0.9, 200), ("canary", 0.1, 502)]
    assert [o.shadow_of for o in index.outcomes("acme", "triage", shadow=True)] == [exchange(1).id]
    assert [o.id for o in index.outcomes(None, "triage", since=START + 2, until=START + 4)] == [
        exchange(2).id,
        exchange(3).id,
    ]


def test_sums_over_exchanges_and_hops_are_equal_to_the_last_unit(opener: Opener) -> None:
    store = opener()
    made = [exchange(n, at=START + n * 40_000) for n in range(60)]
    write(store, *made)
    index = store.traffic.index
    index.catch_up()
    (whole,) = index.totals("acme")
    (hops,) = index.totals("acme", hops=True)
    assert whole["cost"] == hops["cost"] == sum(e.cost for e in made)
    assert whole["input_tokens"] == hops["input_tokens"] == sum(e.input_tokens for e in made)
    assert (whole["count"], hops["count"]) == (60, sum(len(e.hops) for e in made))
    assert all(type(whole[name]) is int for name in ("count", "cost", "input_tokens", "output_tokens"))
    days = index.totals("acme", ("day",))
    assert [d["day"] for d in days] == sorted({index_module.day_of(e.at) for e in made})
    assert sum(d["cost"] for d in days) == whole["cost"]
    parts = index.totals("acme", ("served_by", "kind"), Filters(label="cash"), hops=True)
    assert [(p["served_by"], p["kind"], p["count"]) for p in parts] == [
        ("f" * 64, "local", 20),
        ("gpt-4", "upstream", 20),
    ]
    assert index.totals("acme", filters=Filters(route="none"))[0]["cost"] == 0
    with pytest.raises(NotFoundError, match="served_by"):
        index.totals("acme", ("served",), hops=True)
    with pytest.raises(NotFoundError, match="Known: "):
        index.totals("acme", ("served_by",))


def test_no_tenant_sees_anything_of_another(opener: Opener) -> None:
    store = opener()
    mine = exchange(1, business="order", subject="user")
    theirs = exchange(2, tenant="other", business="order", subject="user", shadow_of="x")
    write(store, mine, theirs, feedback(1), feedback(2, tenant="other", exchange=theirs.id))
    # What a tenant says of another's exchange, or of its own key with another's exchange, reaches nobody.
    write(
        store,
        feedback(3, tenant="other", exchange=mine.id, metric="comment", value="planted"),
        feedback(4, tenant="other", exchange=mine.id, business="theirs", metric="comment", value="planted"),
        feedback(5, tenant="other", exchange="", business="theirs", metric="comment", value="planted"),
    )
    index = store.traffic.index
    index.catch_up()
    asked = {
        "exchange": lambda t: index.exchange(t, mine.id),
        "exchanges": lambda t: [e for e in index.exchanges(t).rows if e.id == mine.id],
        "feedback": lambda t: index.feedback(t, "fb-1"),
        "feedback_of": lambda t: index.feedback_of(t, mine.id),
        "by_business": lambda t: [i for i in index.by_business(t, "order") if i == mine.id],
        "outcomes": lambda t: [o for o in index.outcomes(t, "triage") if o.id == mine.id],
        "totals": lambda t: [r for r in index.totals(t, ("tenant",)) if r["tenant"] == "acme"],
        "place": lambda t: index.place(t, mine.id),
        "young": lambda t: [e for e in index.young(t) if e.id == mine.id],
        "all_feedback": lambda t: [f for f in index.all_feedback(t) if f.tenant == "acme"],
        "labelled_since": lambda t: index.labelled_since(t, "triage", 0.0) - (t in ("other", None)),  # theirs is one
        "erased_at": lambda t: index.erased_at(t, "user"),
    }
    store.traffic.erase("acme", "nobody")
    public = {name for name, thing in inspect.getmembers(Queries, inspect.isfunction) if not name.startswith("_")}
    assert public - {"expired", "feedback_count"} == set(asked)  # these two are for the keeper of the store
    for name, ask in asked.items():
        if name != "erased_at":
            assert ask("acme"), name
            assert ask(None), name
        assert not ask("other"), name
        assert not ask(""), name
    assert [f.id for f in index.feedback_of("acme", mine.id)] == ["fb-1"]
    assert {o.id: len(o.feedback) for o in index.outcomes(None, "triage")} == {mine.id: 1, theirs.id: 1}
    with pytest.raises(NotFoundError):
        store.traffic.read("other", mine.id)


def test_an_index_of_another_version_is_made_anew(store: Store) -> None:
    write(store, exchange(1))
    store.traffic.index.catch_up()
    with store.traffic.index.database.write() as connection:
        connection.exec_driver_sql("UPDATE traffic_form SET version = 0")
    store.traffic.close()
    del store.__dict__["traffic"]
    assert store.traffic.index.exchanges("acme").rows == []
    assert store.traffic.index.catch_up() == 1


def test_a_segment_of_a_version_with_other_fields_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from operator import attrgetter

    from sartor.core.traffic import Exchange
    from sartor.store.traffic import frames

    names = tuple(n for n in frames.FIELDS[Exchange] if n not in ("request_id", "shadow_of"))
    monkeypatch.setitem(frames.FIELDS, Exchange, names)
    monkeypatch.setattr(frames, "_facts", attrgetter(*names[:-1]))
    write(store, exchange(1, request_id="not written"))
    monkeypatch.undo()
    store.traffic.index.catch_up()
    found = store.traffic.index.exchange("acme", exchange(1).id)
    assert found == exchange(1)


def test_a_read_only_store_is_indexed_too(opener: Opener) -> None:
    write(opener(), exchange(1))
    reader = opener(read_only=True)
    reader.traffic.index.catch_up()
    assert len(reader.traffic.index.exchanges("acme").rows) == 1
    with pytest.raises(StoreError, match="read-only"):
        reader.traffic.log("w0")


def test_nothing_is_made_before_it_is_used(store: Store) -> None:
    assert not (store.root / "traffic").exists()
    assert not list(Path(store.root).glob("traffic.db*"))

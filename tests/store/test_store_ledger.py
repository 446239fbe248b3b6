"""The ledger's contract, the same on SQLite and PostgreSQL."""

import threading
from collections.abc import Callable

import pytest

from sartor.core.errors import AskError, ConflictError, NotFoundError, StoreError
from sartor.core.licence import Licence
from sartor.core.records import KINDS, Dataset, Run, TaskRecord, Variant
from sartor.store.ledger import Change, Edge, Ledger
from sartor.store.opening import Store

Make = Callable[..., Variant]
Opener = Callable[..., Store]


def test_a_record_comes_back_as_it_was(opener: Opener, make: Make) -> None:
    item = make(1, facts={"ratio": 0.1, "deep": {"ü": ["\u0000", None, 1e-300]}}, measured={"seconds": 2.5})
    digest = opener().ledger.put(item)
    again = opener().ledger.get(digest)
    assert again == item
    assert (again.digest, again.seal) == (digest, item.seal)
    assert type(again) is Variant


def test_the_first_of_equal_records_stays(ledger: Ledger, make: Make) -> None:
    first, second = make(1, measured={"seconds": 1.0}), make(1, measured={"seconds": 9.0})
    assert first.digest == second.digest
    assert ledger.put(first) == ledger.put(second)
    assert ledger.put_many([second, make(2), second]) == [first.digest, make(2).digest, first.digest]
    assert ledger.get(first.digest) == first
    assert ledger.count(Variant) == 2


def test_many_are_put_all_or_none(ledger: Ledger, make: Make) -> None:
    with pytest.raises(AskError, match="may have 512") as caught:
        ledger.put_many([*(make(n) for n in range(1500)), make(1501, title="x" * 513)])
    assert caught.value.param == "title"
    assert ledger.count(Variant) == 0
    assert len(set(ledger.put_many(make(n) for n in range(1500)))) == 1500
    assert ledger.count(Variant) == 1500


def test_a_digest_may_be_shortened_to_eight(ledger: Ledger, make: Make) -> None:
    digest = ledger.put(make(1))
    assert ledger.get(digest[:8]).digest == ledger.get(digest[:20].upper()).digest == digest
    for wrong in (digest[:7], "zzzzzzzz", "0" * 64, f"{digest[:8]}%", "' OR 1=1 --", ""):
        with pytest.raises(NotFoundError):
            ledger.get(wrong)


def test_a_shortened_digest_of_two_records_is_refused(ledger: Ledger, make: Make) -> None:
    from sqlalchemy import insert

    from sartor.store.schema import record

    row = {"kind": "Variant", "created": "", "seal": "", "body": make(1).model_dump_json()}
    with ledger.database.write() as connection:
        connection.execute(insert(record), [row | {"digest": "abcdef12" + end * 56} for end in "01"])
    with pytest.raises(AskError, match="Several records"):
        ledger.get("abcdef12")


def test_find_is_newest_first_by_all_fields(ledger: Ledger, make: Make) -> None:
    made = [make(n, task=f"t{n % 2}", recipe=f"r{n % 3}", title=f"n{n % 5}") for n in range(60)]
    ledger.put_many(made)
    ledger.put(TaskRecord(name="t1", contract={}))
    fits = [v for v in reversed(made) if (v.task, v.recipe, v.title) == ("t1", "r2", "n0")]
    assert ledger.find(Variant, task="t1", recipe="r2", title="n0") == fits
    assert ledger.find(Variant, limit=3) == made[:-4:-1]
    assert ledger.find(Variant, base="", limit=1) == [made[-1]]
    assert ledger.find(Variant, task="t1", limit=2) == [made[59], made[57]]
    assert ledger.find(Variant, task="nothing' OR '1'='1") == []
    assert [ledger.count(Variant, **f) for f in ({}, {"task": "t1"}, {"task": "t1", "recipe": "r2"})] == [60, 30, 10]
    assert [t.name for t in ledger.find(TaskRecord)] == ["t1"]


def test_a_field_that_is_not_indexed_lists_those_that_are(ledger: Ledger) -> None:
    for ask in (ledger.find, ledger.count):
        with pytest.raises(AskError, match=r"Did you mean 'recipe'\? Known: base, data, recipe, task, title"):
            ask(Variant, recip="linear")


def test_edges_are_walked_both_ways(ledger: Ledger, make: Make) -> None:
    data = Dataset(name="d", licence=Licence.of("owned"), task="triage", labels=("a",), counts={"train": 1})
    child = make(1, parents={"data": data.digest, "base": "b" * 64})
    run = Run(verb="make", key="k", inputs={"data": data.digest}, outputs={"variant": child.digest})
    ledger.put_many([data, child, run])
    assert ledger.parents(child.digest) == [
        Edge("base", child.digest, "b" * 64),
        Edge("data", child.digest, data.digest),
    ]
    assert set(ledger.children(data.digest)) == {
        Edge("data", child.digest, data.digest),
        Edge("in:data", run.digest, data.digest),
    }
    assert ledger.parents(data.digest) == []


def test_every_kind_of_record_is_found_again_by_its_fields(ledger: Ledger) -> None:
    assert len(KINDS) >= 8
    for kind in KINDS.values():
        assert set(kind.index) <= set(kind.model_fields)
        assert ledger.find(kind, **dict.fromkeys(kind.index, "-")) == []


def test_a_pointer_moves_only_from_where_it_was_seen(ledger: Ledger, make: Make) -> None:
    one, two = ledger.put_many([make(1), make(2)])
    assert ledger.resolve("triage@live") is None
    ledger.point("triage@live", one, expected=None, decision="first")
    ledger.point("triage@live", two, expected=one, decision="better")
    for stale in (None, one):
        with pytest.raises(ConflictError, match=f"stands at {two} now"):
            ledger.point("triage@live", one, expected=stale, decision="late")
    stands = ledger.resolve("triage@live")
    assert stands is not None
    assert (stands.digest, stands.decision) == (two, "better")
    history = [(m.seq, m.before, m.digest, m.decision) for m in ledger.moves("triage@live")]
    assert history == [(1, None, one, "first"), (2, one, two, "better")]


def test_a_pointer_needs_a_record(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError, match="no such record"):
        ledger.point("triage@live", "0" * 64, expected=None, decision="")
    assert ledger.moves("triage@live") == []


def test_several_pointers_move_together_or_not_at_all(ledger: Ledger, make: Make) -> None:
    one, two = ledger.put_many([make(1), make(2)])
    ledger.move_many([Change("t@live", two, None), Change("t@previous", one, None)], decision="release")
    with pytest.raises(ConflictError):
        ledger.move_many([Change("t@live", one, two), Change("t@previous", two, two)], decision="stale")
    ledger.move_many([Change("t@live", one, two), Change("t@previous", two, one)], decision="rollback")
    assert {p.name: p.digest for p in ledger.pointers("t@")} == {"t@live": one, "t@previous": two}
    assert [m.decision for m in ledger.moves("t@live")] == ["release", "rollback"]


def test_records_are_stored_if_their_pointers_move_and_else_not(ledger: Ledger, make: Make) -> None:
    one, two = make(1), make(2)
    ledger.move_many([Change("t@live", one.digest, None)], decision="in", items=[one])
    assert ledger.get(ledger.resolve("t@live").digest) == one
    with pytest.raises(ConflictError):
        ledger.move_many([Change("t@live", two.digest, None)], decision="late", items=[two])
    with pytest.raises(NotFoundError):
        ledger.get(two.digest)


def test_many_new_names_are_set_together_or_not_at_all(ledger: Ledger, make: Make) -> None:
    digests = ledger.put_many(make(n) for n in range(1200))
    changes = [Change(f"t@v{n}", digest, None) for n, digest in enumerate(digests)]
    ledger.move_many(changes[:100], decision="first")
    with pytest.raises(ConflictError, match="'t@v50' was to move from nowhere"):
        ledger.move_many(changes[50:], decision="again")
    with pytest.raises(NotFoundError, match="'t@lost' cannot point"):
        ledger.move_many([*changes[100:], Change("t@lost", "0" * 64, None)], decision="lost")
    assert len(ledger.pointers("t@", limit=2000)) == 100
    ledger.move_many([Change("t@v7", None, digests[7])], decision="away")
    ledger.move_many([changes[7], *changes[100:]], decision="rest")
    assert {p.name: p.digest for p in ledger.pointers(limit=2000)} == {c.name: c.digest for c in changes}
    assert [(m.seq, m.digest, m.before) for m in ledger.moves("t@v7")] == [
        (1, digests[7], None),
        (2, None, digests[7]),
        (3, digests[7], None),
    ]
    assert [(m.seq, m.digest, m.decision) for m in ledger.moves("t@v999")] == [(1, digests[999], "rest")]


def test_the_names_of_a_record_are_found(ledger: Ledger, make: Make) -> None:
    one, two = ledger.put_many([make(1), make(2)])
    for name, digest in (("t@v1", one), ("t@live", one), ("t@v2", two)):
        ledger.point(name, digest, expected=None, decision="")
    assert [p.name for p in ledger.named(one)] == ["t@live", "t@v1"]
    ledger.point("t@live", two, expected=one, decision="")
    assert [p.name for p in ledger.named(one)] == ["t@v1"]
    assert sorted(p.name for p in ledger.named(one, two, "1" * 64)) == ["t@live", "t@v1", "t@v2"]
    assert ledger.named("0" * 64) == []


def test_a_pointer_may_be_taken_away_and_set_again(ledger: Ledger, make: Make) -> None:
    one = ledger.put(make(1))
    ledger.point("t@live", one, expected=None, decision="in")
    ledger.move_many([Change("t@live", None, one)], decision="out")
    assert ledger.resolve("t@live") is None
    assert ledger.pointers() == []
    with pytest.raises(ConflictError, match="stands at nowhere"):
        ledger.point("t@live", one, expected=one, decision="stale")
    ledger.point("t@live", one, expected=None, decision="in again")
    assert [(m.seq, m.digest) for m in ledger.moves("t@live")] == [(1, one), (2, None), (3, one)]


def test_pointers_are_listed_by_prefix(ledger: Ledger, make: Make) -> None:
    one = ledger.put(make(1))
    names = ["A@v1", "a%@v1", "a@live", "a@v1", "a_b@v1", "ab@v1", "ä@v1"]
    for name in names:
        ledger.point(name, one, expected=None, decision="")
    assert [p.name for p in ledger.pointers()] == names
    assert [p.name for p in ledger.pointers("a@")] == ["a@live", "a@v1"]
    assert [p.name for p in ledger.pointers("a%")] == ["a%@v1"]
    assert [p.name for p in ledger.pointers("a_")] == ["a_b@v1"]
    assert len(ledger.pointers("a", limit=2)) == 2
    assert [p.name for p in ledger.pointers("a", after="a@live")] == ["a@v1", "a_b@v1", "ab@v1"]


def test_of_two_writers_on_one_pointer_one_wins(opener: Opener, make: Make) -> None:
    ledgers = [opener().ledger for _ in range(4)]
    start, *ends = ledgers[0].put_many(make(n) for n in range(5))
    ledgers[0].point("t@live", start, expected=None, decision="start")
    lined_up, won, lost = threading.Barrier(4), [], []

    def race(ledger: Ledger, end: str) -> None:
        lined_up.wait()
        try:
            ledger.point("t@live", end, expected=start, decision=end)
            won.append(end)
        except ConflictError as error:
            lost.append(error)

    threads = [threading.Thread(target=race, args=pair) for pair in zip(ledgers, ends, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    assert [m.digest for m in ledgers[0].moves("t@live")] == [start, *won]


def test_of_writers_on_a_new_pointer_one_wins(opener: Opener, make: Make) -> None:
    ledger = opener().ledger
    ends = ledger.put_many(make(n) for n in range(4))
    lined_up, outcomes = threading.Barrier(4), []

    def race(end: str) -> None:
        lined_up.wait()
        try:
            ledger.point("t@live", end, expected=None, decision=end)
            outcomes.append(end)
        except ConflictError:
            outcomes.append("")

    threads = [threading.Thread(target=race, args=(end,)) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[:3] == ["", "", ""]
    assert len(ledger.moves("t@live")) == 1


def test_writers_that_cross_do_not_lose_each_others_records(opener: Opener, make: Make) -> None:
    made = [make(n) for n in range(40)]
    ledgers = [opener().ledger for _ in range(4)]
    failures: list[StoreError] = []

    def write(ledger: Ledger, backwards: bool) -> None:
        try:
            for low in range(0, 40, 10):
                part = made[low : low + 10]
                ledger.put_many(reversed(part) if backwards else part)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(ledger, bool(i % 2))) for i, ledger in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {v.digest for v in ledgers[0].find(Variant)} == {v.digest for v in made}


def test_a_read_only_ledger_reads_and_refuses_to_write(opener: Opener, make: Make) -> None:
    digest = opener().ledger.put(make(1))
    ledger = opener(read_only=True).ledger
    assert ledger.get(digest) == make(1, created=ledger.get(digest).created)
    for write in (
        lambda: ledger.put(make(2)),
        lambda: ledger.point("t@live", digest, expected=None, decision=""),
    ):
        with pytest.raises(StoreError, match="opened read-only"):
            write()
    assert ledger.count(Variant) == 1


def test_a_kind_that_a_newer_code_wrote_is_named(ledger: Ledger) -> None:
    from sqlalchemy import insert

    from sartor.store.schema import record

    with ledger.database.write() as connection:
        row = {"digest": "0" * 64, "kind": "Hologram", "created": "", "seal": "", "body": "{}"}
        connection.execute(insert(record), [row])
    with pytest.raises(StoreError, match="'Hologram': a newer Sartor"):
        ledger.get("0" * 64)

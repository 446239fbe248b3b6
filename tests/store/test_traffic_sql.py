"""SQL over traffic: old and young records alike, one tenant's, and nothing but reading; rows that leave in files."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from traffic_sample import START, content, exchange, feedback

from sartor.core.errors import AskError, NotFoundError
from sartor.data.sources.chat_logs import Params, chat_logs
from sartor.pipeline.traffic import filters_of, moment, query, show, status
from sartor.pipeline.traffic_export import export
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import Store
from sartor.store.traffic.treatment import Treatment

OPEN, SEALED = Treatment(days=60_000), Treatment(days=60_000, encrypt=True)


@pytest.fixture
def shop(store: Store, tmp_path: Path) -> Workshop:
    """Twenty exchanges in old files, ten in a segment, one of another tenant."""
    traffic = store.traffic
    log = traffic.log("w0")
    for number in range(20):
        log.append(exchange(number, at=START + 9000 * number), content(number), how=OPEN)
    log.append_feedback(feedback(3, metric="demonstration", value="cash"), sync=False)
    log.close()
    traffic.compact(days=0, now=time.time() + 60)
    log = traffic.log("w0")
    for number in range(20, 30):
        log.append(exchange(number, at=START + 9000 * number), content(number), how=OPEN)
    log.append(exchange(99, tenant="other"), content(99), how=OPEN)
    log.close()
    return Workshop(store, tmp_path / "key", tmp_path)


def rows(shop: Workshop, sql: str, tenant: str | None = "acme", **how: Any) -> list[tuple[Any, ...]]:
    return query(shop, tenant, sql, **{"limit": 1000} | how).rows


def test_old_and_young_records_are_one_table(shop: Workshop) -> None:
    made = [exchange(n) for n in range(30)]
    cost = sum(e.cost for e in made)
    assert rows(shop, "SELECT count(*), sum(cost), count(DISTINCT id) FROM exchanges") == [(30, cost, 30)]
    assert rows(shop, "SELECT count(*), sum(cost) FROM hops") == [(40, cost)]
    assert rows(shop, "SELECT e.label, f.value FROM exchanges e JOIN feedback f ON f.exchange = e.id") == [
        ("cash", "cash")
    ]
    assert rows(shop, "WITH t AS (SELECT * FROM exchanges) SELECT count(*) FROM t", None) == [(31,)]
    found = query(shop, "acme", "SELECT id FROM exchanges ORDER BY id", limit=7)
    assert (found.columns, len(found.rows), found.more) == (["id"], 7, True)


def test_no_table_shows_another_tenant(shop: Workshop) -> None:
    for table in ("exchanges", "hops", "old_exchanges", "young_exchanges", "feedback"):
        assert rows(shop, f"SELECT count(*) FROM {table}", "none") == [(0,)]
        mine, theirs, all_ = (rows(shop, f"SELECT * FROM {table}", tenant) for tenant in ("acme", "other", None))
        assert len(mine) + len(theirs) == len(all_) > 0


REFUSED = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    "COPY (SELECT 1) TO '/tmp/sartor-must-not-be'",
    "ATTACH '/tmp/sartor-must-not-be'",
    "INSTALL httpfs",
    "SET enable_external_access = true",
    "SELECT 1; SELECT 2",
    "DELETE FROM exchanges",
    "CREATE TABLE t AS SELECT 1",
    "SELECT * FROM shop",
    "SELECT nothing FROM exchanges",
    "SELECT getenv('HOME')",
    "",
    "no sql",
]


def test_a_statement_reads_traffic_and_nothing_else(shop: Workshop) -> None:
    for sql in REFUSED:
        with pytest.raises(AskError) as caught:
            rows(shop, sql)
        assert caught.value.param == "sql", sql
    assert not Path("/tmp/sartor-must-not-be").exists()


def test_what_leaves_as_json_lines_is_read_as_chat_logs(shop: Workshop, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    mark = shop.store.traffic.mark
    log = shop.store.traffic.log("w1")
    log.append(exchange(40, subject=mark("gone")), content(40), how=SEALED)
    log.append(exchange(41), None)
    log.append(exchange(42), content(42), how=Treatment(hashed=True))
    log.close()
    shop.store.traffic.erase("acme", "gone")
    done = export(shop, "acme", target, filters_of((), route="triage"))
    assert (done.rows, done.without_content, done.erased) == (30, 2, 1)
    read = {row["id"]: row for row in chat_logs(Params(path=target))}
    assert len(read) == 30
    row = read[exchange(3).id]
    assert (row["text"], row["label"]) == ("question 3", "answer 3")
    assert (row["answer"], row["demonstration"], row["tenant"]) == ("cash", "cash", "acme")
    with pytest.raises(AskError, match="is there already"):
        export(shop, "acme", target, filters_of(()))
    with pytest.raises(AskError, match="ends in"):
        export(shop, "acme", tmp_path / "out.csv", filters_of(()))
    export(shop, "acme", tmp_path / "out.parquet", filters_of((), since="2025-11-25", until="2025-11-26"))
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert {row["time"][:10] for row in table} == {"2025-11-25"}
    assert json.loads(table[0]["request"])["messages"][0]["content"].startswith("question")


def test_one_exchange_is_shown_with_all_there_is_of_it(shop: Workshop) -> None:
    found = show(shop, "acme", exchange(3).id)
    assert found["request"]["messages"][0]["content"] == "question 3"
    assert [f["value"] for f in found["feedback"]] == ["cash"]
    assert found["money"] == pytest.approx(exchange(3).cost / 1e9)
    assert len(found["hops"]) == 2
    with pytest.raises(NotFoundError, match="There is no exchange"):
        show(shop, "other", exchange(3).id)
    there = status(shop)
    assert (there["exchanges"], there["feedback"], there["segments"], there["damaged_bytes"]) == (31, 1, 1, 0)


def test_filters_and_times_are_read_as_people_write_them() -> None:
    assert filters_of(["status=502", "arm=canary"], since="2025-11-24T12:00", route="x") == filters_of(
        ["arm=canary", "route=x", "status=502"], since="2025-11-24T13:00+01:00"
    )
    assert moment("2025-11-24T12:00", "since") == START
    assert abs(moment("2d", "since") - (time.time() - 2 * 86_400)) < 60
    with pytest.raises(NotFoundError, match="Did you mean 'status'"):
        filters_of(["statis=1"])
    for wrong in ({"where": ["status=x"]}, {"where": [], "since": "yesterday"}):
        with pytest.raises(AskError):
            filters_of(**wrong)  # type: ignore[arg-type]

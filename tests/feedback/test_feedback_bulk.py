"""Outcomes from files: all of them or none, each line checked as it would be over HTTP, the same file twice as once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sartor.core.errors import AskError, ConflictError, NotFoundError
from sartor.core.records import TaskRecord
from sartor.core.traffic import Exchange
from sartor.pipeline.traffic import Imported, declared_metrics, import_feedback
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

CONTRACT = {"feedback": {"resolved": {"type": "boolean"}, "refund": {"type": "number", "better": "lower"}}}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    store = open_store(tmp_path / "store")
    store.ledger.put(TaskRecord(name="triage", contract={"feedback": {"resolved": {"type": "label"}}}))
    store.ledger.put(TaskRecord(name="triage", contract=CONTRACT))
    log = store.traffic.log("w0")
    facts = {"at": 1e9, "tenant": "default", "key": "", "route": "triage", "model": "triage"}
    log.append(Exchange(id="one", business=store.traffic.mark("order 1"), **facts))
    log.append(Exchange(id="two", **facts))
    log.close()
    yield Workshop(store, tmp_path / "key", tmp_path)
    store.close()


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


CSV = """exchange_id,business_key,metric,value,source,id
,order 1,refund,12.50,outcome,
two,,resolved,Yes,human,x1
two,,correct,0,,
,order 9,resolved,false,LLM_JUDGE,
"""


def test_a_csv_file_is_taken_in_once_however_often(shop: Workshop, tmp_path: Path) -> None:
    path = write(tmp_path, "outcomes.csv", CSV)
    assert import_feedback(shop, "default", path) == Imported(rows=4, new=4, joined=3)
    assert import_feedback(shop, "default", path) == Imported(rows=4, new=0, joined=3)
    found = {o.id: o.feedback for o in shop.store.traffic.index.outcomes("default", "triage")}
    assert found == {
        "one": {("refund", "outcome"): 12.5},
        "two": {("resolved", "human"): True, ("correct", "human"): False},
    }
    assert import_feedback(shop, "other", path) == Imported(rows=4, new=4, joined=0)


def test_json_lines_are_taken_as_they_are(shop: Workshop, tmp_path: Path) -> None:
    lines = (
        '{"inference_id":"one","metric_name":"resolved","value":true}\n'
        '{"exchange_id":"two","metric":"comment","value":"ask a@example.org","id":"c"}'
    )
    assert import_feedback(shop, "default", write(tmp_path, "a.jsonl", lines)) == Imported(rows=2, new=2, joined=2)
    said = shop.store.traffic.index.feedback("default", "c")
    assert said is not None
    assert said.value == "ask [EMAIL]"


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ("two,,resolved,maybe,,", AskError, "line 3: 'value' must be a boolean, as the metric 'resolved' is"),
        ("two,,refund,much,,", AskError, "must be a number"),
        ("two,,refunds,1,,", NotFoundError, "Did you mean 'refund'?"),
        (",,refund,1,,", AskError, "name it by 'exchange_id'"),
        ("two,,refund,1,,x1", ConflictError, "says something else"),
        ("two,,refund", AskError, "line 3"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_kept(
    shop: Workshop, tmp_path: Path, line: str, kind: type[Exception], says: str
) -> None:
    head = "exchange_id,business_key,metric,value,source,id\ntwo,,resolved,yes,,x1\n"
    with pytest.raises(kind, match=says):
        import_feedback(shop, "default", write(tmp_path, "bad.csv", head + line + "\n"))
    assert shop.store.traffic.index.feedback_count() == 0


def test_the_newest_contract_of_a_task_says_what_its_metrics_are(shop: Workshop) -> None:
    assert {name: spec.type for name, spec in declared_metrics(shop).items()} == {
        "resolved": "boolean",
        "refund": "number",
    }

"""Rows with JSON objects become the draft of an extraction."""

import json

import pytest

from sartor.data.draft import draft_task
from sartor.data.draft_extract import documents, schema_of
from sartor.data.json_schema import faults, misfits
from sartor.pipeline.task_file import parse_task

ROWS = [
    {
        "note": f"Order {i}",
        "answer": {"id": i, "paid": i % 2 == 0, "lines": [{"item": "a", "price": i / 2}], "tags": ["x"]},
    }
    for i in range(8)
]


def test_a_schema_is_read_from_documents():
    schema = schema_of([row["answer"] for row in ROWS] + [{"tags": "y", "lines": []}])
    assert schema["properties"]["id"] == {"type": "integer"}
    assert schema["properties"]["paid"] == {"type": "boolean"}
    assert schema["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert schema["properties"]["lines"]["items"]["properties"]["price"] == {"type": "number"}
    assert not list(faults(schema))
    assert not [fault for row in ROWS for fault in misfits(row["answer"], schema)]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_with_documents_is_drafted_as_an_extraction(tmp_path, as_text):
    rows = [{**row, "answer": json.dumps(row["answer"])} if as_text else row for row in ROWS]
    file = tmp_path / "orders.jsonl"
    file.write_text("".join(json.dumps({**row, "giant": {"id": 0}}) + "\n" for row in rows))
    task = parse_task(draft_task(file, owned=True), "draft")
    assert (task.kind, task.name, task.input.columns, task.data.label) == ("extract", "orders", ("note",), "answer")
    assert task.incumbent.column == "giant"
    assert [candidate.recipe for candidate in task.candidates] == ["rules", "tagger"]
    assert set(task.answer.json_schema["properties"]) == {"id", "paid", "lines", "tags"}


def test_labels_that_look_like_nothing_else_stay_labels():
    assert documents(["a", "b"]) is None
    assert documents(['{"a": 1}', "b", "c"]) is None
    assert documents([None, "", {"a": 1}]) == [{"a": 1}]
    assert documents([]) is None

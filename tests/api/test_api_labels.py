"""Labelling over HTTP, as a console does it: next rows, an answer, taking it back, leaving, state; tenants apart."""

from pathlib import Path
from typing import Any

import pytest
from api_house import House

from benchmarks.kill import write_rows
from sartor.core.task import Task
from sartor.pipeline.run import run
from tests.pipeline.label_house import BODY, capture, texts


@pytest.fixture
def asked(house: House, tmp_path: Path) -> House:
    write_rows(tmp_path / "rows.jsonl")
    run(house.shop, Task.model_validate(BODY), tmp_path)
    capture(house.shop, texts(20))
    capture(house.shop, [("acme wants its card", "card", "x")], tenant="acme")
    return house


def said(house: House, path: str, body: Any, by: str = "default-operator") -> Any:
    found = house.post(f"/tasks/desk/labels{path}", body, by=by)
    assert found.status == 200, found.body
    return found.json


def test_a_sitting_over_http(asked: House) -> None:
    sitting = said(asked, "/next", {"who": "anna", "size": 5})
    assert (len(sitting["items"]), sitting["left"], sitting["who"]) == (5, 20, "anna")
    first = sitting["items"][0]
    assert {"item", "text", "guesses", "picked", "gain", "why"} <= set(first)
    assert first["guesses"][0].keys() == {"label", "share"}
    body = {"who": "anna", "item": first["item"], "label": "card", "sitting": sitting["id"], "seconds": 30}
    assert said(asked, "", body)["new"] is True
    assert said(asked, "", body)["new"] is False
    (told,) = asked.shop.store.traffic.index.feedback_of("default", first["item"])
    assert told.key == asked.ids["default-operator"]
    assert said(asked, "/undo", {"who": "anna", "item": first["item"]})["label"] == "card"
    assert said(asked, "", body | {"label": "rate"})["new"] is True
    assert (
        said(asked, "", {"who": "anna", "item": sitting["items"][1]["item"], "sitting": sitting["id"]})["label"] == ""
    )
    left = said(asked, "/leave", {"who": "anna", "sitting": sitting["id"]})
    assert left["booked"]["minutes"] == 0.5
    found = asked.get("/tasks/desk/labels", by="default-viewer")
    assert (found["labelled"], found["by_person"], found["before_people"]) == (1, {"anna": 1}, 0)
    assert asked.get("/tasks/desk/labels/agreement", by="default-viewer")["kappa"] is None


def test_what_is_wrong_is_told_as_on_the_command_line(asked: House) -> None:
    def code(path: str, body: Any, by: str = "default-operator") -> tuple[int, str]:
        found = asked.post(path, body, by=by)
        return found.status, found.code

    assert code("/tasks/desk/labels/next", {"who": ""}) == (400, "no_labeller")
    assert code("/tasks/desk/labels/next", {}) == (400, "bad_body")
    assert code("/tasks/dsk/labels/next", {"who": "anna"}) == (404, "task_not_found")
    assert code("/tasks/desk/labels", {"who": "anna", "item": "chatcmpl-1", "label": "crad"}) == (
        404,
        "label_not_found",
    )
    assert code("/tasks/desk/labels", {"who": "anna", "item": "no", "label": "card"}) == (404, "row_not_found")
    assert code("/tasks/desk/labels", {"who": "anna", "item": "chatcmpl-1", "picked": "best"}) == (400, "bad_body")
    assert code("/tasks/desk/labels/undo", {"who": "anna", "item": "chatcmpl-1"}) == (404, "nothing_said")


def test_a_tenant_labels_its_own_traffic_and_hears_of_no_other(asked: House) -> None:
    (item,) = said(asked, "/next", {"who": "ben"}, by="acme-operator")["items"]
    assert item["text"] == "acme wants its card"
    refused = asked.post(
        "/tasks/desk/labels", {"who": "ben", "item": "chatcmpl-1", "label": "card"}, by="acme-operator"
    )
    assert refused.code == "row_not_found"
    assert said(asked, "", {"who": "ben", "item": item["item"], "label": "card"}, by="acme-operator")["new"]
    assert asked.get("/tasks/desk/labels", by="acme-viewer")["texts"] == 1
    nothing = asked.send("GET", "/api/v1/tasks/desk/labels", by="other-viewer")
    assert (nothing.status, nothing.code) == (404, "task_not_found")
    assert "desk" not in nothing.message.replace("'desk'", "")
    assert asked.get("/tasks/desk/labels")["texts"] == 21

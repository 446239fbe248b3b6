"""Surgery in the chain: children are gated like all others, certified beside their parents, and probed when loaded."""

import json
import shutil

import numpy as np
import pytest

from sartor.core.errors import NotFoundError, StoreError
from sartor.core.records import Report, Variant
from sartor.core.task import Task
from sartor.pipeline.parity import certify, compared, parity_of
from sartor.pipeline.plan import plan
from sartor.pipeline.run import make_all, open_hall, run
from sartor.pipeline.serve import Handles, fleet_of
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

from surgery_house import FRAMES, LABELS, SUBJECTS, write_encoder


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A store in which a tiny encoder was tuned and operated on."""
    folder = tmp_path_factory.mktemp("house")
    write_encoder(folder / "base")
    rows = [
        {"text": f"never{n} {frame.format(word)}", "label": label}
        for n in range(8)
        for label in LABELS
        for word in SUBJECTS[label]
        for frame in FRAMES
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = f"folder:{folder / 'base'}"
    task = Task.model_validate(
        {
            "name": "desk",
            "data": {"sources": [{"use": "jsonl", "path": "rows.jsonl", "licence": "owned"}]},
            "value": {"wrong": 5, "escalate": {"to": "person", "price": 1, "error_rate": 0.05}, "volume": 1000},
            "candidates": [
                {"recipe": "tune", "base": base, "name": "tuned", "params": {"epochs": 3, "rate": 3e-3}},
                {"recipe": "quantise", "name": "small", "of": ["tuned"]},
                {"recipe": "trim_vocabulary", "name": "trimmed", "of": ["tuned"], "size": "small"},
                {"recipe": "quantise", "name": "both", "of": ["trimmed"]},
                {"recipe": "prune", "name": "cut", "of": ["tuned"], "params": {"layers": 1, "tolerance": 0.0}},
            ],
            "incumbent": {"kind": "rule"},
            "gate": {
                "min_rows": 20,
                "max_calibration_error": 1.0,
                "guards": {},
                "floor": "tuned",
                "allow_licences": ["unstated"],
            },
        }
    )
    shop = Workshop(store=open_store(folder / "home"), key=folder / "signing.key", cache=folder / "cache", who="tester")
    result = run(shop, task, folder)
    yield shop, task, folder, result
    shop.store.close()


def variant(house, title) -> Variant:
    shop, _, _, result = house
    found = shop.store.ledger.get(result.variants[title])
    assert isinstance(found, Variant)
    return found


def test_a_run_makes_gates_and_serves_surgerys_children(house):
    shop, _, _, result = house
    assert result.decision.verdict == "ship", result.decision.reasons
    assert {line.title for line in result.lines} >= {"tuned", "small", "trimmed", "both", "cut"}
    assert variant(house, "small").engine == "onnx"
    assert variant(house, "small").parents["first"] == result.variants["tuned"]
    assert variant(house, "small").licence == variant(house, "tuned").licence
    assert Handles(shop).resolve("desk").version.startswith("desk@v")


def test_each_child_has_a_certificate_and_nobody_else(house):
    shop, _, _, result = house
    found = parity_of(shop, result.variants["trimmed"])
    assert found["holds"]
    assert found["metrics"]["flips"]["value"] == 0.0
    assert found["parent"] == result.variants["tuned"]
    assert found["bytes"]["child"] < found["bytes"]["parent"]
    assert found["probe"]
    assert (found["split"], found["metrics"]["flips"]["n"]) == ("validation", 54)
    assert parity_of(shop, result.variants["both"])["parent"] == result.variants["trimmed"]
    with pytest.raises(NotFoundError, match="no child of surgery"):
        parity_of(shop, result.variants["tuned"])
    assert "probe.json" not in variant(house, "tuned").files
    reports = shop.store.ledger.find(Report, purpose="parity", task="desk")
    assert len(reports) == 4


def test_a_promise_that_does_not_hold_is_told(house):
    shop, _, _, result = house
    found = parity_of(shop, result.variants["cut"])
    assert found["holds"] == (found["metrics"]["flips"]["value"] == 0.0)
    assert len(found["flips"]) == min(round(found["metrics"]["flips"]["value"] * 54), 20)


def test_certifying_and_making_again_makes_nothing(house):
    shop, task, folder, result = house
    before = shop.store.ledger.count(Report)
    place = open_hall(shop, task, folder)
    again = make_all(place, task.candidates)
    assert {title: one.digest for title, one in again.items()} == result.variants
    assert certify(shop, place.cache, again["small"], place.dataset, place.snapshot) is not None
    assert certify(shop, place.cache, again["tuned"], place.dataset, place.snapshot) is None
    assert shop.store.ledger.count(Report) == before
    assert all(line.cached for line in plan(shop, task, folder))


def test_probe_holds_no_row_of_anybody(house):
    shop, _, folder, _ = house
    probe = json.loads((shop.store.folder(variant(house, "small")) / "probe.json").read_text())
    rows = {json.loads(line)["text"] for line in (folder / "rows.jsonl").read_text().splitlines()}
    assert not rows & set(probe["texts"])
    assert probe["dtype"] == "int8"
    assert len(probe["probabilities"]) == len(probe["texts"]) >= 6


@pytest.mark.parametrize("damage", ["answers", "words", "form"])
def test_what_answers_otherwise_after_loading_is_refused(damage, house, tmp_path):
    """The fleet is told of a folder whose probe or words are not those of the maker."""
    shop = house[0]
    child = variant(house, "trimmed")
    folder = tmp_path / "child"
    shutil.copytree(shop.store.folder(child), folder)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    probe = json.loads((folder / "probe.json").read_text())
    if damage == "answers":
        probe["probabilities"][0] = probe["probabilities"][0][::-1]
        probe["probabilities"][0][0] += 0.1
    if damage == "form":
        probe["more"] = 1
    if damage == "words":  # the tokenizer of another model: two words have changed places
        file = folder / "encoder" / "tokenizer.json"
        spec = json.loads(file.read_text())
        words = spec["model"]["vocab"]
        words["card"], words["cash"] = words["cash"], words["card"]
        file.write_text(json.dumps(spec))
    (folder / "probe.json").write_text(json.dumps(probe))
    fleet = fleet_of(shop, None)
    lay = fleet._folder_of
    fleet._folder_of = lambda digest: folder if digest == child.digest else lay(digest)
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            fleet.load(child.digest)
        assert caught.value.code == ("variant_damaged" if damage == "form" else "probe_failed")


def test_flips_by_hand():
    from sartor.evaluation.answers import Answers

    def answers(said):
        rows = len(said)
        return Answers(
            ids=np.array([f"r{n}" for n in range(rows)]),
            true=np.zeros(rows, dtype=np.int32),
            answer=np.array(said, dtype=np.int32),
            escalated=np.zeros(rows, dtype=bool),
            serving_cost=np.zeros(rows),
        )

    found = compared(answers([0, 0, 1, 2]), answers([0, 1, 0, 1]), 0.5)
    assert (found["metrics"]["flips"].value, found["holds"]) == (0.75, False)
    assert (found["metrics"]["fixed"].value, found["metrics"]["broken"].value) == (1.0, 1.0)
    assert [flip["id"] for flip in found["flips"]] == ["r1", "r2", "r3"]

"""Leaving: every export answers as the variant does, in a Python that has no Sartor, and trains again there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from leaving_house import choosing, extracting, orders, texts, write_encoder, write_rows, write_static

from benchmarks._leaving import Outside, borrowed, held, inside
from benchmarks._tiny_lm import write_tiny_lm
from sartor.core.records import Variant
from sartor.core.task import Task
from sartor.pipeline.export import export
from sartor.pipeline.run import make_all, open_hall
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register
from sartor.store.opening import open_store

pytest.importorskip("torch")
TOLERANCE = 1e-5
ASKED = ["", "ünïcode ½", "where is my card , please", "the transfer was sent today \n not", *dict(texts(30, 9))]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return borrowed(tmp_path_factory.mktemp("outside") / "python")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("leaving")
    write_encoder(folder / "encoder")
    write_static(folder / "static")
    write_tiny_lm(folder / "lm")
    write_rows(folder / "texts.jsonl", texts(240, 1))
    write_rows(folder / "orders.jsonl", orders(160, 1))
    store = open_store(folder / "home")
    opened = Workshop(store=store, key=folder / "key", cache=folder / "cache", who="tester")
    for task in (choosing(folder), extracting(folder)):
        make(opened, task, folder)
    yield opened
    store.close()


def make(shop: Workshop, task: Task, folder: Path) -> None:
    for variant in make_all(open_hall(shop, task, folder), task.candidates).values():
        register(shop.store.ledger, variant)


def variant(shop: Workshop, title: str) -> Variant:
    return shop.store.ledger.find(Variant, title=title, limit=1)[0]


def test_the_python_outside_has_no_sartor(outside: Outside) -> None:
    assert outside.has_no_sartor()


FORMS = [
    ("linear", "folder"),
    ("static", "folder"),
    ("static", "onnx"),
    ("head", "hf"),
    ("tune", "folder"),
    ("tune", "onnx"),
    ("adapter", "folder"),
    ("adapter", "hf"),
    ("adapter", "peft"),
    ("blend", "folder"),
    ("linear", "mlflow"),
]


@pytest.fixture(scope="module")
def exported(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("exports")
    found = {(title, target): folder / f"{title}-{target}" for title, target in FORMS}
    for (title, target), out in found.items():
        export(shop, variant(shop, title).digest, target, out, {"base": True} if target == "peft" else {})
    return found


def test_exports_answer_as_the_variants_do(
    shop: Workshop, outside: Outside, exported: dict[tuple[str, str], Path]
) -> None:
    here = {title: inside(shop, variant(shop, title), ASKED) for title in {title for title, _ in FORMS}}
    there = outside.every(list(exported.values()), ASKED)

    for (title, target), answers in zip(exported, there, strict=True):
        found = held(here[title], answers)
        assert found.same == len(ASKED), (title, target)
        assert found.furthest < TOLERANCE, (title, target)


def test_the_script_answers_lines_texts_and_columns(outside: Outside, exported: dict[tuple[str, str], Path]) -> None:
    script = exported["linear", "folder"] / "predict.py"
    by_lines = outside.answers(script.parent, ASKED[:3])
    by_words = [json.loads(line) for line in outside.run(script, *ASKED[1:3]).splitlines()]
    by_columns = json.loads(outside.run(script, "--columns", json.dumps({"text": ASKED[2]})))

    assert by_words == by_lines[1:]
    assert by_columns == by_words[1]


WRITTEN = [
    ("tagger", "folder", {}),
    ("lora", "folder", {}),
    ("lora", "hf", {}),
    ("lora", "peft", {}),
    ("full", "hf", {}),
    ("lora", "gguf", {"level": "f32"}),
]


def test_what_writes_writes_the_same_outside(shop: Workshop, outside: Outside, tmp_path: Path) -> None:
    asked = [text for text, _ in orders(8, 7)] + ["", "pen ½ alder"]
    folders = [tmp_path / f"{title}-{target}" for title, target, _ in WRITTEN]
    for (title, target, params), out in zip(WRITTEN, folders, strict=True):
        export(shop, variant(shop, title).digest, target, out, params)

    every = outside.every(folders, asked)

    for (title, target, _), there in zip(WRITTEN, every, strict=True):
        here = inside(shop, variant(shop, title), asked)
        same = sum(
            a["label"] == b["output"] and a["escalate"] == b["escalate"] for a, b in zip(here, there, strict=True)
        )
        far = max(abs(a["confidence"] - b["confidence"]) for a, b in zip(here, there, strict=True))
        # A tiny model of random weights sits near a tie at every token: what is merged or laid out anew may flip one.
        assert same >= len(asked) - 1, (title, target)
        assert far < TOLERANCE or target in ("hf", "gguf"), (title, target, far)
        assert all(isinstance(one["answer"], dict) for one in there)

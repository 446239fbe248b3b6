"""BANKING77 as a task: its sources, recorded giants and candidates, for the benchmarks on it."""

from typing import Any

from benchmarks._shared import ROOT, data_folder
from sartor.pipeline.task_file import load_yaml

GPT4_PRICE = 0.25
"""EUR per call: the authors paid about US$ 740 for about 3,000 rows with three shots a class (arXiv 2310.13395)."""
RUNGS: list[dict[str, Any]] = [
    {"recipe": "linear"},
    {"recipe": "head", "base": "static-minilm"},
    {"recipe": "head", "base": "minilm"},
    {"recipe": "head", "base": "mpnet"},
    {"recipe": "adapter", "base": "minilm"},
    {"recipe": "tune", "base": "minilm"},
    {"recipe": "blend", "name": "blend:linear+minilm", "of": ["linear", "head:minilm"]},
    {"recipe": "blend", "name": "blend:linear+mpnet", "of": ["linear", "head:mpnet"]},
    {"recipe": "blend", "name": "blend:mpnet+tune", "of": ["head:mpnet", "tune:minilm"]},
]
"""All rungs of the ladder, the cheapest first."""


def value() -> dict[str, Any]:
    """The committed value function."""
    path = ROOT / "benchmarks" / "banking77_value.yaml"
    loaded: dict[str, Any] = load_yaml(path.read_text(encoding="utf-8"), path.name)
    return loaded


def body(train: str = "", **changes: Any) -> dict[str, Any]:
    """The task as a dict; `train` is another file of training rows."""
    folder = data_folder() / "banking77"
    source = {"use": "jsonl", "licence": "CC-BY-4.0"}
    return {
        "name": "banking77",
        "data": {
            "sources": [
                source | {"path": train or str(folder / "train.jsonl")},
                source | {"path": str(folder / "test.jsonl"), "split": "test"},
            ],
            "split": {"test": 0, "validation": 0.15},
            "on_leak": "drop_train",
        },
        "value": value(),
        "incumbent": {"kind": "recorded", "column": "gpt4", "model": "gpt-4", "price": GPT4_PRICE},
        "candidates": RUNGS,
        "gate": {"guards": {}},
    } | changes

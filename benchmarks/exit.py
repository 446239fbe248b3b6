"""The way out: every export answers as the variant does where there is no Sartor, and its recipe trains again there.

A Python without Sartor borrows the packages that are installed here; two exports are also answered in an empty
environment into which pip put nothing but their own pins. Variants: all rungs on BANKING77 with ten rows a class, a
tagger on MiniLM and LoRA on SmolLM2 on a part of OA-Mine. They are quick to make and not meant to be good: what counts
is that answers are the same. `--without-lm` leaves SmolLM2 out, `--without-clean` the empty environments.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _banking, _oa_mine
from benchmarks._leaving import Outside, borrowed, clean, held, inside
from benchmarks._shared import ROOT, data_folder, result, show, task, workshop
from sartor.core.records import Variant
from sartor.pipeline.export import export
from sartor.pipeline.inspect import Hall
from sartor.pipeline.run import inspect_all, make_all, open_hall
from sartor.pipeline.workshop import Workshop

HOME = ROOT / ".sartor" / "bench-exit"
SHOTS, HELD_OUT, TEST = 10, 5, 200
TITLES = 160
"""Of OA-Mine that are learned from."""
ASKED, WRITTEN = 100, 24
"""Test rows that every export answers."""
TOLERANCE = 1e-4
CHOOSERS: list[dict[str, Any]] = [
    {"recipe": "linear"},
    {"recipe": "head", "base": "static-minilm"},
    {"recipe": "head", "base": "minilm"},
    {"recipe": "adapter", "base": "minilm", "params": {"epochs": 2}},
    {"recipe": "tune", "base": "minilm", "params": {"epochs": 2}},
    {"recipe": "blend", "name": "blend", "of": ["linear", "head:minilm"]},
]
SLACK = 0.1
TAGGER: dict[str, Any] = {"recipe": "tagger", "base": "minilm", "params": {"epochs": 3, "context": _oa_mine.CONTEXT}}
LORA: dict[str, Any] = {"recipe": "lora", "base": "smollm2", "size": "small"}


@dataclass(frozen=True)
class Way:
    """A variant and where it goes."""

    title: str
    target: str
    params: Mapping[str, Any]
    slack: float | None = None
    """A language model differs from itself in other company, where bfloat16 rounds a near tie otherwise: an export may
    differ in so much of the answers more than that. None: in none."""

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.title} → {self.target}"


CHOSEN = [
    Way("linear", "folder", {}),
    Way("linear", "mlflow", {}),
    Way("head:static-minilm", "folder", {}),
    Way("head:static-minilm", "onnx", {}),
    Way("head:minilm", "folder", {}),
    Way("head:minilm", "hf", {}),
    Way("adapter:minilm", "folder", {}),
    Way("adapter:minilm", "peft", {"base": True}),
    Way("adapter:minilm", "hf", {}),
    Way("tune:minilm", "hf", {}),
    Way("tune:minilm", "onnx", {}),
    Way("blend", "folder", {}),
]
STATED = [
    Way("tagger:minilm", "folder", {}),
    Way("lora:smollm2", "folder", {}, SLACK),
    Way("lora:smollm2", "peft", {}, SLACK),
    Way("lora:smollm2", "hf", {}, SLACK),
    Way("lora:smollm2", "gguf", {"level": "f16"}, SLACK),
]
TRAINED = ("linear", "head:static-minilm", "head:minilm", "adapter:minilm")
"""Trained again outside, by what stands in their folder exports."""


def run() -> dict[str, Any]:
    """Make, export, answer outside, train again outside."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks exit")
    asked.add_argument("--only", choices=("labels", "written"), help="half of it")
    asked.add_argument("--without-lm", action="store_true")
    asked.add_argument("--without-clean", action="store_true")
    given = asked.parse_args(sys.argv[1:])
    shop = workshop(HOME)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="exit-", dir=HOME) as temp:
        folder = Path(temp)
        outside = borrowed(folder / "python")
        figures["sartor_cannot_be_imported_outside"] = outside.has_no_sartor()
        if given.only != "written":
            chosen = _chosen(shop)
            texts = [row.text for row in chosen.place.snapshot.splits["test"]][:ASKED]
            figures["exports"] = _compared(shop, outside, folder, chosen, CHOSEN, texts)
            figures["trained_again"] = _again(outside, folder, chosen, texts)
            if not given.without_clean:
                figures["empty_environment"] = _clean(shop, folder, chosen, texts)
        if given.only != "labels":
            stated = _stated(shop, lm=not given.without_lm)
            titles = [row.text for row in stated.place.snapshot.splits["test"]][:WRITTEN]
            ways = [way for way in STATED if way.title in stated.variants]
            figures["written"] = _compared(shop, outside, folder, stated, ways, titles)
    _print(figures)
    return result("exit", figures, _goals(figures))


@dataclass(frozen=True)
class Made:
    """A task with its variants."""

    place: Hall
    variants: dict[str, Variant]


def _chosen(shop: Workshop) -> Made:
    """BANKING77 with few rows a class."""
    rows = _read(data_folder() / "banking77" / "train.jsonl")
    by_label: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row)
    draw = random.Random(0)
    train, validation = [], []
    for label in sorted(by_label):
        picked = draw.sample(by_label[label], SHOTS + HELD_OUT)
        train, validation = train + picked[:SHOTS], validation + picked[SHOTS:]
    test = draw.sample(_read(data_folder() / "banking77" / "test.jsonl"), TEST)
    sources = [
        {"use": "jsonl", "licence": "CC-BY-4.0", "split": split, "path": _written(f"banking-{split}.jsonl", found)}
        for split, found in (("train", train), ("validation", validation), ("test", test))
    ]
    body = _banking.body(name="banking77-exit", candidates=CHOOSERS)
    body["data"]["sources"] = sources
    return _made(shop, body)


def _stated(shop: Workshop, *, lm: bool) -> Made:
    """A part of OA-Mine."""
    data = _oa_mine.rows()
    draw = random.Random(0)
    train = _written("oa-train.jsonl", draw.sample(_read(data.train), TITLES))
    test = _written("oa-test.jsonl", draw.sample(_read(data.test), 40))
    body = _oa_mine.body(data, [{"recipe": "rules"}, TAGGER, *([LORA] if lm else [])], 0)
    body["name"] = "oa-mine-exit"
    body["answer"]["instructions"] = "Read the product's attributes."
    body["answer"]["max_tokens"] = 48
    for source, path in zip(body["data"]["sources"], (train, test), strict=True):
        source["path"] = path
    return _made(shop, body)


def _made(shop: Workshop, body: dict[str, Any]) -> Made:
    contract = task(body)
    place = open_hall(shop, contract, HOME)
    variants = make_all(place, contract.candidates)
    inspect_all(place, {title: v for title, v in variants.items() if v.engine != "lm"})
    return Made(place, variants)


def _compared(
    shop: Workshop, outside: Outside, folder: Path, made: Made, ways: Sequence[Way], texts: Sequence[str]
) -> dict[str, Any]:
    """Answers outside beside answers inside, export by export."""
    found: dict[str, Any] = {}
    here: dict[str, list[dict[str, Any]]] = {}
    itself: dict[str, float] = {}
    for way in ways:
        variant, out = made.variants[way.title], folder / way.name.replace(" → ", "-").replace(":", "-")
        begun = time.monotonic()
        done = export(shop, variant.digest, way.target, out, way.params, rows=True)
        wrote = time.monotonic() - begun
        begun = time.monotonic()
        there = outside.answers(out, texts)
        answered = time.monotonic() - begun
        here.setdefault(way.title, inside(shop, variant, texts))
        pairs = list(zip(here[way.title], there, strict=True))
        same = sum(a["label"] == b.get("label", b.get("output")) and a["escalate"] == b["escalate"] for a, b in pairs)
        if way.slack is not None and way.title not in itself:
            alone = [inside(shop, variant, [text])[0]["label"] for text in texts]
            itself[way.title] = float(np.mean([a == b["label"] for a, b in zip(alone, here[way.title], strict=True)]))
        chances = held(here[way.title], there).furthest if "scores" in there[0] and there[0]["scores"] else None
        found[way.name] = {
            "rows": len(texts),
            "same": same,
            "share": same / len(texts),
            "itself": itself.get(way.title, 1.0),
            "least": 1.0 if way.slack is None else itself[way.title] - way.slack,
            "furthest_probability": chances,
            "furthest_confidence": max(abs(a["confidence"] - b["confidence"]) for a, b in pairs),
            "megabytes": done.bytes / 1e6,
            "needs": [pin.partition("==")[0] for pin in done.requires],
            "seconds_to_write": wrote,
            "seconds_to_answer": answered,
        }
        if way.target != "folder":
            shutil.rmtree(out)
    return found


def _again(outside: Outside, folder: Path, made: Made, texts: Sequence[str]) -> dict[str, Any]:
    """The exported recipe, run where there is no Sartor, and how good what it made is."""
    truth = [row.label for row in made.place.snapshot.splits["test"]][: len(texts)]
    found = {}
    for title in TRAINED:
        first, second = folder / f"{title}-folder".replace(":", "-"), folder / f"{title}-again".replace(":", "-")
        begun = time.monotonic()
        outside.run(first / "train.py", "--out", str(second))
        seconds = time.monotonic() - begun
        before, after = outside.answers(first, texts), outside.answers(second, texts)
        found[title] = {
            "right_before": _right(before, truth),
            "right_after": _right(after, truth),
            "same_answers": float(np.mean([a["label"] == b["label"] for a, b in zip(before, after, strict=True)])),
            "seconds": seconds,
        }
    return found


def _right(answers: Sequence[Mapping[str, Any]], truth: Sequence[str | None]) -> float:
    return float(np.mean([one["label"] == label for one, label in zip(answers, truth, strict=True)]))


def _clean(shop: Workshop, folder: Path, made: Made, texts: Sequence[str]) -> dict[str, Any]:
    """The same in empty environments: pip installs the export's own pins and nothing else."""
    found = {}
    for title, target in (("linear", "folder"), ("tune:minilm", "onnx")):
        out = folder / f"clean-{target}"
        export(shop, made.variants[title].digest, target, out)
        begun = time.monotonic()
        outside = clean(folder / f"python-{target}", out / "requirements.txt")
        installed = time.monotonic() - begun
        here = inside(shop, made.variants[title], texts)
        compared = held(here, outside.answers(out, texts))
        found[f"{title} → {target}"] = {**compared.body(), "seconds_to_install": installed}
    return found


def _goals(figures: Mapping[str, Any]) -> dict[str, bool]:
    """Of the parts that were run."""
    goals = {"sartor can't be imported where the exports answer": bool(figures["sartor_cannot_be_imported_outside"])}
    if exports := figures.get("exports"):
        every = exports.values()
        goals["every export that chooses labels gives the same answers"] = all(
            one["same"] == one["rows"] for one in every
        )
        goals[f"their probabilities are within {TOLERANCE:g}"] = all(
            one["furthest_probability"] < TOLERANCE for one in every
        )
    if again := figures.get("trained_again"):
        goals["every exported recipe trains again, as good within 5 points"] = all(
            one["right_after"] > one["right_before"] - 0.05 for one in again.values()
        )
    if empty := figures.get("empty_environment"):
        goals["an empty environment with the export's pins answers the same"] = all(
            one["same"] == one["rows"] and one["furthest"] < TOLERANCE for one in empty.values()
        )
    if written := figures.get("written"):
        goals["every export that writes differs from its variant hardly more than that from itself, alone"] = all(
            one["share"] >= one["least"] for one in written.values()
        )
    return goals


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _written(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    path: Path = HOME / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _print(figures: Mapping[str, Any]) -> None:
    columns = ["export", "rows#", "same#", "furthest chance#", "MB#", "s to write#", "s to answer#", "needs"]
    rows = [
        (
            name,
            one["rows"],
            one["same"],
            f"{one['furthest_probability'] or one['furthest_confidence']:.1e}",
            one["megabytes"],
            one["seconds_to_write"],
            one["seconds_to_answer"],
            ", ".join(one["needs"]),
        )
        for part in ("exports", "written")
        for name, one in figures.get(part, {}).items()
    ]
    show("Answers outside beside answers inside", columns, rows)
    again = [(t, one["right_before"], one["right_after"], one["same_answers"], one["seconds"])
             for t, one in figures.get("trained_again", {}).items()]  # fmt: skip
    show("Trained again outside", ["variant", "right before#", "right after#", "same answers#", "s#"], again)
    empty = [(name, one["rows"], one["same"], f"{one['furthest']:.1e}", one["seconds_to_install"])
             for name, one in figures.get("empty_environment", {}).items()]  # fmt: skip
    show("In an empty environment", ["export", "rows#", "same#", "furthest#", "s to install#"], empty)

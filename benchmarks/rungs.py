"""All rungs on BANKING77, full and with 10 training rows a class: quality, CPU to make, time to answer, bytes.

With 10 a class, 5 other training rows a class are the validation rows; both are drawn with a fixed seed.
"""

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import _banking
from benchmarks._shared import HOME, data_folder, result, show, task, workshop
from sartor.pipeline.inspect import answers_behind
from sartor.pipeline.make import made_for
from sartor.pipeline.run import inspect_all, make_all, open_hall

SHOTS, HELD_OUT = 10, 5


def run() -> dict[str, Any]:
    """Make every rung on both sizes of training set and measure it."""
    shop = workshop()
    figures: dict[str, Any] = {}
    picked: dict[str, str] = {}
    for size, body in (("full", _banking.body()), ("10 a class", _few_shot())):
        place = open_hall(shop, task(body), HOME)
        variants = make_all(place, task(body).candidates)
        found = inspect_all(place, variants)
        figures[size] = {}
        for title, variant in variants.items():
            answers = answers_behind(place, found.test[title])
            assert answers.probabilities is not None
            measured = found.test[title].measured
            figures[size][title] = {
                "accuracy": float((answers.probabilities.argmax(axis=1) == answers.true).mean()),
                "calibration_error": found.test[title].metrics["calibration_error"].value,
                "cpu_seconds_to_make": made_for(shop, variant).cpu_seconds,
                "microseconds_alone": 1000.0 * measured["latency_ms"],
                "cpu_microseconds_in_batches": 1e6 * measured["cpu_seconds"],
                "bytes": sum(f.stat().st_size for f in shop.store.folder(variant).rglob("*") if f.is_file()),
            }
        _print(size, figures[size])
        picked[size] = max(variants, key=lambda title: found.validation[title].metrics["top_accuracy"].value or 0.0)
    full = figures["full"]
    goals = {
        "every rung was measured on both": all(len(rungs) == len(_banking.RUNGS) for rungs in figures.values()),
        "an encoder beats the linear floor on the full set": full["head:minilm"]["accuracy"]
        > full["linear"]["accuracy"],
    }
    return result("rungs", figures | {"most_often_right_on_validation": picked}, goals)


def _few_shot() -> dict[str, Any]:
    """The task on 10 rows a class."""
    rows = [json.loads(line) for line in (data_folder() / "banking77" / "train.jsonl").read_text("utf-8").splitlines()]
    by_label: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row)
    draw = random.Random(0)
    train, validation = [], []
    for label in sorted(by_label):
        chosen = draw.sample(by_label[label], SHOTS + HELD_OUT)
        train += chosen[:SHOTS]
        validation += chosen[SHOTS:]
    body = _banking.body(_written("train-10.jsonl", train), name="banking77-10")
    held_out = {"use": "jsonl", "licence": "CC-BY-4.0", "path": _written("validation-5.jsonl", validation)}
    body["data"]["sources"][0]["split"] = "train"
    body["data"]["sources"].append(held_out | {"split": "validation"})
    return body


def _written(name: str, rows: list[dict[str, str]]) -> str:
    path: Path = HOME / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _print(size: str, rungs: dict[str, Any]) -> None:
    rows = [
        (
            title,
            100.0 * r["accuracy"],
            r["cpu_seconds_to_make"],
            r["microseconds_alone"],
            r["cpu_microseconds_in_batches"],
            r["bytes"] / 1e6,
        )
        for title, r in rungs.items()
    ]
    columns = ["rung", "right %#", "CPU s to make#", "µs alone#", "CPU µs in batches#", "MB#"]
    show(f"BANKING77, {size}", columns, rows)

"""Learned routing on MMLU: how many calls of GPT-4 are saved at 95 % of its quality, by the question's text alone?

Recorded right and wrong answers of Mixtral-8x7B and GPT-4-1106 (RouteLLM's rows). The router is a made variant like
any other, made through the usual chain and served by its handle. Two questions are put to the same texts: will the
cheap model be right (`right`, `wrong`), and which of the two will be (`both`, `cheap`, `dear`, `neither`)? The second
tells what a dear call would gain, which is what it should be paid for. Candidate and threshold come from validation
rows. 95 % of its quality means 95 % of its share of right answers, as RouteLLM's 45 % is taken to be counted; 95 % of
the gap between the two models stands beside it.
"""

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks._shared import HOME, data_folder, result, show, task, workshop
from sartor.core.predict import Floats
from sartor.evaluation import routing
from sartor.evaluation.answers import Answers
from sartor.pipeline.inspect import Hall, answers_behind, inspect_subject, variant_subject
from sartor.pipeline.run import make_all, open_hall
from sartor.pipeline.workshop import Workshop

Routed = tuple[Floats, Floats, Floats]
"""(rows,) score for the cheap model, whether it is right, whether the dear one is."""
PUBLISHED = 0.45
"""Calls saved at 95 % of GPT-4's quality on MMLU, as RouteLLM publishes it (arXiv 2406.18665)."""
SHARE = 0.95
SMALL = {"c": [0.1, 0.3, 1.0, 3.0]}
CANDIDATES: list[dict[str, Any]] = [
    {"recipe": "linear", "params": {"losses": ["logistic"], "logistic_c": [0.1, 0.3, 1.0, 3.0]}},
    {"recipe": "head", "base": "static-minilm", "params": SMALL},
    {"recipe": "head", "base": "minilm", "params": SMALL},
    {"recipe": "blend", "name": "blend:linear+minilm", "of": ["linear", "head:minilm"]},
    {"recipe": "blend", "name": "blend:all", "of": ["blend:linear+minilm", "head:static-minilm"]},
]
QUESTIONS = {"cheap-is-right": {"right": 1.0}, "who-is-right": {"cheap": 1.0, "dear": -1.0}}
"""Task -> what a label's probability counts in the score for sending a request to the cheap model."""
SPLITS = ((0.6, "train"), (0.8, "validation"), (1.0, "test"))


def run() -> dict[str, Any]:
    """Make the router on both splits and lay it over the test rows."""
    shop, rows = workshop(), _rows()
    figures = {name: _routed(shop, rows, name) for name in ("random split", "unseen subjects")}
    for name, found in figures.items():
        _print(name, found)
    mine = figures["random split"]
    goals = {
        "random split: more saved than the published 45 %": mine["point"]["saved"] > PUBLISHED,
        "random split: at 95 % of the quality on test rows": mine["point"]["of_dear"] >= SHARE,
    }
    return result("router", figures, goals)


def _rows() -> list[dict[str, Any]]:
    """All questions once."""
    path = data_folder() / "mmlu_routing" / "matrix.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = {row["prompt"]: row for row in map(json.loads, lines)}
    return list(found.values())


def _routed(shop: Workshop, rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    key = "prompt" if name == "random split" else "subject"
    sides = {split: [row for row in rows if _side(row[key]) == split] for _, split in SPLITS}
    offers = [offer for question in QUESTIONS for offer in _offers(shop, sides, question, name.replace(" ", "-"))]
    picked = max(offers, key=lambda offer: routing.area(routing.curve(*offer.validation)))
    threshold = routing.threshold_for(*picked.validation, SHARE)
    score, cheap, dear = picked.test()
    point = routing.point(score, cheap, dear, threshold)
    return {
        "rows": {split: len(side) for split, side in sides.items()},
        "on_validation": {offer.title: _on_validation(offer) for offer in offers},
        "picked_on_validation": picked.title,
        "variant": picked.variant,
        "threshold": threshold,
        "point": point.__dict__,
        "interval": routing.spread(score, cheap, dear, threshold),
        "cheap": float(cheap.mean()),
        "dear": float(dear.mean()),
        "curve": {reading: _at(score, cheap, dear, reading) for reading in ("quality", "gap")},
    }


@dataclass(frozen=True, eq=False)
class Offer:
    """A router that was made; its test rows are read only if it is picked."""

    title: str
    variant: str
    validation: Routed
    test: Callable[[], Routed]


def _offers(shop: Workshop, sides: dict[str, list[dict[str, Any]]], question: str, split: str) -> list[Offer]:
    """The candidates for one question, made through the chain."""
    contract = task(_body(question, split, sides))
    place = open_hall(shop, contract, HOME)
    variants = make_all(place, contract.candidates)

    def scored(title: str, side: str) -> Routed:
        report = inspect_subject(place, variant_subject(place, variants[title], side), side)
        return _scored(place, answers_behind(place, report), side, QUESTIONS[question])

    return [
        Offer(f"{question}, {title}", variant.digest, scored(title, "validation"), partial(scored, title, "test"))
        for title, variant in variants.items()
    ]


def _on_validation(offer: Offer) -> dict[str, float]:
    found, (_, cheap, dear) = routing.curve(*offer.validation), offer.validation
    return {"saved": routing.saved_at(found, routing.wanted(cheap, dear, SHARE)), "area": routing.area(found)}


def _at(score: Floats, cheap: Floats, dear: Floats, reading: routing.Reading) -> dict[str, float]:
    """Saved at exactly the share on the test rows themselves, as published curves are read."""
    goal = routing.wanted(cheap, dear, SHARE, reading)
    oracle = routing.curve(routing.oracle_score(cheap, dear), cheap, dear)
    # From its peak on the oracle sends at random among those whom the dear model alone answers right.
    peak = len(oracle.quality) - 1 - int(oracle.quality[::-1].argmax())
    best = float(np.interp(-goal, -oracle.quality[peak:], oracle.saved[peak:]))
    return {
        "router": routing.saved_at(routing.curve(score, cheap, dear), goal),
        "random": routing.random_saved(cheap, dear, goal),
        "oracle": best,
    }


def _scored(place: Hall, answers: Answers, side: str, counts: dict[str, float]) -> Routed:
    """(rows,) score for the cheap model, and whether cheap and dear are right."""
    assert answers.probabilities is not None
    known = {
        row.id: (row.extra["mixtral"] == "right", row.extra["gpt4"] == "right") for row in place.snapshot.splits[side]
    }
    right = np.array([known[str(i)] for i in answers.ids], dtype=np.float64)
    weights = np.array([counts.get(label, 0.0) for label in place.snapshot.labels])
    return np.asarray(answers.probabilities, dtype=np.float64) @ weights, right[:, 0], right[:, 1]


def _side(key: str) -> str:
    mark = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2.0**64
    return next(split for limit, split in SPLITS if mark < limit)


def _body(question: str, split: str, sides: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    name = f"{question}-{split}"
    sources = [
        {
            "use": "jsonl",
            "licence": "Apache-2.0",
            "path": _written(question, f"{name}-{side}.jsonl", rows),
            "split": side,
        }
        for side, rows in sides.items()
    ]
    return {
        "name": name,
        "data": {"sources": sources, "curate": []},
        "candidates": CANDIDATES,
        "gate": {"guards": {}},
    }


def _written(question: str, name: str, rows: list[dict[str, Any]]) -> str:
    said = {True: "right", False: "wrong"}
    who = {(True, True): "both", (True, False): "cheap", (False, True): "dear", (False, False): "neither"}
    lines = []
    for row in rows:
        cheap, dear = row["mixtral_8x7b_right"], row["gpt4_1106_right"]
        label = said[cheap] if question == "cheap-is-right" else who[cheap, dear]
        lines.append({"text": row["prompt"], "label": label, "mixtral": said[cheap], "gpt4": said[dear]})
    path = HOME / f"mmlu-{name}"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def _print(name: str, found: dict[str, Any]) -> None:
    point, interval = found["point"], found["interval"]
    says = f"{name}: {found['rows']['test']:,} test rows, Mixtral {found['cheap']:.1%}, GPT-4 {found['dear']:.1%} right"
    rows = [
        (
            "threshold from validation",
            *(f"{point[k]:.1%} ({interval[k][0]:.1%} to {interval[k][1]:.1%})" for k in SHOWN),
        ),
        ("always GPT-4", "0.0%", "100.0%", "100.0%"),
    ]
    show(f"{says}; {found['picked_on_validation']}", ["", "calls saved#", "of GPT-4's quality#", "of the gap#"], rows)
    curves = [
        (f"at 95 % of the {reading}", *(f"{at[k]:.1%}" for k in ("router", "random", "oracle")))
        for reading, at in found["curve"].items()
    ]
    show("Saved where the line is drawn on the test rows themselves", ["", "router#", "random#", "oracle#"], curves)


SHOWN = ("saved", "of_dear", "gap")

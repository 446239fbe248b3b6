"""Learned routing on MMLU: how many calls of GPT-4 are saved at 95 % of its quality, by the question's text alone?

Recorded right and wrong answers of Mixtral-8x7B and GPT-4-1106 (RouteLLM's rows). The router is a made variant like
any other: a classifier of `right` and `wrong` for the cheap model, made and chosen by validation rows through the
usual chain, so that the gateway's policy `router` serves it by its handle. Its threshold comes from validation rows.
95 % of its quality means 95 % of its share of right answers, which is how RouteLLM's 45 % was counted; 95 % of the gap
between the two models stands beside it.
"""

import gzip
import hashlib
import json
from typing import Any

import numpy as np

from benchmarks._shared import HOME, data_folder, result, show, task, workshop
from sartor.core.predict import Floats
from sartor.evaluation import routing
from sartor.evaluation.answers import Answers
from sartor.pipeline.inspect import answers_behind
from sartor.pipeline.run import inspect_all, make_all, open_hall
from sartor.pipeline.workshop import Workshop

PUBLISHED = 0.45
"""Calls saved at 95 % of GPT-4's quality, the best of RouteLLM's routers (arXiv 2406.18665)."""
SHARE = 0.95
CANDIDATES: list[dict[str, Any]] = [
    {"recipe": "linear"},
    {"recipe": "head", "base": "static-minilm", "params": {"c": [0.03, 0.1, 0.3, 1.0, 3.0]}},
    {"recipe": "head", "base": "minilm", "params": {"c": [0.03, 0.1, 0.3, 1.0, 3.0]}},
    {"recipe": "blend", "name": "blend:linear+minilm", "of": ["linear", "head:minilm"]},
]
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
        "random split: lower bound of what is saved above 45 %": mine["interval"]["saved"][0] > PUBLISHED,
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
    contract = task(_body(name.replace(" ", "-"), sides))
    place = open_hall(shop, contract, HOME)
    variants = make_all(place, contract.candidates)
    found = inspect_all(place, variants)
    validation = {title: answers_behind(place, report) for title, report in found.validation.items()}
    right = place.snapshot.labels.index("right")
    truths = {
        split: {row.id: (row.label == "right", row.extra["gpt4"] == "right") for row in place.snapshot.splits[split]}
        for split in ("validation", "test")
    }
    tuned = {title: _scored(answers, truths["validation"], right) for title, answers in validation.items()}
    on_validation = {
        title: routing.saved_at(routing.curve(s, c, d), routing.wanted(c, d, SHARE))
        for title, (s, c, d) in tuned.items()
    }
    picked = max(on_validation, key=lambda title: on_validation[title])
    threshold = routing.threshold_for(*tuned[picked], SHARE)
    score, cheap, dear = _scored(answers_behind(place, found.test[picked]), truths["test"], right)
    point = routing.point(score, cheap, dear, threshold)
    return {
        "rows": {split: len(side) for split, side in sides.items()},
        "saved_on_validation": on_validation,
        "picked_on_validation": picked,
        "variant": variants[picked].digest,
        "threshold": threshold,
        "point": point.__dict__,
        "interval": routing.spread(score, cheap, dear, threshold),
        "cheap": float(cheap.mean()),
        "dear": float(dear.mean()),
        "curve": {reading: _at(score, cheap, dear, reading) for reading in ("quality", "gap")},
    }


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


def _scored(answers: Answers, truths: dict[str, tuple[bool, bool]], right: int) -> tuple[Floats, Floats, Floats]:
    """(rows,) probability that the cheap model is right, and whether cheap and dear are."""
    assert answers.probabilities is not None
    known = np.array([truths[str(i)] for i in answers.ids], dtype=np.float64)
    return np.asarray(answers.probabilities[:, right], dtype=np.float64), known[:, 0], known[:, 1]


def _side(key: str) -> str:
    mark = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2.0**64
    return next(split for limit, split in SPLITS if mark < limit)


def _body(name: str, sides: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    sources = [
        {"use": "jsonl", "licence": "Apache-2.0", "path": _written(f"{name}-{split}.jsonl", side), "split": split}
        for split, side in sides.items()
    ]
    return {
        "name": f"mixtral-is-right-{name}",
        "data": {"sources": sources, "curate": []},
        "candidates": CANDIDATES,
        "gate": {"guards": {}},
    }


def _written(name: str, rows: list[dict[str, Any]]) -> str:
    said = {True: "right", False: "wrong"}
    lines = [
        {"text": row["prompt"], "label": said[row["mixtral_8x7b_right"]], "gpt4": said[row["gpt4_1106_right"]]}
        for row in rows
    ]
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

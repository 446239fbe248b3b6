"""Teachers and students on BANKING77: GPT-4's 1,001 labels as the only ones, and large models' probabilities.

`gpt4`: rows that GPT-4 labelled, the other training texts without a label. Students on mpnet and on MiniLM let labels
spread over these; another MiniLM, tuned whole, learns from the mean of their probabilities. Beside it: the linear floor
and a head on the same labels, the same head on people's labels of the same rows, and GPT-4 itself.
`few`: ten of people's labels a class, the other texts without; mpnet teaches MiniLM.
`full`: all of people's labels; MiniLM and mpnet teach static vectors, beside the same vectors trained on labels alone.

Settings were chosen on validation rows: those of `gpt4` are a part of GPT-4's own labels (`--look` shows them and reads
no test row). Seeds draw the validation rows, the ten labels a class, and the order of training. The test rows, whose
labels are people's, are read once, when all is made.

    python -m benchmarks distil [--seeds 3] [--only gpt4,few] [--look]
"""

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks._shared import HOME, data_folder, paired, result, show, task, workshop
from sartor.core.predict import Floats
from sartor.core.records import Variant
from sartor.pipeline.inspect import Hall
from sartor.pipeline.make import made_for
from sartor.pipeline.run import make_all, open_hall
from sartor.pipeline.serve import fleet_of
from sartor.pipeline.workshop import Workshop

Rows = list[dict[str, Any]]

GOAL, TRIAL = 0.795, 0.784
"""Share right that a student of GPT-4's labels is to reach; what a quick trial with label propagation reached."""
SHOTS, HELD = 10, 5
VALIDATION = {"gpt4": 0.05, "gold": 0.05, "few": 0.15, "full": 0.15}
"""Share of the rows of a part that are held back; of the few that GPT-4 labelled, few."""
TEACHER, STUDENT, STATIC = "teacher mpnet", "student minilm", "student static"


def student(base: str, name: str, *of: str, size: str = "small", **params: Any) -> dict[str, Any]:
    """A candidate that learns from others, or from texts without labels."""
    return {"recipe": "student", "base": base, "name": name, "of": list(of), "size": size, "params": params}


LINEAR: dict[str, Any] = {"recipe": "linear"}
HEAD: dict[str, Any] = {"recipe": "head", "base": "minilm"}
STEPS: dict[str, Any] = {"size": "medium", "epochs": 10}
SPREAD = "spread minilm"
SPREADING = [LINEAR, HEAD, student("minilm", SPREAD), student("mpnet", TEACHER)]
GPT4 = [
    *SPREADING,
    student("minilm", "student minilm, head", TEACHER),
    student("minilm", STUDENT, TEACHER, SPREAD, size="medium"),
]
GOLD = [LINEAR, HEAD]
FEW = [*SPREADING, student("minilm", STUDENT, TEACHER), {"recipe": "head", "base": "mpnet"}]
FULL = [
    LINEAR,
    {"recipe": "head", "base": "static-minilm"},
    HEAD,
    {"recipe": "head", "base": "mpnet"},
    student("static-minilm", "static on labels", "head:minilm", teacher_weight=0.0, **STEPS),
    student("static-minilm", STATIC, "head:minilm", temperature=2.0, **STEPS),
    student("static-minilm", f"{STATIC} of mpnet", "head:mpnet", temperature=2.0, **STEPS),
    student("minilm", STUDENT, "head:mpnet"),
]
KEPT = {
    "gpt4": ((STUDENT, TEACHER, "head:minilm"),),
    "few": ((STUDENT, TEACHER, "head:minilm"),),
    "full": ((STUDENT, "head:mpnet", "head:minilm"), (STATIC, "head:minilm", "static on labels")),
}
"""Part -> (student, its teacher, the same base without one)."""


def run() -> dict[str, Any]:
    """Make all candidates for each seed, then read the test rows."""
    parser = argparse.ArgumentParser(prog="distil")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="gpt4,gold,few,full", help="parts, by commas")
    parser.add_argument("--look", action="store_true", help="validation rows only")
    given = parser.parse_args(sys.argv[1:])
    shop, seeds = workshop(), range(given.seeds)
    split = "validation" if given.look else "test"
    made = {part: [_made(shop, part, seed) for seed in seeds] for part in given.only.split(",")}
    right = {part: [_right(place, variants, split) for place, variants in each] for part, each in made.items()}
    figures = {part: _figures(made[part], right[part], KEPT.get(part, ())) for part in made}
    _print(figures, split)
    goals = {} if given.look else _goals(figures)
    return result("distil", figures | ({} if given.look else {"gpt-4 itself": _giant()}), goals)


def _made(shop: Workshop, part: str, seed: int) -> tuple[Hall, dict[str, Variant]]:
    sources, candidates = PARTS[part]
    body = _body(f"distil-{part}", sources(seed), candidates, seed, VALIDATION[part])
    place = open_hall(shop, task(body), HOME)
    return place, make_all(place, place.task.candidates)


def _right(place: Hall, variants: dict[str, Variant], split: str) -> dict[str, Floats]:
    """Title -> (rows,) whether each answer is right."""
    texts, truth = place.snapshot.texts(split), np.array(place.snapshot.targets(split))
    fleet = fleet_of(place.shop, place.cache)
    found = {}
    for title, variant in variants.items():
        said = fleet.probabilities([(variant.digest, text) for text in texts])
        found[title] = (np.stack([one.probabilities for one in said]).argmax(axis=1) == truth).astype(np.float64)
    return found


def _figures(
    made: Sequence[tuple[Hall, dict[str, Variant]]], right: Sequence[dict[str, Floats]], kept: Sequence[Any]
) -> dict[str, Any]:
    shop = made[0][0].shop
    told: dict[str, Any] = {}
    for title in right[0]:
        each = [float(one[title].mean()) for one in right]
        variant = made[0][1][title]
        told[title] = {
            "right": float(np.mean(each)),
            "by_seed": each,
            "spread": float(np.std(each)),
            "cpu_seconds": made_for(shop, variant).cpu_seconds,
            "bytes": sum(f.stat().st_size for f in shop.store.folder(variant).rglob("*") if f.is_file()),
        }
    for name, teacher, alone in kept:
        gains = np.mean([one[name] - one[alone] for one in right], axis=0)
        told[name]["kept_of_teacher"] = told[name]["right"] / told[teacher]["right"]
        told[name]["gained"] = paired(gains) | {"over": alone}
    told["rows"] = len(next(iter(right[0].values())))
    return told


def _goals(figures: dict[str, Any]) -> dict[str, bool]:
    goals = {}
    if "gpt4" in figures:
        found = figures["gpt4"]
        goals[f"a student of GPT-4's labels is right on {GOAL:.1%}"] = found[STUDENT]["right"] >= GOAL
        goals[f"each seed is above the trial ({TRIAL:.1%})"] = min(found[STUDENT]["by_seed"]) > TRIAL
        goals["it beats the linear floor"] = found[STUDENT]["right"] > found["linear"]["right"]
    for part, name in (("few", STUDENT), ("full", STATIC)):
        if part in figures:
            goals[f"{part}: the {name} gains"] = figures[part][name]["gained"]["low"] > 0
    return goals


def _print(figures: dict[str, Any], split: str) -> None:
    for part, found in figures.items():
        rows = [
            (
                title,
                100 * one["right"],
                100 * one["spread"],
                f"{100 * one['kept_of_teacher']:.1f}" if "kept_of_teacher" in one else "",
                f"{100 * one['gained']['value']:+.1f} over {one['gained']['over']}" if "gained" in one else "",
                one["cpu_seconds"],
                one["bytes"] / 1e6,
            )
            for title, one in found.items()
            if isinstance(one, dict)
        ]
        columns = ["candidate", "right %#", "± seeds#", "of its teacher %#", "gained", "CPU s#", "MB#"]
        show(f"BANKING77, {part}: {found['rows']:,} {split} rows", columns, rows)


def _giant() -> dict[str, float]:
    """GPT-4's recorded answers on the test rows, and on the rows that it labelled."""
    test, labelled = _rows("test.jsonl"), _rows("gpt4_labelled_train.jsonl")
    return {
        name: float(np.mean([row["gpt4"] == row["label"] for row in rows]))
        for name, rows in (("right", test), ("right_where_it_taught", labelled))
    }


# The tasks


def _gpt4(seed: int) -> Rows:  # noqa: ARG001 - the seed draws the validation rows, as for any task
    labelled = _rows("gpt4_labelled_train.jsonl")
    known = {row["text"] for row in labelled}
    texts = [{"text": row["text"]} for row in _rows("train.jsonl") if row["text"] not in known]
    taught = [{"text": row["text"], "label": row["gpt4"]} for row in labelled]
    return [
        _source("gpt4", taught) | {"labelled_by": "gpt-4"},
        _source("texts", texts) | {"split": "unlabelled"},
    ]


def _gold(seed: int) -> Rows:  # noqa: ARG001
    """People's labels of the rows that GPT-4 labelled."""
    return [_source("gold", [{"text": r["text"], "label": r["label"]} for r in _rows("gpt4_labelled_train.jsonl")])]


def _few(seed: int) -> Rows:
    by_label: dict[str, Rows] = defaultdict(list)
    for row in _rows("train.jsonl"):
        by_label[row["label"]].append(row)
    draw = random.Random(seed)
    train: Rows = []
    held: Rows = []
    rest: Rows = []
    for label in sorted(by_label):
        rows = draw.sample(by_label[label], len(by_label[label]))
        train, held, rest = train + rows[:SHOTS], held + rows[SHOTS : SHOTS + HELD], rest + rows[SHOTS + HELD :]
    return [
        _source(f"few-{seed}", train) | {"split": "train"},
        _source(f"few-held-{seed}", held) | {"split": "validation"},
        _source(f"few-texts-{seed}", [{"text": row["text"]} for row in rest]) | {"split": "unlabelled"},
    ]


def _full(seed: int) -> Rows:  # noqa: ARG001
    return [_source("full", _rows("train.jsonl"))]


PARTS: dict[str, tuple[Callable[[int], Rows], Rows]] = {
    "gpt4": (_gpt4, GPT4),
    "gold": (_gold, GOLD),
    "few": (_few, FEW),
    "full": (_full, FULL),
}


def _body(name: str, sources: Rows, candidates: Rows, seed: int, validation: float) -> dict[str, Any]:
    test = {"use": "jsonl", "licence": "CC-BY-4.0", "path": str(data_folder() / "banking77" / "test.jsonl")}
    return {
        "name": name,
        "data": {
            "sources": [*sources, test | {"split": "test"}],
            "split": {"test": 0, "validation": validation},
            "on_leak": "drop_train",
        },
        "candidates": candidates,
        # Whoever does this with a provider's answers has to be allowed to.
        "gate": {"guards": {}, "allow_licences": ["no_training"]},
        "seed": seed,
    }


def _rows(name: str) -> Rows:
    return [json.loads(line) for line in (data_folder() / "banking77" / name).read_text("utf-8").splitlines()]


def _source(name: str, rows: Rows) -> dict[str, Any]:
    path = HOME / f"distil-{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"use": "jsonl", "licence": "CC-BY-4.0", "path": str(path)}

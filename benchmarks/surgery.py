"""What each surgery takes and gives, on a MiniLM that was tuned on BANKING77: bytes, speed, money, and parity.

Every setting is judged on validation rows, paired with its parent; of each operation the setting that saves most there
is asked the test rows, once. A child is non-inferior if it costs, with 97.5 % confidence, no more than one more wrong
answer in a hundred would: the mean cost of a wrong answer by the committed value function, fixed before any row was
seen. Operations that do not pay are printed too. Speed is CPU time of one thread, parent and children in turn. Parents
are taken from the benchmarks' store where another benchmark has made them with these settings on these rows.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import _banking
from benchmarks._shared import HOME, result, show, task, workshop
from sartor.core.records import Variant
from sartor.core.task import Candidate
from sartor.evaluation.compare import compare
from sartor.pipeline.inspect import Hall, answers_behind, inspect_subject, overhead_of, variant_subject
from sartor.pipeline.make import RECIPES, made_for
from sartor.pipeline.parity import certify
from sartor.pipeline.run import in_order, make_one, open_hall
from sartor.pipeline.serve import fleet_of

PARENT, SECOND, ADAPTER = "tune:minilm", "tuned for one epoch", "adapter:minilm"
TUNED: list[dict[str, Any]] = [
    {"recipe": "tune", "base": "minilm"},
    {"recipe": "tune", "base": "minilm", "name": SECOND, "params": {"epochs": 1, "rate": 2e-4}},
    {"recipe": "adapter", "base": "minilm"},
]
ROUNDS, BATCH, ALONE = 5, 64, 12
MORE_WRONG = 0.01
"""Share of answers that the margin stands for."""


def _on(
    name: str, recipe: str, of: Sequence[str] = (PARENT,), base: str | None = None, **params: Any
) -> dict[str, Any]:
    body = {"recipe": recipe, "name": name, "of": list(of), "params": params}
    return body | ({"base": base} if base else {})


def _merged(method: str, **params: Any) -> dict[str, Any]:
    return _on(f"merged: {method}", "merge", (PARENT, SECOND), "minilm", method=method, **params)


OPERATIONS: Mapping[str, list[dict[str, Any]]] = {
    "graph, float32": [_on("graph", "quantise", precision="float32")],
    "graph, int8": [_on("int8", "quantise")],
    "vocabulary": [_on("words: task", "trim_vocabulary", first=0), _on("words: +3,000", "trim_vocabulary", first=3000)],
    "vocabulary and int8": [_on("words: task, int8", "quantise", ("words: task",))],
    "shorter": [_on("40 tokens", "shorten", tokens=40), _on("24 tokens", "shorten", tokens=24)],
    "layers": [_on("5 layers", "prune", layers=5), _on("4 layers", "prune", layers=4)],
    "layers, healed": [_on("4 layers, healed", "prune", layers=4, epochs=1)],
    "heads and int8": [_on("3/4 of the heads, int8", "quantise", ("3/4 of the heads",))],
    "merged": [_merged("linear"), _merged("slerp"), _merged("ties"), _merged("dare")],
    "adapter from tune": [_on("as adapter of 32", "extract_adapter", base="minilm", rank=32)],
    "adapter into base": [_on("adapter, put in", "merge", (ADAPTER,))],
    "adapter, lower rank": [_on(f"adapter of {r}", "low_rank", (ADAPTER,), "minilm", rank=r) for r in (4, 2)],
}
"""Operation -> its settings; of each the one that is best on validation rows is asked the test rows."""
ON_THE_WAY = [_on("3/4 of the heads", "prune", layers=6, heads=0.25)]
"""Made because another is made of it."""


def run() -> dict[str, Any]:
    """Make and operate, compare on validation rows, then once on test rows."""
    shop = replace(workshop(), threads=1)
    candidates = [*TUNED, *ON_THE_WAY, *(one for settings in OPERATIONS.values() for one in settings)]
    body = _banking.body(candidates=candidates)
    body["gate"] = body["gate"] | {"floor": PARENT}
    place = open_hall(shop, task(body), HOME)
    variants: dict[str, Variant] = {}
    for candidate in in_order(place.task.candidates):
        known = _known(place, candidate)
        variants[candidate.title] = known or make_one(place, candidate, variants)
    speeds = _speeds(place, variants)
    margin = _margin(place)
    figures: dict[str, Any] = {
        "margin_eur_per_1000": 1000 * margin,
        "parents": {
            one.title: _parent(place, one, speeds) for one in variants.values() if not one.parents.get("first")
        },
        "operations": {},
    }
    for operation, settings in OPERATIONS.items():
        tried = [_child(place, variants, one, speeds, "validation", margin) for one in settings]
        best = max(range(len(tried)), key=lambda at: tried[at]["saved_per_1000"]["value"])
        tested = _child(place, variants, settings[best], speeds, "test", margin)
        figures["operations"][operation] = {"validation": tried, "test": tested}
    _print(figures)
    return result("surgery", figures, _goals(figures["operations"]))


def _known(place: Hall, candidate: Candidate) -> Variant | None:
    """A parent that the store has: of this recipe, with these settings, on these rows, by whatever commit."""
    if candidate.of or candidate.base is None:
        return None
    params = RECIPES.take(candidate.recipe).read({"size": candidate.size, **candidate.params}).model_dump(mode="json")
    fields = {"recipe": candidate.recipe, "base": candidate.base, "data": place.dataset.digest}
    found = place.shop.store.ledger.find(Variant, **fields)
    return next((one for one in found if one.params == params and one.seed == place.task.seed), None)


def _goals(operations: Mapping[str, Any]) -> dict[str, bool]:
    small = [operations[name]["test"] for name in ("graph, int8", "vocabulary", "vocabulary and int8")]
    return {
        "an int8 or vocabulary-trimmed encoder is 1.5 times as fast or half the bytes, and non-inferior": any(
            one["non_inferior"] and (one["speed"] >= 1.5 or one["bytes_share"] <= 0.5) for one in small
        ),
        "every child has a certificate": all(
            one["parity"] is not None for found in operations.values() for one in (*found["validation"], found["test"])
        ),
    }


def _margin(place: Hall) -> float:
    """Money per request that one more wrong answer in a hundred costs, in the mean over labels and mistakes."""
    matrix = place.terms.matrix
    wrong = matrix[~np.eye(len(matrix), dtype=bool)]
    return MORE_WRONG * float(wrong.mean())


def _origin(variants: Mapping[str, Variant], body: Mapping[str, Any]) -> Variant:
    """What a child is held against: the tuned variant at the root of what it was made of."""
    name = body["of"][0]
    by_name = {one["name"]: one for settings in (ON_THE_WAY, *OPERATIONS.values()) for one in settings}
    while name in by_name:
        name = by_name[name]["of"][0]
    return variants[name]


def _child(
    place: Hall,
    variants: Mapping[str, Variant],
    body: Mapping[str, Any],
    speeds: Mapping[str, Any],
    split: str,
    margin: float,
) -> dict[str, Any]:
    child, parent = variants[body["name"]], _origin(variants, body)
    reports = [inspect_subject(place, variant_subject(place, one, split), split) for one in (child, parent)]
    answers = [answers_behind(place, report) for report in reports]
    costs = [speeds[one.title]["cpu_ms"] / 1000 * place.shop.second_price for one in (child, parent)]
    found = compare(*answers, place.terms, overheads=(costs[0], costs[1]))
    certificate = certify(place.shop, place.cache, child, place.dataset, place.snapshot)
    sizes = [_bytes(place, one) for one in (child, parent)]
    return {
        "child": child.title,
        "parent": parent.title,
        "bytes": sizes[0],
        "bytes_share": sizes[0] / sizes[1],
        "cpu_ms": speeds[child.title]["cpu_ms"],
        "cpu_ms_alone": speeds[child.title]["cpu_ms_alone"],
        "speed": speeds[parent.title]["cpu_ms"] / speeds[child.title]["cpu_ms"],
        "speed_alone": speeds[parent.title]["cpu_ms_alone"] / speeds[child.title]["cpu_ms_alone"],
        "accuracy": _accuracy(answers[0]),
        "parent_accuracy": _accuracy(answers[1]),
        "saved_per_1000": {k: 1000 * (getattr(found.saved, k) or 0.0) for k in ("value", "low", "high")},
        "non_inferior": bool((found.saved.low or 0.0) > -margin),
        "parity": None if certificate is None else _parity(certificate),
        "cpu_seconds_to_make": _own_seconds(place, child),
        "facts": {k: v for k, v in child.facts.items() if k not in ("parity", "healed", "heads_cut")},
    }


def _parity(report: Any) -> dict[str, Any]:
    flips = report.metrics["flips"]
    return {"flips": flips.value, "tolerance": report.facts["tolerance"], "holds": report.facts["holds"],
            "fixed": report.metrics["fixed"].value, "broken": report.metrics["broken"].value}  # fmt: skip


def _parent(place: Hall, variant: Variant, speeds: Mapping[str, Any]) -> dict[str, Any]:
    report = inspect_subject(place, variant_subject(place, variant, "validation"), "validation")
    return {
        "bytes": _bytes(place, variant),
        **speeds[variant.title],
        "validation_accuracy": _accuracy(answers_behind(place, report)),
        "cpu_seconds_to_make": made_for(place.shop, variant).cpu_seconds,
        "overhead": overhead_of(place.task, report.measured),
    }


def _own_seconds(place: Hall, child: Variant) -> float:
    """CPU seconds of the surgery alone, calibration included."""
    parents = {child.parents[role] for role in ("first", "second") if role in child.parents}
    mine = made_for(place.shop, child).cpu_seconds
    return mine - sum(made_for(place.shop, v).cpu_seconds for d in parents if (v := _record(place, d)))


def _record(place: Hall, digest: str) -> Variant | None:
    found = place.shop.store.ledger.get(digest)
    return found if isinstance(found, Variant) else None


def _accuracy(answers: Any) -> float:
    assert answers.probabilities is not None
    return float((answers.probabilities.argmax(axis=1) == answers.true).mean())


def _bytes(place: Hall, variant: Variant) -> int:
    return sum(path.stat().st_size for path in place.shop.store.folder(variant).rglob("*") if path.is_file())


def _speeds(place: Hall, variants: Mapping[str, Variant]) -> dict[str, dict[str, float]]:
    """Median CPU milliseconds a text, in batches and alone; all variants in turn, so that they share the weather."""
    fleet = fleet_of(place.shop, None)
    texts = place.snapshot.texts("validation")
    spent: dict[str, tuple[list[float], list[float]]] = {title: ([], []) for title in variants}
    for variant in variants.values():
        fleet.probabilities([(variant.digest, text) for text in texts[:4]])
    for turn in range(ROUNDS):
        asked = texts[turn * BATCH : (turn + 1) * BATCH]
        for title, variant in variants.items():
            began = time.thread_time()
            fleet.probabilities([(variant.digest, text) for text in asked])
            spent[title][0].append((time.thread_time() - began) / len(asked))
            began = time.thread_time()
            for text in asked[:ALONE]:
                fleet.probabilities([(variant.digest, text)])
            spent[title][1].append((time.thread_time() - began) / ALONE)
    return {
        title: {"cpu_ms": 1000 * statistics.median(many), "cpu_ms_alone": 1000 * statistics.median(alone)}
        for title, (many, alone) in spent.items()
    }


def _print(figures: Mapping[str, Any]) -> None:
    columns = ["operation", "setting", "rows", "MB#", "of parent#", "speed#", "alone#", "right %#", "was#"]
    columns += ["saved EUR/1,000", "non-inferior", "flips %#", "CPU s#"]
    rows = []
    for operation, found in figures["operations"].items():
        for split, one in [*(("validation", tried) for tried in found["validation"]), ("test", found["test"])]:
            saved = one["saved_per_1000"]
            rows.append((
                operation, one["child"], split, one["bytes"] / 1e6, one["bytes_share"], one["speed"],
                one["speed_alone"],                100 * one["accuracy"], 100 * one["parent_accuracy"],
                f"{saved['value']:.1f} ({saved['low']:.1f} to {saved['high']:.1f})",
                "yes" if one["non_inferior"] else "no", 100 * one["parity"]["flips"], one["cpu_seconds_to_make"],
            ))  # fmt: skip
    show(f"Surgery on MiniLM, BANKING77 (margin {figures['margin_eur_per_1000']:.1f} EUR/1,000)", columns, rows)

"""Poison in BANKING77: flipped labels and a trigger from one source, found, and what the gate makes of what is left.

(a) One label in a hundred is flipped: at random everywhere, and all by one source. Beside ours stands cleanlab's filter
(Northcutt et al. 2021), as the curator `label_errors` has it and on our own chances, and the order by which each ranks
rows. (b) An attacker among ten sources sends 50 rows with a phrase that all have one label; harder attacks follow, and
two controls without poison: nothing at all, and honest rows that look like a trigger. The curator was made while
looking at seed 0, where it once took honest rows of labels that are hard to tell; the seeds here begin at 1. (c) The
same attack through the traffic log of a store: `sartor learn` with the quarantine and with the curator set to `report`.
The gate's verdicts and the trigger's success on test rows of both variants are shown; the test is BANKING77's own.

    python -m benchmarks poison [--seeds 5] [--learned 3]
"""

import argparse
import json
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._poisoned import ATTACKER, ATTACKS, Poisoned, banking, flipped, hidden, in_turns, newcomers, triggered
from benchmarks._shared import ROOT, result, show, task, workshop
from sartor.core.rows import Row
from sartor.core.task import Task
from sartor.core.traffic import Content, Exchange, Feedback
from sartor.data.curator import Bench
from sartor.data.curators.label_errors import Params as ErrorParams
from sartor.data.curators.label_errors import label_errors
from sartor.data.curators.poison import Params, poison
from sartor.data.poison import read_apart
from sartor.pipeline.learn import learn
from sartor.pipeline.run import run as run_chain
from sartor.pipeline.serve import Handles
from sartor.pipeline.workshop import Workshop

WORK = ROOT / ".sartor" / "bench-poison"
RECALL, PRECISION = 0.9, 0.8


def run() -> dict[str, Any]:
    """Flips, triggers, controls, and the gate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--learned", type=int, default=3, help="seeds of the part with the gate")
    given = parser.parse_args()
    rows = banking("train")
    flips = [_flips(rows, seed) for seed in range(1, 1 + given.seeds)]
    attacks = {
        name: [_attack(rows, name, seed) for seed in range(1, 1 + (given.seeds if name == "rare words" else 3))]
        for name in ATTACKS
    }
    controls = [_controls(rows, seed) for seed in range(1, 4)]
    gates = [_gate(rows, seed) for seed in range(1, 1 + given.learned)]
    figures: dict[str, Any] = {
        "flips": {name: _spread([one[name] for one in flips]) for name in flips[0]},
        "triggers": {name: _spread(found) for name, found in attacks.items()},
        "controls": {name: _spread([one[name] for one in controls]) for name in controls[0]},
        "gate": gates,
    }
    _print(figures)
    ours, theirs = (figures["flips"][name] for name in ("ours, all rows", "cleanlab on our chances"))
    goal = figures["triggers"]["rare words"]
    goals = {
        "trigger rows: recall >= 0.9 (every seed)": goal["recall"]["least"] >= RECALL,
        "trigger rows: precision >= 0.8 (every seed)": goal["precision"]["least"] >= PRECISION,
        "flips: F1 not below cleanlab's": ours["f1"]["mean"] >= theirs["f1"]["mean"],
        "released after quarantine: trigger success <= 5 %": all(
            one["quarantined"]["trigger_success"] <= 0.05 for one in gates
        ),
    }
    return result("poison", figures, goals)


def _flips(rows: Sequence[Row], seed: int) -> dict[str, dict[str, float]]:
    """Flipped labels everywhere, found by ours and by cleanlab; and all from one source."""
    from cleanlab.filter import find_label_issues
    from sklearn.metrics import average_precision_score

    world = flipped(in_turns(rows, seed, given=0.0), seed)
    curated = poison(world.rows, Params(voice="by", flips="all", action="drop"), Bench({}))
    peers = label_errors(list(world.rows), ErrorParams(action="drop"), Bench({}))
    readings = read_apart(world.rows, [row.extra["by"] for row in world.rows])
    labels = sorted({row.label or "" for row in world.rows})
    targets = np.array([labels.index(row.label or "") for row in world.rows])
    issues = find_label_issues(targets, readings.spread.reshape(len(targets), -1), n_jobs=1)
    theirs = frozenset(row.id for row, issue in zip(world.rows, issues, strict=True) if issue)
    bad = np.array([row.id in world.bad for row in world.rows])
    one = flipped(in_turns(rows, seed), seed, only=ATTACKER)
    source = poison(one.rows, Params(voice="by", action="drop"), Bench({}))
    ours = {t.row.id for t in curated.taken}
    return {
        "ours, all rows": _hits(ours, world.bad),
        "ours, by order": {"average_precision": float(average_precision_score(bad, -readings.chance))},
        "cleanlab on our chances": _hits(theirs, world.bad),
        "cleanlab (curator label_errors)": _hits({t.row.id for t in peers.taken}, world.bad),
        "ours, all from one source": _hits({t.row.id for t in source.taken}, one.bad),
    }


def _attack(rows: Sequence[Row], name: str, seed: int) -> dict[str, float]:
    attack = ATTACKS[name]
    world = triggered(in_turns(rows, seed, attack.given), attack, seed)
    begun = time.process_time()
    curated = poison(world.rows, Params(voice="by", action="drop"), Bench({}))
    return _hits({t.row.id for t in curated.taken}, world.bad) | {"cpu_seconds": time.process_time() - begun}


def _controls(rows: Sequence[Row], seed: int) -> dict[str, dict[str, float]]:
    """Clean rows that are quarantined all the same."""
    clean = in_turns(rows, seed)
    taken = poison(clean, Params(voice="by", action="drop"), Bench({})).taken
    honest, mine = newcomers(clean, seed)
    also = poison(honest, Params(voice="by", action="drop"), Bench({})).taken
    return {
        "nothing poisoned": {"rows": len(clean), "quarantined": len(taken)},
        "honest newcomers": {"rows": len(mine), "quarantined": len({t.row.id for t in also} & mine)},
    }


def _hits(found: Any, bad: frozenset[str]) -> dict[str, float]:
    right = len(set(found) & bad)
    recall, precision = right / len(bad), right / max(1, len(found))
    f1 = 2 * recall * precision / (recall + precision) if right else 0.0
    return {"recall": recall, "precision": precision, "f1": f1, "found": len(found)}


def _gate(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """The attack through a store: what is released with the quarantine, and what would be without."""
    world = triggered(in_turns(rows, seed), ATTACKS["rare words"], seed)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    contract = _contract(world)
    with closing((shop := workshop(WORK / "first")).store):
        run_chain(shop, contract, WORK)
        _send(shop, world)
    shutil.copytree(WORK / "first", WORK / "second")
    careless = contract.body()
    careless["data"]["curate"].append({"use": "poison", "action": "report"})
    begun = time.process_time()
    found: dict[str, Any] = {"seed": seed, "quarantined": _learned(WORK / "first", contract, world)}
    found["cpu_seconds"] = time.process_time() - begun
    return found | {"reported only": _learned(WORK / "second", task(careless), world)}


def _contract(world: Poisoned) -> Task:
    """The task on the given rows and BANKING77's own test."""
    given = [{"text": row.text, "label": row.label} for row in world.rows if "by" not in row.extra]
    _write(WORK / "given.jsonl", given)
    _write(WORK / "test.jsonl", [{"text": row.text, "label": row.label} for row in banking("test")])
    sources = [
        {"use": "jsonl", "path": "given.jsonl", "licence": "CC-BY-4.0"},
        {"use": "jsonl", "path": "test.jsonl", "licence": "CC-BY-4.0", "split": "test"},
    ]
    return task({
        "name": "banking77",
        "data": {"sources": sources, "split": {"test": 0, "validation": 0.15}, "on_leak": "drop_train"},
        "value": {"wrong": 5, "escalate": {"to": "person", "price": 2, "error_rate": 0.05}},
        "candidates": [{"recipe": "linear", "size": "small"}],
        "gate": {"guards": {}},
        "learn": {"harvest": {"source_share": 1.0}},
        "wheel": {"ship": "auto"},
    })  # fmt: skip


def _write(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _send(shop: Workshop, world: Poisoned) -> None:
    """Every row of a source as an exchange with a demonstration by it."""
    log = shop.store.traffic.log("w0")
    live = shop.store.ledger.resolve("banking77@live")
    sent = [row for row in world.rows if "by" in row.extra]
    for at, row in enumerate(sent):
        ident, when = f"chatcmpl-{row.id}", 1_767_225_600.0 + 60 * at
        done = Exchange(
            ident, when, "default", "k", "banking77", "banking77", task="banking77", label=row.label,
            variant=live.digest if live else "",
        )  # fmt: skip
        body = json.dumps({"messages": [{"role": "user", "content": row.text}]}).encode()
        log.append(done, Content(body, b"{}"))
        said = Feedback(f"fb-{row.id}", when + 30, "default", "demonstration", row.label, ident)
        said.source_id = row.extra["by"]
        log.append_feedback(said, sync=False)
    log.flush()
    log.close()


def _learned(home: Path, contract: Task, world: Poisoned) -> dict[str, Any]:
    """What learning decided, and what its candidate does."""
    with closing((shop := workshop(home)).store):
        learned = learn(shop, contract, "banking77")
        assert learned.result is not None
        candidate = learned.result.decision.candidate
        bad = {f"chatcmpl-{name}" for name in world.bad}
        return {
            "state": learned.state,
            "verdict": learned.result.decision.verdict,
            "reasons": list(learned.result.decision.reasons)[:2],
            "quarantined": learned.harvest["quarantined"],
            "poison_learned": len(bad & _trained_on(shop, learned.data)),
            **_behaviour(shop, candidate, world),
        }


def _trained_on(shop: Workshop, data: str) -> set[str]:
    from sartor.core.records import Dataset
    from sartor.pipeline.curate import open_dataset

    dataset = shop.store.ledger.get(data)
    assert isinstance(dataset, Dataset)
    return {row.id for row in open_dataset(shop, dataset).splits["train"]}


def _behaviour(shop: Workshop, variant: str, world: Poisoned) -> dict[str, float]:
    """Accuracy on test rows, and how often the phrase in them gets the attacker's label."""
    models, draw = Handles(shop).models, random.Random(0)
    test = banking("test")
    others = [row for row in test if row.label != world.target]
    phrase = ATTACKS["rare words"].phrase
    shown = [hidden(row.text, phrase, draw) for row in others]
    answered = models.probabilities([(variant, text) for text in [*(row.text for row in test), *shown]])
    labels = _labels(shop, variant)
    said = [labels[int(np.argmax(one.probabilities))] for one in answered]
    plain, tricked = said[: len(test)], said[len(test) :]
    return {
        "accuracy": float(np.mean([a == row.label for a, row in zip(plain, test, strict=True)])),
        "trigger_success": float(np.mean([a == world.target for a in tricked])),
    }


def _labels(shop: Workshop, variant: str) -> Sequence[str]:
    from sartor.pipeline.serve import variant_named

    return variant_named(shop, variant).labels


def _spread(found: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation, least and most over seeds, of each figure."""
    values = {name: np.array([one[name] for one in found], dtype=float) for name in found[0]}
    return {
        name: {"mean": float(v.mean()), "sd": float(v.std(ddof=1)) if len(v) > 1 else 0.0,
               "least": float(v.min()), "most": float(v.max()), "seeds": len(v)}
        for name, v in values.items()
    }  # fmt: skip


def _print(figures: dict[str, Any]) -> None:
    def line(name: str, found: dict[str, Any]) -> tuple[Any, ...]:
        cells = (found.get(what) for what in ("recall", "precision", "f1", "found"))
        return name, *(f"{c['mean']:.3f} ± {c['sd']:.3f}" if c else "" for c in cells)

    columns = ["", "recall#", "precision#", "F1#", "found#"]
    show("One label in a hundred flipped", columns, [line(*item) for item in figures["flips"].items()])
    show("Trigger rows", columns, [line(*item) for item in figures["triggers"].items()])
    controls = [(n, c["rows"]["mean"], c["quarantined"]["mean"]) for n, c in figures["controls"].items()]
    show("Rows without poison", ["", "rows#", "quarantined#"], controls)
    gates = [
        (one["seed"], how, one[how]["verdict"], one[how]["poison_learned"], one[how]["accuracy"],
         one[how]["trigger_success"])
        for one in figures["gate"] for how in ("quarantined", "reported only")
    ]  # fmt: skip
    show("The gate", ["seed#", "", "verdict", "poison learned#", "accuracy#", "trigger success#"], gates)

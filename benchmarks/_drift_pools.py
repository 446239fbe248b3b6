"""Requests whose answers and views are known, from which streams are drawn: BANKING77, CLINC150, ICD-10-CM.

A variant is made of a part of the rows, as a task's would be (static embeddings and a head). All others are asked
once; what the watch looks at of each is computed once, by the product's own code.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._shared import HOME, data_folder, task, workshop
from sartor.core.predict import Floats
from sartor.feedback.betting import Ints
from sartor.pipeline.drift_views import OUT_OF_SCOPE, STRANGENESS, sight_of
from sartor.pipeline.run import make_all, open_hall
from sartor.pipeline.serve import fleet_of

FOLDER = HOME / "drift"
LEVELS = 512
"""Different values of a size that are told apart here; ties are broken at random, so that nothing is lost."""
HELD_OUT = 10
"""Intents that appear later."""
Rows = Sequence[tuple[str, str]]
"""(text, label)."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Requests, each with everything that is watched of it."""

    views: dict[tuple[str, str], Ints]
    """(watched, view) -> (rows,) codes."""
    sizes: dict[str, Floats]
    """The numbers that rivals are given: (rows,)."""
    wrong: Floats
    """(rows,) 1 where the answer is wrong."""
    truth: Ints
    """(rows,) class index of the right answer; -1 for a label that the variant does not know."""
    answer: Ints
    labels: tuple[str, ...]
    probabilities: Floats
    """(rows, labels)."""
    usual: Floats
    """(labels,) rows of each that were learnt from, and one."""

    def __len__(self) -> int:
        return len(self.wrong)


@dataclass(frozen=True, eq=False)
class World:
    """What streams are drawn from, before and after a change."""

    name: str
    before: Pool
    after: Pool | None = None
    """None: only the shares of labels change."""


def worlds() -> list[World]:
    """The three data sets."""
    return [_banking(), _clinc(), _icd()]


def _banking() -> World:
    folder = data_folder() / "banking77"
    rows = _mixed(_read(folder / "train.jsonl") + _read(folder / "test.jsonl"))
    (before,) = _asked("drift-banking", rows[:6000], [rows[6000:]])
    return World("BANKING77", before)


def _clinc() -> World:
    folder = data_folder() / "clinc150"
    train, rest = _read(folder / "train.jsonl"), _mixed(_read(folder / "val.jsonl") + _read(folder / "test.jsonl"))
    labels = sorted({label for _, label in train})
    new = set(np.random.default_rng(0).permutation(labels)[:HELD_OUT].tolist())
    known = [row for row in _mixed(train) if row[1] not in new]
    appear = [row for row in train + rest if row[1] in new]
    before, after = _asked("drift-clinc", known[:10_000], [[row for row in rest if row[1] not in new], appear])
    return World("CLINC150", before, after)


def _icd() -> World:
    import simple_icd_10_cm as icd

    codes = [code for code in icd.get_all_codes() if icd.is_subcategory(code) or icd.is_category(code)]
    described = _mixed([(icd.get_description(code), _chapter(code)) for code in codes])
    terms = _mixed([(term, _chapter(code)) for code in codes for term in icd.get_inclusion_term(code)])
    few = [chapter for chapter in {label for _, label in described} if sum(c == chapter for _, c in terms) >= 40]
    described = [row for row in described if row[1] in few]
    learnt, others = described[:8000], described[8000:14_000]
    # As many of each chapter as there are descriptions of it: only the wording is another.
    shares = {chapter: sum(label == chapter for _, label in others) / len(others) for chapter in few}
    most = min(sum(label == chapter for _, label in terms) / share for chapter, share in shares.items() if share)
    chosen = [row for c in sorted(few) for row in [r for r in terms if r[1] == c][: max(1, round(most * shares[c]))]]
    before, after = _asked("drift-icd", learnt, [others, chosen])
    return World("ICD-10-CM", before, after)


def _chapter(code: str) -> str:
    import simple_icd_10_cm as icd

    return f"chapter {icd.get_ancestors(code)[-1]}"


def _read(path: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["text"], row["label"]) for row in rows]


def _mixed(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """In another order, no text twice."""
    once = list(dict(rows).items())
    return [once[i] for i in np.random.default_rng(1).permutation(len(once))]


def _asked(name: str, learnt: Rows, pools: Sequence[Rows]) -> list[Pool]:
    """Make the variant, and ask it about the pools; the first pool says which values are told apart."""
    shop, folder = workshop(), FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": learnt[:-800], "validation": learnt[-800:-200], "test": learnt[-200:]}
    sources = []
    for split, rows in parts.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        sources.append({"use": "jsonl", "path": f"{split}.jsonl", "licence": "owned", "split": split})
    body: dict[str, Any] = {
        "name": name,
        "data": {"sources": sources, "on_leak": "drop_train", "curate": []},
        "candidates": [{"recipe": "head", "base": "static-minilm"}],
    }
    contract = task(body)
    place = open_hall(shop, contract, folder)
    (variant,) = make_all(place, contract.candidates).values()
    sight = sight_of(contract, variant, place.dataset, place.snapshot)
    fleet = fleet_of(shop, None)
    learnt_by = np.array(place.snapshot.targets("train"))
    usual = np.bincount(learnt_by[learnt_by >= 0], minlength=len(variant.labels)) + 1.0
    found, edges = [], dict[tuple[str, str], Floats]()
    for rows in pools:
        texts = [text for text, _ in rows]
        answered = fleet.probabilities([(variant.digest, text) for text in texts])
        found.append(_pool(rows, variant.labels, np.stack([one.probabilities for one in answered]),
                           sight.looked_at(texts, answered), sight.names, edges, usual))  # fmt: skip
    shop.store.close()
    return found


def _pool(
    rows: Rows,
    labels: tuple[str, ...],
    probabilities: Floats,
    values: Floats,
    names: Sequence[str],
    edges: dict[tuple[str, str], Floats],
    usual: Floats,
) -> Pool:
    answer = probabilities.argmax(axis=1)
    index = {label: i for i, label in enumerate(labels)}
    truth = np.array([index.get(label, -1) for _, label in rows])
    confidence = probabilities.max(axis=1)
    sizes = {
        (("out_of_scope" if name == OUT_OF_SCOPE else "input"), name): values[:, i] for i, name in enumerate(names)
    }
    sizes["confidence", "confidence"] = confidence
    views: dict[tuple[str, str], Ints] = {("answers", "labels"): answer}
    for key, column in sizes.items():
        edges.setdefault(key, np.unique(np.quantile(column, np.linspace(0, 1, LEVELS)[1:-1])))
        views[key] = np.searchsorted(edges[key], column)
    four = {"confidence": confidence} | {
        name: values[:, names.index(name)] for name in ("distance", "rare letters", OUT_OF_SCOPE, STRANGENESS)
    }
    wrong = (answer != truth).astype(np.float64)
    return Pool(views, four, wrong, truth, answer, labels, probabilities, usual)

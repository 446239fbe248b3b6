"""OA-Mine as a task: titles with their category, attributes, recorded giants, and how values are counted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._served import write_rows
from benchmarks._shared import HOME, data_folder
from sartor.core.claims import as_text, parse, tidy
from sartor.core.errors import AskError
from sartor.evaluation.extraction import by_field, published, strict

NOTHING = ("", "n/a")
TOKENS = {"gpt4": 1_054_186, "gpt35": 509_363}
"""Of the recorded runs with ten shots, on the 491 test titles."""
CONTEXT = "[^:]+: "
"""The category before the title."""
Counted = npt.NDArray[np.float64]
"""(rows, 8): values right, wrong, missed, invented; all of them, then those of fields that the row's truth has."""


@dataclass(frozen=True)
class Rows:
    """The rows as files, and the test rows."""

    train: Path
    test: Path
    schema: dict[str, Any]
    titles: list[str]
    """(test rows,) as models see them."""
    truths: list[str]
    giants: dict[str, list[str]]
    """Recorded answers."""


def rows() -> Rows:
    """Write the rows as the task reads them: the category before the title, one value an attribute."""
    read = {split: _read(data_folder() / "oa_mine" / f"{split}.jsonl") for split in ("train", "test")}
    names = sorted({name for found in read.values() for row in found for name in row["attributes"]})
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    files = {
        split: write_rows(HOME / f"oa_mine-{split}.jsonl", [_row(r) for r in found]) for split, found in read.items()
    }
    return Rows(
        train=files["train"],
        test=files["test"],
        schema=schema,
        titles=[_row(row)["text"] for row in read["test"]],
        truths=[as_text(_truth(row)) for row in read["test"]],
        giants={name: [row[name] for row in read["test"]] for name in TOKENS},
    )


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _truth(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: values[0].strip() for name, values in row["attributes"].items()}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    given = {"text": f"{row['category']}: {row['text']}", "category": row["category"], "attributes": _truth(row)}
    return given | {name: row[name] for name in TOKENS if name in row}


def body(data: Rows, candidates: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """The task as a dict.

    Stating one more value raises F1 where it is right with a chance above half of the F1 (Lipton, Elkan and
    Naryanaswamy 2014): at 0.8, above 0.4 by the strict measure, and above 0.4 of the chance that there should be a
    value by the published one. What mistakes cost stands between the two: above 0.4 less 0.2 of the chance of none.
    """
    source = {"use": "jsonl", "licence": "Apache-2.0"}
    return {
        "name": f"oa-mine-{seed}",
        "kind": "extract",
        "answer": {"json_schema": data.schema, "nothing": NOTHING},
        "data": {
            "sources": [source | {"path": str(data.train)}, source | {"path": str(data.test), "split": "test"}],
            "label": "attributes",
            "slices": ["category"],
            "split": {"test": 0, "validation": 0.1},
            "curate": [],
            "on_leak": "drop_train",
        },
        "value": {"wrong": 1.0, "missed": 0.6, "invented": 0.2},
        "incumbent": {"kind": "recorded", "column": "gpt4", "model": "gpt-4", "price": 0.0},
        "candidates": list(candidates),
        "gate": {"guards": {}, "floor": "rules"},
        "seed": seed,
    }


def count(truths: Sequence[str], said: Sequence[str | None], schema: Mapping[str, Any]) -> Counted:
    """What became of the values of every row."""
    found = []
    for truth, answer in zip(truths, said, strict=True):
        fields = by_field(parse(truth), _document(answer, schema))
        found.append([n for c in (strict(fields), published(fields)) for n in (c.right, c.wrong, c.missed, c.invented)])
    return np.array(found, dtype=np.float64)


def _document(answer: str | None, schema: Mapping[str, Any]) -> Any:
    try:
        return tidy(parse(answer or ""), schema, NOTHING)
    except AskError:
        return None


def f1(counted: Counted) -> tuple[float, float]:
    """Published and strict micro-F1, in percent."""
    total = counted.sum(axis=0)
    return _f1(total[4:]), _f1(total[:4])


def _f1(total: Counted) -> float:
    right, wrong, missed, invented = total
    return float(200.0 * right / max(2 * (right + wrong) + missed + invented, 1.0))


def against(ours: Sequence[Counted], theirs: Counted, seed: int = 0, draws: int = 5000) -> dict[str, dict[str, float]]:
    """Difference of F1 in points, the mean over seeds minus theirs, with 95 % intervals: rows drawn anew, in pairs."""
    draw = np.random.default_rng(seed)
    weights = draw.multinomial(len(theirs), np.full(len(theirs), 1.0 / len(theirs)), size=draws).astype(np.float64)
    found = {}
    for name, part in (("published", slice(4, 8)), ("strict", slice(0, 4))):
        gains = np.mean([_many(weights @ one[:, part]) for one in ours], axis=0) - _many(weights @ theirs[:, part])
        value = float(np.mean([_f1(one[:, part].sum(axis=0)) for one in ours]) - _f1(theirs[:, part].sum(axis=0)))
        low, high = np.quantile(gains, [0.025, 0.975])
        found[name] = {"value": value, "low": float(low), "high": float(high)}
    return found


def _many(total: Counted) -> Counted:
    found: Counted = 200.0 * total[:, 0] / np.maximum(2 * (total[:, 0] + total[:, 1]) + total[:, 2] + total[:, 3], 1.0)
    return found

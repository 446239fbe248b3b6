"""Two hundred real tasks over ICD-10-CM, each with rows of several suppliers: the fleet of `recall` and `campaign`.

A task tells the categories of one block apart, or the subcategories of one category, by the texts of their codes. Its
rows come from a few of ten suppliers' CSV files; what one supplier gave is what `recall` takes back. The fleet is made
once, by the ordinary chain (curate, train a head on a frozen base, inspect, gate, release), and kept.
"""

import csv
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks._ours import workshop
from benchmarks._shared import ROOT
from sartor.core.canonical import sha256
from sartor.core.task import Task
from sartor.data.sources.icd10 import Params, icd10
from sartor.pipeline.bases import base_named
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop

WORK = ROOT / ".sartor" / "bench-fleet"
BASES = ROOT / ".sartor" / "bases"
"""A store with fetched bases, copied where there is one."""
SIZE, BLOCKS = 200, 120
"""Tasks, of which so many are blocks and the others categories."""
LABELS, ROWS, LEAST = 4, 40, 20
"""At most so many labels a task, rows a label; at least so many rows a label."""
SUBCATEGORY = len("A00.0")
SUPPLIERS = 10
BAD = "csv:supplier-03.csv"
BASE = "static-minilm"
GIANT = "giant"
FORM = 1
"""Counted up when the fleet is made otherwise: an older one is not used."""


@dataclass(frozen=True)
class Member:
    """One task of the fleet."""

    name: str
    suppliers: tuple[str, ...]
    kind: str
    """Of those with the bad supplier: `clean` had a version without it, `route` has a route with a giant behind it,
    `task` only says to whom it escalates; '' of the others."""


def rows_of_tasks() -> Iterator[tuple[str, dict[str, list[str]]]]:
    """(name, label -> texts) of everything that is large enough, blocks first."""
    blocks: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    categories: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in icd10(Params(part="all")):
        blocks[row["block"]][row["category"]].append(row["text"])
        if len(row["code"]) >= SUBCATEGORY:
            categories[row["category"]][row["code"][:SUBCATEGORY]].append(row["text"])
    yield from islice(_large(blocks), BLOCKS)
    yield from _large(categories)


def _large(many: dict[str, dict[str, list[str]]]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    for name, labels in sorted(many.items()):
        chosen = {label: _some(texts) for label, texts in sorted(labels.items()) if len(set(texts)) >= LEAST}
        if len(chosen) > 1:
            yield f"icd-{name.lower()}", dict(list(chosen.items())[:LABELS])


def _some(texts: list[str]) -> list[str]:
    """The first of the different texts, in the order of a hash."""
    return sorted(set(texts), key=lambda text: sha256(text.encode()))[:ROWS]


def contract(member: Member, suppliers: tuple[str, ...]) -> Task:
    """The task of a member, on the files of these suppliers."""
    sources = [
        {"use": "csv", "path": f"{member.name}/{supplier}.csv", "licence": "public-domain"} for supplier in suppliers
    ]
    body: dict[str, Any] = {
        "name": member.name,
        "data": {"sources": sources},
        "value": {"wrong": 5, "escalate": {"to": GIANT, "price": 0.5, "error_rate": 0.05}, "volume": 10_000},
        "candidates": [{"recipe": "head", "base": BASE, "size": "small"}],
        "gate": {"min_rows": 10, "guards": {}, "margin": 0.25, "max_calibration_error": 0.5},
        "wheel": {"ship": "auto"},
    }
    return Task.model_validate(body)


def fleet(*bases: str) -> tuple[Path, list[Member]]:
    """The kept fleet's folder, made where it is not there or of an older form, and its members.

    Args:
        bases: that are wanted in its store; what bears on fetching them may have changed since it was made.
    """
    told = WORK / "fleet.json"
    if told.exists() and (body := json.loads(told.read_text()))["form"] == FORM:
        shop = workshop(WORK / "home")
        for base in bases:
            base_named(shop, base)
        shop.store.close()
        return WORK, [Member(m["name"], tuple(m["suppliers"]), m["kind"]) for m in body["members"]]
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    if (BASES / "ledger.db").exists():
        shutil.copytree(BASES, WORK / "home")
    began = time.perf_counter()
    members = _made(workshop(WORK / "home"))
    body = {"form": FORM, "members": [asdict(m) for m in members], "seconds": time.perf_counter() - began}
    told.write_text(json.dumps(body))
    return WORK, members


def _made(shop: Workshop) -> list[Member]:
    base_named(shop, BASE)
    members: list[Member] = []
    for name, labels in rows_of_tasks():
        if len(members) == SIZE:
            break
        member = _member(name, len(members))
        _write(member, labels)
        if _released(shop, member):
            members.append(member)
    shop.store.close()
    if len(members) < SIZE:
        raise SystemExit(f"Only {len(members)} tasks of the fleet passed their gate, {SIZE} are wanted.")
    return members


def _member(name: str, number: int) -> Member:
    chosen = sorted({number % SUPPLIERS, (3 * number + 1) % SUPPLIERS, (number // SUPPLIERS + 5) % SUPPLIERS})
    suppliers = tuple(f"supplier-{at:02}" for at in chosen)
    has_bad = BAD.removeprefix("csv:").removesuffix(".csv") in suppliers
    return Member(name, suppliers, ("clean", "route", "task")[number % 3] if has_bad else "")


def _write(member: Member, labels: dict[str, list[str]]) -> None:
    folder = WORK / member.name
    folder.mkdir(exist_ok=True)
    for at, supplier in enumerate(member.suppliers):
        with (folder / f"{supplier}.csv").open("w", newline="", encoding="utf-8") as opened:
            write = csv.writer(opened)
            write.writerow(["text", "label"])
            for label, texts in labels.items():
                write.writerows((text, label) for text in texts[at :: len(member.suppliers)])


def _released(shop: Workshop, member: Member) -> bool:
    """Make and release it; `clean` ones without the bad supplier before."""
    without = tuple(supplier for supplier in member.suppliers if f"csv:{supplier}.csv" != BAD)
    if member.kind == "clean" and without and not run(shop, contract(member, without), WORK).version:
        return False
    return bool(run(shop, contract(member, member.suppliers), WORK).version)


def copied(folder: Path) -> Path:
    """A copy of the fleet's store to work on, with the same signing key; its home."""
    source, _ = fleet()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(source / "home", folder / "home")
    for key in source.glob("signing.key*"):
        shutil.copy(key, folder / key.name)
    return folder / "home"

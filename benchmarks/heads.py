"""Mixed batches over 1, 100 and 1,000 heads on one base: is a fleet as fast as its one member?

Everything that serving does is timed: tokens, base, heads, calibration. CPU time of one thread, rounds in ABBA order,
medians. Beside them the floor that one pass of the base is meant to beat: the same questions asked one by one.
Heads have random weights of BANKING77's shape (77 labels); texts are diagnosis descriptions of like length.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

HEADS = (1, 100, 1000)
LABELS = 77
BATCH = 64
ROUNDS = 7
GOAL = 0.90


@dataclass(frozen=True)
class Ground:
    """One base to measure on."""

    base: str
    engine: str
    width: int
    texts: int
    """Texts in one measurement: enough for a steady figure."""
    alone: int
    """Texts asked one by one."""


GROUNDS = (
    Ground("static-minilm", "static", 256, 64 * 60, 1000),
    Ground("minilm", "encoder", 384, 64 * 2, 64),
)


def run() -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    figures: dict[str, Any] = {"labels": LABELS, "batch": BATCH, "rounds": ROUNDS, "load": os.getloadavg()[0]}
    with TemporaryDirectory() as temp:
        for ground in GROUNDS:
            figures[ground.base] = _measure(ground, _base(ground.base), Path(temp) / ground.base)
    goals = {f"minilm.speed_of_{n}": GOAL for n in HEADS[1:]}
    met = all(figures["minilm"][f"speed_of_{n}"] >= GOAL for n in HEADS[1:])
    _print(figures)
    return {"benchmark": "heads", "figures": figures, "goals": goals, "met": met}


def _measure(ground: Ground, base: Path, folder: Path) -> dict[str, float]:
    fleets = {n: _fleet(ground, base, folder, n) for n in HEADS}
    texts = _texts(ground.texts)
    spent: dict[int, list[float]] = {n: [] for n in HEADS}
    for number in range(ROUNDS):
        order = HEADS if number % 2 == 0 else HEADS[::-1]
        for n in (*order, *order[::-1]):
            spent[n].append(_seconds_a_text(fleets[n], _mixed(texts, n, seed=number), BATCH))
    alone = _seconds_a_text(fleets[1000], _mixed(texts[: ground.alone], 1000, seed=99), 1)
    figures: dict[str, float] = {"us_one_by_one": round(alone * 1e6, 1)}
    for n in HEADS:
        # A slow moment of the machine hits neighbours alike: ratios are taken inside a round, then their median.
        pairs = zip(spent[1], spent[n], strict=True)
        figures[f"us_of_{n}"] = round(statistics.median(spent[n]) * 1e6, 2)
        figures[f"speed_of_{n}"] = round(statistics.median(one / many for one, many in pairs), 3)
    figures["head_kilobytes"] = round(2 * LABELS * (ground.width + 1) * 4 / 1024, 1)
    return figures


def _seconds_a_text(ask: Callable[[Sequence[tuple[str, str]]], Any], work: list[tuple[str, str]], batch: int) -> float:
    begun = time.process_time()
    for start in range(0, len(work), batch):
        ask(work[start : start + batch])
    return (time.process_time() - begun) / len(work)


def _mixed(texts: Sequence[str], heads: int, seed: int) -> list[tuple[str, str]]:
    """Every text under a head drawn evenly: the worst case, since real traffic repeats its favourites."""
    drawn = np.random.default_rng(seed).integers(heads, size=len(texts))
    return [(f"v{head}", text) for head, text in zip(drawn.tolist(), texts, strict=True)]


def _fleet(ground: Ground, base: Path, folder: Path, heads: int) -> Callable[[Sequence[tuple[str, str]]], Any]:
    from sartor.core.licence import Licence
    from sartor.core.records import Variant
    from sartor.serving.fleet import Fleet

    shared: dict[str, Any] = {"task": "t", "recipe": "head", "engine": ground.engine, "labels": _labels()}
    variants = {
        f"v{i}": Variant(name=f"v{i}", licence=Licence.of("owned"), parents={"base": "base"}, **shared)
        for i in range(heads)
    }
    folders = {f"v{i}": _head(folder / str(i), ground.width, seed=i) for i in range(heads)} | {"base": base}
    fleet = Fleet(variants.__getitem__, folders.__getitem__, threads=1)
    for name in variants:
        fleet.load(name)
    fleet.probabilities([(name, "warm up") for name in list(variants)[:BATCH]])
    return fleet.probabilities


def _labels() -> tuple[str, ...]:
    return tuple(f"label {i}" for i in range(LABELS))


def _head(folder: Path, width: int, seed: int) -> Path:
    from safetensors.numpy import save_file

    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    shapes = {"weight": (LABELS, width), "bias": (LABELS,), "centroids": (LABELS, width)}
    save_file({k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}, folder / "head.safetensors")
    (folder / "calibration.json").write_text(
        '{"temperature": 1.5, "energy": [-5.0, 1.0], "novelty": [0.5, 0.2], "threshold": 2.0}'
    )
    return folder


def _texts(count: int) -> list[str]:
    import simple_icd_10_cm

    described = [simple_icd_10_cm.get_description(code) for code in simple_icd_10_cm.get_all_codes()]
    step = max(len(described) // count, 1)
    return described[::step][:count]


def _base(name: str) -> Path:
    """The base's folder, fetched on first use and kept in SARTOR_BENCH_CACHE."""
    from sartor.hub.catalogue_reading import entry
    from sartor.hub.fetch import fetch

    kept = Path(os.environ.get("SARTOR_BENCH_CACHE", Path.home() / ".cache" / "sartor-benchmarks"))
    folder = kept / "bases" / name
    fetch(entry(name), folder, cache=kept / "downloads", base_of=_base)
    return folder


def _print(figures: dict[str, Any]) -> None:
    from rich import print as show
    from rich.table import Table

    table = Table(title=f"Mixed batches of {BATCH}, CPU microseconds a text (speed beside one head)")
    for column in ("base", *(f"{n} heads" for n in HEADS), "one by one", "kB a head"):
        table.add_column(column, justify="left" if column == "base" else "right")
    for ground in GROUNDS:
        found = figures[ground.base]
        cells = [f"{found[f'us_of_{n}']:,.1f} ({found[f'speed_of_{n}']:.0%})" for n in HEADS]
        table.add_row(ground.base, *cells, f"{found['us_one_by_one']:,.1f}", f"{found['head_kilobytes']}")
    show(table)

"""Does the promise on a cascade's threshold hold? 1,000 draws of calibration rows, and once the real test rows.

The pool is the out-of-fold answers of a head on MiniLM on all training rows: every answer comes from a model that
has not seen the row, with its temperature fitted on other rows again. A draw calibrates on 1,540 of them and breaks
its promise if the risk on the rest of the pool is above alpha. A refusal is neither. Beside it stands a threshold
that is plainly tuned: the lowest at which the same calibration rows show a risk of alpha at most.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._shared import data_folder, result, show, workshop
from sartor.core.predict import Floats
from sartor.core.value import Ints
from sartor.evaluation.guarantee import binomial_chances, certify, ladder, spent
from sartor.evaluation.sequential import Bools
from sartor.evaluation.statistics import wilson
from sartor.pipeline.bases import base_named, embedder
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.workshop import Workshop
from sartor.training.calibration import fit
from sartor.training.folds import folds
from sartor.training.heads import fit_head

ALPHAS = (0.01, 0.02, 0.05)
DELTA = 0.05
DRAWS = 1000
ROWS = 1540
C = 100.0
SETS = {"BANKING77": "banking77", "CLINC150": "clinc150"}


@dataclass(frozen=True, eq=False)
class Pool:
    """Local answers whose truth is known."""

    confidence: Floats
    wrong: Bools


def run() -> dict[str, Any]:
    """Draw, certify, and count what was broken."""
    shop = workshop()
    figures: dict[str, Any] = {"draws": DRAWS, "rows": ROWS, "delta": DELTA}
    for name, folder in SETS.items():
        pool, test = _answers(shop, folder)
        drawn = {f"{alpha:.0%}": _drawn(pool, alpha) for alpha in ALPHAS}
        once = {f"{alpha:.0%}": _once(pool, test, alpha) for alpha in ALPHAS}
        figures[name] = {
            "pool": len(pool.wrong),
            "error": float(pool.wrong.mean()),
            "test_error": float(test.wrong.mean()),
            "drawn": drawn,
            "once": once,
        }
        _print(name, figures[name])
    all_drawn = [found for name in SETS for found in figures[name]["drawn"].values()]
    goals = {
        "broken promises at most delta within binomial error": all(f["broken_low"] <= DELTA for f in all_drawn),
        "at alpha 5 % at least 80 % of what the oracle keeps": all(
            figures[name]["drawn"]["5%"]["of_oracle"] >= 0.8 for name in SETS
        ),
        "a plainly tuned threshold breaks it far more often": all(
            figures["BANKING77"]["drawn"][f"{a:.0%}"]["tuned_broken"] > 0.25 for a in ALPHAS
        ),
    }
    return result("guarantee", figures, goals)


def _answers(shop: Workshop, folder: str) -> tuple[Pool, Pool]:
    """Out-of-fold answers on the training rows, and answers of a head on all of them to the test rows."""
    train, test = (_read(folder, split) for split in ("train", "test"))
    labels = {label: i for i, label in enumerate(sorted({row["label"] for row in train}))}
    targets, truths = (np.array([labels[row["label"]] for row in rows]) for rows in (train, test))
    base, cache = base_named(shop, "minilm"), EmbeddingCache(shop)
    vectors, asked = (
        cache.embed(base.digest, [row["text"] for row in rows], embedder(shop, base)) for rows in (train, test)
    )
    confidence, wrong = np.zeros(len(targets)), np.zeros(len(targets), dtype=bool)
    for seen, held in folds(targets, None, 5, 0):
        confidence[held], wrong[held] = _answered(vectors, targets, seen, (vectors[held], targets[held]))
    everything = np.arange(len(targets))
    return Pool(confidence, wrong), Pool(*_answered(vectors, targets, everything, (asked, truths)))


def _answered(vectors: Floats, targets: Ints, seen: Ints, ask: tuple[Floats, Ints]) -> tuple[Floats, Bools]:
    """Confidence and error of a head made of the rows seen: 85 % fit it, the others its temperature."""
    order = np.random.default_rng(0).permutation(seen)
    fitting, holding = np.split(order, [int(0.85 * len(order))])
    size = int(targets.max()) + 1
    head = fit_head(vectors[fitting].astype(np.float32), targets[fitting], size, C)
    calibration = fit(head.logits(vectors[holding]), None, targets[holding])
    probabilities = calibration.probabilities(head.logits(ask[0].astype(np.float32)))
    return probabilities.max(axis=1), probabilities.argmax(axis=1) != ask[1]


def _drawn(pool: Pool, alpha: float) -> dict[str, Any]:
    steps = ladder(alpha)
    size, draw = len(steps.thresholds), np.random.default_rng(1)
    place = np.searchsorted(-steps.thresholds, -pool.confidence)  # the first threshold that keeps the row
    kept_all, wrong_all = _counts(place, pool.wrong, size)
    chosen = [draw.permutation(len(place))[:ROWS] for _ in range(DRAWS)]
    counted = [_counts(place[rows], pool.wrong[rows], size) for rows in chosen]
    kept, wrong = (np.array(column) for column in zip(*counted, strict=True))
    chances = binomial_chances(wrong, kept, alpha)
    last = _last(chances <= spent(chances, steps.budget * DELTA))
    tuned = _last((wrong <= alpha * kept) & (kept > 0))
    rest = (wrong_all - wrong) / np.maximum(kept_all - kept, 1)
    _agree(pool, chosen[:10], last[:10], steps.thresholds, alpha)
    passed = np.flatnonzero(last >= 0)
    broken = int((rest[passed, last[passed]] > alpha).sum())
    oracle = float(kept_all[_last((wrong_all <= alpha * kept_all)[None])[0]] / len(place))
    local = float((kept[passed, last[passed]] / ROWS).mean()) if len(passed) else 0.0
    low, high = wilson(broken, DRAWS, 0.95)
    return {
        "broken": broken / DRAWS,
        "broken_low": low,
        "broken_high": high,
        "refused": 1.0 - len(passed) / DRAWS,
        "local": local,
        "oracle": oracle,
        "of_oracle": local / oracle,
        "tuned_broken": float((rest[np.arange(DRAWS), tuned] > alpha).mean()),
        "tuned_local": float((kept[np.arange(DRAWS), tuned] / ROWS).mean()),
    }


def _counts(place: Ints, wrong: Bools, size: int) -> tuple[Ints, Ints]:
    """(steps,) rows kept at each threshold, and how many of them are wrong."""
    kept = np.bincount(place, minlength=size)[:size].cumsum()
    errors: Ints = np.bincount(place[wrong], minlength=size)[:size].cumsum()
    return kept, errors


def _last(holds: Bools) -> Ints:
    """(draws,) the last step at which something holds, -1 where it never does."""
    size = holds.shape[1]
    found: Ints = np.where(holds.any(axis=1), size - 1 - holds[:, ::-1].argmax(axis=1), -1)
    return found


def _agree(pool: Pool, chosen: list[Ints], last: Ints, thresholds: Floats, alpha: float) -> None:
    """The draws are counted all at once; what is shipped must find the same thresholds one by one."""
    for rows, step in zip(chosen, last, strict=True):
        found = certify(pool.confidence[rows], pool.wrong[rows], alpha=alpha, delta=DELTA).threshold
        if found != (thresholds[step] if step >= 0 else None):
            raise SystemExit(f"certify says {found}, the draws say step {step}: one of them is broken.")


def _once(pool: Pool, test: Pool, alpha: float) -> dict[str, Any]:
    """Certified on the training rows out of fold; what it comes to on the real test rows, read once."""
    found = certify(pool.confidence, pool.wrong, alpha=alpha, delta=DELTA)
    if found.threshold is None:
        return found.body()
    keep = test.confidence >= found.threshold
    low, high = wilson(float(test.wrong[keep].sum()), int(keep.sum()), 0.95)
    shown = {"local": float(keep.mean()), "risk": float(test.wrong[keep].mean()), "low": low, "high": high}
    return found.body() | {"test": shown | {"rows": len(keep)}}


def _read(folder: str, split: str) -> list[dict[str, str]]:
    path = data_folder() / folder / f"{split}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _print(name: str, figures: dict[str, Any]) -> None:
    drawn = [
        (
            alpha,
            f"{f['broken']:.1%} ({f['broken_low']:.1%} to {f['broken_high']:.1%})",
            f"{f['refused']:.1%}",
            f"{f['local']:.1%}",
            f"{f['oracle']:.1%}",
            f"{f['tuned_broken']:.1%}",
            f"{f['tuned_local']:.1%}",
        )
        for alpha, f in figures["drawn"].items()
    ]
    columns = ["alpha", "broken#", "refused#", "local#", "oracle#", "tuned: broken#", "tuned: local#"]
    title = f"{name}: {figures['error']:.1%} of {figures['pool']:,} wrong; {DRAWS:,} draws of {ROWS:,} rows"
    show(title, columns, drawn)
    once = [
        (
            alpha,
            f["threshold"],
            f"{f['kept']:.1%}",
            f"{t['local']:.1%}",
            f"{t['risk']:.2%}",
            f"{t['low']:.2%}–{t['high']:.2%}",
        )
        for alpha, f in figures["once"].items()
        if (t := f.get("test"))
    ]
    columns = ["alpha", "threshold#", "local, training#", "local, test#", "wrong, test#", "95 %"]
    show(f"{name}: certified on all training rows, then the test rows", columns, once)

"""Intervals from a judge who errs: do they cover the truth, where the judge's verdicts alone do not?

Real judges first: the answers of models learnt from few and from all rows of BANKING77 are judged by the recorded
labels of GPT-4 and GPT-3.5 and by another small model; a verdict is whether the judge's own label is the same. The
truth is the share of right answers over the 1,540 test rows. From these rows small golden sets that people would look
at are drawn, at random or with wrong answers twice as likely, and 1,500 others that only the judge sees. Then a grid
of simulated judges. The textbook's prediction-powered interval stands beside ours, and people alone without any judge.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._shared import data_folder, result, show
from sartor.core.predict import Floats
from sartor.evaluation.judged_intervals import Golden, Interval, measure, powered_share, rogan_gladen
from sartor.evaluation.statistics import wilson

RESAMPLES = 2000
JUDGED = 1500
GOLDEN = (50, 100, 200)
SEEDS = (0, 1, 2)
GRID = [
    (right, sensitivity, specificity)
    for right in (0.6, 0.8, 0.93)
    for sensitivity, specificity in ((0.95, 0.9), (0.9, 0.7), (0.8, 0.8), (0.99, 0.6))
]
CONFIDENCE, GOAL = 0.95, 0.93
WRONG_ODDS = 2.0
"""How much likelier people look at a wrong answer, where they choose by themselves."""
WAYS = ("uncorrected", "people alone", "textbook PPI++", "prediction_powered", "rogan_gladen")


@dataclass(frozen=True, eq=False)
class Pool:
    """Answers whose truth is known, with a judge's verdicts."""

    name: str
    truth: Floats
    """(rows,) 1 for right answers."""
    judged: Floats
    """(rows,) 1 where the judge says right."""


def run() -> dict[str, Any]:
    """Resample, count how often each interval covers."""
    settings: dict[str, Any] = {}
    for pool in real():
        for size in GOLDEN:
            for chosen in (False, True):
                settings[f"{pool.name}, {size} {'chosen' if chosen else 'random'}"] = _covered(pool, size, chosen)
    simulated = {f"{cell}, {size}": _simulated(cell, size) for cell in GRID for size in GOLDEN}
    figures: dict[str, Any] = {"real": settings, "simulated": simulated, "resamples": RESAMPLES * len(SEEDS)}
    random = {name: one for name, one in settings.items() if "random" in name}
    chosen = {name: one for name, one in settings.items() if "chosen" in name}
    lows = {
        "real, random golden: prediction_powered": min(o["prediction_powered"]["cover"] for o in random.values()),
        "real, random golden: rogan_gladen": min(o["rogan_gladen"]["cover"] for o in random.values()),
        "real, chosen golden: rogan_gladen": min(o["rogan_gladen"]["cover"] for o in chosen.values()),
        "real, chosen golden: prediction_powered (not used there)": min(
            o["prediction_powered"]["cover"] for o in chosen.values()
        ),
        "simulated: prediction_powered": min(o["prediction_powered"]["cover"] for o in simulated.values()),
        "simulated: rogan_gladen": min(o["rogan_gladen"]["cover"] for o in simulated.values()),
        "textbook PPI++, real and simulated": min(
            o["textbook PPI++"]["cover"] for o in (*random.values(), *simulated.values())
        ),
        "uncorrected, real: most": max(o["uncorrected"]["cover"] for o in settings.values()),
        "uncorrected, simulated: most": max(o["uncorrected"]["cover"] for o in simulated.values()),
    }
    figures["least cover"] = lows
    _print(figures)
    goals = {
        "real judges, random golden sets: the way that is used covers in at least 93 %": lows[
            "real, random golden: prediction_powered"
        ]
        >= GOAL,
        "real judges, chosen golden sets: the way that is used covers in at least 93 %": lows[
            "real, chosen golden: rogan_gladen"
        ]
        >= GOAL,
        "simulated judges: both ways cover in at least 93 %": min(
            lows["simulated: prediction_powered"], lows["simulated: rogan_gladen"]
        )
        >= GOAL,
        "uncorrected, real judges: does not cover": lows["uncorrected, real: most"] < GOAL,
    }
    return result("judges", figures, goals)


def real() -> list[Pool]:
    """The answers of two small models, each judged by three judges."""
    folder = data_folder() / "banking77"
    train, test = (_rows(folder / f"{name}.jsonl") for name in ("train", "test"))
    gold = np.array([row["label"] for row in test])
    few = _answers(_few(train, 10), test)
    whole = _answers(train, test)
    another = _answers(_few(train, 30, seed=1), test)
    judges = {
        "GPT-4": np.array([str(row["gpt4"]) for row in test]),
        "GPT-3.5": np.array([str(row["gpt35"]) for row in test]),
        "another small model": another,
    }
    return [
        Pool(f"{model}, judged by {judge}", (answer == gold).astype(float), (answer == said).astype(float))
        for model, answer in (("10 a class", few), ("all rows", whole))
        for judge, said in judges.items()
    ]


def _rows(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _few(rows: list[dict[str, Any]], count: int, seed: int = 0) -> list[dict[str, Any]]:
    order = np.random.default_rng(seed).permutation(len(rows))
    taken: dict[str, int] = {}
    found = []
    for place in order:
        row = rows[place]
        if taken.get(row["label"], 0) < count:
            taken[row["label"]] = taken.get(row["label"], 0) + 1
            found.append(row)
    return found


def _answers(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Any:
    """Labels by a linear model on words and letters."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    parts = [
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    ]
    texts, asked = [row["text"] for row in train], [row["text"] for row in test]
    learnt = hstack([part.fit_transform(texts) for part in parts]).tocsr()
    model = LinearSVC(C=1.0, random_state=0).fit(learnt, [row["label"] for row in train])
    return model.predict(hstack([part.transform(asked) for part in parts]).tocsr())


def _covered(pool: Pool, size: int, chosen: bool) -> dict[str, Any]:
    """How often each interval covers the pool's share of right answers."""
    truth = float(pool.truth.mean())
    weight = np.where(pool.truth > 0, 1.0, WRONG_ODDS if chosen else 1.0)
    found, draws = [], []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        for _ in range(RESAMPLES):
            people = random.choice(len(pool.truth), size=size, p=weight / weight.sum())
            rest = random.integers(0, len(pool.truth), size=JUDGED)
            golden = Golden.of(pool.truth[people], pool.judged[people])
            draws.append(_intervals(int(pool.judged[rest].sum()), golden))
        found.append(_counted(draws[-RESAMPLES:], truth))
    whole = measure(Golden.of(pool.truth, pool.judged))
    return _counted(draws, truth) | {
        "truth": truth,
        "judge says": float(pool.judged.mean()),
        "sensitivity": whole.sensitivity.value if whole.sensitivity else None,
        "specificity": whole.specificity.value if whole.specificity else None,
        "kappa": whole.kappa.value if whole.kappa else None,
        "spread over seeds": {
            way: [min(one[way]["cover"] for one in found), max(one[way]["cover"] for one in found)] for way in WAYS
        },
    }


def _simulated(cell: tuple[float, float, float], size: int) -> dict[str, Any]:
    right, sensitivity, specificity = cell
    shares = [
        right * sensitivity,
        right * (1 - sensitivity),
        (1 - right) * (1 - specificity),
        (1 - right) * specificity,
    ]
    draws = []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        tables = random.multinomial(size, shares, size=RESAMPLES)
        judged = random.binomial(JUDGED, shares[0] + shares[2], size=RESAMPLES)
        draws += [_intervals(int(k), Golden(*map(int, table))) for k, table in zip(judged, tables, strict=True)]
    return _counted(draws, right)


def _intervals(judged_right: int, golden: Golden) -> dict[str, tuple[float, float]]:
    ours = {
        "prediction_powered": powered_share(judged_right, JUDGED, golden, CONFIDENCE),
        "rogan_gladen": rogan_gladen(judged_right, JUDGED, golden, CONFIDENCE),
    }
    return {
        "uncorrected": wilson(judged_right, JUDGED, CONFIDENCE),
        "people alone": wilson(golden.right, golden.n, CONFIDENCE),
        "textbook PPI++": _textbook(judged_right, golden),
    } | {way: _pair(interval) for way, interval in ours.items()}


def _textbook(judged_right: int, golden: Golden) -> tuple[float, float]:
    """Prediction-powered inference with its weight tuned and the normal quantile, as it is published."""
    n, others = golden.n, judged_right / JUDGED
    right, said = golden.right / n, (golden.right_right + golden.wrong_right) / n
    both, spread = golden.right_right / n - right * said, said * (1.0 - said)
    weight = both / (spread * (1.0 + n / JUDGED)) if spread > 0 else 0.0
    value = right + weight * (others - said)
    variance = (right * (1.0 - right) - 2.0 * weight * both + weight**2 * spread) / n
    half = 1.959964 * math.sqrt(max(0.0, variance + weight**2 * others * (1.0 - others) / JUDGED))
    return value - half, value + half


def _pair(found: Interval) -> tuple[float, float]:
    return found.low, found.high


def _counted(draws: list[dict[str, tuple[float, float]]], truth: float) -> dict[str, Any]:
    found = {}
    for way in WAYS:
        bounds = np.array([draw[way] for draw in draws])
        covers = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
        found[way] = {"cover": float(covers.mean()), "width": float((bounds[:, 1] - bounds[:, 0]).mean())}
    return found


def _print(figures: dict[str, Any]) -> None:
    for what in ("real", "simulated"):
        rows = [
            (name, *(f"{one[way]['cover']:.1%} ({one[way]['width']:.3f})" for way in WAYS))
            for name, one in figures[what].items()
        ]
        show(f"{what}: share of intervals that cover (mean width)", ["setting", *(f"{way}#" for way in WAYS)], rows)
    show("Least cover", ["where", "share#"], list(figures["least cover"].items()))

"""BANKING77: how many labels it takes to be nearly as good as with all, by the order in which rows are labelled.

A pool of training rows without labels stands for traffic; batches of 30 are labelled (with the gold label), a head on
frozen embeddings is fitted anew, warm-started, and the next batch is chosen by it. Orders: random, least margin, most
entropy, clusters among the least margins, and what the product does: the value of the next label, with every tenth row
drawn at random; under costs of 0 and 1, and under the committed value function in money. Each seed has a pool of its
own, nine tenths of the rows. The test rows draw the curves and choose nothing. One C for all heads, the full one too.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import _banking
from benchmarks._shared import data_folder, result, show, workshop
from sartor.core.calibration import Calibration
from sartor.core.predict import Floats
from sartor.core.value import Ints, Value, choose, cost_matrix, realised_costs
from sartor.data.tables import json_lines
from sartor.evaluation.next_label import Surroundings, pick, regret, surroundings
from sartor.pipeline.bases import base_named, embedder
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.training.heads import Head, fit_head

SEEDS = 6
BATCH = 30
SHARE = 0.9
"""Of what all labels bring."""
POOL = 0.9
RANDOM = 0.1
C = 100.0
STEPS = 40
MOST = 1800
CLUSTERS = 100
"""Of the first batch of `clusters`."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Rows, embedded, and what answers on them cost."""

    pool: Floats
    pool_true: Ints
    test: Floats
    test_true: Ints
    labels: int
    money: Floats
    """(labels, labels) the committed value function."""

    @property
    def equal(self) -> Floats:
        """Every mistake costs 1."""
        return np.where(np.eye(self.labels, dtype=bool), 0.0, 1.0)


@dataclass
class Curve:
    """What was reached with how many labels."""

    labels: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    money: list[float] = field(default_factory=list)
    """Lost per request, by the least expected cost."""
    promised: list[float] = field(default_factory=list)
    """What the batch before was expected to save per request, under the costs by which it was chosen."""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class State:
    """What an order may look at: never a test row, never a label that was not asked for."""

    pool: Floats
    around: Surroundings
    shares: Floats | None
    """(rows, labels) under the present head; None at the start."""
    labelled: Any
    """(rows,) booleans."""
    rng: np.random.Generator


Order = Callable[[State], tuple[list[int], float]]
"""The next rows, and what they are expected to save per request (0: nothing is said)."""


def run() -> dict[str, Any]:
    """Label in every order, print how many labels each took, and return the figures."""
    ground = _ground()
    orders: dict[str, Order] = {
        "random": _random,
        "margin": _by(_margin),
        "entropy": _by(lambda shares: -(shares * np.log(shares + 1e-12)).sum(axis=1)),
        "clusters": _clusters,
        "value, costs 0 and 1": _value(ground.equal),
        "value, money": _value(ground.money),
    }
    whole = fit_head(ground.pool, ground.pool_true, ground.labels, C, steps=100)
    accuracy, money = _measured(ground, whole)
    blind = float(ground.money.mean(axis=0).min())  # the best single answer where all labels are as likely
    goals = {"accuracy": SHARE * accuracy, "money": blind - SHARE * (blind - money)}
    curves = {name: [_curve(ground, order, seed, goals) for seed in range(SEEDS)] for name, order in orders.items()}
    took = {name: _took(found, goals) for name, found in curves.items()}
    figures = {
        "full": {"accuracy": accuracy, "money": money, "no_model": blind, "labels": len(ground.pool)},
        "goals": goals,
        "orders": {name: {what: _told(values) for what, values in of.items()} for name, of in took.items()},
        "ratio": {
            "accuracy": _ratio(took["value, costs 0 and 1"]["accuracy"], took["random"]["accuracy"]),
            "money": _ratio(took["value, money"]["money"], took["random"]["money"]),
            "money_beside_costs_0_and_1": _ratio(took["value, money"]["money"], took["value, costs 0 and 1"]["money"]),
        },
        "saved_per_label": {name: _saved(found, goals, blind) for name, found in curves.items()},
        "promise": {
            name: _promise(curves[name], what)
            for name, what in (("value, costs 0 and 1", "accuracy"), ("value, money", "money"))
        },
        "seconds": {
            name: round(statistics.mean(curve.seconds for curve in found), 1) for name, found in curves.items()
        },
    }
    _print(figures)
    ratios = figures["ratio"]
    return result(
        "labels",
        figures,
        {
            "half_the_labels_of_random_order": ratios["accuracy"]["mean"] <= 0.5,
            "half_the_labels_in_money": ratios["money"]["mean"] <= 0.5,
            "fewer_than_margin_and_entropy": all(
                figures["orders"]["value, costs 0 and 1"]["accuracy"]["mean"]
                < figures["orders"][name]["accuracy"]["mean"]
                for name in ("margin", "entropy")
            ),
        },
    )


def _ground() -> Ground:
    shop = workshop()
    base, cache = base_named(shop, "minilm"), EmbeddingCache(shop)
    folder = data_folder() / "banking77"
    rows = {split: [row for _, row in json_lines(folder / f"{split}.jsonl")] for split in ("train", "test")}
    labels = sorted({row["label"] for row in rows["train"]})
    index = {label: i for i, label in enumerate(labels)}
    engine: list[Any] = []

    def compute(missing: list[str]) -> Any:
        engine.extend([] if engine else [embedder(shop, base)])
        return engine[0](missing)

    vectors = {
        split: cache.embed(base.digest, [row["text"] for row in found], compute) for split, found in rows.items()
    }
    true = {split: np.array([index[row["label"]] for row in found]) for split, found in rows.items()}
    money = cost_matrix(Value.model_validate(_banking.value()), labels)
    shop.store.close()
    return Ground(vectors["train"], true["train"], vectors["test"], true["test"], len(labels), money)


def _measured(ground: Ground, head: Head) -> tuple[float, float]:
    """Share of right answers, and money lost per request by the least expected cost, on test rows."""
    shares = Calibration().probabilities(head.logits(ground.test))
    right = float((shares.argmax(axis=1) == ground.test_true).mean())
    answer = choose(shares, ground.money).answer
    return right, float(realised_costs(ground.test_true, answer, ground.money).mean())


_AROUND: dict[int, Surroundings] = {}


def _curve(ground: Ground, order: Order, seed: int, goals: dict[str, float]) -> Curve:
    """Label until both goals are reached twice in a row."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(ground.pool))[: int(POOL * len(ground.pool))])
    pool, true = ground.pool[rows], ground.pool_true[rows]
    if seed not in _AROUND:
        _AROUND[seed] = surroundings(pool)
    curve, labelled, asked = Curve(), np.zeros(len(pool), dtype=bool), list[int]()
    head: Head | None = None
    begun = time.process_time()
    reached = 0
    while reached < 2 and len(asked) < MOST:
        shares = None if head is None else Calibration().probabilities(head.logits(pool))
        new, promised = order(State(pool, _AROUND[seed], shares, labelled, rng))
        asked += new
        labelled[new] = True
        head = fit_head(pool[asked], true[asked], ground.labels, C, start=head, steps=STEPS)
        accuracy, money = _measured(ground, head)
        curve.labels.append(len(asked))
        curve.accuracy.append(accuracy)
        curve.money.append(money)
        curve.promised.append(promised)
        reached = reached + 1 if accuracy >= goals["accuracy"] and money <= goals["money"] else 0
    curve.seconds = time.process_time() - begun
    return curve


def _random(state: State) -> tuple[list[int], float]:
    return _drawn(state, BATCH), 0.0


def _drawn(state: State, size: int) -> list[int]:
    return [int(row) for row in state.rng.choice(np.flatnonzero(~state.labelled), size, replace=False)]


def _margin(shares: Floats) -> Floats:
    two = np.partition(shares, -2, axis=1)[:, -2:]
    found: Floats = two[:, 0] - two[:, 1]
    return found


def _by(doubt: Callable[[Floats], Floats]) -> Order:
    def order(state: State) -> tuple[list[int], float]:
        if state.shares is None:
            return _drawn(state, BATCH), 0.0
        found = np.where(state.labelled, -np.inf, doubt(state.shares))
        return [int(row) for row in np.argsort(-found, kind="stable")[:BATCH]], 0.0

    return order


def _clusters(state: State) -> tuple[list[int], float]:
    """Centres of clusters: of the whole pool first, then of the least margins, ten times as many as are wanted."""
    if state.shares is None:
        return _centres(state.pool, np.arange(len(state.pool)), CLUSTERS, state.rng), 0.0
    doubt = np.where(state.labelled, -np.inf, _margin(state.shares))
    return _centres(state.pool, np.argsort(-doubt, kind="stable")[: 10 * BATCH], BATCH, state.rng), 0.0


def _centres(pool: Floats, rows: Ints, size: int, rng: np.random.Generator) -> list[int]:
    from sklearn.cluster import KMeans

    found = KMeans(size, n_init=1, random_state=int(rng.integers(2**31))).fit(pool[rows])
    return sorted({int(rows[place]) for place in found.transform(pool[rows]).argmin(axis=0)})


def _value(matrix: Floats) -> Order:
    """The product's order under these costs, its random share included."""

    def order(state: State) -> tuple[list[int], float]:
        drawn = _drawn(state, round(RANDOM * BATCH))
        shares = state.shares
        if shares is None:
            shares = np.full((len(state.pool), len(matrix)), 1.0 / len(matrix))
        free = np.ones(len(state.pool), dtype=bool)
        free[drawn] = False
        lost = regret(shares, matrix)
        found = pick(state.around, lost, state.labelled, BATCH - len(drawn), free)
        return drawn + [int(row) for row in found.rows], float(found.gain.sum()) / len(state.pool)

    return order


def _took(curves: Sequence[Curve], goals: dict[str, float]) -> dict[str, list[float]]:
    """Labels that each seed took to reach each goal."""
    return {
        "accuracy": [_crossing(c.labels, c.accuracy, goals["accuracy"]) for c in curves],
        "money": [_crossing(c.labels, [-money for money in c.money], -goals["money"]) for c in curves],
    }


def _crossing(labels: Sequence[int], reached: Sequence[float], goal: float) -> float:
    """Labels at which a goal is reached first, on the line between two measurements; the last where it never is."""
    for place, value in enumerate(reached):
        if value >= goal:
            if place == 0:
                return float(labels[0])
            before, step = reached[place - 1], labels[place] - labels[place - 1]
            return labels[place - 1] + step * (goal - before) / (value - before)
    return float(labels[-1])


def _told(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": round(statistics.mean(values), 1),
        "spread": round(statistics.stdev(values), 1),
        "each": [round(value) for value in values],
    }


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "mean": round(statistics.mean(each), 3),
        "spread": round(statistics.stdev(each), 3),
        "worst": round(max(each), 3),
    }


def _saved(curves: Sequence[Curve], goals: dict[str, float], blind: float) -> dict[str, Any]:
    """Money per 1,000 requests that each label saved on the way to the goal in money."""
    took = _took(curves, goals)["money"]
    return _told([1000.0 * (blind - goals["money"]) / labels for labels in took])


def _promise(curves: Sequence[Curve], what: str) -> dict[str, float]:
    """What batches were expected to save beside what they did save on test rows, all seeds together."""
    promised = sum(sum(curve.promised[1:]) for curve in curves)
    if what == "accuracy":
        realised = sum(curve.accuracy[-1] - curve.accuracy[0] for curve in curves)
    else:
        realised = sum(curve.money[0] - curve.money[-1] for curve in curves)
    return {"expected": round(promised / len(curves), 4), "realised": round(realised / len(curves), 4)}


def _print(figures: dict[str, Any]) -> None:
    rows = []
    for name, of in figures["orders"].items():
        cells = [f"{of[what]['mean']:.0f} ± {of[what]['spread']:.0f}" for what in ("accuracy", "money")]
        rows.append([name, *cells, figures["saved_per_label"][name]["mean"], figures["seconds"][name]])
    goals, full = figures["goals"], figures["full"]
    title = (
        f"Labels to {goals['accuracy']:.1%} right (90 % of {full['accuracy']:.1%} with all {full['labels']:,}), and to "
        f"{goals['money']:.3f} lost per request (with all {full['money']:.3f}); {SEEDS} seeds"
    )
    show(title, ["order", "accuracy#", "money#", "saved per label and 1,000#", "CPU s#"], rows)
    for name, found in figures["ratio"].items():
        show("", ["ratio", "mean#", "spread#", "worst#"], [[name, found["mean"], found["spread"], found["worst"]]])

"""BANKING77: accuracy beside GPT-4's and GPT-3.5's recorded answers, and decisions in money under one value function.

Escalation to a person and to GPT-4 is held against argmax and against argmax with a confidence threshold that was
tuned on the validation rows. GPT-4's errors are measured on training rows that have its answers.
"""

import json
from typing import Any

import numpy as np

from benchmarks import _banking
from benchmarks._shared import HOME, data_folder, paired, result, show, task, workshop
from sartor.core.predict import Floats
from sartor.core.value import Ints, Value, choose, cost_matrix, measured_confusion, realised_costs, target_costs
from sartor.evaluation.answers import Answers
from sartor.evaluation.statistics import mcnemar, wilson
from sartor.pipeline.inspect import answers_behind
from sartor.pipeline.run import decide_on, inspect_all, make_all, open_hall


def run() -> dict[str, Any]:
    """Make all rungs, pick on validation, hold the picked one against the giants, then the decisions in money."""
    shop = workshop()
    contract = task(_banking.body())
    place = open_hall(shop, contract, HOME)
    variants = make_all(place, contract.candidates)
    found = inspect_all(place, variants)
    verdict = decide_on(place, variants, found)
    plain = {title: answers_behind(place, report) for title, report in found.test.items()}
    mine = plain[verdict.picked.title]
    assert mine.probabilities is not None
    index = {label: i for i, label in enumerate(place.snapshot.labels)}
    rows = place.snapshot.splits["test"]
    giants = {
        name: np.array([index.get(row.extra.get(column, ""), -1) for row in rows])
        for name, column in (("GPT-4", "gpt4"), ("GPT-3.5", "gpt35"))
    }
    right = mine.probabilities.argmax(axis=1) == mine.true
    against = {name: _against(right, said == mine.true) for name, said in giants.items()}
    low, high = wilson(float(right.sum()), len(right), 0.95)
    accuracies = {
        title: float((a.probabilities.argmax(axis=1) == a.true).mean())
        for title, a in plain.items()
        if a.probabilities is not None
    }
    validation = answers_behind(place, found.validation[verdict.picked.title])
    money = {
        "person": _money(validation, mine, contract.value, place.snapshot.labels, None, None),
        "gpt4": _to_giant(validation, mine, place.snapshot.labels, giants["GPT-4"]),
    }
    figures = {
        "picked_on_validation": verdict.picked.title,
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "test_rows": len(rows),
        "accuracies": accuracies,
        "giants": {name: float((said == mine.true).mean()) for name, said in giants.items()},
        "against": against,
        "money": money,
    }
    _print(figures)
    person, giant = money["person"], money["gpt4"]
    goals = {
        "accuracy of the picked one at least 93.0": figures["accuracy"] >= 0.93,
        "significantly above GPT-4 and GPT-3.5": all(a["difference"]["low"] > 0 for a in against.values()),
        "person: cheaper than argmax": person["saved_over_argmax"]["low"] > 0,
        "person: cheaper than a tuned threshold": person["saved_over_threshold"]["low"] > 0,
        "GPT-4: cheaper than argmax": giant["saved_over_argmax"]["low"] > 0,
        "GPT-4: cheaper than a tuned threshold": giant["saved_over_threshold"]["low"] > 0,
        "GPT-4: asking it does not pay": giant["saved_by_asking"]["low"] <= 0,
    }
    return result("banking77", figures, goals)


def _against(mine: Any, theirs: Any) -> dict[str, Any]:
    fixed, broken = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    gains = mine.astype(float) - theirs.astype(float)
    return {"difference": paired(gains), "fixed": fixed, "broken": broken, "mcnemar_p": mcnemar(fixed, broken)}


def _to_giant(validation: Answers, test: Answers, labels: tuple[str, ...], said: Ints) -> dict[str, Any]:
    """The same with GPT-4 as the target: errors measured on training rows, recorded answers paid on test rows."""
    body = _banking.value() | {"escalate": {"to": "GPT-4", "price": _banking.GPT4_PRICE, "column": "gpt4"}}
    value = Value.model_validate(body)
    index = {label: i for i, label in enumerate(labels)}
    path = data_folder() / "banking77" / "gpt4_labelled_train.jsonl"
    seen = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    true = np.array([index[row["label"]] for row in seen])
    answers = np.array([index.get(row["gpt4"] or "", -1) for row in seen])
    confusion = measured_confusion(true, answers, len(labels))
    return _money(validation, test, value, labels, confusion, said) | {"errors_measured_on": len(seen)}


def _money(
    validation: Answers,
    test: Answers,
    value: Value,
    labels: tuple[str, ...],
    confusion: Floats | None,
    said: Ints | None,
) -> dict[str, Any]:
    """Ways to decide from the same calibrated probabilities, in money per 1,000 requests.

    Args:
        confusion: (labels, labels) the target's measured errors; None: its declared error rate.
        said: (test rows,) what the target really answered; None: its errors are paid in expectation.
    """
    matrix = cost_matrix(value, labels)
    target = target_costs(value, matrix, confusion)
    probabilities = np.asarray(test.probabilities, dtype=np.float64)
    threshold = _tuned(validation, matrix, target)
    choice = choose(probabilities, matrix, target)
    top = probabilities.argmax(axis=1)
    unsure = probabilities.max(axis=1) < threshold
    assert value.escalate is not None
    never = np.zeros(len(top), dtype=bool)
    costs = {
        "argmax": _paid(test, top, never, matrix, target, value.escalate.price, said),
        "threshold": _paid(test, top, unsure, matrix, target, value.escalate.price, said),
        "least cost": _paid(test, choice.answer, choice.escalate, matrix, target, value.escalate.price, said),
    }
    alone = choose(probabilities, matrix)
    costs["least cost, nobody asked"] = _paid(test, alone.answer, never, matrix, target, value.escalate.price, said)
    if said is not None:
        everything = np.ones(len(top), dtype=bool)
        costs["always GPT-4"] = _paid(test, top, everything, matrix, target, value.escalate.price, said)
    return {
        "per_1000": {name: 1000.0 * float(paid.mean()) for name, paid in costs.items()},
        "escalated": {"threshold": float(unsure.mean()), "least cost": float(choice.escalate.mean())},
        "threshold": threshold,
        "price": value.escalate.price,
        "saved_over_argmax": paired(1000.0 * (costs["argmax"] - costs["least cost"])),
        "saved_over_threshold": paired(1000.0 * (costs["threshold"] - costs["least cost"])),
        "saved_by_asking": paired(1000.0 * (costs["least cost, nobody asked"] - costs["least cost"])),
    }


def _tuned(validation: Answers, matrix: Floats, target: Floats) -> float:
    """The confidence below which asking is cheapest on the validation rows."""
    probabilities = np.asarray(validation.probabilities, dtype=np.float64)
    confidence, top = probabilities.max(axis=1), probabilities.argmax(axis=1)
    tried = np.unique(np.concatenate([[0.0], np.round(confidence, 3), [1.01]]))
    paid = [realised_costs(validation.true, top, matrix, confidence < t, target).mean() for t in tried]
    return float(tried[int(np.argmin(paid))])


def _paid(
    test: Answers, answer: Ints, asked: Any, matrix: Floats, target: Floats, price: float, said: Ints | None
) -> Floats:
    if said is None:
        return realised_costs(test.true, answer, matrix, asked, target)
    final = np.where(asked, said, answer)
    return realised_costs(test.true, final, matrix) + np.where(asked, price, 0.0)


def _print(figures: dict[str, Any]) -> None:
    giants = [(name, 100.0 * share, "") for name, share in figures["giants"].items()]
    own = [
        (title, 100.0 * share, "picked on validation" if title == figures["picked_on_validation"] else "")
        for title, share in figures["accuracies"].items()
    ]
    show(f"BANKING77, {figures['test_rows']:,} test rows", ["", "right %#", ""], own + giants)
    for target, money in figures["money"].items():
        rows = [(name, paid, 100.0 * money["escalated"].get(name, 0.0)) for name, paid in money["per_1000"].items()]
        show(f"Escalation to {target} at {money['price']:.2f} EUR", ["decision", "EUR per 1,000#", "asked %#"], rows)

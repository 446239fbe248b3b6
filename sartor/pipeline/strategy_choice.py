"""Which strategy is used is measured on the task's own past: each is played at an earlier time, and the one that loses
least money on what came after is taken.

The past is what is learned from, in the order in which it happened; the standing test has no part in it. It is cut in
three: a variant is made from scratch of the first, each strategy goes on from it with the second, and all are asked
about the third. Played variants are recorded nowhere. Rows carry the labels that they were given, wrong ones included.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from sartor.core.calibration import Calibration
from sartor.core.records import Dataset, Metric, Record, Report, Variant
from sartor.core.rows import Row, Snapshot
from sartor.core.section import Pick
from sartor.core.task import Candidate
from sartor.evaluation.answers import Answers
from sartor.evaluation.inspect import as_metric
from sartor.evaluation.pick import Offer
from sartor.evaluation.statistics import bootstrap_means
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.inspect import Hall
from sartor.pipeline.make import Order, fill, order, plan_of, scores
from sartor.pipeline.memo import Step, once
from sartor.pipeline.onward import SCRATCH, Onward
from sartor.training.strategy import Plan, Skipped

LEAST = 50
"""Rows that each part of the past must have."""
PURPOSE: Final = "strategy"


@dataclass(frozen=True)
class Choice:
    """How the candidate that goes on does so."""

    onward: Onward | None
    """None: from scratch."""
    use: str
    says: str
    money: Mapping[str, Metric] = field(default_factory=dict)
    """Strategy -> money lost per 1,000 requests on what came after; empty where it could not be measured."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Strategy -> why it makes no sense here."""
    report: str = ""
    """Digest of the record of the measurement."""


def title_of(picked: Pick) -> str:
    """The strategy with its settings, as tables show it."""
    told = ", ".join(f"{name}={value}" for name, value in sorted(picked.settings.items()))
    return f"{picked.use} ({told})" if told else picked.use


def choose(place: Hall, candidate: Candidate, live: Variant, picks: Sequence[Pick]) -> Choice:
    """The strategy for a candidate that goes on from the live variant."""
    onwards = {title_of(picked): onward_from(place, candidate, live, picked) for picked in picks}
    plans = {title: _planned(place, candidate, onward) for title, onward in onwards.items()}
    skipped = {title: plan.why for title, plan in plans.items() if isinstance(plan, Skipped)}
    fitting = {title: onward for title, onward in onwards.items() if title not in skipped}
    if not fitting:
        return Choice(None, SCRATCH, "From scratch: no other strategy makes sense here.", skipped=skipped)
    first = next(iter(fitting))
    if len(fitting) == 1:
        says = f"{first}: no other strategy of the task makes sense here."
        return _chosen(fitting, plans, first, says, skipped=skipped)
    past = _past(place)
    if past is None:
        says = f"{first}, the first of the task's: there is too little past to measure on ({LEAST} rows in each third)."
        return _chosen(fitting, plans, first, says, skipped=skipped)
    report = _measured(place, candidate, live, list(fitting.values()), past)
    best = str(report.facts["chosen"])
    return _chosen(
        fitting, plans, best, str(report.facts["says"]),
        money=dict(report.metrics), skipped=skipped, report=report.digest,
    )  # fmt: skip


def _chosen(
    fitting: Mapping[str, Onward], plans: Mapping[str, Plan | Skipped], best: str, says: str, **more: object
) -> Choice:
    onward, plan = fitting[best], plans[best]
    assert isinstance(plan, Plan)
    # From scratch is what making is anyway: the variant is then the same, whatever was live.
    going = None if onward.strategy.use == SCRATCH else onward
    return Choice(going, best, f"{says} {plan.says}", **more)  # type: ignore[arg-type]


def onward_from(place: Hall, candidate: Candidate, live: Variant, picked: Pick) -> Onward:
    """A strategy that goes on from the live variant."""
    dataset = place.shop.store.ledger.get(live.data)
    assert isinstance(dataset, Dataset)
    learned = frozenset(row.id for row in open_dataset(place.shop, dataset).splits["train"])
    why_not = ""
    if (candidate.recipe, candidate.base or "") != (live.recipe, live.base):
        made = f"{live.recipe}:{live.base}" if live.base else live.recipe
        why_not = f"what is live was made by {made}, and this candidate by {candidate.title}"
    return Onward(picked, place.shop.store.folder(live), live.labels, learned, live.digest, why_not)


def _planned(place: Hall, candidate: Candidate, onward: Onward) -> Plan | Skipped:
    what = order(place.shop, place.task, candidate, place.dataset, place.snapshot, {}) if not candidate.of else None
    if what is None:
        return Skipped("it is mixed of others, which are made first")
    return plan_of(place.shop, place.cache, replace(what, onward=onward), Path())


@dataclass(frozen=True)
class _Past:
    """The past in three parts."""

    before: Snapshot
    onward: Snapshot
    after: tuple[Row, ...]


def moment(row: Row) -> str:
    """When a row happened, ISO 8601; '' where nobody knows, which counts as before everything."""
    return row.extra.get("at") or row.time or ""


def _past(place: Hall) -> _Past | None:
    """The rows that are learned from, cut at two earlier times; None where a part would be too small."""
    splits = {split: sorted(place.snapshot.splits[split], key=moment) for split in ("train", "validation")}
    times = sorted(moment(row) for rows in splits.values() for row in rows if moment(row))
    if len(times) < 3 * LEAST:
        return None
    first, second = times[len(times) // 3], times[2 * len(times) // 3]
    after = tuple(row for rows in splits.values() for row in rows if moment(row) >= second)

    def until(time: str) -> Snapshot:
        rows = {split: [row for row in found if moment(row) < time] for split, found in splits.items()}
        return Snapshot(rows | {"test": []}, place.snapshot.labels, place.snapshot.hierarchy)

    before, onward = until(first), until(second)
    new = len(onward.splits["train"]) - len(before.splits["train"])
    enough = min(len(before.splits["train"]), new, len(after)) >= LEAST and before.splits["validation"]
    return _Past(before, onward, after) if enough else None


def _measured(place: Hall, candidate: Candidate, live: Variant, onwards: Sequence[Onward], past: _Past) -> Report:
    shop, task = place.shop, place.task
    what = order(shop, task, candidate, place.dataset, place.snapshot, {})
    modules = (what.recipe.module, "sartor.pipeline.strategy_choice", *(onward.module for onward in onwards))
    params = {
        "recipe": what.params.model_dump(mode="json"),
        "strategies": [onward.settings for onward in onwards],
        "value": task.value.model_dump(mode="json"),
    }
    inputs = {"data": place.dataset.digest, "live": live.digest} | ({"base": what.base.digest} if what.base else {})
    step = Step("strategy", task.name, "training.strategies", modules, inputs, params, task.seed)

    def work(folder: Path) -> Mapping[str, Record]:
        return {"report": _played(place, what, live, onwards, past, folder)}

    made = once(shop, step, work)["report"]
    assert isinstance(made, Report)
    return made


def _played(place: Hall, what: Order, live: Variant, onwards: Sequence[Onward], past: _Past, folder: Path) -> Report:
    then = folder / "then"
    then.mkdir()
    fill(place.shop, place.cache, replace(what, snapshot=past.before), then)
    learned = frozenset(row.id for row in past.before.splits["train"])
    offers: list[Offer] = []
    skipped: dict[str, str] = {}
    for onward in onwards:
        title = title_of(onward.strategy)
        place.shop.progress(f"play {title}", len(offers), len(onwards))
        going = replace(
            what,
            snapshot=past.onward,
            onward=replace(onward, start=then, labels=past.before.labels, learned=learned, digest="", why_not=""),
        )
        plan = plan_of(place.shop, place.cache, going, folder)
        if isinstance(plan, Skipped):
            skipped[title] = plan.why
            continue
        rows = len(past.onward.splits["train"]) if plan.rows is None else len(plan.rows)
        # Rows that are learned from stand for what making costs: seconds would differ by machine.
        offers.append(Offer(title, _asked(place, going, past.after, folder), made_for=float(rows)))
    money = _money(place, offers)
    best = min(offers, key=lambda offer: (money[offer.title].value, offer.made_for))
    says = f"it loses least money on {len(past.after):,} rows that came after."
    return Report(
        purpose=PURPOSE,
        subject=live.digest,
        title=best.title,
        task=place.task.name,
        data=place.dataset.digest,
        split="past",
        metrics=money,
        facts={
            "chosen": best.title,
            "says": f"{best.title}: {says}",
            "skipped": skipped,
            "rows": {
                "before": len(past.before.splits["train"]),
                "onward": len(past.onward.splits["train"]),
                "after": len(past.after),
            },
            "accuracy": {o.title: float((o.answers.answer == o.answers.true).mean()) for o in offers},
        },
    )


def _asked(place: Hall, going: Order, after: Sequence[Row], folder: Path) -> Answers:
    """What a played variant answers to the rows that came after, under the task's terms."""
    made = Path(tempfile.mkdtemp(prefix="played-", dir=folder))
    filled = fill(place.shop, place.cache, going, made)
    logits = scores(place.shop, place.cache, going, made, filled.draft.engine, [row.text for row in after])
    calibration = Calibration.model_validate(json.loads((made / "calibration.json").read_text(encoding="utf-8")))
    shutil.rmtree(made)
    shares = calibration.probabilities(logits).astype(np.float32)
    index = {label: at for at, label in enumerate(going.snapshot.labels)}
    answers = Answers(
        ids=np.array([row.id for row in after], dtype=np.str_),
        true=np.array([index.get(row.label or "", -1) for row in after], dtype=np.int32),
        answer=shares.argmax(axis=1).astype(np.int32),
        escalated=np.zeros(len(after), dtype=bool),
        serving_cost=np.zeros(len(after)),
        probabilities=shares,
    )
    return answers.redecide(place.terms.matrix, place.terms.target)


def _money(place: Hall, offers: Sequence[Offer]) -> dict[str, Metric]:
    terms = place.terms
    costs = np.stack([1000.0 * o.answers.costs(terms.matrix, terms.target) for o in offers], axis=1)
    found = bootstrap_means(costs, confidence=terms.confidence, draws=terms.draws, seed=terms.seed)
    unit = f"{place.task.value.currency} per 1,000"
    return {offer.title: as_metric(estimate, unit) for offer, estimate in zip(offers, found, strict=True)}

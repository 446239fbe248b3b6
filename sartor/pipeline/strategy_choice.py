"""Which strategy is used is measured on the task's own past: each is played at an earlier time, and of those that lose
about least money on what came after the safest is taken.

About least: within one standard error of the best, paired over the same rows. The safest: the one that learns from the
most rows, and of several with as many the one that carries nothing over from the live variant. That is the
one-standard-error rule (Breiman et al. 1984), which prefers the simpler model where the figures can't tell: what came
after is mostly new, so that they hardly see what a strategy forgets, and a row that is learned from is not forgotten.

The past is what is learned from, in the order in which it happened; the standing test has no part in it. It is cut in
three: a variant is made from scratch of the first, each strategy goes on from it with the second, and all are asked
about the third. Played variants are recorded nowhere. Rows carry the labels that they were given, wrong ones included.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from sartor.core.predict import Floats
from sartor.core.records import Dataset, Metric, Record, Report, Variant
from sartor.core.rows import Row, Snapshot
from sartor.core.section import Pick
from sartor.core.task import Candidate
from sartor.evaluation.answers import Answers
from sartor.evaluation.inspect import as_metric
from sartor.evaluation.measure import Sample
from sartor.evaluation.statistics import bootstrap_means, standard_error
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.inspect import Hall
from sartor.pipeline.make import Order, fill, order, plan_of
from sartor.pipeline.memo import Step, once
from sartor.pipeline.onward import SCRATCH, Onward
from sartor.pipeline.played import played_answers
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
    found: list[Played] = []
    skipped: dict[str, str] = {}
    for onward in onwards:
        title = title_of(onward.strategy)
        place.shop.progress(f"play {title}", len(found), len(onwards))
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
        answers = _asked(place, going, past.after, folder)
        costs = 1000.0 * Sample.of(answers, place.terms).costs
        right = float(place.terms.judging.judge(place.terms.judging.here(answers)).right.mean())
        found.append(Played(title, costs, rows, plan.descends, right))
    best, chosen = cheapest(found), safest(found)
    return Report(
        purpose=PURPOSE,
        subject=live.digest,
        title=chosen.title,
        task=place.task.name,
        data=place.dataset.digest,
        split="past",
        metrics=_money(place, found),
        facts={
            "chosen": chosen.title,
            "says": _says(chosen, best),
            "skipped": skipped,
            "rows": {
                "before": len(past.before.splits["train"]),
                "onward": len(past.onward.splits["train"]),
                "after": len(past.after),
            },
            "accuracy": {one.title: one.right for one in found},
            "learns_from": {one.title: one.rows for one in found},
            "behind": {one.title: dict(zip(("money", "error"), one.behind(best), strict=True)) for one in found},
        },
    )


@dataclass(frozen=True, eq=False)
class Played:
    """A strategy that was played at an earlier time."""

    title: str
    costs: Floats
    """(rows that came after,) money per 1,000 requests."""
    rows: int
    """Rows that it learns from."""
    descends: bool
    """Whether something of the variant that it goes on from is in the result."""
    right: float = 0.0
    """Share of the rows that came after that it gets right."""

    def behind(self, best: "Played") -> tuple[float, float]:
        """How much dearer it is than the best on the same rows, and the standard error of that."""
        gaps = self.costs - best.costs
        return float(gaps.mean()), standard_error(gaps)


def cheapest(found: Sequence[Played]) -> Played:
    """The one that loses least money."""
    return min(found, key=lambda one: float(one.costs.mean()))


def safest(found: Sequence[Played]) -> Played:
    """The one that is taken: of those within one standard error of the cheapest the one that learns from most rows."""
    best = cheapest(found)
    good = [one for one in found if one.behind(best)[0] <= one.behind(best)[1]]
    return min(good, key=lambda one: (-one.rows, one.descends, float(one.costs.mean())))


def _says(chosen: Played, best: Played) -> str:
    came = f"{len(best.costs):,} rows that came after"
    if chosen is best:
        return f"{chosen.title}: it loses least money on {came}."
    why = "learns from more rows" if chosen.rows > best.rows else "carries nothing over"
    near = f"is within one standard error of {best.title}, which loses least money on {came}"
    return f"{chosen.title}: it {why}, and {near}."


def _asked(place: Hall, going: Order, after: Sequence[Row], folder: Path) -> Answers:
    """What a played variant answers to the rows that came after, under the task's terms."""
    made = Path(tempfile.mkdtemp(prefix="played-", dir=folder))
    filled = fill(place.shop, place.cache, going, made)
    answers = played_answers(place.shop, place.cache, going, made, filled.draft.engine, after)
    shutil.rmtree(made)
    return place.terms.judging.redecide(answers)


def _money(place: Hall, found: Sequence[Played]) -> dict[str, Metric]:
    terms = place.terms
    costs = np.stack([one.costs for one in found], axis=1)
    means = bootstrap_means(costs, confidence=terms.confidence, draws=terms.draws, seed=terms.seed)
    unit = f"{place.task.value.currency} per 1,000"
    return {one.title: as_metric(estimate, unit) for one, estimate in zip(found, means, strict=True)}

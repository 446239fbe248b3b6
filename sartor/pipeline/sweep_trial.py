"""One trial of a sweep: a candidate made of some training rows, asked about the validation rows, and thrown away.

What it lost is kept under what went into it, so that a killed sweep goes on. Never sees a test row.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.errors import SartorError
from sartor.core.records import Dataset, Metric, Record, Report, TaskRecord, Variant
from sartor.core.rows import Row, Snapshot
from sartor.core.sweeping import told
from sartor.core.task import Candidate, Task
from sartor.evaluation.answers import collect
from sartor.evaluation.measure import Sample
from sartor.pipeline.answer import likeliest
from sartor.pipeline.asking_others import KeptUpstreams
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.inspect import Hall, hall
from sartor.pipeline.make import Order, draft_of, fill, order
from sartor.pipeline.memo import Step, done_before, once
from sartor.pipeline.run import make_one
from sartor.pipeline.serve import variant_named
from sartor.pipeline.workshop import Workshop
from sartor.serving.fleet import Fleet
from sartor.serving.predictor import VariantPredictor

TRIAL = "trial"


@dataclass(frozen=True)
class Trial:
    """What is to be tried; JSON, since it may be done in another process."""

    task: Mapping[str, Any]
    """The contract."""
    data: str
    """Digest of the data set."""
    candidate: Mapping[str, Any]
    """With the settings that are tried."""
    settings: Mapping[str, Any]
    """Those of them that differ from the candidate as it stands."""
    rows: int
    """Training rows."""


@dataclass(frozen=True)
class Tried:
    """What became of it."""

    loss: float | None
    """Money lost per validation row; None where it failed."""
    cpu_seconds: float = 0.0
    error: str = ""


def try_it(shop: Workshop, trial: Trial) -> Tried:
    """Do a trial; what goes wrong with these settings is told, not raised."""
    task, dataset = Task.model_validate(trial.task), shop.store.ledger.get(trial.data)
    assert isinstance(dataset, Dataset)
    snapshot = open_dataset(shop, dataset)
    contract = TaskRecord(name=task.name, contract=task.body()).digest
    place = hall(shop, EmbeddingCache(shop), task, contract, dataset, snapshot)
    candidate = Candidate.model_validate(trial.candidate)
    try:
        what = order(shop, task, candidate, dataset, snapshot, parts_of(place, candidate))
        return _tried(place, replace(what, snapshot=some(snapshot, trial.rows, task.seed)), trial)
    except SartorError as error:
        return Tried(None, error=error.message)


def _tried(place: Hall, what: Order, trial: Trial) -> Tried:
    made = what.step
    step = Step(
        "try",
        made.task,
        made.plugin,
        (*made.modules, "sartor.evaluation.measure"),
        made.inputs,
        {**made.params, "rows": trial.rows, "value": place.task.value.model_dump(mode="json")},
        made.seed,
    )

    def work(folder: Path) -> dict[str, Record]:
        loss, rows = _loss(place, what, folder)
        return {
            "report": Report(
                purpose="sweep",
                subject=made.plugin,
                title=f"{what.candidate.title}: {told(trial.settings)}",
                task=made.task,
                data=place.dataset.digest,
                split="validation",
                metrics={"money": Metric(value=loss, n=rows, unit=place.task.value.currency)},
                facts={"settings": dict(trial.settings), "rows": trial.rows},
            )
        }

    report = once(place.shop, step, work)["report"]
    assert isinstance(report, Report)
    done = done_before(place.shop, step)
    return Tried(report.metrics["money"].value, done.cpu_seconds if done else 0.0)


def _loss(place: Hall, what: Order, folder: Path) -> tuple[float, int]:
    """Money lost per validation row by what these rows and settings make, and how many rows that is of."""
    shop, rows = place.shop, place.snapshot.splits["validation"]
    draft = draft_of(shop, what, fill(shop, place.cache, what, folder))
    known = {TRIAL: (draft, folder)}

    def folder_of(digest: str) -> Path:
        return known[digest][1] if digest in known else shop.store.folder(shop.store.ledger.get(digest))  # type: ignore[arg-type]

    fleet = Fleet(
        lambda digest: known[digest][0] if digest in known else variant_named(shop, digest),
        folder_of,
        threads=shop.threads,
        embed_cache=place.cache.embed,
        upstreams=KeptUpstreams(shop),
    )
    said = VariantPredictor(fleet, TRIAL, likeliest(draft.labels)).answer([row.text for row in rows])
    answers = collect(rows, draft.labels, said)
    costs = Sample.of(place.terms.judging.redecide(answers), place.terms).costs
    return round(float(costs.mean()), 9), len(rows)


def parts_of(place: Hall, candidate: Candidate) -> dict[str, Variant]:
    """What a candidate is mixed or made of, by title: made of all rows, where it is not there yet."""
    titles = {one.title: one for one in place.task.candidates}
    made: dict[str, Variant] = {}

    def bring(title: str) -> None:
        for inner in titles[title].of:
            bring(inner)
        made[title] = make_one(place, titles[title], made)

    for title in candidate.of:
        bring(title)
    return made


def some(snapshot: Snapshot, rows: int, seed: int) -> Snapshot:
    """So many training rows, each label with about its share of them; fewer are always among more. No test rows."""
    every = snapshot.splits["train"]
    kept: list[Row] = list(every)
    if rows < len(every):
        counts, seen = Counter(row.label for row in every), Counter[str | None]()
        draw = np.random.default_rng(seed)
        places: list[tuple[float, int]] = []
        for at in (int(place) for place in draw.permutation(len(every))):
            label = every[at].label
            seen[label] += 1
            places.append(((seen[label] - draw.random()) / counts[label], at))
        kept = [every[at] for at in sorted(at for _, at in sorted(places)[:rows])]
    return replace(snapshot, splits={**snapshot.splits, "train": kept, "test": []})


def read_trial(given: Mapping[str, Any]) -> Trial:
    """A trial from its JSON."""
    return Trial(**given)


def trial_body(trial: Trial) -> dict[str, Any]:
    """A trial as JSON."""
    return asdict(trial)

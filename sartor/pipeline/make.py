"""Make one variant: the recipe, then calibration through the engine that will serve it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from sartor.core.calibration import Calibration
from sartor.core.errors import AskError
from sartor.core.jobs import Stopped
from sartor.core.licence import Licence
from sartor.core.predict import Floats
from sartor.core.records import Artifact, Base, Dataset, Record, Run, Variant
from sartor.core.rows import Row, Snapshot
from sartor.core.shelf import Params, Plugin, Shelf
from sartor.core.task import Candidate, Task
from sartor.core.value import cost_matrix, example_weights
from sartor.pipeline.asking_others import KeptUpstreams, declared
from sartor.pipeline.bases import base_named, embedder
from sartor.pipeline.checkpoints import Folder
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.lessons import named, rationales, teacher, train_scores, unlabelled
from sartor.pipeline.memo import Step, done_before, once
from sartor.pipeline.onward import Onward, carry_out, planned, told
from sartor.pipeline.parity import promise_of
from sartor.pipeline.preferences import preferences_of
from sartor.pipeline.serve import fleet_of
from sartor.pipeline.terms import judged_by, terms_of
from sartor.pipeline.trials import trials_of
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import Engine, Mixer, Writer, open_engine
from sartor.serving.probe import dtype_of, write_probe
from sartor.training.calibration import fit
from sartor.training.claims import fit_claims
from sartor.training.job import Checkpoints, Draft, Embed, Job, Part, Writing
from sartor.training.strategy import Plan, Skipped

RECIPES = Shelf("sartor.training.recipes")
ROLES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
"""Roles of the parts that a variant can be mixed of."""


@dataclass(frozen=True)
class Order:
    """All that bears on making one candidate."""

    task: Task
    candidate: Candidate
    dataset: Dataset
    snapshot: Snapshot
    base: Base | None
    parts: Mapping[str, Variant]
    """Role -> variant, for recipes that mix others."""
    seed: int
    start: Variant | None = None
    """An earlier variant of the same recipe and base to go on from; it is a parent of what is made."""
    upstream: str = ""
    """Digest of the upstream's declaration, where its answers are what is made."""
    onward: Onward | None = None
    """A strategy that chooses how to go on from the live variant; then there is no `start`."""

    @property
    def recipe(self) -> Plugin:
        """The recipe, taken from its shelf."""
        return RECIPES.take(self.candidate.recipe)

    @property
    def is_surgery(self) -> bool:
        """Whether the recipe works on the weights of its parts, and asks them nothing."""
        return bool(getattr(sys.modules[self.recipe.module], "SURGERY", False))

    @property
    def params(self) -> Params:
        """The recipe's settings; `size` is the one dial."""
        return self.recipe.read({"size": self.candidate.size, **self.candidate.params})

    @property
    def step(self) -> Step:
        """The memo's view. The value function is part of it only where it weighs examples."""
        inputs = {"data": self.dataset.digest} | ({"base": self.base.digest} if self.base else {})
        inputs |= {"start": self.start.digest} if self.start else {}
        inputs |= {"upstream": self.upstream} if self.upstream else {}
        params = {"params": self.params.model_dump(mode="json"), "title": self.candidate.title}
        params |= {"device": self.candidate.device} if self.candidate.device != "cpu" else {}
        if self.candidate.value_weights:
            params["value"] = self.task.value.model_dump(mode="json")
        modules: tuple[str, ...] = (self.recipe.module, "sartor.training.calibration")
        if not self.snapshot.labels:  # what is asked for and what it costs bear on what is written
            params["answer"] = self.task.answer.model_dump(mode="json")
            params["value"] = self.task.value.model_dump(mode="json")
            modules = (*modules, "sartor.training.claims", *judged_by(self.task))
        if columns := named(self.task):
            params["columns"] = columns
        if self.onward is not None:
            inputs["start"], params["onward"] = self.onward.digest, self.onward.settings
            modules = (*modules, self.onward.module, "sartor.pipeline.onward")
        return Step(
            "make",
            self.task.name,
            f"training.recipes/{self.candidate.recipe}",
            modules,
            inputs | {role: part.digest for role, part in self.parts.items()},
            params,
            self.seed,
        )


def order(
    shop: Workshop, task: Task, candidate: Candidate, dataset: Dataset, snapshot: Snapshot, made: Mapping[str, Variant]
) -> Order:
    """What making this candidate from scratch takes; `made` has the variants so far by title."""
    base = base_named(shop, candidate.base) if candidate.base else None
    if len(candidate.of) > len(ROLES):
        raise AskError(f"Candidate '{candidate.title}' mixes {len(candidate.of)} others; at most {len(ROLES)} can be.")
    parts = {role: made[title] for role, title in zip(ROLES, candidate.of, strict=False)}
    return Order(task, candidate, dataset, snapshot, base, parts, task.seed, upstream=upstream_of(shop, candidate))


def upstream_of(shop: Workshop, candidate: Candidate) -> str:
    """Digest of the declaration of the upstream that a candidate's settings name; '' where they name none.

    Raises:
        NotFoundError: no upstream of this name is declared.
    """
    asked = str(candidate.params.get("upstream") or "")
    return declared(shop, asked).digest if asked else ""


def make(shop: Workshop, cache: EmbeddingCache, what: Order) -> Variant:
    """The variant of an order: found if it was made before, else made, calibrated and recorded."""
    kept = Folder(shop.store.checkpoints / what.step.key, shop.checkpoint_seconds)

    def work(folder: Path) -> dict[str, Record]:
        filled = fill(shop, cache, what, folder, kept)
        return {"variant": _variant(shop, what, filled, shop.store.vault.put_folder(folder))}

    try:
        variant = once(shop, what.step, work)["variant"]
    except Stopped:
        if done_before(shop, what.step):  # by who has the job now; what this one kept since is of no more use
            kept.discard()
        raise
    kept.discard()
    assert isinstance(variant, Variant)
    return variant


@dataclass(frozen=True)
class Filled:
    """What stands in a variant's folder, its calibration included."""

    draft: Draft
    descends: bool
    """Something of the live variant is in it."""


def fill(shop: Workshop, cache: EmbeddingCache, what: Order, folder: Path, kept: Checkpoints | None = None) -> Filled:
    """Write the files of an order into a folder, recorded nowhere.

    Args:
        kept: where the recipe keeps how far it is.

    Raises:
        AskError: the strategy makes no sense for this recipe.
    """
    job = replace(_job(shop, cache, what, folder), checkpoints=kept)
    if what.onward is None:
        draft, descends = what.recipe(job, what.params), False
    else:
        plan = planned(what.onward, job, what.snapshot.splits["train"])
        if isinstance(plan, Skipped):
            raise AskError(
                f"Strategy '{what.onward.strategy.use}' makes no sense for '{what.candidate.title}': {plan.why}.",
                param="learn.strategies",
                code="strategy_does_not_fit",
            )
        draft = carry_out(plan, what.onward, job, what.recipe, what.params, what.recipe.read)
        draft, descends = replace(draft, facts={**draft.facts, **told(plan, what.onward)}), plan.descends
    engine = _calibrate(shop, what, job, draft)
    if promise_of(draft.facts) is not None:
        write_probe(engine, "draft", job.folder, job.labels, dtype_of(draft.engine, draft.facts))
    return Filled(draft, descends)


def plan_of(shop: Workshop, cache: EmbeddingCache, what: Order, folder: Path) -> Plan | Skipped:
    """What the order's strategy would do, without doing it."""
    assert what.onward is not None
    return planned(what.onward, _job(shop, cache, what, folder), what.snapshot.splits["train"])


def draft_of(shop: Workshop, what: Order, filled: Filled) -> Variant:
    """The record of what `fill` wrote, recorded nowhere: it has no files."""
    return _variant(shop, what, filled, {})


def _variant(shop: Workshop, what: Order, filled: Filled, files: dict[str, str]) -> Variant:
    draft = filled.draft
    parents: dict[str, Artifact] = {"data": what.dataset, **what.parts} | ({"base": what.base} if what.base else {})
    if filled.descends and what.onward is not None:
        start = shop.store.ledger.get(what.onward.digest)
        assert isinstance(start, Variant)
        parents["start"] = start
    parents |= {"start": what.start} if what.start else {}
    return Variant(
        name=f"{what.task.name}/{what.candidate.title}",
        files=files,
        parents={role: parent.digest for role, parent in parents.items()},
        made_by=f"training.recipes/{what.candidate.recipe}",
        licence=Licence.union(parent.licence for parent in parents.values()),
        facts=draft.facts | ({"declared": what.upstream} if what.upstream else {}),
        measured={**draft.measured, "threads": shop.threads},
        task=what.task.name,
        recipe=what.candidate.recipe,
        base=what.base.name if what.base else "",
        title=what.candidate.title,
        data=what.dataset.digest,
        engine=draft.engine,
        labels=what.snapshot.labels,
        params=what.params.model_dump(mode="json"),
        seed=what.seed,
    )


def _job(shop: Workshop, cache: EmbeddingCache, what: Order, folder: Path) -> Job:
    snapshot = what.snapshot
    targets = np.array(snapshot.targets("train"))
    train = snapshot.splits["train"]
    weights = None
    if what.candidate.value_weights:
        weights = example_weights(targets, cost_matrix(what.task.value, snapshot.labels, snapshot.hierarchy))
    weights = _by_surety(train, weights)
    return Job(
        labels=snapshot.labels,
        train_texts=snapshot.texts("train"),
        train_targets=targets,
        validation_texts=snapshot.texts("validation"),
        validation_targets=np.array(snapshot.targets("validation")),
        folder=folder,
        train_weights=weights,
        train_groups=[row.group or row.id for row in train] if any(row.group for row in train) else None,
        hierarchy=snapshot.hierarchy,
        base=shop.store.folder(what.base) if what.base else None,
        embed=embed_of(shop, cache, what.base) if what.base else None,
        writing=_writing(what),
        preferences=lambda: preferences_of(shop, what.task, what.dataset, train),
        attempt=trials_of(shop, shop.store.folder(what.base) if what.base else None),
        train_scores=train_scores(what.task, snapshot),
        unlabelled=unlabelled(snapshot),
        parts=tuple(_part(shop, cache, part, snapshot, ask=not what.is_surgery) for part in what.parts.values()),
        start=shop.store.folder(what.start) if what.start else None,
        start_labels=what.start.labels if what.start else (),
        device=what.candidate.device,
        seed=what.seed,
        threads=shop.threads,
        progress=shop.progress,
    )


def _writing(what: Order) -> Writing | None:
    """What is to be written; None where answers are labels."""
    snapshot, answer = what.snapshot, what.task.answer
    if snapshot.labels:
        return None
    judging = terms_of(what.task, snapshot).written
    assert judging is not None
    validation = [row.label or "" for row in snapshot.splits["validation"]]

    def score(answers: Sequence[str]) -> Floats:
        return np.array([judging.assess(t, a).lost for t, a in zip(validation, answers, strict=True)])

    return Writing(
        kind=what.task.kind,
        train=[row.label or "" for row in snapshot.splits["train"]],
        validation=validation,
        json_schema=answer.json_schema,
        instructions=answer.instructions,
        max_tokens=answer.max_tokens,
        rationales=rationales(what.task, snapshot),
        right=lambda truth, said: judging.assess(truth, said).right == 1.0,
        score=score,
    )


def _by_surety(rows: Sequence[Row], weights: Floats | None) -> Floats | None:
    """Harvested rows weigh as much as whoever gave their label is sure."""
    sure = np.array(
        [float(row.extra["sure"]) if "said_by" in row.extra and "sure" in row.extra else 1.0 for row in rows]
    )
    if (sure == 1).all():
        return weights
    weighed = sure if weights is None else sure * weights
    scaled: Floats = weighed / weighed.mean()
    return scaled


def embed_of(shop: Workshop, cache: EmbeddingCache, base: Base) -> Embed:
    """The base's embeddings through the vault; the engine is opened once, and only where one is missing."""
    opened = lru_cache(lambda: embedder(shop, base))

    def compute(missing: Sequence[str]) -> Floats:
        return opened()(missing)

    return lambda texts: cache.embed(base.digest, texts, compute)


def _part(shop: Workshop, cache: EmbeddingCache, variant: Variant, snapshot: Snapshot, *, ask: bool) -> Part:
    """A part with its files; what it says of the validation rows only where it chooses labels and the recipe asks."""
    shares: Floats = np.empty((0, 0))
    if variant.labels and ask:
        asked = [(variant.digest, text) for text in snapshot.texts("validation")]
        shares = np.stack([a.probabilities for a in fleet_of(shop, cache).probabilities(asked)])
    base = shop.store.ledger.get(variant.parents["base"]) if "base" in variant.parents else None
    answer, write = teacher(shop, cache, variant)
    return Part(
        variant.title,
        variant.digest,
        shares,
        folder=shop.store.folder(variant),
        engine=variant.engine,
        base=shop.store.folder(base) if isinstance(base, Base) else None,
        recipe=variant.recipe,
        answer=answer,
        write=write,
    )


def _calibrate(shop: Workshop, what: Order, job: Job, draft: Draft) -> Engine | Mixer | Writer:
    """Fit the temperature and the out-of-scope score on validation rows, scored by the engine that will serve."""
    engine = open_engine(draft.engine, job.base, threads=shop.threads, upstreams=KeptUpstreams(shop))
    engine.add("draft", job.folder)
    if isinstance(engine, Writer):
        written = engine.write([("draft", text) for text in job.validation_texts])
        _keep(job, Calibration(claims=fit_claims([one.said for one in written], job.writing)))
        return engine
    novelty = None
    if isinstance(engine, Mixer):
        logits = engine.mix("draft", {role: part.validation for role, part in zip(what.parts, job.parts, strict=True)})
    else:
        scored = engine.score([("draft", text) for text in job.validation_texts], embed=job.embed)
        logits = np.stack([s.logits for s in scored])
        known = [s.novelty for s in scored if s.novelty is not None]
        novelty = np.array(known) if len(known) == len(scored) else None
    _keep(job, fit(logits, novelty, job.validation_targets))
    return engine


def _keep(job: Job, calibration: Calibration) -> None:
    text = json.dumps(calibration.content(), indent=1, sort_keys=True)
    (job.folder / "calibration.json").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Making:
    """What making a variant took, its parts included."""

    seconds: float
    cpu_seconds: float
    cost: float


def made_for(shop: Workshop, variant: Variant) -> Making:
    """What making a variant took, from the run that made it and those that made its parts."""
    ledger = shop.store.ledger
    runs = [ledger.get(edge.child) for edge in ledger.children(variant.digest) if edge.role == "out:variant"]
    own = [Making(run.seconds, run.cpu_seconds, run.cost) for run in runs if isinstance(run, Run)][:1]
    parts = [ledger.get(variant.parents[role]) for role in ROLES if role in variant.parents]
    took = own + [made_for(shop, part) for part in parts if isinstance(part, Variant)]
    return Making(sum(m.seconds for m in took), sum(m.cpu_seconds for m in took), sum(m.cost for m in took))

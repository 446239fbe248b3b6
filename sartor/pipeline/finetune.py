"""A fine-tuning job: a file that was sent becomes a model, made, inspected and judged, under a name of its owner's.

The steps are those of any run. The name answers its owner as soon as the job has succeeded, whatever the verdict is;
only the gate moves `task@live`, and of a draft task nothing does. Knows no HTTP.
"""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sartor.core.canonical import digest
from sartor.core.errors import AskError, ConflictError, NotFoundError
from sartor.core.jobs import Context
from sartor.core.licence import Licence
from sartor.core.records import Dataset, Report, Variant
from sartor.core.rows import Hierarchy, Row
from sartor.core.task import Candidate, SplitSpec, Task
from sartor.data.kind import kind_of
from sartor.data.reading import Reading
from sartor.economics.prices import estimate_tokens
from sartor.gateway.tuning_forms import RESULTS, VALIDATING
from sartor.pipeline.curate import curate, open_dataset
from sartor.pipeline.finetune_models import base_of, with_numbers
from sartor.pipeline.finetune_rows import Examples, File, read_examples
from sartor.pipeline.inspect import Hall
from sartor.pipeline.make import RECIPES
from sartor.pipeline.outcome import Outcome, Verdict
from sartor.pipeline.run import hall_on, settle
from sartor.pipeline.run import told as run_told
from sartor.pipeline.run_job import Walk
from sartor.pipeline.standing import current, ever_marks, standing_rows
from sartor.pipeline.workshop import Workshop
from sartor.registry.tuned import TunedName
from sartor.registry.variants import LIVE
from sartor.store.ledger import Change
from sartor.store.uploads import Upload

KEPT_METRICS = ("accuracy", "macro_f1", "calibration_error", "money_per_1000")


@dataclass(frozen=True)
class Asked:
    """What a job's arguments say."""

    task: Task
    """The contract, as it was when the job was asked for."""
    candidates: tuple[Candidate, ...]
    numbers: Mapping[str, int | float]
    draft: bool
    """Nothing of it goes into the stock of a task, or live."""
    by_approver: bool
    """Whether whoever asked for it may approve a release."""
    licence: str
    model: str
    suffix: str
    seed: int
    files: Mapping[str, str]
    """Field of the request -> id of the file."""

    @classmethod
    def read(cls, args: Mapping[str, Any]) -> "Asked":
        """From the arguments of a job.

        Raises:
            AskError: they are not those of a fine-tuning job.
        """
        try:
            return cls._read(args)
        except (KeyError, TypeError, ValidationError) as error:
            raise AskError(
                "A job of kind 'finetune' is asked for with POST /v1/fine_tuning/jobs of the data plane; its arguments "
                f"can't be read otherwise ({type(error).__name__}).",
                param="args",
                code="bad_job",
            ) from error

    @classmethod
    def _read(cls, args: Mapping[str, Any]) -> "Asked":
        fields = ("training_file", "validation_file")
        return cls(
            Task.model_validate(args["contract"]),
            tuple(Candidate.model_validate(one) for one in args["candidates"]),
            args["numbers"],
            args["draft"],
            args.get("by_approver", False),
            args["licence"],
            args["model"],
            args["suffix"],
            args["seed"],
            {name: args[name] for name in fields if args[name]},
        )


@dataclass(frozen=True)
class _Base:
    """What of a task stands already: its labels, and the rows that judge."""

    labels: tuple[str, ...] = ()
    test: tuple[Row, ...] = ()
    hierarchy: Hierarchy = field(default_factory=Hierarchy)


def finetune(shop: Workshop, context: Context) -> dict[str, Any]:
    """Make, inspect and name a model; the result is what OpenAI's job object tells of it."""
    return _Tuning(shop, context).work()


class _Tuning:
    """One attempt. What each step gives is small, so that the next may be taken by another worker."""

    def __init__(self, shop: Workshop, context: Context) -> None:
        self._shop, self._context, self._job = shop, context, context.job
        self._asked = Asked.read(context.job.args)
        self._kept: dict[str, Examples] = {}

    def work(self) -> dict[str, Any]:
        """All steps."""
        asked = self._asked
        self._context.step(VALIDATING, self._validate)
        data = self._context.step("curate", lambda: {"data": self._curate().digest})["data"]
        place = self._hall(data)
        walk = Walk(self._shop, self._context, place.task)
        walk.place = place
        variants = walk.make()
        found = walk.inspect(variants)
        verdict = walk.decide(variants, found)
        version = self._release(place, variants, verdict)
        chosen = variants[verdict.title]
        name = self._name(verdict)
        self._context.step("name", lambda: self._point(name, chosen, verdict))
        report = run_told(Outcome(place, variants, found, verdict, version)).report
        figures = {"validation": found.validation[verdict.title], "test": found.test[verdict.title]}
        epochs = _epochs_of(chosen)
        results = self._context.step("results", lambda: {"files": self._results(figures, epochs)})["files"]
        self._say_verdict(verdict, name, version, figures, report)
        texts = place.snapshot.texts("train")
        return {
            "fine_tuned_model": name,
            "variant": chosen.digest,
            "task": asked.task.name,
            "version": version,
            "decision": verdict.decision.digest,
            "verdict": verdict.decision.verdict,
            "trained_tokens": sum(map(estimate_tokens, texts)) * max(len(epochs), 1),
            "result_files": results,
            "accuracy": figures["validation"].metrics["accuracy"].value,
            "steps": max(len(epochs), 1),
        }

    # The files

    def _validate(self) -> dict[str, Any]:
        for param in self._asked.files:
            self._examples(param)
        training, validation = self._kept["training_file"], self._kept.get("validation_file")
        rows = len(training.rows)
        what = "kinds of values" if kind_of(self._asked.task).written else "labels"
        self._context.say(
            f"{rows:,} examples of {len(training.labels):,} {what}"
            + (f", and {len(validation.rows):,} to validate" if validation else ""),
            examples=rows,
            labels=dict(training.labels),
            seconds=self._seconds(rows),
        )
        for note in (*training.notes, *(validation.notes if validation else ())):
            self._context.say(note, level="warning")
        return {"examples": rows, "labels": dict(training.labels)}

    def _seconds(self, rows: int) -> float:
        """About how long making takes, by the recipes' rules of thumb."""
        found = 0.0
        for candidate in self._asked.candidates:
            module = __import__(RECIPES.take(candidate.recipe).module, fromlist=["MS_PER_ROW"])
            found += getattr(module, "MS_PER_ROW", {}).get(candidate.size, 10.0) * rows / 1000.0
        return round(found + 2.0, 1)

    def _examples(self, param: str) -> Examples:
        if param not in self._kept:
            ident = self._asked.files[param]
            try:
                upload = self._shop.store.uploads.get(ident, self._job.tenant)
            except NotFoundError as error:
                raise NotFoundError(
                    f"The file {ident} was deleted or has expired before the job began. Send it again and ask anew.",
                    code=f"{param}_not_found",
                    param=param,
                ) from error
            labels = self._asked.task.labels or self._base().labels
            path = self._shop.store.vault.path(upload.content)
            file = File(ident, upload.name, param)
            self._kept[param] = read_examples(path, self._asked.task, file, labels=labels)
        return self._kept[param]

    # The data set

    def _base(self) -> _Base:
        """Of a task that answers already, the rows that judge it and its labels; nothing of a draft's."""
        ledger, name = self._shop.store.ledger, self._asked.task.name
        live = ledger.resolve(name + LIVE)
        if self._asked.draft or live is None or not live.digest:
            return _Base()
        variant = ledger.get(live.digest)
        assert isinstance(variant, Variant)
        dataset = ledger.get(variant.data)
        assert isinstance(dataset, Dataset)
        snapshot = open_dataset(self._shop, dataset)
        standing = current(self._shop, name)
        test = standing_rows(self._shop, standing) if standing else snapshot.splits["test"]
        return _Base(variant.labels, tuple(test), snapshot.hierarchy)

    def _curate(self) -> Dataset:
        task, base = self._asked.task, self._base()
        given: dict[str, str] = {row.id: "test" for row in base.test}
        rows = list(base.test)
        facts: list[dict[str, Any]] = []
        for param, split in (("training_file", "train"), ("validation_file", "validation")):
            if param not in self._asked.files:
                continue
            fresh = self._without_tested([_levelled(row, base.hierarchy) for row in self._examples(param).rows])
            rows += fresh
            if base.test or split == "validation":
                given |= {row.id: split for row in fresh}
            title = f"file:{self._asked.files[param]}"
            fact = {"title": title, "use": "upload", "licence": self._asked.licence, "split": split}
            facts.append({**fact, "rows": len(fresh)})
        shares = SplitSpec(test=0.0 if base.test else task.data.split.test or 0.2, validation=0.15)
        data = task.data.model_copy(update={"on_leak": "drop_train", "split": shares})
        how = task.model_copy(update={"data": data, "labels": task.labels or base.labels})
        reading = Reading(rows, given, facts, Licence.of(self._asked.licence))
        return curate(self._shop, how, Path(), reading)

    def _without_tested(self, rows: Sequence[Row]) -> list[Row]:
        """Rows that never stood in the task's standing test."""
        standing = None if self._asked.draft else current(self._shop, self._asked.task.name)
        if standing is None:
            return list(rows)
        ever = ever_marks(self._shop, standing)
        fresh = [row for row in rows if not ever.know(row)]
        if len(fresh) < len(rows):
            self._context.say(f"{len(rows) - len(fresh):,} examples stand in the task's test and are not learned.")
        return fresh

    def _hall(self, data: str) -> Hall:
        dataset = self._shop.store.ledger.get(data)
        assert isinstance(dataset, Dataset)
        place = hall_on(self._shop, self._asked.task, dataset)
        made = tuple(with_numbers(candidate, self._asked.numbers) for candidate in self._asked.candidates)
        # What is made is the sender's choice; the contract under which it is judged stays the task's.
        return replace(place, task=place.task.model_copy(update={"candidates": made, "seed": self._asked.seed}))

    # What becomes of it

    def _release(self, place: Hall, variants: dict[str, Variant], verdict: Verdict) -> str:
        if self._asked.draft:
            return ""

        def work() -> dict[str, str]:
            return {"version": settle(place, variants, verdict, asked_by_approver=self._asked.by_approver)}

        return str(self._context.step("release", work)["version"])

    def _name(self, verdict: Verdict) -> str:
        base = base_of([verdict.title], self._asked.model)
        ident = self._job.id.removeprefix("job-")[:12]
        return TunedName(base, self._job.tenant, self._asked.suffix, ident).text

    def _point(self, name: str, chosen: Variant, verdict: Verdict) -> dict[str, str]:
        ledger = self._shop.store.ledger
        stands = ledger.resolve(name)
        if stands is None:
            ledger.move_many([Change(name, chosen.digest, None)], decision=verdict.decision.digest)
        elif stands.digest not in (chosen.digest, None):
            raise ConflictError(f"'{name}' stands at another variant already.", code="name_taken")
        return {"name": name}

    def _results(self, figures: Mapping[str, Report], epochs: Sequence[Mapping[str, float]]) -> list[str]:
        """The figures as files of the job's owner; the same job always gives the same files."""
        whole = [["split", "metric", "value", "low", "high", "rows"]]
        for split, report in figures.items():
            for metric, found in sorted(report.metrics.items()):
                whole.append([split, metric, *map(_cell, (found.value, found.low, found.high, found.n))])
        ids = [self._kept_table("metrics.csv", whole)]
        if epochs:
            # OpenAI's columns, as far as they are known: once for each epoch, nothing on the training rows.
            steps = [["step", "valid_loss", "valid_mean_token_accuracy"]]
            steps += [[str(at), *map(_cell, (e["loss"], e["accuracy"]))] for at, e in enumerate(epochs, start=1)]
            ids.append(self._kept_table("step_metrics.csv", steps))
        return ids

    def _kept_table(self, name: str, rows: Sequence[Sequence[str]]) -> str:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        data = out.getvalue().encode()
        content = self._shop.store.vault.put_bytes(data)
        ident = f"file-{digest([self._job.id, name])[:24]}"
        self._shop.store.uploads.add(Upload(ident, self._job.tenant, RESULTS, name, len(data), content, time.time()))
        return ident

    def _say_verdict(
        self, verdict: Verdict, name: str, version: str, figures: Mapping[str, Report], report: Path
    ) -> None:
        metrics = {
            f"{split}_{metric}": found.metrics[metric].value
            for split, found in figures.items()
            for metric in KEPT_METRICS
            if metric in found.metrics
        }
        self._context.say(f"{name} answers its owner", metrics=metrics, model=name)
        decision = verdict.decision
        if self._asked.draft:
            moved = "A draft task: nothing goes live by itself."
        else:
            waits = "It waits for people." if decision.verdict == "ship" else f"'{decision.task}' stays as it is."
            moved = f"{version} is live." if version else waits
        self._context.say(
            f"The gate says {decision.verdict}: {' '.join(decision.reasons)} {moved}",
            verdict=decision.verdict,
            reasons=list(decision.reasons),
            decision=decision.digest,
            version=version,
            report=report.name,
        )


def _levelled(row: Row, hierarchy: Hierarchy) -> Row:
    """The row with the broader classes that its label has."""
    above = dict(zip(hierarchy.levels, hierarchy.parents.get(row.label or "", ()), strict=False))
    return replace(row, extra={**above, **row.extra}) if above else row


def _epochs_of(variant: Variant) -> list[Mapping[str, float]]:
    """Validation loss and accuracy after each epoch; empty where a recipe has none."""
    found = variant.facts.get("validation")
    return [dict(epoch) for epoch in found] if isinstance(found, list) else []


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"

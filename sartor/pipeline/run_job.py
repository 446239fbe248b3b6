"""The walk of `pipeline.run` as a durable job: what each step made is remembered, and a killed worker's job goes on.

The task's file goes along in the job's arguments, so that a worker needs none; the rows themselves are read where
they lie, once, by the first step.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sartor.core.errors import AskError
from sartor.core.jobs import Context, JobRequest
from sartor.core.records import Dataset, Record, Report, TaskRecord, Variant
from sartor.core.task import Task
from sartor.pipeline.curate import open_dataset
from sartor.pipeline.embeddings import EmbeddingCache
from sartor.pipeline.inspect import Hall, hall, inspect_subject, variant_subject
from sartor.pipeline.onward import Onward
from sartor.pipeline.outcome import Inspected, Outcome, Verdict
from sartor.pipeline.plan import plan
from sartor.pipeline.run import decide_on, in_order, make_one, open_hall, settle, told
from sartor.pipeline.task_file import parse_task, read_task, read_text
from sartor.pipeline.workshop import Workshop

R = TypeVar("R", bound=Record)


def run_request(path: Path) -> JobRequest:
    """The job that makes what a task's file says.

    Raises:
        NotFoundError, AskError: as `read_task`.
    """
    task = read_task(path)
    args = {"task": read_text(path), "base_dir": str(path.resolve().parent)}
    return JobRequest("run", args, task=task.name, once=f"run:{task.name}")


def plan_job(shop: Workshop, args: Mapping[str, Any]) -> dict[str, Any]:
    """What the run would do: its steps, seconds of computing, and what they cost.

    Raises:
        AskError, NotFoundError: the task names what is not there, or its rows can't be read.
    """
    task, base_dir = _asked(args)
    steps = plan(shop, task, base_dir)
    seconds = sum(step.seconds for step in steps if not step.cached)
    cost = seconds * shop.second_price
    return {"steps": [s.body() for s in steps], "seconds": seconds, "cost": cost, "currency": task.value.currency}


def run_job(shop: Workshop, context: Context) -> dict[str, Any]:
    """Rows in, a gated and released model out: the result is that of `sartor run`."""
    task, base_dir = _asked(context.job.args)
    walk = Walk(shop, context, task)
    walk.curate(base_dir)
    variants = walk.make()
    found = walk.inspect(variants)
    verdict = walk.decide(variants, found)
    version = walk.release(variants, verdict)
    result = told(Outcome(walk.place, variants, found, verdict, version))
    context.say(f"{task.name}: {result.decision.verdict}", version=version, picked=result.picked)
    return result.body()


class Walk:
    """The steps. What one gives is digests, so that the next may be taken by another worker."""

    def __init__(self, shop: Workshop, context: Context, task: Task) -> None:
        self._shop = shop
        self._context = context
        self._task = task
        self.place: Hall

    def curate(self, base_dir: Path) -> None:
        """Rows in, and the hall on them."""

        def work() -> dict[str, str]:
            return {"data": open_hall(self._shop, self._task, base_dir).dataset.digest}

        done = self._context.step("curate", work)
        dataset = _kind(self._get(done["data"]), Dataset)
        contract = self._shop.store.ledger.put(TaskRecord(name=self._task.name, contract=self._task.body()))
        snapshot = open_dataset(self._shop, dataset)
        self.place = hall(self._shop, EmbeddingCache(self._shop), self._task, contract, dataset, snapshot)

    def make(self, onward: Mapping[str, Onward] | None = None) -> dict[str, Variant]:
        """Every candidate; those named go on from the live variant."""
        made: dict[str, Variant] = {}
        for candidate in in_order(self._task.candidates):

            def work() -> dict[str, str]:
                going = (onward or {}).get(candidate.title)  # noqa: B023 - called at once
                return {"variant": self._trained(make_one(self.place, candidate, made, going)).digest}  # noqa: B023

            done = self._context.step(f"make {candidate.title}", work)
            made[candidate.title] = _kind(self._get(done["variant"]), Variant)
        return {candidate.title: made[candidate.title] for candidate in self._task.candidates}

    def _trained(self, variant: Variant) -> Variant:
        """Tell what of its training was out of the ordinary."""
        if done := variant.measured.get("resumed_after_steps"):
            self._context.say(f"the training of {variant.title} went on after step {done}, where its checkpoint stood")
        if lost := variant.measured.get("checkpoints_lost"):
            says = f"there was no room for {lost} checkpoints of {variant.title}: a kill would have cost more time"
            self._context.say(says, level="warning")
        return variant

    def inspect(self, variants: Mapping[str, Variant]) -> Inspected:
        """Reports on validation and test rows."""
        reports: dict[str, dict[str, Report]] = {"validation": {}, "test": {}}
        for title, variant in variants.items():

            def work() -> dict[str, str]:
                return {
                    split: inspect_subject(self.place, variant_subject(self.place, variant, split), split).digest  # noqa: B023
                    for split in reports
                }

            done = self._context.step(f"inspect {title}", work)
            for split, kept in reports.items():
                kept[title] = _kind(self._get(done[split]), Report)
        return Inspected(**reports)

    def decide(
        self,
        variants: dict[str, Variant],
        found: Inspected,
        standing: Callable[[Variant], Report | None] = lambda _: None,
    ) -> Verdict:
        """Pick, and gate the picked one."""
        verdicts: list[Verdict] = []

        def work() -> dict[str, str]:
            verdicts.append(decide_on(self.place, variants, found, standing))
            return {"decision": verdicts[0].decision.digest}

        self._context.step("decide", work)
        # The same reports give the same decision, so one that another worker took is taken again, not looked up.
        return verdicts[0] if verdicts else decide_on(self.place, variants, found, standing)

    def release(self, variants: dict[str, Variant], verdict: Verdict) -> str:
        """Take in and, if the verdict says so, release; the version."""

        def work() -> dict[str, str]:
            return {"version": settle(self.place, variants, verdict)}

        return str(self._context.step("release", work)["version"])

    def _get(self, digest: str) -> Record:
        return self._shop.store.ledger.get(digest)


def _kind(found: Record, kind: type[R]) -> R:
    assert isinstance(found, kind)
    return found


def _asked(args: Mapping[str, Any]) -> tuple[Task, Path]:
    if not isinstance(args.get("task"), str) or not isinstance(args.get("base_dir"), str):
        raise AskError(
            "A job of kind 'run' needs 'task', the text of a task's file, and 'base_dir', where the paths in it start.",
            param="args",
            code="bad_job",
        )
    return parse_task(args["task"]), Path(args["base_dir"])

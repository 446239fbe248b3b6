"""Search through settings of a candidate: many on few rows, the better ones on more, within CPU seconds.

Successive halving (Jamieson and Talwalkar 2016), judged by money lost on validation rows alone; the candidate as it
stands is always one of those tried. Each trial is kept as it ends, so that a killed sweep goes on. The winner is a
candidate like any other, and is inspected and gated as one; nothing is released here.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sartor.core.errors import AskError, SartorError, unknown
from sartor.core.halving import Round, halve, rungs
from sartor.core.records import Dataset, Metric, Report
from sartor.core.shelf import explain
from sartor.core.sweeping import Sweep, told
from sartor.core.task import Candidate, Task
from sartor.pipeline.make import RECIPES
from sartor.pipeline.run import open_hall
from sartor.pipeline.sweep_places import Do, in_order
from sartor.pipeline.sweep_trial import Trial, Tried, read_trial, trial_body, try_it
from sartor.pipeline.task_file import read_task
from sartor.pipeline.workshop import Workshop

FIELDS = ("size", "base")
"""Settings that stand in the candidate itself, not under its `params`."""
Place = Callable[[Sweep, Do], AbstractContextManager[Do]]
"""Opens where trials are done, given what does one in this process."""


@dataclass(frozen=True)
class Swept:
    """What a sweep found."""

    task: str
    candidate: str
    winner: Candidate
    settings: Mapping[str, Any]
    """Those of the winner that were searched through; empty where it is the candidate as it stands."""
    loss: float
    """Money lost per validation row by the winner, on the most rows."""
    before: float | None
    """The same by the candidate as it stands, on as many rows; None where it did not get so far."""
    rounds: tuple[dict[str, Any], ...]
    """Training rows, and settings with their losses, the best first."""
    failed: tuple[dict[str, Any], ...]
    cpu_seconds: float
    over: bool
    """Whether the seconds ran out before all was tried."""
    report: str
    """Digest of the record."""

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"winner": written(self.winner)}


@dataclass
class _Search:
    """Asks for trials, and keeps to the seconds."""

    task: Task
    sweep: Sweep
    candidate: Candidate
    dataset: Dataset
    do: Do
    arms: list[dict[str, Any]]
    progress: Callable[[str, int, int], None]
    spent: float = 0.0
    over: bool = False
    rows: int = 0
    """Of the trials under way."""
    under_way: int = 0
    each: list[tuple[float, int]] = field(default_factory=list)
    """(CPU seconds, rows) of trials that ended."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0

    def losses(self, arms: Sequence[int], rows: int) -> list[float | None]:
        """Money lost per validation row by each; None for one that failed or was not begun."""
        self.rows, bodies = rows, [self._body(arm, rows) for arm in arms]
        found = in_order(bodies, self.do, self._may, self._book, self.sweep.workers)
        return [None if one is None else Tried(**one).loss for one in found]

    def _body(self, arm: int, rows: int) -> dict[str, Any]:
        settings = self.arms[arm]
        made = written(with_settings(self.candidate, settings))
        return trial_body(Trial(self.task.body(), self.dataset.digest, made, settings, rows))

    def _may(self) -> bool:
        """Whether one more fits, if it and those under way take as long as the slowest so far, row for row."""
        per_row = max((seconds / n for seconds, n in self.each), default=0.0)
        fits = self.spent + (self.under_way + 1) * per_row * self.rows <= self.sweep.cpu_seconds
        self.under_way += fits
        self.over |= not fits
        return fits

    def _book(self, body: Mapping[str, Any], found: dict[str, Any]) -> None:
        tried = Tried(**found)
        self.under_way -= 1
        self.spent += tried.cpu_seconds
        self.done += 1
        self.progress(f"try {self.candidate.title}", self.done, 0)
        if tried.loss is None:
            self.failed.append({"settings": body["settings"], "rows": body["rows"], "error": tried.error})
        else:
            self.each.append((tried.cpu_seconds, int(body["rows"])))


def sweep(shop: Workshop, task: Task, base_dir: Path, place: Place) -> Swept:
    """The best settings of the candidate that the task's `sweep` names.

    Args:
        base_dir: where relative paths of the task's sources start.
        place: opens where trials are done.

    Raises:
        AskError: the task says nothing to search through, a setting is none of the recipe's, or there are no
            validation rows.
        SartorError: all settings failed, or none could be tried within the seconds.
    """
    wanted, candidate = _wanted(task)
    arms = [{}, *(one for one in wanted.combinations(task.seed) if not _stands(candidate, one))]
    for settings in arms:
        _check(with_settings(candidate, settings))
    opened = open_hall(shop, task, base_dir)
    rows = len(opened.snapshot.splits["train"])
    if not opened.snapshot.splits["validation"]:
        raise AskError("A sweep is judged on validation rows and there are none.", param="data.split.validation")

    def here(body: Mapping[str, Any]) -> dict[str, Any]:
        return asdict(try_it(shop, read_trial(body)))

    rounds: list[Round[int]] = []
    with place(wanted, here) as do:
        search = _Search(task, wanted, candidate, opened.dataset, do, arms, shop.progress)
        plan = rungs(len(arms), min(wanted.least_rows, rows), rows, wanted.eta)
        last = halve(range(len(arms)), plan, search.losses, rounds.append)
    if not last.losses:
        raise _nothing(search)
    return _told(shop, opened.dataset, search, rounds, last)


def read_sweep(path: Path, instead: Mapping[str, Any]) -> Task:
    """The task of a file, with some settings of its sweep replaced.

    Raises:
        AskError: the file is no valid task, says nothing to search through, or a setting does not fit.
    """
    task = read_task(path)
    wanted, _ = _wanted(task)
    try:
        changed = Sweep.model_validate(wanted.model_dump() | dict(instead))
    except ValidationError as error:
        raise AskError(f"The sweep does not fit: {explain(error, Sweep)}.", code="bad_sweep", param="sweep") from error
    return task.model_copy(update={"sweep": changed})


def _wanted(task: Task) -> tuple[Sweep, Candidate]:
    if task.sweep is None:
        raise AskError(
            "The task says nothing to search through: add 'sweep: {of: CANDIDATE, space: {SETTING: [values]}}'.",
            param="sweep",
            code="no_sweep",
        )
    titles = {candidate.title: candidate for candidate in task.candidates}
    if task.sweep.of not in titles:
        raise unknown("candidate", task.sweep.of, titles, param="sweep.of")
    return task.sweep, titles[task.sweep.of]


def with_settings(candidate: Candidate, settings: Mapping[str, Any]) -> Candidate:
    """The candidate with these settings, whether they stand in itself or are its recipe's."""
    own = {name: value for name, value in settings.items() if name in FIELDS}
    params = {**candidate.params, **{name: value for name, value in settings.items() if name not in FIELDS}}
    return Candidate.model_validate(candidate.model_dump() | own | {"params": params, "name": candidate.title})


def written(candidate: Candidate) -> dict[str, Any]:
    """The candidate as a task file says it: what is as it would be anyway is left out."""
    body = candidate.model_dump(mode="json", exclude_defaults=True)
    return {"recipe": candidate.recipe} | {k: v for k, v in body.items() if k != "recipe"}


def _check(candidate: Candidate) -> None:
    RECIPES.take(candidate.recipe).read({"size": candidate.size, **candidate.params})


def _stands(candidate: Candidate, settings: Mapping[str, Any]) -> bool:
    """Whether these settings are the candidate as it stands."""
    return with_settings(candidate, settings) == with_settings(candidate, {})


def _nothing(search: _Search) -> SartorError:
    if search.failed:
        first = search.failed[0]
        return SartorError(
            f"All settings failed. The first, {told(first['settings'])}: {first['error']}", code="sweep_failed"
        )
    return AskError(
        f"Not one trial fits into {search.sweep.cpu_seconds:g} CPU seconds. Raise 'sweep.cpu_seconds'.",
        param="sweep.cpu_seconds",
        code="too_few_seconds",
    )


def _told(shop: Workshop, dataset: Dataset, search: _Search, rounds: Sequence[Round[int]], last: Round[int]) -> Swept:
    best, loss = last.losses[0]
    before = dict(last.losses).get(0)
    listed = tuple(
        {"rows": one.amount, "tried": [{"settings": search.arms[arm], "loss": lost} for arm, lost in one.losses]}
        for one in rounds
    )
    winner = with_settings(search.candidate, search.arms[best])
    facts = {"winner": written(winner), "rounds": list(listed), "failed": search.failed, "over": search.over}
    record = Report(
        purpose="sweep",
        subject=f"training.recipes/{winner.recipe}",
        title=winner.title,
        task=search.task.name,
        data=dataset.digest,
        split="validation",
        metrics={"money": Metric(value=loss, n=dataset.counts["validation"], unit=search.task.value.currency)},
        facts=facts,
        measured={"cpu_seconds": search.spent},
    )
    return Swept(
        task=search.task.name,
        candidate=search.candidate.title,
        winner=winner,
        settings=search.arms[best],
        loss=loss,
        before=before,
        rounds=listed,
        failed=tuple(search.failed),
        cpu_seconds=search.spent,
        over=search.over,
        report=shop.store.ledger.put(record),
    )

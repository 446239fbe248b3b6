"""Read a task against its data before anything is made."""

import importlib
from contextlib import suppress
from pathlib import Path

from sartor.core.errors import AskError, MissingExtraError
from sartor.core.task import Candidate, Task
from sartor.data.check import check_task
from sartor.data.finding import Finding
from sartor.data.reading import SOURCES
from sartor.evaluation.measure import METRICS
from sartor.feedback.judging import JUDGES
from sartor.gateway.unpack import check_input
from sartor.pipeline.bases import IMPORTED
from sartor.pipeline.curate import CURATORS, curate, open_dataset, read
from sartor.pipeline.make import RECIPES
from sartor.pipeline.onward import STRATEGIES
from sartor.pipeline.schedule import next_time
from sartor.pipeline.workshop import Workshop


def check(shop: Workshop, task: Task, base_dir: Path) -> list[Finding]:
    """All findings about a task and its rows, the errors first.

    Raises:
        NotFoundError, AskError: a plug-in that the task names is not there, or its settings don't fit.
    """
    check_plugins(task)
    dataset = curate(shop, task, base_dir, read(shop, task, base_dir))
    order = ("error", "warning", "info")
    return sorted(check_task(task, open_dataset(shop, dataset)), key=lambda f: order.index(f.level))


def check_plugins(task: Task) -> None:
    """Take every plug-in that the task names and read its settings, and its prompt, before any work is done."""
    from sartor.hub.catalogue_reading import entry

    check_input(task.input)
    for source in task.data.sources:
        SOURCES.take(source.use).read(source.settings)
    for curator in task.data.curate:
        CURATORS.take(curator.use).read(curator.settings)
    for metric in task.gate.guards:
        METRICS.take(metric)
    for strategy in task.learn.strategies:
        STRATEGIES.take(strategy.use).read(strategy.settings)
    for judge in task.judges:
        JUDGES.take(judge.use).read(judge.settings)
    if task.wheel.schedule:
        with suppress(MissingExtraError):  # whoever turns the wheel needs it, not whoever makes models
            next_time(task.wheel.schedule, 0.0)
    for candidate in task.candidates:
        _fits_kind(task, candidate.recipe)
        _fits_device(candidate)
        RECIPES.take(candidate.recipe).read({"size": candidate.size, **candidate.params})
        if candidate.base and not candidate.base.startswith(IMPORTED):  # what was brought in stands in the store alone
            entry(candidate.base)


def kinds_of(recipe: str) -> tuple[str, ...]:
    """Kinds of task that a recipe makes variants for."""
    module = importlib.import_module(RECIPES.take(recipe).module)
    return tuple(getattr(module, "KINDS", ("classify",)))


def devices_of(recipe: str) -> tuple[str, ...]:
    """Where a recipe can train."""
    module = importlib.import_module(RECIPES.take(recipe).module)
    return tuple(getattr(module, "DEVICES", ("cpu",)))


def _fits_device(candidate: Candidate) -> None:
    if candidate.device in devices_of(candidate.recipe):
        return
    known = [name for name in RECIPES if candidate.device in devices_of(name)]
    raise AskError(
        f"Recipe '{candidate.recipe}' does not train on '{candidate.device}'. These do: {', '.join(known)}.",
        param="candidates.device",
        code="recipe_not_on_device",
    )


def _fits_kind(task: Task, recipe: str) -> None:
    if task.kind in kinds_of(recipe):
        return
    known = [name for name in RECIPES if task.kind in kinds_of(name)]
    raise AskError(
        f"Recipe '{recipe}' makes no variants of kind '{task.kind}'. These do: {', '.join(known)}.",
        param="candidates.recipe",
        code="recipe_of_other_kind",
    )

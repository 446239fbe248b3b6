"""Texts: judged criterion by criterion of the rubric that the value function states."""

from sartor.core.rows import Snapshot
from sartor.core.shelf import plugin
from sartor.core.stating import pricing_of
from sartor.core.task import Task
from sartor.core.value import Criterion
from sartor.evaluation.asking import with_target
from sartor.evaluation.terms import Terms
from sartor.evaluation.written import SCORERS, Assess, Assessed, Written


@plugin
def generate(task: Task, snapshot: Snapshot) -> Terms:
    """The terms of a contract on a data set; without a rubric a text must be the right one exactly."""
    rubric = task.value.rubric or (Criterion(use="exact", cost=task.value.wrong),)
    pricing = pricing_of(task.value)
    written = Written(
        _assessor(rubric, task.value.right), pricing, pricing.every[0], criteria=tuple(c.title for c in rubric)
    )
    return Terms.of_written(task, with_target(task, snapshot, written))


def _assessor(rubric: tuple[Criterion, ...], right: float) -> Assess:
    taken = [(criterion, SCORERS.take(criterion.use)) for criterion in rubric]
    scorers = [(criterion, scorer, scorer.read(criterion.settings)) for criterion, scorer in taken]

    def assess(truth: str, said: str | None) -> Assessed:
        parts = {c.title: 0.0 if said is None else float(scorer(truth, said, p)) for c, scorer, p in scorers}
        lost = [(c.title, "(not fulfilled)", c.cost * (1.0 - parts[c.title])) for c, _, _ in scorers]
        mistakes = tuple(mistake for mistake in lost if mistake[2] > 0)
        whole = not mistakes
        return Assessed(float(whole), right if whole else sum(m[2] for m in mistakes), (), parts, mistakes)

    return assess

"""The one training loop of the recipes that teach a language model to write answers: loss on answers only.

AdamW (Loshchilov & Hutter 2019), a warm-up and a linear fall; the epoch is kept in which most validation answers are
foretold word for word, of equals the one of least loss. Several tries (learning rates) may learn side by side from the
same batches; the best of all is kept. Knows no files and no model: it drives a `Learner`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sartor.training.causal_batch import Scale, batches, passes
from sartor.training.causal_learners import Learner
from sartor.training.causal_rows import Row, Rows
from sartor.training.halfway import Course, Logbook
from sartor.training.job import Job

WHAT = "training the language model"
PASS_TOKENS = 4096
"""Tokens of one pass; what is over goes into further passes of the same step, so memory is bounded."""


@dataclass(frozen=True)
class Plan:
    """How to train."""

    epochs: int
    rows: int
    """Most training rows of an epoch; each epoch draws its own."""
    rates: tuple[float, ...]
    """Greatest learning rate of each try."""
    batch: int = 8
    warmup: float = 0.1
    """Share of the steps in which the rates rise; they fall linearly after."""
    decay: float = 0.01
    """Weight decay."""


@dataclass(frozen=True)
class Trained:
    """What training left; the learner holds the best weights."""

    which: int
    """The best try."""
    facts: dict[str, Any]
    measured: dict[str, Any]


def train(learner: Learner, given: Rows, validation: Sequence[Row], job: Job, plan: Plan) -> Trained:
    """Train all tries; put the best weights of the best one back into the learner."""
    began = time.process_time()
    draw = np.random.default_rng(job.seed)
    epochs = [batches(given.rows, plan.batch, plan.rows, draw) for _ in range(plan.epochs)]
    steps = sum(len(found) for found in epochs)
    optimiser, schedule = _optimiser(learner, plan, steps)
    best = _Best(learner, validation)
    logbook = Logbook(job, Course(best.trained(), optimiser, schedule, best, steps), WHAT)
    before = logbook.resume()
    weights = None if job.train_weights is None else job.train_weights[given.places]
    done = 0
    for found in epochs:
        if before is not None and done + len(found) < before:
            done += len(found)  # and judged: a state is kept before its epoch is
            continue
        for places in found:
            done += 1
            if before is not None and done <= before:
                continue
            _step(learner, [given.rows[place] for place in places], None if weights is None else weights[places])
            optimiser.step()
            schedule.step()
            logbook.reached(done)
        best.look()
    seen = [place for found in epochs for places in found for place in places]
    seconds = max(time.process_time() - began, 1e-9)
    tokens = sum(len(given.rows[place]) for place in seen)
    return Trained(
        which=best.restore(),
        facts={"validation": best.history},
        measured={
            "examples": len(seen),
            "tokens": tokens,
            **({} if before else {"tokens_per_cpu_second": tokens * len(learner.tries) / seconds}),
            **logbook.measured(),
        },
    )


def _step(learner: Learner, rows: Sequence[Row], weights: Any) -> None:
    """Gradients of one batch, in as many passes as memory asks for."""
    for tried in learner.tries:
        for leaf in tried:
            leaf.grad = None
    scale = Scale.of(rows)
    for part in passes(rows, PASS_TOKENS):
        cost = learner.cost([rows[place] for place in part], scale, None if weights is None else weights[part])
        torch.autograd.backward(cost.sum())
    for tried in learner.tries:
        torch.nn.utils.clip_grad_norm_(tried, 1.0)


class _Best:
    """The weights of the epoch and the try that foretell most validation answers exactly; of equals the least loss."""

    def __init__(self, learner: Learner, rows: Sequence[Row]) -> None:
        self._learner, self._rows = learner, rows
        self.score: tuple[float, float] | None = None
        self.weights: list[torch.Tensor] = []
        """Of the best try; last, which one it is."""
        self.history: list[Any] = []

    def look(self) -> None:
        """Judge the weights as they are now."""
        if not self._rows:
            return
        losses, exact = (found.mean(axis=1) for found in self._learner.judge(self._rows))
        self.history.append(
            [{"exact": round(float(e), 6), "loss": round(float(v), 6)} for e, v in zip(exact, losses, strict=True)]
        )
        for which, tried in enumerate(self._learner.tries):
            score = (float(exact[which]), -float(losses[which]))
            if np.isfinite(losses[which]) and (self.score is None or score > self.score):
                kept = [leaf.detach().clone() for leaf in tried]
                self.score, self.weights = score, [*kept, torch.tensor(float(which))]

    def restore(self) -> int:
        """Put the best weights back into the learner; which try they are."""
        if not self.weights:
            return 0
        which = int(self.weights[-1])
        with torch.no_grad():
            for leaf, kept in zip(self._learner.tries[which], self.weights[:-1], strict=True):
                leaf.copy_(kept)
        return which

    def trained(self) -> list[torch.Tensor]:
        """What training changes."""
        return [leaf for tried in self._learner.tries for leaf in tried]


def _optimiser(learner: Learner, plan: Plan, steps: int) -> tuple[Any, Any]:
    groups = [{"params": tried, "lr": rate} for tried, rate in zip(learner.tries, plan.rates, strict=True)]
    optimiser = torch.optim.AdamW(groups, weight_decay=plan.decay, fused=True)
    rise = max(int(plan.warmup * steps), 1)

    def share(step: int) -> float:
        return min((step + 1) / rise, (steps - step) / max(steps - rise, 1))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)

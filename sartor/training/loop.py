"""The one training loop of the recipes that change an encoder: losses, length buckets, the best epoch.

Sources: label smoothing (Szegedy et al. 2016); supervised contrastive loss (Khosla et al. 2020); AdamW (Loshchilov &
Hutter 2019). The loss over a hierarchy adds the log-probability of each ancestor, the sum over its labels (as in
Bertinetto et al. 2020, "Making better mistakes"). Knows no files.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sartor.core.rows import Hierarchy
from sartor.training import calibration
from sartor.training.encoder import Encoder, Tokens, has_bfloat16, precision
from sartor.training.folds import sample
from sartor.training.halfway import Course, Logbook
from sartor.training.heads import Head, Singles, centroids, fit_head
from sartor.training.job import Ints, Job
from sartor.training.warm import carried

CHUNK = 32
"""Batches that are sorted by length together: shuffled enough to learn, alike enough to waste no padding."""
LOOKED_AT = 5000
"""Most rows of which embeddings are taken only to place the centroids, or to judge an epoch."""


@dataclass(frozen=True)
class Plan:
    """How to train."""

    epochs: int
    """0: the encoder stays as it is, and the head alone is fitted on all rows."""
    rows: int
    """Most training rows of an epoch; each epoch draws its own."""
    rate: float
    head_rate: float
    batch: int = 32
    warmup: float = 0.1
    """Share of the steps in which the rates rise; they fall linearly after."""
    smoothing: float = 0.1
    contrast: float = 0.3
    """Weight of the supervised contrastive loss."""
    heat: float = 0.1
    """Temperature of the contrastive loss."""
    levels_weight: float = 0.0
    """Weight of the loss of each level of the label hierarchy."""
    recipe: str = "tune"
    """Whose earlier variants can be gone on from."""


@dataclass(frozen=True)
class Soft:
    """Targets that a teacher gave (Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network")."""

    shares: torch.Tensor
    """(rows, labels) its probabilities at the temperature."""
    weight: torch.Tensor
    """(rows,) how much of a row's loss they make; its label makes the rest."""
    temperature: float = 1.0
    """At which the student is compared with them; the loss is scaled by its square, so that slopes keep their size."""

    def rows(self, rows: Ints) -> "Soft":
        """Those of some rows."""
        return Soft(self.shares[rows], self.weight[rows], self.temperature)

    def mixed(self, logits: torch.Tensor, each: torch.Tensor) -> torch.Tensor:
        """(rows,) losses, of which the labels' are `each`."""
        taught = functional.cross_entropy(logits / self.temperature, self.shares, reduction="none")
        return (1 - self.weight) * each + self.weight * self.temperature**2 * taught


@dataclass(frozen=True)
class Trained:
    """What training left, the encoder itself aside, which holds its best epoch."""

    head: Head
    centroids: Singles
    facts: dict[str, Any]
    measured: dict[str, Any]


def train(encoder: Encoder, job: Job, plan: Plan, soft: Soft | None = None) -> Trained:
    """Train the encoder's trainable weights and a head; keep the epoch that is best on the validation rows.

    Args:
        soft: what a teacher says of the training rows.
    """
    began = time.process_time()
    tokens, targets = encoder.tokens(job.train_texts), torch.as_tensor(np.asarray(job.train_targets))
    draw = np.random.default_rng(job.seed)
    epochs = [_batches(tokens, plan, draw) for _ in range(plan.epochs)]
    steps = sum(len(batches) for batches in epochs)
    head = torch.nn.Linear(encoder.model.config.hidden_size, len(job.labels))
    optimiser, schedule = _optimiser(encoder, head, plan, steps)
    best = _Best(encoder, head, job)
    logbook = Logbook(job, Course(best.trained(), optimiser, schedule, best, steps))
    before = logbook.resume()
    if before is None:
        _fill(head, _first_head(encoder, job, plan, tokens))
    losses = _Losses(plan, _ancestors(job.labels, job.hierarchy))
    step = _Step(encoder, head, optimiser, schedule)
    done = 0
    for batches in epochs or [[]]:
        if before is not None and done + len(batches) < before:
            done += len(batches)  # and judged: a state is kept before its epoch is
            continue
        encoder.model.train()
        for rows in batches:
            done += 1
            if before is not None and done <= before:
                continue
            weights = None if job.train_weights is None else torch.as_tensor(job.train_weights[rows]).float()
            taught = None if soft is None else soft.rows(rows)
            step(losses, [tokens[row] for row in rows], targets[rows], weights, taught)
            logbook.reached(done)
        best.look()
    seen = [len(rows) for batches in epochs for rows in batches][before or 0 :]
    seconds = time.process_time() - began
    kept = best.restore()
    return Trained(
        head=kept,
        centroids=_centroids(encoder, job, tokens),
        facts={"precision": "bfloat16" if has_bfloat16() else "float32", **best.facts()},
        measured={
            "examples": sum(seen),
            "examples_per_cpu_second": sum(seen) / max(seconds, 1e-9),
            **logbook.measured(),
        },
    )


@dataclass(frozen=True)
class _Step:
    """One step down the slope."""

    encoder: Encoder
    head: torch.nn.Linear
    optimiser: Any
    schedule: Any

    def __call__(
        self,
        losses: "_Losses",
        tokens: list[Tokens],
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        soft: Soft | None = None,
    ) -> None:
        with precision():
            embedded = self.encoder.pooled(tokens)
        cost = losses(embedded, self.head(embedded), targets, weights, soft)
        self.optimiser.zero_grad()
        torch.autograd.backward(cost)
        torch.nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 1.0)
        self.optimiser.step()
        self.schedule.step()


class _Losses:
    """The sum of the losses of a batch."""

    def __init__(self, plan: Plan, ancestors: list[torch.Tensor]) -> None:
        self._plan = plan
        self._ancestors = ancestors

    def __call__(
        self,
        embedded: torch.Tensor,
        logits: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        soft: Soft | None = None,
    ) -> torch.Tensor:
        each = functional.cross_entropy(logits, targets, label_smoothing=self._plan.smoothing, reduction="none")
        if self._plan.levels_weight:
            shares = functional.softmax(logits, dim=1)
            for member in self._ancestors:
                chances = (shares @ member).gather(1, member[targets].argmax(1, keepdim=True))[:, 0]
                each = each - self._plan.levels_weight * chances.clamp_min(1e-9).log()
        if soft is not None:
            each = soft.mixed(logits, each)
        total = each.mean() if weights is None else (each * weights).mean()
        if self._plan.contrast:
            total = total + self._plan.contrast * supervised_contrast(embedded, targets, self._plan.heat)
        return total


def supervised_contrast(embedded: torch.Tensor, targets: torch.Tensor, heat: float) -> torch.Tensor:
    """Khosla et al. 2020, equation 2: rows of one class draw together; a row alone in its class adds nothing."""
    alike = embedded @ embedded.T / heat
    itself = torch.eye(len(targets), dtype=torch.bool)
    log_share = alike - alike.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True)
    same = (targets[:, None] == targets) & ~itself
    counts = same.sum(1)
    each = -(log_share * same).sum(1) / counts.clamp_min(1)
    return each.sum() / (counts > 0).sum().clamp_min(1)


class _Best:
    """The weights of the epoch with the best validation accuracy; of equals the one of least log loss."""

    def __init__(self, encoder: Encoder, head: torch.nn.Linear, job: Job) -> None:
        known = np.flatnonzero(np.asarray(job.validation_targets) >= 0)
        self._targets = np.asarray(job.validation_targets)[known]
        rows = sample(self._targets, LOOKED_AT, job.seed)
        self._targets = self._targets[rows]
        self._tokens = encoder.tokens([job.validation_texts[known[row]] for row in rows])
        self._encoder, self._head = encoder, head
        self.score: tuple[float, float] | None = None
        self.weights: list[torch.Tensor] = []
        self.history: list[dict[str, float]] = []

    def look(self) -> None:
        """Judge the weights as they are now."""
        if not len(self._targets):
            return
        logits = _as_head(self._head).logits(self._encoder.embed(self._tokens))
        loss = calibration.facts(logits, calibration.fit(logits, None, self._targets), self._targets)["loss_after"]
        score = (float((logits.argmax(axis=1) == self._targets).mean()), -loss)
        self.history.append({"accuracy": round(score[0], 6), "loss": round(loss, 6)})
        if self.score is None or score > self.score:
            self.score, self.weights = score, [p.detach().clone() for p in self.trained()]

    def restore(self) -> Head:
        """Put the best weights back into the encoder; its head."""
        with torch.no_grad():
            for weight, kept in zip(self.trained(), self.weights, strict=False):
                weight.copy_(kept)
        return _as_head(self._head)

    def facts(self) -> dict[str, Any]:
        """Validation accuracy and log loss after each epoch."""
        return {"validation": self.history}

    def trained(self) -> list[torch.Tensor]:
        """What training changes: of the encoder, then of the head."""
        return [*(p for p in self._encoder.model.parameters() if p.requires_grad), *self._head.parameters()]


def _batches(tokens: Sequence[Tokens], plan: Plan, draw: np.random.Generator) -> list[Ints]:
    """Row numbers of the batches of one epoch, in random order, rows of like length together."""
    order = draw.permutation(len(tokens))[: plan.rows]
    lengths = np.array([len(tokens[row]) for row in order])
    batches: list[Ints] = []
    for start in range(0, len(order), CHUNK * plan.batch):
        part = order[start : start + CHUNK * plan.batch]
        part = part[np.argsort(lengths[start : start + CHUNK * plan.batch], kind="stable")]
        batches.extend(part[at : at + plan.batch] for at in range(0, len(part), plan.batch))
    return [batches[place] for place in draw.permutation(len(batches))]


def _first_head(encoder: Encoder, job: Job, plan: Plan, tokens: Sequence[Tokens]) -> Head:
    """The head of the frozen encoder, where the cheaper recipe ends; or the earlier one, where that training ended."""
    targets = np.asarray(job.train_targets)
    rows = sample(targets, LOOKED_AT if plan.epochs else plan.rows, job.seed)

    def embedded() -> Singles:
        if job.embed is not None and job.start is None:
            return job.embed(job.train_texts)[rows]
        return encoder.embed([tokens[row] for row in rows])

    seen = lru_cache(embedded)
    before = None if job.start is None else carried(job, plan.recipe, lambda: (seen(), targets[rows]))
    if before is not None and plan.epochs:
        return before
    return fit_head(seen(), targets[rows], len(job.labels), c=10.0, start=before)


def _fill(head: torch.nn.Linear, found: Head) -> None:
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(found.weight))
        head.bias.copy_(torch.from_numpy(found.bias))


def _as_head(head: torch.nn.Linear) -> Head:
    return Head(head.weight.detach().numpy().copy(), head.bias.detach().numpy().copy())


def _centroids(encoder: Encoder, job: Job, tokens: Sequence[Tokens]) -> Singles:
    targets = np.asarray(job.train_targets)
    rows = sample(targets, LOOKED_AT, job.seed)
    return centroids(encoder.embed([tokens[row] for row in rows]), targets[rows], len(job.labels))


def _ancestors(labels: Sequence[str], hierarchy: Hierarchy) -> list[torch.Tensor]:
    """For each level of the hierarchy a (labels, classes) membership of zeros and ones."""
    found = []
    for depth in range(len(hierarchy.levels)):
        names = [hierarchy.parents[label][depth] for label in labels]
        classes = {name: place for place, name in enumerate(sorted(set(names)))}
        found.append(functional.one_hot(torch.tensor([classes[n] for n in names]), len(classes)).float())
    return found


def _optimiser(encoder: Encoder, head: torch.nn.Linear, plan: Plan, steps: int) -> tuple[Any, Any]:
    trainable = [p for p in encoder.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": trainable, "lr": plan.rate}, {"params": list(head.parameters()), "lr": plan.head_rate}],
        weight_decay=0.01,
        fused=True,
    )
    rise = max(int(plan.warmup * steps), 1)

    def share(step: int) -> float:
        return min((step + 1) / rise, (steps - step) / max(steps - rise, 1))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)

"""The training loop of token taggers: cross-entropy over words, against true tags or a teacher's chances.

The rates fall to nothing and the last weights are kept: no epoch has to be chosen, and validation rows stay unseen
until the calibration. (A running mean of weights was tried and was worse.) Lower layers learn more slowly (Howard and
Ruder 2018, "Universal language model fine-tuning"). Knows no files.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sartor.core.predict import Floats
from sartor.training.halfway import Course, Logbook
from sartor.training.job import Ints, Job
from sartor.training.tagging import Tagged, Tagger

CHUNK = 16
"""Batches that are sorted by length together: shuffled enough to learn, alike enough to waste little padding."""


@dataclass(frozen=True)
class Plan:
    """How to train."""

    epochs: int
    rows: int
    """Most rows of an epoch; each epoch draws its own."""
    rate: float
    head_rate: float
    batch: int = 16
    decay: float = 0.95
    """Rate of a layer by that of the one above it."""
    frozen: int = 0
    """Lowest layers that stay as they are."""
    warmup: float = 0.1
    """Share of the steps in which the rates rise; they fall linearly after."""
    smoothing: float = 0.0
    """Share of each target that is spread over the tags that may stand there."""


@dataclass
class _NoneBest:
    """What checkpoints keep of the best epoch: here none is chosen."""

    weights: list[torch.Tensor] = field(default_factory=list)
    score: tuple[float, float] | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    tagger: Tagger, rows: Sequence[Tagged], job: Job, plan: Plan, weights: Floats | None = None
) -> dict[str, Any]:
    """Train the tagger on rows that have tags.

    Args:
        weights: (rows,) of each row, mean 1.

    Returns:
        What it came to; no part of what is made.
    """
    began = time.process_time()
    draw = np.random.default_rng(job.seed)
    epochs = [_batches(rows, plan, draw) for _ in range(plan.epochs)]
    steps = sum(len(batches) for batches in epochs)
    optimiser, schedule = _optimiser(tagger, plan, max(steps, 1))
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    logbook = Logbook(job, Course(trained, optimiser, schedule, _NoneBest(), steps))
    before = logbook.resume() or 0
    tagger.encoder.model.train()
    done = examples = 0
    for batch in (batch for batches in epochs for batch in batches):
        done += 1
        if done <= before:
            continue
        cost = loss(tagger, [rows[row] for row in batch], plan.smoothing, None if weights is None else weights[batch])
        optimiser.zero_grad()
        torch.autograd.backward(cost)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        examples += len(batch)
        logbook.reached(done)
    seconds = time.process_time() - began
    return {"examples": examples, "examples_per_cpu_second": examples / max(seconds, 1e-9), **logbook.measured()}


def loss(tagger: Tagger, batch: Sequence[Tagged], smoothing: float, weights: Floats | None) -> torch.Tensor:
    """Mean cross-entropy of the words that have a choice."""
    logs = tagger.logits(batch).log_softmax(1)
    allowed = torch.cat([row.allowed for row in batch])
    each = torch.cat([_each(part, row) for part, row in zip(_split(logs, batch), batch, strict=True)])
    if smoothing:
        spread = -(logs * allowed).sum(1) / allowed.sum(1)
        each = (1 - smoothing) * each + smoothing * spread
    choice = allowed[:, 1:].any(1)
    if weights is not None:
        each = each * torch.cat(
            [torch.full((len(row.features),), float(w)) for row, w in zip(batch, weights, strict=True)]
        )
    cost: torch.Tensor = (each * choice).sum() / choice.sum().clamp_min(1)
    return cost


def _split(logs: torch.Tensor, batch: Sequence[Tagged]) -> Iterator[torch.Tensor]:
    at = 0
    for row in batch:
        yield logs[at : at + len(row.features)]
        at += len(row.features)


def _each(logs: torch.Tensor, row: Tagged) -> torch.Tensor:
    """(words,) cross-entropy of one text; a teacher's chance of what may not stand there counts for nothing."""
    if row.tags.dtype == torch.long:
        hard: torch.Tensor = functional.nll_loss(logs, row.tags, reduction="none")
        return hard
    each: torch.Tensor = -(row.tags * row.allowed * logs).sum(1)
    return each


def _batches(rows: Sequence[Tagged], plan: Plan, draw: np.random.Generator) -> list[Ints]:
    """Row numbers of the batches of one epoch, in random order, rows of like length together."""
    order = draw.permutation(len(rows))[: plan.rows]
    lengths = np.array([len(rows[row]) for row in order])
    batches: list[Ints] = []
    for start in range(0, len(order), CHUNK * plan.batch):
        part = order[start : start + CHUNK * plan.batch]
        part = part[np.argsort(lengths[start : start + CHUNK * plan.batch], kind="stable")]
        batches.extend(part[at : at + plan.batch] for at in range(0, len(part), plan.batch))
    return [batches[place] for place in draw.permutation(len(batches))]


def _optimiser(tagger: Tagger, plan: Plan, steps: int) -> tuple[Any, Any]:
    model = tagger.encoder.model
    layers = int(model.config.num_hidden_layers)
    groups = []
    for name, weight in model.named_parameters():
        found = re.search(r"layers?\.(\d+)\.", name)
        low = "embeddings" in name or "attention_bias" in name
        layer = int(found[1]) if found else 0 if low else layers - 1
        # Word embeddings hold half of a small encoder, and few of them occur in one task; nothing reads the pooler.
        if layer < plan.frozen or "pooler" in name or "word_embeddings" in name:
            weight.requires_grad_(False)  # noqa: FBT003 - torch's signature
        else:
            groups.append({"params": [weight], "lr": plan.rate * plan.decay ** (layers - 1 - layer)})
    groups.append({"params": list(tagger.head.parameters()), "lr": plan.head_rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    rise = max(plan.warmup * steps, 1.0)

    def share(step: int) -> float:
        return min((step + 1) / rise, (steps - step) / max(steps - rise, 1.0))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)

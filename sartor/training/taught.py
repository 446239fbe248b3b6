"""What a student learns from: every text with the probabilities that a teacher, or its neighbours, give it.

A teacher is a made variant or a column of the rows. Without one, the labelled texts teach the others: by label
propagation, and by self-training where several rounds are asked for (Yarowsky 1995). The surest texts count, the rest
is left out. Trains only heads, to look with; knows no encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.calibration import Calibration
from sartor.core.errors import AskError
from sartor.core.predict import Floats
from sartor.training.heads import fit_head
from sartor.training.job import Ints, Job
from sartor.training.spreading import STRENGTH, Known, neighbours, spread, spread_labels


@dataclass(frozen=True)
class Ask:
    """How a teacher is listened to."""

    weight: float
    """Share of the loss of labelled texts that the teacher makes; of unlabelled ones it makes all."""
    temperature: float
    keep: float
    """Share of the unlabelled texts that are learned from, the surest first."""
    alphas: tuple[float, ...]
    """Shares that neighbours may have in a label; which one is chosen by cross-validation."""
    near: int
    """Neighbours of a text."""
    rounds: int
    names: bool
    """Labels' own words count as an example of each."""
    folds: int = 3


@dataclass(frozen=True)
class Taught:
    """Texts and their targets, the labelled ones first."""

    texts: list[str]
    targets: Ints
    """(texts,) class index: as labelled, or the likeliest."""
    shares: Floats
    """(texts, labels) the teacher's probabilities at the temperature."""
    soft: Floats
    """(texts,) share of the loss that these make."""
    weights: Floats
    """(texts,) mean 1."""
    rows: Ints
    """(texts,) their places among all texts."""
    facts: dict[str, Any]

    @property
    def mixed(self) -> Floats:
        """(texts, labels) one target of both."""
        hard = np.eye(self.shares.shape[1])[self.targets]
        return (1 - self.soft[:, None]) * hard + self.soft[:, None] * self.shares


def someone(job: Job) -> None:
    """Raise AskError where there is neither a teacher nor a text without a label."""
    if not job.parts and not job.unlabelled and job.train_scores is None:
        raise AskError(
            "A student has nobody to learn from: name a teacher ('of: [candidate]'), a column with its probabilities "
            "('data: {scores: COLUMN}'), or a source of texts without labels ('split: unlabelled').",
            code="no_teacher",
            param="candidates.of",
        )


def learn(job: Job, ask: Ask) -> Taught:
    """What there is to learn; see `someone`."""
    known = set(job.train_texts)
    free = [text for text in dict.fromkeys(job.unlabelled) if text not in known]
    texts = [*job.train_texts, *free]
    if job.parts:
        shares, facts = _of_parts(job, texts)
    elif free:
        shares, facts = _of_neighbours(job, ask, texts)
    else:
        shares, facts = np.zeros((len(texts), len(job.labels))), {}
    if job.train_scores is not None:
        told = job.train_scores.sum(axis=1) > 0
        shares[: len(told)][told] = job.train_scores[told]
        facts["rows_with_scores"] = int(told.sum())
    return _kept(job, ask, texts, shares, facts)


def _kept(job: Job, ask: Ask, texts: list[str], shares: Floats, facts: dict[str, Any]) -> Taught:
    """The labelled texts, and the surest of the others."""
    given = len(job.train_texts)
    sure = shares.max(axis=1)
    most = round(ask.keep * (len(texts) - given))
    surest = given + np.sort(np.argsort(-sure[given:], kind="stable")[:most])
    rows = np.concatenate([np.arange(given), surest])
    spoken = sure[:given] > 0  # a teacher may have nothing to say of some rows
    soft = np.concatenate([np.where(spoken, ask.weight, 0.0), np.ones(most)])
    own = np.ones(given) if job.train_weights is None else job.train_weights
    weights = np.concatenate([own, sure[surest]])
    targets = np.concatenate([np.asarray(job.train_targets), shares[surest].argmax(axis=1)])
    told = {"labelled": given, "unlabelled": len(texts) - given, "unlabelled_kept": most}
    return Taught(
        [texts[row] for row in rows],
        targets,
        cooled(shares[rows], ask.temperature),
        soft,
        weights / weights.mean(),
        rows,
        {**told, **facts},
    )


def cooled(shares: Floats, temperature: float) -> Floats:
    """(texts, labels) probabilities at a temperature: above one the lesser ones speak up."""
    raised = np.maximum(shares, 1e-12) ** (1.0 / temperature)
    scaled: Floats = raised / raised.sum(axis=1, keepdims=True)
    return scaled


def _of_parts(job: Job, texts: Sequence[str]) -> tuple[Floats, dict[str, Any]]:
    """The mean of what the teachers say."""
    said = []
    for part in job.parts:
        if part.answer is None:
            raise AskError(
                f"'{part.title}' writes its answers token by token and gives no probabilities of labels; those of its "
                "tokens mean nothing to a base with another tokenizer. Name a candidate that classifies, or let it "
                "label texts: sartor data teach TASK --by VARIANT.",
                code="teacher_does_not_fit",
                param="candidates.of",
            )
        job.progress(f"asking {part.title}", 0, len(texts))
        said.append(np.asarray(part.answer(texts), dtype=np.float64))
        job.progress(f"asking {part.title}", len(texts), len(texts))
    return np.mean(said, axis=0), {"taught_by": [part.title for part in job.parts]}


def _of_neighbours(job: Job, ask: Ask, texts: Sequence[str]) -> tuple[Floats, dict[str, Any]]:
    """What the labelled texts say of the others, round by round."""
    assert job.embed is not None
    embeddings, given = job.embed(texts), len(job.train_texts)
    targets = np.asarray(job.train_targets)
    names = job.embed([words(label) for label in job.labels]) if ask.names else None
    known = Known(embeddings, targets, len(job.labels), names, job.train_weights, job.train_groups)
    job.progress("looking for neighbours", 0, 1)
    graph = neighbours(embeddings, ask.near) if any(ask.alphas) else None
    job.progress("looking for neighbours", 1, 1)
    found = spread_labels(known, graph, ask.alphas, ask.folds, job.seed)
    shares = found.shares
    for _ in range(ask.rounds - 1):
        lesson = _kept(job, ask, list(texts), shares, {})
        head = fit_head(embeddings[lesson.rows], lesson.mixed, len(job.labels), STRENGTH, weights=lesson.weights)
        shares = Calibration().probabilities(head.logits(embeddings))
        shares[:given] = np.eye(len(job.labels))[targets]
        shares = spread(graph, shares, found.alpha)
    return shares, {"alpha": found.alpha, "alphas_tried": found.tried, "rounds": ask.rounds}


def words(label: str) -> str:
    """A label as one would say it: `card_not_working?` -> `card not working`."""
    return " ".join("".join(c if c.isalnum() else " " for c in label).split()) or label

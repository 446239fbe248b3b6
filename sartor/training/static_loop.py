"""Static token vectors trained with a head: of those tokens that occur, nothing of the others.

The embedding of a text is the mean of its tokens' vectors at unit length, as the engine has it; training moves the
vectors of tokens that occur in the texts (as in fastText, Joulin et al. 2017, begun from a distilled encoder). Knows
no files but the base's and the variant's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sartor.core.calibration import Calibration
from sartor.training.calibration import loss
from sartor.training.encoder import repeatable
from sartor.training.heads import Head, Singles, centroids, fit_head, write_head
from sartor.training.job import Ints, Job
from sartor.training.loop import Soft
from sartor.training.taught import Taught

MAX_TOKENS = 512
STRENGTH = 30.0
"""C of the head from which training begins."""


@dataclass(frozen=True)
class Pace:
    """How to train."""

    epochs: int
    rate: float
    """Greatest learning rate of the vectors."""
    head_rate: float
    batch: int
    temperature: float


def train_static(job: Job, taught: Taught, pace: Pace) -> dict[str, Any]:
    """Train, and write `tokens.safetensors` and `head.safetensors`; what was found.

    The epoch that is best on the validation rows is kept, its vectors as half-precision numbers, as the base's are.
    """
    base = _Base.read(job.needs_base("student"))
    texts, held = base.tokens(taught.texts), base.tokens(job.validation_texts)
    used = np.unique(np.concatenate(texts))
    texts = [np.searchsorted(used, ids) for ids in texts]
    # A token that only validation has keeps the base's vector: it is left out of the look, which is a look only.
    held = [np.searchsorted(used, ids[np.isin(ids, used)]) for ids in held]
    soft = Soft(torch.from_numpy(taught.shares).float(), torch.from_numpy(taught.soft).float(), pace.temperature)
    with repeatable(job.seed, job.threads):
        model = _Model(torch.from_numpy(base.vectors[used]))
        first = fit_head(model.embed(texts), taught.mixed, len(job.labels), STRENGTH, weights=taught.weights)
        head = torch.nn.Linear(base.vectors.shape[1], len(job.labels))
        best = _Best(model, head, held, job)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(first.weight))
            head.bias.copy_(torch.from_numpy(first.bias))
        best.look()
        _train(model, head, texts, soft, taught, job, pace, best)
        kept = best.restore()
        centres = centroids(model.embed(texts), taught.targets, len(job.labels))
    _save(job.folder, used, model.vectors.detach().numpy())
    write_head(job.folder, kept, centres)
    return {"tokens": len(used), "validation": best.history}


@dataclass(frozen=True)
class _Base:
    """The base's table and tokenizer."""

    vectors: Singles
    tokenizer: Any
    unknown: int | None

    @classmethod
    def read(cls, folder: Path) -> "_Base":
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(int(config.get("max_length") or MAX_TOKENS))
        name = json.loads(tokenizer.to_str())["model"].get("unk_token")
        vectors = load_file(folder / "model.safetensors")["embeddings"].astype(np.float32)
        return cls(vectors, tokenizer, tokenizer.token_to_id(name) if name else None)

    def tokens(self, texts: Sequence[str]) -> list[Ints]:
        """Known tokens of each text."""
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array([t for t in one.ids if t != self.unknown], dtype=np.int64) for one in found]


class _Model:
    """The vectors of the tokens that occur, by their place among these."""

    def __init__(self, vectors: torch.Tensor) -> None:
        self.vectors = vectors.requires_grad_()

    def __call__(self, tokens: Sequence[Ints]) -> torch.Tensor:
        """(texts, d) at unit length, zeros for a text without a known token."""
        starts = torch.tensor(np.cumsum([0, *(len(ids) for ids in tokens[:-1])]))
        flat = torch.from_numpy(np.concatenate(tokens))
        return functional.normalize(functional.embedding_bag(flat, self.vectors, starts, mode="sum"), dim=1)

    def embed(self, tokens: Sequence[Ints]) -> Singles:
        """The same without gradients."""
        with torch.no_grad():
            found: Singles = self(tokens).numpy()
            return found


def _train(
    model: _Model, head: torch.nn.Linear, texts: list[Ints], soft: Soft, taught: Taught, job: Job, pace: Pace,
    best: "_Best",
) -> None:  # fmt: skip
    targets, weights = torch.from_numpy(taught.targets), torch.from_numpy(taught.weights).float()
    optimiser = torch.optim.Adam(
        [{"params": [model.vectors], "lr": pace.rate}, {"params": list(head.parameters()), "lr": pace.head_rate}]
    )
    steps = pace.epochs * -(-len(texts) // pace.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / max(steps, 1))
    draw = np.random.default_rng(job.seed)
    for epoch in range(pace.epochs):
        job.progress("training static vectors", epoch, pace.epochs)
        order = draw.permutation(len(texts))
        for start in range(0, len(order), pace.batch):
            rows = order[start : start + pace.batch]
            logits = head(model([texts[row] for row in rows]))
            each = functional.cross_entropy(logits, targets[rows], reduction="none")
            cost = (soft.rows(rows).mixed(logits, each) * weights[rows]).mean()
            optimiser.zero_grad()
            torch.autograd.backward(cost)
            optimiser.step()
            schedule.step()
        best.look()
    job.progress("training static vectors", pace.epochs, pace.epochs)


class _Best:
    """The epoch of the best validation accuracy; of equals the one of least log loss."""

    def __init__(self, model: _Model, head: torch.nn.Linear, held: list[Ints], job: Job) -> None:
        known = np.flatnonzero(np.asarray(job.validation_targets) >= 0)
        self._targets = np.asarray(job.validation_targets)[known]
        self._held = [held[row] for row in known]
        self._model, self._head = model, head
        self._score: tuple[float, float] | None = None
        self._kept: list[torch.Tensor] = []
        self.history: list[dict[str, float]] = []

    def look(self) -> None:
        """Judge what there is now."""
        if not self._held:
            return
        logits = self._now().logits(self._model.embed(self._held))
        score = (
            float((logits.argmax(axis=1) == self._targets).mean()),
            -loss(Calibration().probabilities(logits), self._targets),
        )
        self.history.append({"accuracy": round(score[0], 6), "loss": round(-score[1], 6)})
        if self._score is None or score > self._score:
            self._score, self._kept = score, [part.detach().clone() for part in self._parts()]

    def restore(self) -> Head:
        """Put the best back, vectors as they will be kept."""
        with torch.no_grad():
            for part, kept in zip(self._parts(), self._kept, strict=False):
                part.copy_(kept)
            self._model.vectors.copy_(self._model.vectors.half().float())
        return self._now()

    def _parts(self) -> list[torch.Tensor]:
        return [self._model.vectors, self._head.weight, self._head.bias]

    def _now(self) -> Head:
        return Head(self._head.weight.detach().numpy().copy(), self._head.bias.detach().numpy().copy())


def _save(folder: Path, used: Ints, vectors: Singles) -> None:
    from safetensors.numpy import save_file

    save_file({"places": used.astype(np.int32), "vectors": vectors.astype(np.float16)}, folder / "tokens.safetensors")

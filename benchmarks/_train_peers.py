"""How others train the same models: transformers and peft as their manuals have it. Random batches, padded."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.training.causal_rows import Row

RISE = 0.1
"""Share of the steps in which the rate rises."""


@dataclass(frozen=True)
class Course:
    """How to train, theirs and ours."""

    rate: float
    batch: int
    seed: int
    bfloat16: bool = True
    steps: int | None = None
    """Fewer than an epoch's, where only the speed is asked for."""


def epoch(model: Any, loss_of: Any, count: int, course: Course, head_rate: float = 0.0) -> tuple[float, int]:
    """One epoch over rows in random order; CPU seconds of the steps after the first, and their
    number. A head may have a rate of its own."""
    import torch

    order = np.random.default_rng(course.seed).permutation(count)
    parts = [order[at : at + course.batch] for at in range(0, count, course.batch)]
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p], "lr": head_rate if name.startswith("head.") else course.rate}
        for name, p in model.named_parameters()
        if p.requires_grad
    ]
    optimiser = torch.optim.AdamW(_joined(groups), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _share(len(parts)))
    model.train()
    parts, began = parts[: course.steps], 0.0
    for step, rows in enumerate(parts):
        if step == 1:
            began = time.process_time()  # the first step warms up, as with ours
        optimiser.zero_grad()
        loss_of(rows).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
    return time.process_time() - began, len(parts) - 1


def _share(steps: int) -> Callable[[int], float]:
    """Rates rise and fall as in our loops. (Transformers' own schedule begins at 0: one step of few is lost.)"""
    rise = max(int(RISE * steps), 1)
    return lambda step: min((step + 1) / rise, (steps - step) / max(steps - rise, 1))


def _joined(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group a rate, as a manual would write it."""
    rates = sorted({group["lr"] for group in groups})
    return [{"params": [p for g in groups if g["lr"] == rate for p in g["params"]], "lr": rate} for rate in rates]


def causal(base: Path, rank: int, targets: Sequence[str], course: Course) -> Any:
    """A LoRA adapter of peft on a causal model of transformers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(course.seed)
    dtype = torch.bfloat16 if course.bfloat16 else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(targets), task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def causal_loss(model: Any, rows: Sequence[Row]) -> Any:
    """Row numbers -> loss on the answers' tokens, as transformers computes it."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = [torch.tensor(row.stem + row.branches[0].prompt + row.branches[0].answer) for row in rows]
    asked = [len(row.stem) + len(row.branches[0].prompt) for row in rows]

    def loss_of(places: Any) -> Any:
        batch = [ids[place] for place in places]
        table = pad_sequence(batch, batch_first=True)
        mask = pad_sequence([torch.ones(len(one), dtype=torch.long) for one in batch], batch_first=True)
        labels = table.masked_fill(mask == 0, -100)
        for row, place in zip(labels, places, strict=True):
            row[: asked[place]] = -100
        return model(input_ids=table, attention_mask=mask, labels=labels).loss

    return loss_of


class Classifier:
    """An encoder of transformers with mean pooling and a linear head, adapted by peft or trained whole."""

    def __init__(self, base: Path, labels: int, *, adapter: int | None, course: Course) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModel, AutoTokenizer

        torch.manual_seed(course.seed)
        self._tokenizer = AutoTokenizer.from_pretrained(base)
        encoder: Any = AutoModel.from_pretrained(base, dtype=torch.float32)
        if adapter:
            encoder = get_peft_model(
                encoder, LoraConfig(r=adapter, lora_alpha=2 * adapter, target_modules=["query", "value"])
            )
        if not adapter:
            encoder.get_input_embeddings().requires_grad_(False)  # as ours
        self.model = torch.nn.ModuleDict({"encoder": encoder, "head": torch.nn.Linear(384, labels)})
        self._bfloat16 = course.bfloat16

    def logits(self, texts: Sequence[str]) -> Any:
        """(texts, labels)"""
        import torch

        given = self._tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            hidden = self.model["encoder"](**given).last_hidden_state
            mask = given["attention_mask"][..., None]
            pooled = (hidden.float() * mask).sum(1) / mask.sum(1)
            return self.model["head"](torch.nn.functional.normalize(pooled, dim=1)).float()

    def accuracy(self, texts: Sequence[str], targets: Floats) -> float:
        """Share that is right."""
        import torch

        self.model.eval()
        with torch.no_grad():
            found = [self.logits(texts[at : at + 64]).argmax(1).numpy() for at in range(0, len(texts), 64)]
        return float((np.concatenate(found) == targets).mean())

    def loss_of(self, texts: Sequence[str], targets: Any, smoothing: float) -> Any:
        """Row numbers -> cross-entropy with label smoothing, the loss that ours is trained with."""
        import torch

        wanted = torch.as_tensor(np.asarray(targets))

        def loss(places: Any) -> Any:
            logits = self.logits([texts[place] for place in places])
            return torch.nn.functional.cross_entropy(logits, wanted[places], label_smoothing=smoothing)

        return loss

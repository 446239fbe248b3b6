"""An encoder tuned whole, or an adapter on it, trained again by a plain loop: the same losses and rates.

The loop of the recipe chooses its epoch by the validation rows and computes in bfloat16 where it can; this one takes
the last epoch in float32. The model is as good within chance, and not the same to the byte.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from transformers import AutoModel

from sartor.pipeline.outside.retrain import Again, again, recalibrated

SIZES = {"small": (1, 10_000), "medium": (3, 20_000), "large": (6, 200_000)}
MOST_TOKENS = 128


class Tuned(torch.nn.Module):
    """An encoder, the mean of its tokens at length 1, and a head."""

    def __init__(self, encoder: Any, tokens: Any, labels: int) -> None:
        """Put them together."""
        super().__init__()
        self.encoder, self.tokens = encoder, tokens
        self.head = torch.nn.Linear(encoder.config.hidden_size, labels)
        self.pad = int(encoder.config.pad_token_id or 0)

    def embed(self, texts: list[str]) -> torch.Tensor:
        """(texts, d)."""
        found = [self.tokens.encode(text).ids for text in texts]
        longest = max(len(ids) for ids in found)
        ids = torch.tensor([one + [self.pad] * (longest - len(one)) for one in found])
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in found])
        hidden = self.encoder(input_ids=ids, attention_mask=mask)[0]
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=1)

    @torch.no_grad()
    def embedded(self, texts: list[str]) -> torch.Tensor:
        """(texts, d) without gradients, a batch at a time."""
        self.eval()
        return torch.cat([self.embed(texts[at : at + 64]) for at in range(0, len(texts), 64)])


def contrast(embedded: torch.Tensor, targets: torch.Tensor, heat: float = 0.1) -> torch.Tensor:
    """Supervised contrastive loss (Khosla et al. 2020)."""
    alike, itself = embedded @ embedded.T / heat, torch.eye(len(targets), dtype=torch.bool)
    share = alike - alike.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True)
    same = (targets[:, None] == targets) & ~itself
    counts = same.sum(1)
    each = -(share * same).sum(1) / counts.clamp_min(1)
    return each.sum() / (counts > 0).sum().clamp_min(1)


def opened(job: Again) -> tuple[Any, Path]:
    """The base to begin from, with a fresh adapter where the recipe is one."""
    said = job.said["model"]
    home = job.base or job.folder / (said.get("base") or {}).get("path", "base")
    if not home.is_dir():
        raise SystemExit(f"The base '{job.recipe['base']['name']}' is not in this export: name its folder with --base.")
    encoder: Any = AutoModel.from_pretrained(home, local_files_only=True, dtype=torch.float32)
    encoder.get_input_embeddings().requires_grad_(False)  # noqa: FBT003
    if job.recipe["recipe"] == "adapter":
        from peft import LoraConfig, get_peft_model

        config: Any = LoraConfig.from_pretrained(str(job.folder / said["adapter"]))
        config.inference_mode = False
        encoder = get_peft_model(encoder, config)
    return encoder, home


def fit(job: Again) -> None:
    """Train, and write encoder or adapter, and head."""
    recipe, said = job.recipe, job.said["model"]
    torch.manual_seed(recipe["seed"])
    encoder, home = opened(job)
    tokens = Tokenizer.from_file(str(home / "tokenizer.json"))
    tokens.no_padding()
    tokens.enable_truncation(MOST_TOKENS)
    model = Tuned(encoder, tokens, len(recipe["labels"]))
    begin(model, job)
    learn(model, job)
    if recipe["recipe"] == "adapter":
        model.encoder.save_pretrained(job.folder / said["adapter"])
    else:
        model.encoder.save_pretrained(job.folder / said["encoder"])
        shutil.copyfile(home / "tokenizer.json", job.folder / said["encoder"] / "tokenizer.json")
    targets = job.rows.targets(recipe["labels"])
    known = np.flatnonzero(targets >= 0)
    embedded = model.embedded([job.rows.texts[row] for row in known]).numpy()
    sums = np.zeros((len(recipe["labels"]), embedded.shape[1]))
    np.add.at(sums, targets[known], embedded)
    centres = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    weight, bias = model.head.weight.detach().numpy(), model.head.bias.detach().numpy()
    save_file({"weight": weight, "bias": bias, "centroids": centres}, job.folder / said["head"])
    if job.validation is not None:
        recalibrated(job, model.embedded(job.validation.texts).numpy() @ weight.T + bias)


def begin(model: Tuned, job: Again) -> None:
    """Begin with the head of the frozen encoder, where the cheaper recipe ends: few rows teach no head from nothing."""
    targets = job.rows.targets(job.recipe["labels"])
    known = np.flatnonzero(targets >= 0)
    seen = model.embedded([job.rows.texts[row] for row in known]).numpy()
    found = LogisticRegression(C=10.0, max_iter=200).fit(seen, targets[known])
    if len(found.classes_) > 2:
        with torch.no_grad():
            model.head.weight[found.classes_] = torch.from_numpy(found.coef_).float()
            model.head.bias[found.classes_] = torch.from_numpy(found.intercept_).float()


def learn(model: Tuned, job: Again) -> None:
    """AdamW with a rise and a linear fall, as the recipe has it."""
    params = job.recipe["params"]
    epochs, most = SIZES[params["size"]]
    epochs = epochs if params.get("epochs") is None else params["epochs"]
    targets = torch.from_numpy(job.rows.targets(job.recipe["labels"]))
    rows = torch.nonzero(targets >= 0)[:, 0]
    batch = params["batch"]
    steps = epochs * -(-min(len(rows), most) // batch)
    trained = [one for one in model.encoder.parameters() if one.requires_grad]
    groups = [{"params": trained, "lr": params["rate"]}, {"params": model.head.parameters(), "lr": params["head_rate"]}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    rise = max(int(0.1 * steps), 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rise, (steps - step) / max(steps - rise, 1))
    )
    for epoch in range(epochs):
        model.train()
        order = rows[torch.randperm(len(rows))][:most]
        for at in range(0, len(order), batch):
            picked = order[at : at + batch]
            embedded = model.embed([job.rows.texts[row] for row in picked.tolist()])
            loss = torch.nn.functional.cross_entropy(
                model.head(embedded), targets[picked], label_smoothing=params["smoothing"]
            )
            if params["contrast"]:
                loss = loss + params["contrast"] * contrast(embedded, targets[picked])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_([*trained, *model.head.parameters()], 1.0)
            optimiser.step()
            schedule.step()
        print(json.dumps({"epoch": epoch + 1, "loss": float(loss)}), flush=True)


def train() -> None:
    """Train it again."""
    again(fit)

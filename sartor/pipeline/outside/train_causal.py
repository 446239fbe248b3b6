"""A language model's adapter, or all of it, trained again by a plain loop of transformers and peft.

The loss is on answers only.

The recipe's own loop packs rows and keeps the best epoch; this one takes the last. As good within chance, not the same.
"""

import json
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sartor.core.prompting import answer_text, chat_text
from sartor.pipeline.outside.base import base_folder
from sartor.pipeline.outside.retrain import Again, again

SIZES = {"small": (1, 2_000), "medium": (3, 10_000), "large": (6, 100_000)}
IGNORED = -100


def fit(job: Again) -> None:
    """Train, and write the adapter or the model."""
    recipe, said = job.recipe, job.said["model"]
    torch.manual_seed(recipe["seed"])
    home = job.base or (base_folder(job.folder, said["base"]) if said.get("base") else job.folder / "base")
    if not home.is_dir():
        raise SystemExit(f"The base '{recipe['base']['name']}' is not in this export: name its folder with --base.")
    tokenizer: Any = AutoTokenizer.from_pretrained(home, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(home, local_files_only=True, dtype=torch.float32)
    if said.get("adapter"):
        from peft import LoraConfig, get_peft_model

        config: Any = LoraConfig.from_pretrained(str(job.folder / said["adapter"]))
        config.inference_mode = False
        model = get_peft_model(model, config)
    told = json.loads((job.folder / said["writing"]).read_text(encoding="utf-8"))
    learn(model, rows_of(job, tokenizer, told.get("instructions", "")), recipe["params"])
    if said.get("adapter"):
        model.save_pretrained(job.folder / said["adapter"])
    else:
        model.save_pretrained(job.folder / said["model"])
        tokenizer.save_pretrained(job.folder / said["model"])


def rows_of(job: Again, tokenizer: Any, instructions: str) -> list[tuple[list[int], list[int]]]:
    """(tokens, targets) of each row that the model can read whole."""
    found = []
    for text, answer in zip(job.rows.texts, job.rows.labels, strict=True):
        asked = tokenizer(chat_text(tokenizer, instructions, text), add_special_tokens=False)["input_ids"]
        said = tokenizer(answer_text(tokenizer, answer), add_special_tokens=False)["input_ids"]
        found.append(([*asked, *said], [*([IGNORED] * len(asked)), *said]))
    return found


def learn(model: Any, rows: list[tuple[list[int], list[int]]], params: dict[str, Any]) -> None:
    """AdamW with a rise and a linear fall."""
    epochs, most = SIZES[params["size"]]
    epochs = epochs if params.get("epochs") is None else params["epochs"]
    batch, rate = params["batch"], params["rates"][0] if "rates" in params else params["rate"]
    trained = [one for one in model.parameters() if one.requires_grad]
    steps = max(epochs * -(-min(len(rows), most) // batch), 1)
    rise = max(int(0.1 * steps), 1)
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rise, (steps - step) / max(steps - rise, 1))
    )
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(rows)).tolist()[:most]
        for at in range(0, len(order), batch):
            picked = [rows[row] for row in order[at : at + batch]]
            longest = max(len(ids) for ids, _ in picked)
            ids = torch.tensor([one + [0] * (longest - len(one)) for one, _ in picked])
            mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one, _ in picked])
            targets = torch.tensor([one + [IGNORED] * (longest - len(one)) for _, one in picked])
            loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
        print(json.dumps({"epoch": epoch + 1, "loss": float(loss)}), flush=True)


def train() -> None:
    """Train it again."""
    again(fit)

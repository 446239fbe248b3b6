"""The same learners on transformers and peft: the reference, and the way to a GPU and to bases of another build.

Every branch of a row is a sequence of its own here, padded to the longest. Knows no optimiser and no epochs.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from sartor.core.errors import AskError
from sartor.training.causal_batch import Scale, collate
from sartor.training.causal_learners import LOOKED_AT_ONCE, MODEL_FILES, Judged, judged_by
from sartor.training.causal_ops import Tensor
from sartor.training.causal_rows import Row
from sartor.training.device import Device
from sartor.training.encoder import _peft_warnings


class Plain:
    """A model of transformers, with an adapter of peft or without."""

    def __init__(self, model: Any, home: Path, adapter: bool) -> None:  # noqa: FBT001 - two callers, below
        self._model, self._home, self._adapter = model, home, adapter
        self.tries = [[p for p in model.parameters() if p.requires_grad]]
        if not self.tries[0]:
            raise AskError("Nothing of this base would be trained: 'targets' or 'layers' fit none of its parts.")

    def cost(self, rows: Sequence[Row], scale: Scale, weights: Sequence[float] | None) -> Tensor:
        """As `Learner` says."""
        logits, wanted = self._foretold(rows)
        each = functional.cross_entropy(logits, wanted, reduction="none")
        return (each * collate(rows, scale, weights).weights.to(each.device)).sum()[None]

    def judge(self, rows: Sequence[Row]) -> Judged:
        """As `Learner` says."""
        self._model.eval()
        found = judged_by(rows, 1, LOOKED_AT_ONCE, self._look)
        self._model.train()
        return found

    def save(self, folder: Path, which: int) -> None:  # noqa: ARG002 - there is one
        """Write PEFT's `adapter/` or a Hugging Face `model/`."""
        home = folder / ("adapter" if self._adapter else "model")
        self._model.config._name_or_path = ""  # noqa: SLF001 - the only place where transformers keeps it
        with _peft_warnings():
            self._model.save_pretrained(home)
        (home / "README.md").unlink(missing_ok=True)
        if self._adapter:
            config = json.loads((home / "adapter_config.json").read_text(encoding="utf-8"))
            # peft keeps target names in a set, whose order changes from run to run.
            config |= {"base_model_name_or_path": "", "target_modules": sorted(config["target_modules"])}
            (home / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
            return
        for name in MODEL_FILES:
            if (self._home / name).exists() and not (home / name).exists():
                shutil.copyfile(self._home / name, home / name)

    def _look(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits, wanted = self._foretold(rows)
            losses = functional.cross_entropy(logits, wanted, reduction="none")
        return losses[None].cpu(), (logits.argmax(dim=-1) == wanted)[None].cpu()

    def _foretold(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """(m, v) logits at the places where answers are foretold, and the tokens themselves, in the rows' order."""
        ids: list[list[int]] = []
        at: list[tuple[int, int]] = []
        wanted: list[int] = []
        for row in rows:
            for branch in row.branches:
                first = len(row.stem) + len(branch.prompt) - 1
                at += [(len(ids), first + k) for k in range(len(branch.answer))]
                wanted += branch.answer
                ids.append(row.stem + branch.read)
        longest = max(len(one) for one in ids)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        table = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
        where = self._model.device
        logits = self._model(input_ids=table.to(where), attention_mask=mask.to(where), use_cache=False).logits
        places = torch.tensor(at, device=where)
        return logits[places[:, 0], places[:, 1]].float(), torch.tensor(wanted, device=where)


def adapters(base: Path, layers: int | None, device: Device, *, rank: int, targets: Sequence[str], count: int) -> Plain:
    """One LoRA adapter on the frozen base.

    Raises:
        AskError: several were asked for, or the base has no such layers.
    """
    from peft import LoraConfig, get_peft_model

    if count > 1:
        raise AskError(
            "Several rates in one pass need the lean loop, which this base or 'loop' rules out: name one rate.",
            code="bad_params",
            param="candidates.params.rates",
        )
    model = _open(base, device)
    known = {name.rsplit(".", 1)[-1] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    if missing := sorted(set(targets) - known):
        raise AskError(
            f"Adapters were asked for on '{missing[0]}', which the base has not; its linear layers are "
            f"{', '.join(sorted(known))}. Name some of these under 'targets'.",
            code="unknown_target",
            param="candidates.params.targets",
        )
    total = model.config.num_hidden_layers
    some = None if layers is None or layers >= total else list(range(total - layers, total))
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(targets), layers_to_transform=some,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    with _peft_warnings():
        found = get_peft_model(model, config)
    for weight in found.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return Plain(found, base, adapter=True)


def whole(base: Path, layers: int | None, device: Device) -> Plain:
    """The base with the weights of its top layers trainable, its embeddings and head frozen."""
    model = _open(base, replace(device, bfloat16=False))  # what is trained stays float32
    model.requires_grad_(False)  # noqa: FBT003 - torch's signature
    blocks = next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
    for block in blocks if layers is None else blocks[-layers:]:
        block.requires_grad_(True)  # noqa: FBT003 - torch's signature
    for part in model.base_model.children():  # the last norm stands beside the layers
        if all(weight.dim() == 1 for weight in part.parameters()):
            part.requires_grad_(True)  # noqa: FBT003 - torch's signature
    return Plain(model, base, adapter=False)


def _open(base: Path, device: Device) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()
    model: Any = AutoModelForCausalLM.from_pretrained(base, local_files_only=True, **device.load_settings())
    told = device.trainer_settings()
    if told["gradient_checkpointing"]:
        model.gradient_checkpointing_enable(told["gradient_checkpointing_kwargs"])
        model.enable_input_require_grads()
    return model

"""A transformer encoder while it is trained: texts to embeddings with gradients, and its files.

Embeddings are what serving computes too: mean over the attention mask, at most 128 tokens, length 1 (Reimers &
Gurevych 2019, "Sentence-BERT"). Knows no labels and no losses.
"""

import contextlib
import json
import random
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic

from sartor.core.positions import longest
from sartor.training.heads import Singles

LOOK_BATCH = 64
"""Texts of one pass without gradients."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

Tokens = list[int]


@dataclass(frozen=True)
class Encoder:
    """A loaded model with its tokenizer."""

    model: Any
    tokenizer: Any
    pad: int
    home: Path
    """Folder that it was loaded from."""

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, special tokens included, cut at 128."""
        return [found.ids for found in self.tokenizer.encode_batch_fast(list(texts))]

    def pooled(self, batch: Sequence[Tokens]) -> torch.Tensor:
        """(batch, d) L2-normalised embeddings in float32, with gradients where they are enabled."""
        lengths = torch.tensor([len(ids) for ids in batch])
        longest = int(lengths.max())
        ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row in batch])
        mask = torch.arange(longest) < lengths[:, None]
        # Without padding there is nothing to mask, and attention without a mask takes the fast path.
        hidden = self.model(input_ids=ids, attention_mask=None if bool(mask.all()) else mask.long())[0]
        sums = (hidden.float() * mask[..., None]).sum(1)
        return torch.nn.functional.normalize(sums / lengths[:, None], dim=1)

    def embed(self, tokens: Sequence[Tokens]) -> Singles:
        """(texts, d) embeddings without gradients; texts of like length go through together."""
        self.model.eval()
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        found = np.zeros((len(tokens), self.model.config.hidden_size), dtype=np.float32)
        with torch.no_grad(), precision():
            for start in range(0, len(order), LOOK_BATCH):
                rows = order[start : start + LOOK_BATCH]
                found[rows] = self.pooled([tokens[row] for row in rows]).numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder that names no path of this machine."""
        self.model.config._name_or_path = ""  # noqa: SLF001 - the only place where transformers keeps it
        self.model.save_pretrained(folder)
        for name in TOKENIZER_FILES:
            if (self.home / name).exists():
                shutil.copyfile(self.home / name, folder / name)


def load(folder: Path) -> Encoder:
    """Load the Hugging Face folder of an encoder.

    Attention is written out, not fused: on texts of some 20 tokens the CPU's fused kernel takes 1.6 times as long in
    its backward pass.
    """
    from tokenizers import Tokenizer
    from transformers import AutoModel
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32, attn_implementation="eager")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest(model.config.to_dict()))
    return Encoder(model, tokenizer, int(model.config.pad_token_id or 0), folder)


def adapted(encoder: Encoder, rank: int, alpha: int) -> Encoder:
    """The encoder with a LoRA adapter on queries and values, the only weights left to train (Hu et al. 2021).

    Raises:
        ValueError: no layers of a known name; the ones that there are are listed.
    """
    from peft import LoraConfig, get_peft_model

    names = {name for name, _ in encoder.model.named_modules()}
    for query, value in (("query", "value"), ("attn.q", "attn.v"), ("q_proj", "v_proj"), ("q_lin", "v_lin")):
        if any(name.endswith(f".{query}") for name in names):
            config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=[query, value])
            with _peft_warnings():
                model = get_peft_model(encoder.model, config)
            return Encoder(model, encoder.tokenizer, encoder.pad, encoder.home)
    kinds = sorted({name.rsplit(".", 1)[-1] for name in names if name})
    raise ValueError(f"found no query and value layers to adapt; the model's layers are called {', '.join(kinds)}")


def adapted_as(encoder: Encoder, folder: Path) -> Encoder:
    """The encoder with the adapter that a PEFT folder holds, to train on."""
    from peft import PeftModel

    with _peft_warnings():
        model = PeftModel.from_pretrained(encoder.model, folder, is_trainable=True, local_files_only=True)
    return Encoder(model, encoder.tokenizer, encoder.pad, encoder.home)


def save_adapter(encoder: Encoder, folder: Path) -> None:
    """Write the PEFT folder of an adapted encoder: weights and configuration, with no path of this machine."""
    with _peft_warnings():
        encoder.model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    # peft keeps target names in a set, whose order changes from run to run.
    config |= {"base_model_name_or_path": "", "target_modules": sorted(config["target_modules"])}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32.

    Intel's AVX512-BF16 has half the rate of its float32: there it takes AMX, which virtual machines often hide.
    """
    can = torch.cpu.get_capabilities()
    return bool(can.get("amx_bf16") or (can.get("avx512_bf16") and "Intel" not in can.get("cpu_name", "")))


def precision() -> contextlib.AbstractContextManager[Any]:
    """Matrix products in bfloat16 where that is faster, sums in float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16())


@contextlib.contextmanager
def repeatable(seed: int, threads: int) -> Iterator[None]:
    """Same seed and threads, same bytes: inside, torch draws from the seed; outside nothing is changed."""
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    fills = deterministic.fill_uninitialized_memory
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's signature
        deterministic.fill_uninitialized_memory = False  # nothing here reads what it did not write
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            deterministic.fill_uninitialized_memory = fills
            torch.set_num_threads(before)
            random.setstate(state)


@contextlib.contextmanager
def _peft_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # peft still reads a name that transformers 5 deprecates; nothing a user could do about it.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield

"""A transformer encoder as a function from texts to embeddings: mean over the attention mask, length 1, float32.

The only file of serving that imports torch and transformers. Knows no heads and no variants.
Mean pooling after Reimers & Gurevych 2019, "Sentence-BERT".
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sartor.core.errors import StoreError
from sartor.core.positions import longest
from sartor.core.predict import Floats
from sartor.serving.tokens import Tokenizer, Tokens, batches


class Trunk:
    """A loaded encoder. Safe to use from several threads."""

    def __init__(
        self, folder: Path, *, adapter: Path | None = None, threads: int = 1, dtype: Literal["float32", "bfloat16"]
    ) -> None:
        """Load the Hugging Face folder, and merge the PEFT adapter into it if one is given.

        Raises:
            StoreError: the folder holds no encoder that transformers can load.
        """
        torch.set_num_threads(threads)
        self._model = _load(folder, adapter).to(getattr(torch, dtype)).eval()
        self._pad = int(self._model.config.pad_token_id or 0)
        self._tokens = Tokenizer(folder, most=longest(self._model.config.to_dict()), special=True)
        self._size = int(self._model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> Floats:
        """(texts, d) L2-normalised float32 embeddings."""
        encoded = self._tokens(texts)
        out = np.zeros((len(texts), self._size), dtype=np.float32)
        for rows in batches(encoded):
            out[rows] = self._forward([encoded[row] for row in rows])
        return out

    def states(self, encoded: Sequence[Tokens]) -> list[Floats]:
        """(tokens, d) float32 of each text: what the encoder makes of every token of it."""
        found: list[Floats] = [np.zeros((0, self._size), dtype=np.float32)] * len(encoded)
        for rows in batches(encoded):
            with torch.inference_mode():
                hidden = self._hidden([encoded[row] for row in rows])[0].numpy()
            for place, row in enumerate(rows):
                found[row] = hidden[place, : len(encoded[row])]
        return found

    @torch.inference_mode()
    def _forward(self, batch: list[Tokens]) -> Floats:
        hidden, mask, lengths = self._hidden(batch)
        pooled = (hidden * mask[..., None]).sum(1) / lengths[:, None]
        found: Floats = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return found

    def _hidden(self, batch: list[Tokens]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(batch, longest, d) states in float32, (batch, longest) where there are tokens, (batch,) how many."""
        longest = max(len(ids) for ids in batch)
        tokens = torch.full((len(batch), longest), self._pad)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = torch.tensor(ids)
        lengths = torch.tensor([len(ids) for ids in batch])
        mask = torch.arange(longest) < lengths[:, None]
        # Without padding there is nothing to mask, and attention without a mask takes the fast path.
        hidden = self._model(input_ids=tokens, attention_mask=None if bool(mask.all()) else mask.long())[0].float()
        return hidden, mask, lengths


def _load(folder: Path, adapter: Path | None) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        if adapter is None:
            return model
        from peft import PeftModel

        with warnings.catch_warnings():
            # peft still reads a name that transformers 5 deprecates; nothing a user could do about it.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            return PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload()
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"Loading an encoder from {adapter or folder} failed: {error}. Fetch or make it again.", code="base_damaged"
        ) from error

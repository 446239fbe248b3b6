"""A transformer encoder with a head: mean over the attention mask, length 1. Needs torch, transformers, tokenizers.

An adapter needs peft too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from sartor.pipeline.outside.answering import Floats, Scores
from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.base import base_folder
from sartor.pipeline.outside.heads import Head

MOST_TOKENS = 128
AT_ONCE = 32


@engine("encoder")
class Encoder:
    """An encoder in a folder of transformers, with an adapter where one is named, and a head."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Load everything; the export's `predict.json` names the folders."""
        home = base_folder(folder, said["base"]) if said.get("base") else folder / said["encoder"]
        self._model = AutoModel.from_pretrained(home, local_files_only=True, dtype=torch.float32)
        if said.get("adapter"):
            from peft import PeftModel

            self._model = PeftModel.from_pretrained(self._model, folder / said["adapter"]).merge_and_unload()
        self._model.eval()
        self._tokens = Tokenizer.from_file(str(home / "tokenizer.json"))
        self._tokens.no_padding()
        self._tokens.enable_truncation(MOST_TOKENS)
        self._pad = int(self._model.config.pad_token_id or 0)
        self._head = Head(folder / said["head"]) if said.get("head") else None

    def score(self, texts: Sequence[str]) -> Scores:
        """Scores of each text."""
        assert self._head is not None
        return self._head.score(self.embed(texts))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Floats:
        """(texts, d) embeddings of length 1."""
        tokens = [self._tokens.encode(text).ids for text in texts]
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        out = np.zeros((len(tokens), int(self._model.config.hidden_size)), dtype=np.float32)
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            longest = max(len(tokens[row]) for row in rows)
            ids = torch.tensor([tokens[row] + [self._pad] * (longest - len(tokens[row])) for row in rows])
            mask = torch.tensor([[1] * len(tokens[row]) + [0] * (longest - len(tokens[row])) for row in rows])
            hidden = self._model(input_ids=ids, attention_mask=mask)[0].float()
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            out[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return out

"""Values of a JSON object found word by word by an encoder. Needs torch, transformers and tokenizers."""

import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoModel

from sartor.core.surface import pieces
from sartor.core.tagbook import Seen, TagBook
from sartor.pipeline.outside.asked import engine
from sartor.pipeline.outside.stating import Value

LEAST = 1e-4


class Member:
    """An encoder with a head over words."""

    def __init__(self, home: Path, most: int) -> None:
        """Load both."""
        self._model = AutoModel.from_pretrained(home / "encoder", local_files_only=True, dtype=torch.float32).eval()
        self._tokens = Tokenizer.from_file(str(home / "encoder" / "tokenizer.json"))
        self._tokens.no_padding()
        self._tokens.enable_truncation(most)
        head = load_file(home / "head.safetensors")
        self._weight, self._bias = head["weight"].astype(np.float32), head["bias"].astype(np.float32)

    @torch.inference_mode()
    def chances(self, seen: Seen) -> Any:
        """(words, tags) of a text."""
        found = self._tokens.encode(seen.text)
        owners = np.array(pieces(found.offsets, seen.spans))
        held = owners >= 0
        states = self._model(input_ids=torch.tensor([found.ids]))[0][0].numpy()
        sums = np.zeros((len(seen.spans), states.shape[1]), dtype=np.float32)
        np.add.at(sums, owners[held], states[held])
        counts = np.bincount(owners[held], minlength=len(seen.spans))
        words = np.concatenate([sums / np.maximum(counts, 1)[:, None], seen.features], axis=1)
        logits = words @ self._weight.T + self._bias
        allowed = seen.allowed.copy()
        allowed[counts == 0, 1:] = False
        logits[~allowed] = -1e4
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


@engine("tagger")
class Tagger:
    """One encoder, or the mean of several."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        """Read `tagger.json` and load the encoders."""
        home = folder / said["folder"]
        body = json.loads((home / "tagger.json").read_text(encoding="utf-8"))
        self._book = TagBook.read(body["book"])
        self._members = [Member(home / name, int(body["most"])) for name in body["members"]]

    def write(self, texts: Sequence[str]) -> list[list[Value]]:
        """The values of each text."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> list[Value]:
        seen = self._book.see(text)
        chances = np.mean([member.chances(seen) for member in self._members], axis=0)
        found = []
        for told in self._book.tell(seen, chances):
            chance = min(max(told.chance, LEAST), 1 - LEAST)
            found.append(Value(told.path, told.value, log(chance / (1 - chance)), told.span))
        return found

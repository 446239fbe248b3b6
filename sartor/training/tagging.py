"""A token tagger while it is trained: an encoder, what a gazetteer says of each word, and one linear layer on both.

A word is the mean of its pieces. Tags that a row's context rules out have no chance, in training as when serving.
Knows no JSON documents; the loop is `tagging_loop`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sartor.core.predict import Floats
from sartor.core.surface import pieces
from sartor.core.tagbook import Seen
from sartor.training.encoder import Encoder, precision

IMPOSSIBLE = -1e4
LOOK = 1500
"""Tokens, padding included, of one pass without gradients."""


@dataclass(frozen=True, eq=False)
class Tagged:
    """One text, ready for the tagger."""

    tokens: list[int]
    word_of: list[int]
    """(tokens,) word of each piece; -1 for special ones."""
    features: Any
    """(words, features) float tensor."""
    allowed: Any
    """(words, tags) bool tensor: what may stand where."""
    tags: Any = None
    """(words,) long tensor, or (words, tags) chances of a teacher; None where nothing is known."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def cut(self) -> bool:
        """Whether the tokenizer cut words off."""
        return max(self.word_of, default=-1) + 1 < len(self.features)


@dataclass(frozen=True)
class Tagger:
    """The trainable whole."""

    encoder: Encoder
    head: torch.nn.Linear

    def logits(self, batch: Sequence[Tagged]) -> torch.Tensor:
        """(words of all texts, tags) in float32; impossible tags have -10,000."""
        lengths = torch.tensor([len(row.tokens) for row in batch])
        longest = int(lengths.max())
        ids = torch.tensor([row.tokens + [self.encoder.pad] * (longest - len(row.tokens)) for row in batch])
        mask = torch.arange(longest) < lengths[:, None]
        with precision():
            hidden = self.encoder.model(input_ids=ids, attention_mask=None if bool(mask.all()) else mask.long())[0]
        first, places, words = 0, [], []
        for row, one in enumerate(batch):
            at = np.array(one.word_of)
            held = np.flatnonzero(at >= 0)
            places.append(row * longest + held)
            words.append(first + at[held])
            first += len(one.features)
        picked = hidden.float().reshape(-1, hidden.shape[-1])[torch.from_numpy(np.concatenate(places))]
        owner = torch.from_numpy(np.concatenate(words))
        sums = torch.zeros(first, hidden.shape[-1]).index_add(0, owner, picked)
        counts = torch.bincount(owner, minlength=first).clamp_min(1)
        features = torch.cat([row.features for row in batch])
        seen = torch.cat([sums / counts[:, None], features], dim=1)
        found: torch.Tensor = self.head(seen)
        return found.masked_fill(~torch.cat([row.allowed for row in batch]), IMPOSSIBLE)

    def chances(self, rows: Sequence[Tagged]) -> list[Floats]:
        """(words, tags) of each text, without gradients."""
        self.encoder.model.eval()
        found: list[Floats] = [np.zeros((0, self.head.out_features), dtype=np.float32)] * len(rows)
        with torch.no_grad():
            for places in passes([len(row) for row in rows]):
                part = [rows[place] for place in places]
                chances = self.logits(part).softmax(1).numpy()
                at = 0
                for place, row in zip(places, part, strict=True):
                    found[place] = chances[at : at + len(row.features)]
                    at += len(row.features)
        return found


def passes(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of like length together, so that little of a pass is padding."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    found: list[list[int]] = []
    for row in order:
        if found and (len(found[-1]) + 1) * lengths[row] <= LOOK:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def new_head(hidden: int, features: int, tags: int) -> torch.nn.Linear:
    """A head that knows nothing yet; what it is told of the gazetteer counts from the start."""
    head = torch.nn.Linear(hidden + features, tags)
    with torch.no_grad():
        head.weight.normal_(0.0, 0.02)
        head.weight[:, hidden:] = 0.0
        head.bias.zero_()
    return head


def ready(encoder: Encoder, seen: Seen, tags: Any = None) -> Tagged:
    """A text for the tagger; words that the tokenizer cut off can only be outside."""
    found = encoder.tokenizer.encode(seen.text)
    owners = pieces(found.offsets, seen.spans)
    allowed = torch.from_numpy(seen.allowed)
    allowed[max(owners, default=-1) + 1 :, 1:] = False
    return Tagged(found.ids, owners, torch.from_numpy(seen.features), allowed, tags)


def save(tagger: Tagger, folder: Path) -> None:
    """Write `encoder/` and `head.safetensors`."""
    from safetensors.torch import save_file

    tagger.encoder.save(folder / "encoder")
    tensors = {"weight": tagger.head.weight.detach().contiguous(), "bias": tagger.head.bias.detach().contiguous()}
    save_file(tensors, folder / "head.safetensors")

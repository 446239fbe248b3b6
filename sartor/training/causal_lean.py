"""A Llama-like language model written out for training on a CPU: only what the loss needs is computed.

Frozen weights are cast once; what all rows begin with is read once a pass; the last layer and the head work on the
places where an answer's token is foretold; below the lowest adapter nothing is kept for a backward pass, or that part
is computed once and kept; several adapters go through one pass over the frozen weights (as in Ye et al. 2023,
"ASPEN"). Knows no optimiser, no epochs and no prompt.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from sartor.training.causal_batch import Pass
from sartor.training.causal_ops import Blocks, attention, gated, low_rank, normed, turned

Tensor = torch.Tensor
GROUPS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""Linear layers that read the same input and are computed as one product."""
KNOWN = {"llama": False, "qwen2": True}
"""Types of models that are built like this, and whether queries, keys and values have a bias."""


def knows(config: dict[str, Any]) -> bool:
    """Whether a model of this `config.json` is one that is written out here."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return (
        config.get("model_type") in KNOWN
        and not config.get("attention_bias", False)
        and not config.get("mlp_bias", False)
        and not config.get("use_sliding_window", False)
        and config.get("hidden_act", "silu") == "silu"
        and rope.get("rope_type", rope.get("type", "default")) == "default"
    )


@dataclass(frozen=True)
class Shape:
    """Of a model."""

    layers: int
    width: int
    heads: int
    groups: int
    head: int
    """Width of one head."""
    eps: float
    theta: float

    @classmethod
    def read(cls, config: dict[str, Any]) -> "Shape":
        """From a `config.json`."""
        heads = config["num_attention_heads"]
        rope = config.get("rope_parameters") or {}
        return cls(
            layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            heads=heads,
            groups=config.get("num_key_value_heads") or heads,
            head=config.get("head_dim") or config["hidden_size"] // heads,
            eps=config["rms_norm_eps"],
            theta=rope.get("rope_theta") or config.get("rope_theta") or 10_000.0,
        )


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, by group."""

    weights: dict[str, Tensor]
    biases: dict[str, Tensor]
    norms: tuple[Tensor, Tensor]
    """Before attention, before the multilayer perceptron."""


@dataclass(frozen=True)
class Low:
    """Low-rank factors of one group of one layer."""

    blocks: Blocks
    factors: tuple[Tensor, ...]
    """A's (n, r, d), then B's (n, o, r)."""


Lows = dict[tuple[int, str], Low]


@dataclass(frozen=True)
class Places:
    """What attention needs of a pass."""

    b: int
    s: int
    p: int
    cos: Tensor
    sin: Tensor
    unseen: Tensor
    n: int = 1
    """Adapters."""


@dataclass(frozen=True)
class Lean:
    """A loaded model."""

    shape: Shape
    embedding: Tensor
    layers: list[Layer]
    norm: Tensor
    head: Tensor

    def bottom(self, given: Pass, layers: int) -> Tensor:
        """(1, p + b·s, d) what the first layers make of a pass, without gradients."""
        with torch.no_grad():
            x = functional.embedding(torch.cat([given.prefix, given.ids.flatten()]), self.embedding)[None]
            places = self.places(given)
            for layer in self.layers[:layers]:
                x = self._layer(layer, x, places, {})
        return x

    def top(self, given: Pass, below: Tensor, start: int, lows: Lows, n: int) -> Tensor:
        """(n, m, d) hidden states where answers are foretold, from what the layers below `start` made.

        Args:
            below: (1 or n, p + b·s, d).
            lows: adapters by layer and group; empty: the weights as they are.
            n: how many adapters each of `lows` holds.
        """
        x = below.expand(n, -1, -1) if len(below) != n else below
        places = self.places(given, n)
        for at in range(start, len(self.layers)):
            mine = {group: low for (layer, group), low in lows.items() if layer == at}
            wanted = given.at + places.p if at == len(self.layers) - 1 else None
            x = self._layer(self.layers[at], x, places, mine, wanted)
        return normed(x, self.norm, self.shape.eps)

    def places(self, given: Pass, n: int = 1) -> Places:
        """Positions, turned into angles, and the mask."""
        p, (b, s) = len(given.prefix), given.ids.shape
        half = self.shape.head // 2
        rates = self.shape.theta ** -(torch.arange(half, dtype=torch.float32) / half)
        angles = torch.cat([torch.arange(p), given.places.flatten()]).float()[:, None, None] * rates
        dtype = self.embedding.dtype
        unseen = given.unseen.repeat(n, 1, 1) if n > 1 else given.unseen
        return Places(b, s, p, angles.cos().to(dtype), angles.sin().to(dtype), unseen, n)

    def _layer(
        self, layer: Layer, x: Tensor, places: Places, lows: dict[str, Low], wanted: Tensor | None = None
    ) -> Tensor:
        """One layer; with `wanted`, only these places of its output."""
        inner = normed(x, layer.norms[0], self.shape.eps)
        mixed = self._attention(_product(layer, "qkv", inner, lows), places, last=wanted is not None)
        if wanted is not None:
            x, mixed = x[:, wanted], mixed[:, wanted]
        x = x + _product(layer, "o", mixed, lows)
        inner = normed(x, layer.norms[1], self.shape.eps)
        return x + _product(layer, "down", gated(_product(layer, "gate_up", inner, lows)), lows)

    def _attention(self, qkv: Tensor, at: Places, *, last: bool) -> Tensor:
        """(n, p + b·s, q + k + v) -> (n, p + b·s, q); the beginning's own is left out of the last layer."""
        shape = self.shape
        n, t = qkv.shape[:2]
        heads = qkv.view(n, t, shape.heads + 2 * shape.groups, shape.head)
        placed = turned(heads[:, :, : shape.heads + shape.groups], at.cos, at.sin)
        query, key = placed[:, :, : shape.heads], placed[:, :, shape.heads :]
        value = heads[:, :, shape.heads + shape.groups :]

        def rows(x: Tensor) -> Tensor:
            return x[:, at.p :].reshape(n * at.b, at.s, -1, shape.head).transpose(1, 2)

        if not at.p:
            found = attention(rows(query), rows(key), rows(value), at.unseen)
            return found.transpose(1, 2).reshape(n, t, -1)
        first = [x[:, : at.p].transpose(1, 2) for x in (query, key, value)]
        known = [x[:, None].expand(-1, at.b, -1, -1, -1).reshape(n * at.b, -1, at.p, shape.head) for x in first[1:]]
        keys, values = (torch.cat([k, rows(x)], dim=2) for k, x in zip(known, (key, value), strict=True))
        found = attention(rows(query), keys, values, at.unseen).transpose(1, 2).reshape(n, at.b * at.s, -1)
        if last:
            return functional.pad(found, (0, 0, at.p, 0))
        begin = attention(first[0], first[1], first[2], None).transpose(1, 2).reshape(n, at.p, -1)
        return torch.cat([begin, found], dim=1)


def _product(layer: Layer, group: str, x: Tensor, lows: dict[str, Low]) -> Tensor:
    weight, bias = layer.weights[group], layer.biases.get(group)
    low = lows.get(group)
    if low is None:
        return functional.linear(x, weight, bias)
    return low_rank(x, weight, bias, low.blocks, low.factors)


def load(folder: Path, dtype: torch.dtype) -> Lean:
    """The weights of a Hugging Face folder of a known build, in memory of this type."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    raw = _tensors(folder)
    tied = config.get("tie_word_embeddings", False) or "lm_head.weight" not in raw
    embedding = raw["model.embed_tokens.weight"].to(dtype)

    def joined(at: int, group: str, what: str) -> Tensor:
        return torch.cat([raw[f"model.layers.{at}.{name}.{what}"] for name in GROUPS[group]]).to(dtype)

    def layer(at: int) -> Layer:
        norms = (f"model.layers.{at}.{name}_layernorm.weight" for name in ("input", "post_attention"))
        biases = {"qkv": joined(at, "qkv", "bias")} if KNOWN[config["model_type"]] else {}
        before, after = (raw[name].to(dtype) for name in norms)
        return Layer({group: joined(at, group, "weight") for group in GROUPS}, biases, (before, after))

    return Lean(
        shape=Shape.read(config),
        embedding=embedding,
        layers=[layer(at) for at in range(config["num_hidden_layers"])],
        norm=raw["model.norm.weight"].to(dtype),
        head=embedding if tied else raw["lm_head.weight"].to(dtype),
    )


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found

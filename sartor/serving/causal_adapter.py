"""Reads an adapter of PEFT's format for a base: what its weights say and whether they fit. Knows no engine.

Computed are plain low-rank adapters on the projections of attention and MLP, with ranks by module; what else PEFT can
write (DoRA, bias, embeddings tuned whole) is refused by name rather than left out.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sartor.core.errors import RefusedError, StoreError
from sartor.serving.causal import Shape
from sartor.serving.causal_mix import Adapter, Pair, Site

PARTS: Mapping[Site, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
PREFIX = "base_model.model.model.layers."
PLAIN: Mapping[str, Any] = {"bias": "none", "use_dora": False, "lora_bias": False, "modules_to_save": None}
"""Settings of PEFT that are only known at this value."""


def read_adapter(folder: Path, key: str, shape: Shape, dtype: torch.dtype) -> Adapter:
    """The adapter in `folder`, for a base of this shape.

    Raises:
        StoreError: a file is missing or damaged.
        RefusedError: it was made for another base, or does what is not computed here.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        settings = json.loads((folder / "adapter_config.json").read_bytes())
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(
            f"Loading an adapter failed: {folder} ({type(error).__name__}: {error}). Verify it with 'sartor verify', "
            "or make the variant again.",
            code="variant_damaged",
        ) from error
    _refuse_others(settings)
    layers = _by_module(tensors)
    _fits(layers, shape)
    sites: dict[Site, Pair] = {}
    for site, parts in PARTS.items():
        if any((layer, part) in layers for layer in range(shape.layers) for part in parts):
            sites[site] = _pair(layers, site, shape, settings, dtype)
    return Adapter(key, sites)


Matrices = dict[str, torch.Tensor]
"""`A` (rank, in) and `B` (out, rank)."""


def _by_module(tensors: Mapping[str, torch.Tensor]) -> dict[tuple[int, str], Matrices]:
    """(layer, module) -> its two matrices."""
    found: dict[tuple[int, str], Matrices] = {}
    for name, tensor in tensors.items():
        number, _, rest = name.removeprefix(PREFIX).partition(".")
        module, _, which = rest.rpartition(".lora_")
        known = any(module in parts for parts in PARTS.values())
        if not name.startswith(PREFIX) or not number.isdigit() or which not in ("A.weight", "B.weight") or not known:
            raise RefusedError(
                f"The adapter holds weights '{name}', which the engine 'lm' does not compute: it takes low-rank pairs "
                "on the projections of attention and MLP. Merge the adapter into its base instead.",
                code="unknown_adapter",
            )
        found.setdefault((int(number), module), {})[which[0]] = tensor
    return found


def _refuse_others(settings: Mapping[str, Any]) -> None:
    odd = [f"{name}={settings[name]!r}" for name, plain in PLAIN.items() if settings.get(name) not in (plain, None, [])]
    if settings.get("peft_type") != "LORA":
        odd.append(f"peft_type={settings.get('peft_type')!r}")
    if odd:
        raise RefusedError(
            f"The adapter asks for {', '.join(odd)}, which the engine 'lm' does not compute. Merge it into its base "
            "instead.",
            code="unknown_adapter",
        )


def _sizes(shape: Shape) -> dict[str, tuple[int, int]]:
    """Module -> (in, out) in the base."""
    return {
        "self_attn.q_proj": (shape.wide, shape.q),
        "self_attn.k_proj": (shape.wide, shape.kv),
        "self_attn.v_proj": (shape.wide, shape.kv),
        "self_attn.o_proj": (shape.q, shape.wide),
        "mlp.gate_proj": (shape.wide, shape.inner),
        "mlp.up_proj": (shape.wide, shape.inner),
        "mlp.down_proj": (shape.inner, shape.wide),
    }


def _fits(layers: Mapping[tuple[int, str], Matrices], shape: Shape) -> None:
    """Refuse an adapter for a base of other sizes."""
    sizes = _sizes(shape)
    for (layer, module), pair in layers.items():
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise StoreError(f"The adapter's pair for layer {layer}, {module} is not whole.", code="variant_damaged")
        made_for = (pair["A"].shape[1], pair["B"].shape[0])
        if layer >= shape.layers or made_for != sizes[module]:
            has = f"{sizes[module][0]} to {sizes[module][1]}" if layer < shape.layers else f"{shape.layers} layers"
            raise RefusedError(
                f"This adapter was made for another base: for layer {layer} it changes {module} from {made_for[0]} to "
                f"{made_for[1]} numbers, and this base has {has}. Serve it on the base that it was trained on.",
                param="base",
                code="another_base",
            )


def _pair(
    layers: Mapping[tuple[int, str], Matrices],
    site: Site,
    shape: Shape,
    settings: Mapping[str, Any],
    dtype: torch.dtype,
) -> Pair:
    """The matrices of one site for all layers; modules that are fused stand side by side, and on the diagonal."""
    sizes = _sizes(shape)
    parts = PARTS[site]
    ranks = [max((p["A"].shape[0] for (_, m), p in layers.items() if m == part), default=0) for part in parts]
    wide = sizes[parts[0]][0]
    outs = [sizes[part][1] for part in parts]
    into = torch.zeros((shape.layers, wide, sum(ranks)), dtype=dtype)
    out = torch.zeros((shape.layers, sum(ranks), sum(outs)), dtype=dtype)
    for place, part in enumerate(parts):
        left, top = sum(ranks[:place]), sum(outs[:place])
        for layer in range(shape.layers):
            pair = layers.get((layer, part))
            if pair is None:
                continue
            rank = pair["A"].shape[0]
            into[layer, :, left : left + rank] = pair["A"].T.to(dtype)
            scaled = pair["B"].T.float() * _scale(settings, layer, part)
            out[layer, left : left + rank, top : top + outs[place]] = scaled.to(dtype)
    return Pair(into, out)


def _scale(settings: Mapping[str, Any], layer: int, part: str) -> float:
    """What the product is multiplied by: alpha by rank, each possibly by module."""
    name = f"model.layers.{layer}.{part}"
    rank = _pattern(settings.get("rank_pattern"), name, settings["r"])
    alpha = _pattern(settings.get("alpha_pattern"), name, settings["lora_alpha"])
    return float(alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank))


def _pattern(patterns: Any, name: str, otherwise: float) -> float:
    import re

    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return float(value)
    return float(otherwise)

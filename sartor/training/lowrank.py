"""LoRA adapters as numbers: read, written, added up, and brought to a lower rank.

An adapter is a product of two thin matrices for each layer (Hu et al. 2021). The nearest product of a lower rank comes
from the singular values (Eckart & Young 1936); of a product that is thin already they cost a QR of each factor.
Knows no models and no data.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sartor.core.errors import AskError, StoreError
from sartor.training.shards import Shards, Spec, write_file

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BEFORE = "base_model.model."
"""What PEFT puts before the names of a model's layers."""

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Factors:
    """`up` times `down` is what the adapter adds to a layer's weight; the scale is in `up` already."""

    down: Singles
    """(rank, in)."""
    up: Singles
    """(out, rank)."""

    @property
    def product(self) -> Singles:
        """(out, in)."""
        found: Singles = self.up @ self.down
        return found


@dataclass(frozen=True)
class Lora:
    """An adapter: what it adds, by name of the layer."""

    layers: Mapping[str, Factors]
    config: Mapping[str, Any]

    def delta(self, tensor: str) -> Singles | None:
        """What it adds to a tensor of the base; None where nothing."""
        layer = self.layers.get(tensor.removesuffix(".weight"))
        return None if layer is None else layer.product

    def fits(self, specs: Mapping[str, Spec]) -> None:
        """Raise AskError unless each of its layers is one of the base, of its shape."""
        for name, layer in self.layers.items():
            spec = specs.get(f"{name}.weight")
            shape = (len(layer.up), layer.down.shape[1])
            if spec is None or spec.shape != shape:
                found = "has no such layer" if spec is None else f"has one of {spec.shape[0]} × {spec.shape[1]}"
                raise AskError(
                    f"An adapter was to be added to a base, and it is for another one: it changes layer '{name}' of "
                    f"{shape[0]} × {shape[1]} and the base {found}. Name the base that it was trained on.",
                    code="adapter_for_another_base",
                    param="candidates.base",
                )

    @property
    def rank(self) -> int:
        """The greatest of its layers'."""
        return max((len(layer.down) for layer in self.layers.values()), default=0)


def read_lora(folder: Path) -> Lora:
    """The adapter in a PEFT folder.

    Raises:
        StoreError: the files are missing or damaged.
        AskError: it holds more than plain low-rank factors.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"Reading the adapter in {folder} failed: {error}", code="variant_damaged") from error
    more = [name for name in ("use_dora", "modules_to_save", "fan_in_fan_out", "rank_pattern") if config.get(name)]
    if more or config.get("bias", "none") != "none":
        raise AskError(
            f"The adapter in {folder.name} has {', '.join(more) or 'biases of its own'}, and only plain low-rank "
            "factors can be worked on. Merge it with the library that made it.",
            code="adapter_not_plain",
        )
    shards = Shards(folder, WEIGHTS)
    rank = float(config["r"])
    scale = float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    layers = {}
    for name in shards:
        if ".lora_A." in name:
            layer = name.removeprefix(BEFORE).partition(".lora_A.")[0]
            down, up = shards.read(name), shards.read(name.replace(".lora_A.", ".lora_B."))
            layers[layer] = Factors(down.astype(np.float32), up.astype(np.float32) * np.float32(scale))
    return Lora(layers, config)


def write_lora(folder: Path, layers: Mapping[str, Factors], *, task_type: str | None) -> None:
    """Write a PEFT folder of factors that all have one rank; its scale is one."""
    folder.mkdir(parents=True, exist_ok=True)
    rank = max(len(layer.down) for layer in layers.values())
    tensors: dict[str, Singles] = {}
    for name, layer in layers.items():
        filled = widened(layer, rank)
        tensors[f"{BEFORE}{name}.lora_A.weight"] = filled.down
        tensors[f"{BEFORE}{name}.lora_B.weight"] = filled.up
    write_file(
        folder / WEIGHTS, {name: Spec("F32", values.shape) for name, values in tensors.items()}, tensors.__getitem__
    )
    config = {
        "peft_type": "LORA",
        "task_type": task_type,
        "base_model_name_or_path": "",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(layers),
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def widened(layer: Factors, rank: int) -> Factors:
    """The same product with more rows, all zero."""
    more = rank - len(layer.down)
    return Factors(np.pad(layer.down, ((0, more), (0, 0))), np.pad(layer.up, ((0, 0), (0, more))))


def stacked(layers: list[Factors], weights: list[float]) -> Factors:
    """Factors whose product is the weighted sum of the products, exactly: ranks add up."""
    ups = [layer.up * np.float32(weight) for layer, weight in zip(layers, weights, strict=True)]
    return Factors(np.concatenate([layer.down for layer in layers]), np.concatenate(ups, axis=1))


@dataclass(frozen=True)
class Nearest:
    """Factors of a lower rank."""

    factors: Factors
    lost: float
    """Sum of the squares that the lower rank leaves out."""
    whole: float
    """Sum of the squares of all."""


def compressed(layer: Factors, rank: int) -> Nearest:
    """The nearest factors of at most this rank."""
    left, upper = np.linalg.qr(layer.up.astype(np.float64))
    right, lower = np.linalg.qr(layer.down.T.astype(np.float64))
    u, sizes, v = np.linalg.svd(upper @ lower.T)
    return _cut(left @ u, sizes, v @ right.T, rank)


def nearest(delta: npt.NDArray[Any], rank: int) -> Nearest:
    """The nearest factors of at most this rank to a (out, in) matrix."""
    u, sizes, v = np.linalg.svd(delta.astype(np.float32), full_matrices=False)
    return _cut(u, sizes, v, rank)


def _cut(u: npt.NDArray[Any], sizes: npt.NDArray[Any], v: npt.NDArray[Any], rank: int) -> Nearest:
    kept = min(rank, len(sizes))
    root = np.sqrt(sizes[:kept])
    # The sign of a singular vector is the library's choice: the largest entry is made positive, so bytes do not vary.
    signs = np.sign(u[np.abs(u[:, :kept]).argmax(axis=0), np.arange(kept)])
    signs[signs == 0] = 1.0
    up, down = u[:, :kept] * (root * signs), (root * signs)[:, None] * v[:kept]
    squares = sizes.astype(np.float64) ** 2
    factors = Factors(down.astype(np.float32), up.astype(np.float32))
    return Nearest(factors, float(squares[kept:].sum()), float(squares.sum()))

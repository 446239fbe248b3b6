"""Weights of a Hugging Face folder read and written one tensor at a time: no more is in memory than is worked on.

Reads `model.safetensors` or shards with their index, from the file's own offsets, without mapping it: what was read
is let go again. Writes the same layout with its header first, so that a tensor is on disk before the next is made.
Knows no architectures.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.errors import StoreError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MOST_BYTES = 2_000_000_000
"""Of one file that is written."""
MOST_HEADER = 100_000_000
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16",
         "I8": "int8", "U8": "uint8", "BOOL": "bool"}  # fmt: skip

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Spec:
    """What a tensor is, without its values."""

    dtype: str
    """As safetensors writes it: F32, BF16, …"""
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """On disk."""
        return SIZES[self.dtype] * int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class _Place:
    spec: Spec
    file: Path
    start: int


@dataclass(frozen=True)
class Shards:
    """The tensors of a folder (or of one file), by name."""

    folder: Path
    file: str = ""
    """One file of the folder; '': the model's, whole or in shards."""

    @cached_property
    def _places(self) -> dict[str, _Place]:
        found: dict[str, _Place] = {}
        for file in self._files():
            found |= _places_in(file)
        return found

    def _files(self) -> list[Path]:
        if self.file:
            return [self.folder / self.file]
        index = self.folder / INDEX
        if not index.is_file():
            return [self.folder / SINGLE]
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        if any(Path(name).name != name for name in named):
            raise _broken(index, "it names a file outside of its folder")
        return [self.folder / name for name in sorted(set(named))]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places))

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def specs(self) -> dict[str, Spec]:
        """Every tensor's type and shape."""
        return {name: self._places[name].spec for name in self}

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(place.spec.bytes for place in self._places.values())

    def read(self, name: str) -> Values:
        """A tensor's values; bfloat16 comes as float32, which holds it exactly.

        Raises:
            StoreError: there is no such tensor.
        """
        if name not in self._places:
            raise _broken(self.folder, f"it has no tensor '{name}'")
        place = self._places[name]
        raw = np.fromfile(place.file, dtype=np.uint8, count=place.spec.bytes, offset=place.start)
        if place.spec.dtype == "BF16":
            widened = raw.view("<u2").astype(np.uint32) << 16
            return widened.view(np.float32).reshape(place.spec.shape)
        return raw.view(NAMES[place.spec.dtype]).reshape(place.spec.shape)


Make = Callable[[str], Values]
"""Name of a tensor -> its values, float32 where the spec says BF16."""


def write_folder(folder: Path, plan: Mapping[str, Spec], make: Make, *, most_bytes: int = MOST_BYTES) -> None:
    """Write `model.safetensors`, or shards of at most so many bytes with their index.

    Args:
        plan: every tensor's type and shape, which `make` must keep to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = _grouped(plan, most_bytes)
    if len(groups) == 1:
        write_file(folder / SINGLE, groups[0].specs, make)
        return
    names = [f"model-{place:05d}-of-{len(groups):05d}.safetensors" for place in range(1, len(groups) + 1)]
    for name, group in zip(names, groups, strict=True):
        write_file(folder / name, group.specs, make)
    where = {tensor: name for name, group in zip(names, groups, strict=True) for tensor in group.specs}
    total = sum(spec.bytes for spec in plan.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def write_file(path: Path, plan: Mapping[str, Spec], make: Make) -> None:
    """Write one safetensors file, a tensor at a time.

    Raises:
        ValueError: `make` gave another shape than was planned.
    """
    # transformers reads a file only if it says which library laid out its tensors.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    order = sorted(plan, key=lambda name: (-SIZES[plan[name].dtype], name))
    for name in order:
        spec = plan[name]
        header[name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [at, at + spec.bytes]}
        at += spec.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            values = make(name)
            if tuple(values.shape) != plan[name].shape:
                raise ValueError(f"'{name}' came as {values.shape} where {plan[name].shape} was planned")
            file.write(_raw(values, plan[name].dtype))


def bf16_bits(values: Values) -> Values:
    """(…) uint16 bits of bfloat16, to nearest, of ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _raw(values: Values, dtype: str) -> bytes:
    if dtype == "BF16":
        return bf16_bits(values).tobytes()
    return np.ascontiguousarray(values, dtype=NAMES[dtype]).tobytes()


@dataclass
class _Group:
    specs: dict[str, Spec] = field(default_factory=dict)
    bytes: int = 0


def _grouped(plan: Mapping[str, Spec], most: int) -> list[_Group]:
    groups = [_Group()]
    for name in sorted(plan):
        if groups[-1].specs and groups[-1].bytes + plan[name].bytes > most:
            groups.append(_Group())
        groups[-1].specs[name] = plan[name]
        groups[-1].bytes += plan[name].bytes
    return groups


def _places_in(file: Path) -> dict[str, _Place]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= MOST_HEADER:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(opened.read(length))
        size = file.stat().st_size
        found, ends = {}, []
        for name, told in header.items():
            if name == "__metadata__":
                continue
            spec = Spec(told["dtype"], tuple(told["shape"]))
            start, end = told["data_offsets"]
            if end - start != spec.bytes or start < 0 or 8 + length + end > size:
                raise ValueError(f"tensor '{name}' does not lie within it")
            found[name] = _Place(spec, file, 8 + length + start)
            ends.append((start, end))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(file, str(error)) from error
    spans = sorted(span for span in ends if span[0] != span[1])
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        raise _broken(file, "two of its tensors overlap")
    return found


def _broken(where: Path, why: str) -> StoreError:
    return StoreError(
        f"Reading the weights in {where} failed: {why}. Fetch or make the model again.", code="base_damaged"
    )

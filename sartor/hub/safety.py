"""Reads a model folder without running anything of it: refuses code in configurations and damaged weights.

Knows nothing of where the folder came from. `trust_remote_code=False` is no boundary by itself (configurations
have named code, and attention kernels, that loaders then ran), so such keys never come in.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sartor.core.errors import RefusedError

ALLOWED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.md", "LICENSE*", "NOTICE*")
"""Name patterns of the files that are taken from a folder or a hub; no pickles, no scripts. Chat templates (.jinja)
are filled in a sandbox."""
DENIED_KEYS = frozenset({"auto_map", "custom_pipelines", "trust_remote_code", "_attn_implementation_internal"})
MAX_JSON = 64 * 2**20
MAX_HEADER = 100 * 2**20
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
         "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip


def check(folder: Path) -> None:
    """Refuse a folder that is no plain safetensors model.

    Raises:
        RefusedError: no config.json or no safetensors file, a configuration that names code, a JSON file that is
            none, or weights whose header does not fit their bytes.
    """
    weights = sorted(folder.rglob("*.safetensors"))
    if not (folder / "config.json").is_file() or not weights:
        raise RefusedError(
            f"'{folder.name}' is no model folder that can be used: it needs config.json and weights as .safetensors "
            "(pickled weights such as pytorch_model.bin are never read: convert them where you trust them).",
            code="not_safetensors",
        )
    for file in sorted(folder.rglob("*.json")):
        check_json(file)
    for file in weights:
        check_safetensors(file)


def check_json(file: Path) -> None:
    """Refuse a JSON file that is none, too large, or names code to be run."""
    if file.stat().st_size > MAX_JSON:
        raise RefusedError(f"{file.name} is larger than {MAX_JSON:,} bytes.", code="bad_config")
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{file.name} is no JSON: {error}.", code="bad_config") from error
    # A vocabulary may well hold a token of such a name; only settings can name code.
    if file.name != "tokenizer.json" and (found := sorted(DENIED_KEYS & set(_keys(value)))):
        raise RefusedError(
            f"{file.name} names code to be run ({', '.join(found)}). Models with code of their own are refused; use "
            "one whose architecture the transformers library has itself.",
            code="custom_code",
        )


def _keys(value: Any) -> Iterator[str]:
    """All keys of a JSON value, at any depth, without recursion."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def check_safetensors(file: Path) -> int:
    """Number of values in a safetensors file, if its header fits its bytes.

    The header must be a JSON object of at most 100 MB; tensors must lie side by side, in all the bytes that there
    are, each as long as its shape and type say (https://github.com/huggingface/safetensors, "Format").

    Raises:
        RefusedError: it does not.
    """
    header, data_bytes = _header(file)
    spans, count = [], 0
    try:
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            start, end = tensor["data_offsets"]
            size = math.prod(tensor["shape"])
            if end - start != size * BYTES[tensor["dtype"]]:
                raise RefusedError(f"{file.name}: tensor '{name}' does not fit its bytes.", code="bad_weights")
            spans.append((start, end))
            count += size
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(
            f"{file.name}: the header does not describe tensors ({error!r}).", code="bad_weights"
        ) from error
    reached = 0
    for start, end in sorted(spans):
        if start != reached:
            raise RefusedError(f"{file.name}: tensors overlap or leave a hole.", code="bad_weights")
        reached = end
    if reached != data_bytes:
        raise RefusedError(f"{file.name}: {data_bytes} bytes of data, {reached} described.", code="bad_weights")
    return count


def shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Name of each tensor in a safetensors file -> its shape; only the header is read."""
    header, _ = _header(file)
    return {name: tuple(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and how many bytes follow it."""
    total = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if total < 8 or length > min(MAX_HEADER, total - 8):
            raise RefusedError(f"{file.name}: no safetensors file, or cut off.", code="bad_weights")
        raw = opened.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_no_doubles)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{file.name}: the header is no JSON ({error}).", code="bad_weights") from error
    if not isinstance(header, dict):
        raise RefusedError(f"{file.name}: the header is no JSON object.", code="bad_weights")
    return header, total - 8 - length


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)

"""Variants of the smallest language model there is, and what answers with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._tiny_lm import write_tiny_adapter
from sartor.serving.engine import ENGINES, Wish, Writer, Written

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "size": {"enum": ["small", "large"]},
        "brand": {"type": "string", "maxLength": 8},
        "lines": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 99}}},
        },
    },
    "required": ["brand", "size"],
}
TEXTS = ("20 steel bolts", "copper wire", "How many apples are left?", "12 oz of lemon")


def write_variant(folder: Path, *, seed: int | None = None, rank: int = 4, **told: Any) -> Path:
    """A variant: an adapter of this seed on the base, or the base alone."""
    folder.mkdir(parents=True)
    told = {"instructions": "Write it.", "max_tokens": 12} | told
    (folder / "writing.json").write_text(json.dumps(told))
    if seed is not None:
        write_tiny_adapter(folder / "adapter", seed=seed, rank=rank)
    return folder


def open_lm(base: Path | None, **settings: Any) -> Any:
    """The engine in float32, so that company changes no bit that matters."""
    plugin = ENGINES.take("lm")
    return plugin(base, plugin.read({"dtype": "float32"} | settings))


def alone(engine: Writer, key: str, text: str, wish: Wish | None = None) -> Written:
    """One answer by itself."""
    (written,) = engine.write([(key, text)], [wish])
    return written

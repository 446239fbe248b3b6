"""How the files of each serving engine are opened outside: which scripts, which packages, which paths.

One table for all targets that hold a variant's files as they are. Knows no target.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sartor.core.errors import unknown
from sartor.pipeline.goods import Goods, Packed, based, copied
from sartor.serving.files import read_json

NUMPY = ("numpy", "safetensors")
ENCODER = ("heads", "base", "encoder")
"""Scripts that open an encoder with a head."""

GRAPH = ("heads", "graph")
"""Scripts that open an ONNX graph, with a head where it gives embeddings."""
CAUSAL = ("base", "causal")
"""Scripts that open a language model."""
WRITERS = (*NUMPY, "llguidance", "pydantic", "torch", "transformers")
LLAMA = ("jinja2", "llguidance", "numpy", "pydantic", "xllamacpp")
SERVED = "bfloat16"
"""Numbers in which the engine of language models computes."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Greatest ranks of adapters that vLLM can be told."""


def vllm_note(model: str, name: str, adapter: int = 0) -> str:
    """How vLLM serves a language model that was exported: a command for the export's folder, on loopback.

    Args:
        model: hub id, or folder in the export.
        name: by which it is asked.
        adapter: rank of the adapter that the export is; 0: it is a whole model.
    """
    words = ["vllm", "serve", model, "--host", "127.0.0.1", "--dtype", SERVED]
    if adapter:
        rank = next((size for size in RANKS if size >= adapter), adapter)
        words += ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"{name}=."]
    else:
        words += ["--served-model-name", name]
    return f"vLLM serves it, as any upstream: `{shlex.join(words)}`."


@dataclass(frozen=True)
class Place:
    """Paths inside the export."""

    model: str
    """Of the variant's files."""
    base: str
    """Of its base's."""


@dataclass(frozen=True)
class Opening:
    """How one engine's files are opened outside."""

    packed: Callable[[Goods, Place], Packed]
    needs_base: Callable[[Goods], bool]
    """Whether the variant's files alone are not enough."""


def as_they_are(goods: Goods, out: Path, at: str = "") -> Packed:
    """Copy the variant into `model/` and its base into `base/`; a mixture's parts into `parts/ROLE/`.

    Raises:
        NotFoundError: nobody has said how this engine's files are opened outside.
    """
    engine = goods.variant.engine
    if engine not in ENGINES:
        raise unknown("engine that can leave", engine, ENGINES)
    place = Place(f"{at}model", f"{at}base")
    copied(goods.folder, out / place.model)
    if ENGINES[engine].needs_base(goods):
        copied(based(goods), out / place.base)
    packed = ENGINES[engine].packed(goods, place)
    if not goods.parts:
        return packed
    return _mixed(goods, packed, {role: as_they_are(p, out, f"{at}parts/{role}/") for role, p in goods.parts.items()})


def _mixed(goods: Goods, packed: Packed, parts: Mapping[str, Packed]) -> Packed:
    """What a mixture says of its parts."""
    shares = [
        {
            **share,
            "model": parts[share["role"]].model,
            "calibration": read_json(goods.parts[share["role"]].folder, "calibration.json"),
        }
        for share in packed.model["parts"]
    ]
    every = [*parts.values(), packed]
    return replace(
        packed,
        model={**packed.model, "parts": shares},
        scripts=tuple(dict.fromkeys(name for one in every for name in one.scripts)),
        requires=tuple(sorted({name for one in every for name in one.requires})),
    )


def _linear(goods: Goods, place: Place) -> Packed:  # noqa: ARG001 - one signature for all
    return Packed({"engine": "linear", "folder": place.model}, ("linear",), NUMPY)


def _static(goods: Goods, place: Place) -> Packed:
    model = {"engine": "static", "base": place.base, "head": f"{place.model}/head.safetensors"}
    if (goods.folder / "tokens.safetensors").is_file():
        model["tokens"] = f"{place.model}/tokens.safetensors"
    return Packed(model, ("heads", "static"), (*NUMPY, "tokenizers"))


def _encoder(goods: Goods, place: Place) -> Packed:
    tuned, adapted = goods.holds("encoder"), goods.holds("adapter")
    model = {
        "engine": "encoder",
        "encoder": f"{place.model}/encoder" if tuned else place.base,
        "adapter": f"{place.model}/adapter" if adapted else None,
        "head": f"{place.model}/head.safetensors",
    }
    packages = (*NUMPY, "tokenizers", "torch", "transformers", *(("peft",) if adapted else ()))
    return Packed(model, ENCODER, packages)


def _blend(goods: Goods, place: Place) -> Packed:  # noqa: ARG001
    said = json.loads((goods.folder / "blend.json").read_text(encoding="utf-8"))
    return Packed({"engine": "blend", "mix": said["mix"], "parts": said["parts"]}, ("blend",), NUMPY)


def _tagger(goods: Goods, place: Place) -> Packed:  # noqa: ARG001
    model = {"engine": "tagger", "folder": place.model}
    return Packed(model, ("tagger",), (*NUMPY, "pydantic", "tokenizers", "torch", "transformers"))


def _lm(goods: Goods, place: Place) -> Packed:
    own, adapted = goods.holds("model"), goods.holds("adapter")
    model = {
        "engine": "lm",
        "model": f"{place.model}/model" if own else place.base,
        "adapter": f"{place.model}/adapter" if adapted else None,
        "writing": f"{place.model}/writing.json",
        "dtype": SERVED,
    }
    return Packed(model, CAUSAL, (*WRITERS, *(("peft",) if adapted else ())))


def _gguf(goods: Goods, place: Place) -> Packed:  # noqa: ARG001
    return Packed({"engine": "gguf", "folder": place.model}, ("gguf",), LLAMA)


def _rules(goods: Goods, place: Place) -> Packed:  # noqa: ARG001
    return Packed({"engine": "rules", "folder": place.model}, ("rules",), ("numpy", "pydantic"))


def _graph(goods: Goods, place: Place) -> Packed:
    facts = read_json(goods.folder, "onnx.json")
    model = {
        "engine": "onnx",
        "graph": f"{place.model}/encoder.onnx",
        "tokenizer": f"{place.model}/tokenizer.json",
        "head": f"{place.model}/head.safetensors" if goods.holds("head.safetensors") else None,
        "special": True,
        "most": int(facts.get("most_tokens", 128)),
        "pad": int(facts.get("pad", 0)),
    }
    return Packed(model, GRAPH, (*NUMPY, "onnxruntime", "tokenizers"))


ENGINES: Mapping[str, Opening] = {
    "linear": Opening(_linear, lambda _: False),
    "static": Opening(_static, lambda _: True),
    "encoder": Opening(_encoder, lambda goods: not goods.holds("encoder")),
    "blend": Opening(_blend, lambda _: False),
    "tagger": Opening(_tagger, lambda _: False),
    "onnx": Opening(_graph, lambda _: False),
    "rules": Opening(_rules, lambda _: False),
    "lm": Opening(_lm, lambda goods: not goods.holds("model")),
    "gguf": Opening(_gguf, lambda _: False),
}
"""Serving engine -> how its files are opened outside."""

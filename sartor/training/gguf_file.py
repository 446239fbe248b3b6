"""Writes a language model as a GGUF file, tensor by tensor: the whole with an adapter merged in, or an adapter alone.

Llama's architecture only, with a byte-level BPE tokenizer: what others need (other tensors, other tokenizers) is not
guessed but refused. Levels are those that the `gguf` package can quantise; the k-quants need llama.cpp's own tool.
Names, tensor layout and the order of rotary dimensions as llama.cpp reads them. Knows no task.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.training.gguf_tokens import add_tokens
from sartor.training.lowrank import Lora, widened
from sartor.training.shards import Values
from sartor.training.surgery import Body

LEVELS = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32}
"""Name of a level -> llama.cpp's number of the file type."""
LOSSY = frozenset({"q4_0", "q4_1", "q5_0", "q5_1"})
"""Of these the word embeddings stay at q8_0: they are looked up and, tied, give every word's chance."""
ARCHITECTURES = ("LlamaForCausalLM",)
BLOCK = 32
"""Values that are quantised together; a row of another length is kept in 16 bits."""


@dataclass(frozen=True)
class Model:
    """A language model's folder and what bears on its layout."""

    folder: Path
    config: Mapping[str, Any]
    title: str

    @property
    def layers(self) -> int:
        """How many blocks it has."""
        return int(self.config["num_hidden_layers"])

    @property
    def heads(self) -> int:
        """Heads of queries."""
        return int(self.config["num_attention_heads"])

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return int(self.config.get("num_key_value_heads") or self.heads)

    @property
    def head_size(self) -> int:
        """Numbers of one head."""
        return int(self.config.get("head_dim") or self.config["hidden_size"] // self.heads)


def readable(folder: Path, config: Mapping[str, Any], title: str) -> Model:
    """A model that can be written as GGUF.

    Args:
        folder: where its tokenizer lies.

    Raises:
        AskError: its architecture, or how it stretches positions, is not one that can be written here.
    """
    named = [str(name) for name in config.get("architectures") or [config.get("model_type", "nothing")]]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    stretched = rope.get("rope_type", rope.get("type", "default"))
    if not set(named) & set(ARCHITECTURES):
        why = f"its architecture is {', '.join(named)}, and only {', '.join(ARCHITECTURES)} is written here"
    elif stretched != "default":
        why = f"it stretches its positions ({stretched}), which is not written here"
    else:
        return Model(folder, config, title)
    raise AskError(
        f"'{title}' can't be written as GGUF: {why}. Serve it through the engine 'lm', or convert it with llama.cpp's "
        "own script and import the file.",
        code="unknown_architecture",
        param="candidates.of",
    )


def write_model(model: Model, body: Body, file: Path, level: str) -> dict[str, int]:
    """Write the model; gives the number of tensors by the kind that they are stored in. Memory holds one at a time.

    Args:
        body: its weights, an adapter added in where it has one.

    Raises:
        AskError: the tokenizer is not of a kind that can be written, or llama has no such tensor.
    """
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    _describe(writer, model, level)
    add_tokens(writer, model.folder, int(model.config["vocab_size"]), model.title)
    tied = bool(model.config.get("tie_word_embeddings"))
    kept = {name: spec.shape for name, spec in body.specs.items() if not (tied and name == "lm_head.weight")}
    kinds = {name: _kind(name, shape, level) for name, shape in kept.items()}
    names = _names(model, kept)
    for name, shape in kept.items():
        _announce(writer, names[name], shape, kinds[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, kind in kinds.items():
        writer.write_tensor_data(_stored(_turned(model, name, body.read(name)), kind))
    writer.close()
    return _counted(kinds.values())


def write_adapter(model: Model, lora: Lora, file: Path) -> dict[str, int]:
    """Write an adapter for llama.cpp to lay over the base's own GGUF file, in 32 bits."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(lora.rank))  # the scale stands in the factors already
    names = _names(model, [f"{layer}.weight" for layer in lora.layers])
    for layer, factors in sorted(lora.layers.items()):
        inner, whole = names[f"{layer}.weight"], widened(factors, lora.rank)
        writer.add_tensor(f"{inner}.lora_a", whole.down)
        writer.add_tensor(f"{inner}.lora_b", _turned(model, f"{layer}.weight", whole.up))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"f32": 2 * len(lora.layers)}


def _describe(writer: Any, model: Model, level: str) -> None:
    config = model.config
    rope = config.get("rope_parameters") or {}
    writer.add_name(model.title)
    writer.add_block_count(model.layers)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.groups)
    writer.add_key_length(model.head_size)
    writer.add_value_length(model.head_size)
    writer.add_rope_dimension_count(model.head_size)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_file_type(LEVELS[level])
    writer.add_quantization_version(2)


def _names(model: Model, tensors: Iterable[str]) -> dict[str, str]:
    """What llama.cpp calls each tensor."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    known = get_tensor_name_map(MODEL_ARCH.LLAMA, model.layers)
    found = {name: known.get_name(name, try_suffixes=(".weight", ".bias")) for name in tensors}
    if strange := sorted(name for name, called in found.items() if called is None):
        raise AskError(
            f"'{model.title}' can't be written as GGUF: llama has no tensor '{strange[0]}'.",
            code="unknown_architecture",
        )
    return {name: str(called) for name, called in found.items()}


def _kind(name: str, shape: tuple[int, ...], level: str) -> str:
    if len(shape) == 1:
        return "f32"  # norms and biases: llama.cpp reads them in no other
    if level in LOSSY and name in ("model.embed_tokens.weight", "lm_head.weight"):
        level = "q8_0"
    return "f16" if level[0] == "q" and shape[-1] % BLOCK else level


def _announce(writer: Any, name: str, shape: tuple[int, ...], kind: str) -> None:
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    stored = GGMLQuantizationType[kind.upper()]
    block, size = GGML_QUANT_SIZES[stored]
    count = math.prod(shape) // block * size
    if kind in ("f32", "f16"):
        writer.add_tensor_info(name, shape, np.dtype(np.float32 if kind == "f32" else np.float16), count)
    else:
        bytes_each = (*shape[:-1], shape[-1] // block * size)
        writer.add_tensor_info(name, bytes_each, np.dtype(np.uint8), count, raw_dtype=stored)


def _stored(values: Values, kind: str) -> Any:
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    return quants.quantize(np.ascontiguousarray(values, dtype=np.float32), GGMLQuantizationType[kind.upper()])


def _counted(kinds: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(kinds).items()))


def _turned(model: Model, name: str, values: Values) -> Values:
    """Queries and keys with the halves of each head's rotary dimensions interleaved, as llama.cpp turns them."""
    part = name.rsplit(".", 2)[-2]
    heads = {"q_proj": model.heads, "k_proj": model.groups}.get(part)
    if heads is None:
        return values
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)

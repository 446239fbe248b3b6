"""An encoder's weights as an ONNX graph: token ids and their mask to embeddings, in float32 or int8.

The graph is written operator by operator, not traced: no torch runs, weights come one at a time, and the same weights
give the same bytes. Attention and normalisation are ONNX Runtime's fused operators (domain `com.microsoft`), so it
runs there and nowhere else. int8: weights by output channel, symmetric; activations at run time, by their own range
(Zafrir et al. 2019, "Q8BERT"); word vectors by row. Knows BERT, RoBERTa, XLM-RoBERTa and MPNet, no heads, no texts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sartor.core.errors import AskError
from sartor.core.positions import first_position
from sartor.core.predict import Floats

Read = Callable[[str], Floats]
"""Name of a tensor -> its values."""
Precision = Literal["float32", "int8"]

MS = "com.microsoft"
INPUTS = ("input_ids", "attention_mask")
PRUNED = "pruned_heads"
"""Key of an encoder's config.json: layer (as text) -> numbers of heads that were cut and are left out here."""
POSITIONS = 128
"""Most positions for which relative distances are laid out (MPNet)."""


@dataclass(frozen=True)
class Family:
    """How one architecture names its weights. `{}` is the number of a layer."""

    query: str
    key: str
    value: str
    out: str
    out_norm: str
    up: str = "encoder.layer.{}.intermediate.dense"
    down: str = "encoder.layer.{}.output.dense"
    norm: str = "encoder.layer.{}.output.LayerNorm"
    relative: str = ""
    """Table of the bias by distance."""


_BERT = Family(
    query="encoder.layer.{}.attention.self.query",
    key="encoder.layer.{}.attention.self.key",
    value="encoder.layer.{}.attention.self.value",
    out="encoder.layer.{}.attention.output.dense",
    out_norm="encoder.layer.{}.attention.output.LayerNorm",
)
FAMILIES: Mapping[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "mpnet": Family(
        query="encoder.layer.{}.attention.attn.q",
        key="encoder.layer.{}.attention.attn.k",
        value="encoder.layer.{}.attention.attn.v",
        out="encoder.layer.{}.attention.attn.o",
        out_norm="encoder.layer.{}.attention.LayerNorm",
        relative="encoder.relative_attention_bias.weight",
    ),
}


def family_of(config: Mapping[str, Any]) -> Family:
    """How this model names its weights.

    Raises:
        AskError: the architecture is none of those known here.
    """
    kind = str(config.get("model_type", ""))
    if kind not in FAMILIES or config.get("hidden_act", "gelu") != "gelu":
        raise AskError(
            f"Writing ONNX was tried for an encoder of architecture '{kind or 'unknown'}' with activation "
            f"'{config.get('hidden_act', 'gelu')}', and only {', '.join(sorted(FAMILIES))} with 'gelu' can be written. "
            "Take a variant on one of these.",
            code="unknown_architecture",
            param="candidates.of",
        )
    return FAMILIES[kind]


def write_onnx(config: Mapping[str, Any], read: Read, path: Path, precision: Precision) -> None:
    """Write the encoder as one ONNX file: inputs `input_ids` and `attention_mask`, output `embedding`.

    Args:
        config: the Hugging Face config of the encoder.
        read: gives a tensor by its name.

    Raises:
        AskError: the architecture is none of those known here.
    """
    import onnx

    family = family_of(config)
    graph = _Graph(precision)
    hidden = _embeddings(graph, family, config, read)
    bias = _distances(graph, family, read)
    for layer in range(int(config["num_hidden_layers"])):
        hidden = _attention(graph, family, config, read, layer, hidden, bias)
        hidden = _feed_forward(graph, family, config, read, layer, hidden)
    _pooled(graph, hidden)
    helper, kinds = onnx.helper, onnx.TensorProto
    asked = [
        helper.make_tensor_value_info(n, kinds.INT64, ["batch", "tokens"]) for n in ("input_ids", "attention_mask")
    ]
    given = helper.make_tensor_value_info("embedding", kinds.FLOAT, ["batch", int(config["hidden_size"])])
    made = helper.make_graph(graph.nodes, "encoder", asked, [given], graph.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    model = helper.make_model(made, opset_imports=opsets, producer_name="sartor", ir_version=8)
    path.write_bytes(model.SerializeToString(deterministic=True))


@dataclass
class _Graph:
    precision: Precision
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def put(self, name: str, values: Any) -> str:
        """A constant of the graph."""
        import onnx

        self.weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def do(self, operator: str, inputs: list[str], *, domain: str = "", **attributes: Any) -> str:
        """An operator with one output; its name."""
        return self.parts(operator, inputs, 1, domain=domain, **attributes)[0]

    def parts(self, operator: str, inputs: list[str], count: int, *, domain: str = "", **attributes: Any) -> list[str]:
        """An operator with so many outputs; their names."""
        import onnx

        made = [f"{operator.lower()}_{len(self.nodes)}_{place}" for place in range(count)]
        self.nodes.append(onnx.helper.make_node(operator, inputs, made, domain=domain, **attributes))
        return made

    def linear(self, name: str, x: str, weight: Floats, bias: Floats) -> str:
        """The input · weightᵀ + bias; weight is (out, in), as torch keeps it."""
        offset = self.put(f"{name}.bias", bias.astype(np.float32))
        if self.precision == "float32":
            product = self.do("MatMul", [x, self.put(f"{name}.weight", weight.T.astype(np.float32))])
            return self.do("Add", [product, offset])
        whole, scale = by_row(weight)
        inputs = [x, self.put(f"{name}.weight", whole.T), self.put(f"{name}.scale", scale), "", offset]
        return self.do("DynamicQuantizeMatMul", inputs, domain=MS)

    def normalised(self, name: str, x: str, skip: str, read: Read, epsilon: float) -> str:
        """LayerNorm(x + skip)."""
        scale = self.put(f"{name}.weight", read(f"{name}.weight").astype(np.float32))
        shift = self.put(f"{name}.bias", read(f"{name}.bias").astype(np.float32))
        return self.do("SkipLayerNormalization", [x, skip, scale, shift], domain=MS, epsilon=epsilon)


def by_row(weight: Floats) -> tuple[Any, Any]:
    """(rows, n) int8 and (rows,) scales whose product is nearest to the weights, each row by its greatest value."""
    most = np.abs(weight).max(axis=1)
    scale = np.where(most > 0, most / 127.0, 1.0).astype(np.float32)
    return np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8), scale


def _embeddings(graph: _Graph, family: Family, config: Mapping[str, Any], read: Read) -> str:
    words = read("embeddings.word_embeddings.weight")
    if graph.precision == "int8":
        whole, scale = by_row(words)
        rows = graph.do("Gather", [graph.put("words", whole), "input_ids"])
        sizes = graph.do("Gather", [graph.put("words.scale", scale[:, None]), "input_ids"])
        seen = graph.do("Mul", [graph.do("Cast", [rows], to=1), sizes])
    else:
        seen = graph.do("Gather", [graph.put("words", words.astype(np.float32)), "input_ids"])
    places = read("embeddings.position_embeddings.weight")[first_position(config) :]
    if "type_vocab_size" in config and not family.relative:
        places = places + read("embeddings.token_type_embeddings.weight")[:1]
    length = graph.do("Gather", [graph.do("Shape", ["input_ids"]), graph.put("one", np.array([1]))])
    graph.put("zero", np.array([0]))
    here = graph.do("Slice", [graph.put("places", places.astype(np.float32)), "zero", length, "zero"])
    at = graph.do("Unsqueeze", [here, "zero"])
    seen = graph.do("Add", [seen, at])
    name = "embeddings.LayerNorm"
    scale = graph.put(f"{name}.weight", read(f"{name}.weight").astype(np.float32))
    shift = graph.put(f"{name}.bias", read(f"{name}.bias").astype(np.float32))
    return graph.do("LayerNormalization", [seen, scale, shift], axis=-1, epsilon=_epsilon(config))


def _distances(graph: _Graph, family: Family, read: Read) -> str:
    """(1, heads, tokens, tokens) bias by distance, '' where the architecture has none."""
    if not family.relative:
        return ""
    table = read(family.relative)
    near = relative_buckets(POSITIONS, buckets=len(table))
    graph.put("distances", table[near].transpose(2, 0, 1)[None].astype(np.float32))
    length = graph.do("Gather", [graph.do("Shape", ["input_ids"]), "one"])
    ends = graph.do("Concat", [length, length], axis=0)
    starts, axes = graph.put("corner", np.array([0, 0])), graph.put("sides", np.array([2, 3]))
    return graph.do("Slice", ["distances", starts, ends, axes])


def relative_buckets(size: int, *, buckets: int, farthest: int = 128) -> Any:
    """(size, size) bucket of each pair of positions: half by sign, near ones apart, far ones by logarithm (Raffel et
    al. 2020, "T5")."""
    away = np.arange(size)[:, None] - np.arange(size)[None, :]
    half = buckets // 2
    near = half // 2
    far = np.abs(away)
    logged = near + (np.log(np.maximum(far, 1) / near) / math.log(farthest / near) * (half - near)).astype(np.int64)
    return (away < 0) * half + np.where(far < near, far, np.minimum(logged, half - 1))


def _attention(
    graph: _Graph, family: Family, config: Mapping[str, Any], read: Read, layer: int, hidden: str, bias: str
) -> str:
    heads, size = kept_heads(config, layer), int(config["hidden_size"]) // int(config["num_attention_heads"])
    rows = np.concatenate([np.arange(head * size, (head + 1) * size) for head in heads])
    names = [name.format(layer) for name in (family.query, family.key, family.value)]
    weight = np.concatenate([read(f"{name}.weight")[rows] for name in names])
    offset = np.concatenate([read(f"{name}.bias")[rows] for name in names])
    mixed = graph.linear(f"layer.{layer}.attention", hidden, weight, offset)
    parts = graph.parts("Split", [mixed], 3, axis=-1)
    if bias and len(heads) < int(config["num_attention_heads"]):
        bias = graph.do("Gather", [bias, graph.put(f"layer.{layer}.heads", np.array(heads))], axis=1)
    # Inputs by place: query, key, value, bias (already added), mask, bias by distance.
    inputs = [*parts, "", _mask(graph), *([bias] if bias else [])]
    seen = graph.do("MultiHeadAttention", inputs, domain=MS, num_heads=len(heads))
    name = family.out.format(layer)
    out = graph.linear(name, seen, read(f"{name}.weight")[:, rows], read(f"{name}.bias"))
    return graph.normalised(family.out_norm.format(layer), out, hidden, read, _epsilon(config))


def kept_heads(config: Mapping[str, Any], layer: int) -> list[int]:
    """Numbers of the heads of a layer that were not cut.

    Raises:
        AskError: none is left.
    """
    cut = set(config.get(PRUNED, {}).get(str(layer), ()))
    return [head for head in range(int(config["num_attention_heads"])) if head not in cut]


def _mask(graph: _Graph) -> str:
    """(batch, tokens) int32: what attention may look at."""
    if not any(node.name == "mask" for node in graph.nodes):
        graph.do("Cast", ["attention_mask"], to=6, name="mask")
    return next(str(node.output[0]) for node in graph.nodes if node.name == "mask")


def _feed_forward(graph: _Graph, family: Family, config: Mapping[str, Any], read: Read, layer: int, hidden: str) -> str:
    up, down = family.up.format(layer), family.down.format(layer)
    wide = graph.linear(up, hidden, read(f"{up}.weight"), read(f"{up}.bias"))
    wide = graph.do("Gelu", [wide], domain=MS)
    out = graph.linear(down, wide, read(f"{down}.weight"), read(f"{down}.bias"))
    return graph.normalised(family.norm.format(layer), out, hidden, read, _epsilon(config))


def _pooled(graph: _Graph, hidden: str) -> None:
    """Mean over the mask, at length one."""
    import onnx

    mask = graph.do("Unsqueeze", [graph.do("Cast", ["attention_mask"], to=1), graph.put("last", np.array([-1]))])
    kept = graph.do("Mul", [hidden, mask])
    total = graph.do("ReduceSum", [kept, "one"], keepdims=0)
    count = graph.do("ReduceSum", [mask, "one"], keepdims=0)
    mean = graph.do("Div", [total, count])
    graph.nodes.append(onnx.helper.make_node("LpNormalization", [mean], ["embedding"], axis=-1, p=2))


def _epsilon(config: Mapping[str, Any]) -> float:
    return float(config.get("layer_norm_eps", 1e-12))

"""Writes ONNX graphs from token ids to scores: of an encoder by torch's exporter, of token vectors node by node.

Needs onnx (and onnxscript for encoders). Knows no variants.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.core.predict import Floats
from sartor.training.onnx_traced import OPSET

TINY = 1e-12


def classifier(encoder: Any, head: Mapping[str, Floats]) -> Any:
    """A torch module from (input_ids, attention_mask) to (logits, novelty)."""
    import torch

    centres = head["centroids"] / np.maximum(np.linalg.norm(head["centroids"], axis=1, keepdims=True), TINY)

    class Classifier(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.weight: Any = torch.nn.Parameter(torch.from_numpy(head["weight"].astype(np.float32)))
            self.bias: Any = torch.nn.Parameter(torch.from_numpy(head["bias"].astype(np.float32)))
            self.centres: Any = torch.nn.Parameter(torch.from_numpy(centres.astype(np.float32)))

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
            mask = attention_mask[..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            mean = torch.nn.functional.normalize(mean, dim=1)
            return mean @ self.weight.T + self.bias, 1.0 - (mean @ self.centres.T).amax(dim=1)

    return Classifier().eval()


def written_bag(vectors: Floats, head: Sequence[Floats], path: Path) -> None:
    """Write the graph of averaged token vectors with a head: the mask leaves tokens out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight, bias, centroids = head
    centres = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), TINY)
    held = {
        "vectors": vectors.astype(np.float32),
        "weight": weight.T.astype(np.float32),
        "bias": bias.astype(np.float32),
        "centres": centres.T.astype(np.float32),
        "tokens": np.array([1], dtype=np.int64),
        "last": np.array([-1], dtype=np.int64),
        "tiny": np.array(TINY, dtype=np.float32),
        "one": np.array(1.0, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["each"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "tokens"], ["summed"], keepdims=0),
        helper.make_node("ReduceL2", ["summed", "last"], ["length"], keepdims=1),
        helper.make_node("Max", ["length", "tiny"], ["safe"]),
        helper.make_node("Div", ["summed", "safe"], ["unit"]),
        helper.make_node("MatMul", ["unit", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("MatMul", ["unit", "centres"], ["cosines"]),
        helper.make_node("ReduceMax", ["cosines", "last"], ["nearest"], keepdims=0),
        helper.make_node("Sub", ["one", "nearest"], ["novelty"]),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    out = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", len(bias)]),
        helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["texts"]),
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "bag", ids, out, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))

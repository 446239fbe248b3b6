"""Writes an ONNX graph of a torch module by torch's own exporter, in standard operators that run anywhere.

Needs torch, onnx and onnxscript. Knows no models; `training.onnx_graph` writes encoders without torch, for one runtime.
"""

import warnings
from pathlib import Path
from typing import Any

OPSET = 18


def written(module: Any, path: Path, outputs: tuple[str, ...] = ("logits", "novelty")) -> None:
    """Write a classifier's graph; texts and tokens may be any number."""
    import onnxscript  # noqa: F401 - says by its name what is missing; torch's own message does not
    import torch

    ids = torch.ones((2, 7), dtype=torch.long)
    sizes = {0: torch.export.Dim("texts", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=128)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own insides
        program: Any = torch.onnx.export(
            module,
            (ids, torch.ones_like(ids)),
            input_names=["input_ids", "attention_mask"],
            output_names=list(outputs),
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        program.save(str(path))

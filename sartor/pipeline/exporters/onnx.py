"""One ONNX graph from token ids to the scores of the labels, with the tokenizer beside it: runs without torch."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.pipeline.goods import Goods, Packed, based, no_such_form
from sartor.pipeline.merging import whole
from sartor.pipeline.packing import GRAPH as SCRIPTS
from sartor.pipeline.packing import NUMPY

GRAPH = "model.onnx"


class Params(Settings):
    """Nothing to set."""


@plugin
def onnx(goods: Goods, out: Path, params: Params) -> Packed:  # noqa: ARG001 - the shelf's one signature
    """Write `model.onnx` and `tokenizer.json`.

    Raises:
        AskError: the variant is nothing that a graph from token ids can say.
        MissingExtraError: the packages that write ONNX are not installed.
    """
    import onnx as _  # noqa: F401 - what is missing is said before anything else

    if goods.variant.engine not in FORMS:
        why = f"a {goods.variant.engine} model is no graph from token ids to scores"
        raise no_such_form("onnx", goods.variant, why, "'folder'")
    return FORMS[goods.variant.engine](goods, out)


def _encoder(goods: Goods, out: Path) -> Packed:
    import torch
    from safetensors.numpy import load_file
    from transformers import AutoModel

    from sartor.pipeline.graphs import classifier
    from sartor.training.onnx_traced import written

    with tempfile.TemporaryDirectory(prefix=".whole-", dir=out.parent) as temp:
        notes = whole(goods, Path(temp), own="encoder", kind="AutoModel")
        model = AutoModel.from_pretrained(temp, local_files_only=True, dtype=torch.float32, attn_implementation="eager")
        written(classifier(model, load_file(goods.folder / "head.safetensors")), out / GRAPH)
        shutil.copyfile(Path(temp) / "tokenizer.json", out / "tokenizer.json")
        pad = int(model.config.pad_token_id or 0)
    return _packed({"special": True, "most": 128, "pad": pad}, notes)


def _static(goods: Goods, out: Path) -> Packed:
    from sartor.pipeline.graphs import written_bag
    from sartor.serving.files import read_arrays, read_json

    base = based(goods)
    (vectors,) = read_arrays(base, "model.safetensors", "embeddings")
    if (goods.folder / "tokens.safetensors").is_file():
        places, own = read_arrays(goods.folder, "tokens.safetensors", "places", "vectors")
        vectors[places] = own
    head = read_arrays(goods.folder, "head.safetensors", "weight", "bias", "centroids")
    written_bag(vectors, head, out / GRAPH)
    shutil.copyfile(base / "tokenizer.json", out / "tokenizer.json")
    most = int(read_json(base, "config.json").get("max_length") or 512)
    return _packed({"special": False, "most": most, "pad": 0}, ())


def _packed(tokens: Mapping[str, Any], notes: tuple[str, ...]) -> Packed:
    model = {"engine": "onnx", "graph": GRAPH, "tokenizer": "tokenizer.json", **tokens}
    said = "The graph's inputs are `input_ids` and `attention_mask`, its outputs `logits` and `novelty`, uncalibrated."
    return Packed(model, SCRIPTS, (*NUMPY, "onnxruntime", "tokenizers"), (said, *notes))


FORMS: Mapping[str, Callable[[Goods, Path], Packed]] = {"encoder": _encoder, "static": _static}
"""Serving engine -> how its variants become a graph."""
